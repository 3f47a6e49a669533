"""Registered vehicles over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, Strict

from cityloop_charging.context import ChargingCtx
from cityloop_charging.vehicles import use_cases
from cityloop_charging.vehicles.domain import MOST_COUNTS, MOST_VEHICLES, Drive, Statement, Stock, VehicleClass, VehicleCount
from cityloop_common import auth, http
from cityloop_common.auth import Role

router = APIRouter(tags=["vehicle registrations"], dependencies=[Depends(auth.allow(Role.OFFICER, Role.CITY_ADMIN))])
Context = Annotated[ChargingCtx, Depends(http.current_ctx)]
Day = Annotated[date | None, Query(description="Not later than this day; today when left out.")]


class CountBody(BaseModel):
    """Vehicles of one class and drive; `standard` says that they count as standard vehicles."""

    model_config = ConfigDict(extra="forbid")

    vehicle_class: VehicleClass
    drive: Drive
    standard: Annotated[bool, Strict()]
    vehicles: int = Field(strict=True, ge=0, le=MOST_VEHICLES)
    district: str | None = Field(None, min_length=1, max_length=80)


class StockBody(BaseModel):
    """All new-energy vehicles registered on a day. What is not named is not there."""

    model_config = ConfigDict(extra="forbid")

    on: date
    source: str = Field(min_length=1, max_length=100, pattern=r"^\w[\w .:/-]*$", examples=["traffic police, monthly"])
    counts: list[CountBody] = Field(min_length=1, max_length=MOST_COUNTS)


class StockView(StockBody):
    """The stock as it is known now; `version` counts the statements on its day."""

    version: int
    vehicles: int
    recorded_at: datetime


@router.put("/vehicle-registrations", response_model=StockView, summary="State the registered stock of a day")
async def state(ctx: Context, body: StockBody) -> Response:
    """The first statement for a day, or a correction of it: both stay in the journal. The stock holds from the day's beginning."""
    counts = tuple(VehicleCount(each.vehicle_class, each.drive, each.standard, each.vehicles, each.district) for each in body.counts)
    return http.json_response(_view(await use_cases.state(ctx, Statement(body.on, body.source, counts))))


@router.get("/vehicle-registrations", response_model=StockView, summary="The newest registered stock")
async def read(ctx: Context, on: Day = None) -> Response:
    """The stock of the newest day that one was stated for."""
    return http.json_response(_view(await use_cases.newest(ctx, on)))


def _view(stock: Stock) -> Mapping[str, object]:
    counts = [
        {"vehicle_class": each.vehicle_class, "drive": each.drive, "standard": each.standard, "vehicles": each.vehicles}
        | ({} if each.district is None else {"district": each.district})
        for each in stock.statement.counts
    ]
    return {
        "on": stock.statement.on,
        "source": stock.statement.source,
        "counts": counts,
        "version": stock.version,
        "vehicles": sum(each.vehicles for each in stock.statement.counts),
        "recorded_at": stock.recorded_at,
    }
