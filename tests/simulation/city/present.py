"""The facts of figures as the tables of now have them, read past the journals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cityloop_charging.indicators import domain as charging
from cityloop_charging.registry.domain import Access, Lifecycle
from cityloop_charging.status.domain import Status
from cityloop_common.clock import city_day, instant
from cityloop_common.indicator import Moment
from cityloop_parking.indicators import domain as parking
from cityloop_waste.indicators import recycling
from tests.simulation.city.tables import Tables


def present_facts(name: str, paths: Mapping[str, Path], at: Moment) -> Any:
    """What the formula of an indicator takes."""
    tables = Tables(paths)
    match name:
        case "live-places":
            return _live_places(tables)
        case "recycling-rate":
            return _recycling(tables, at)
        case _:
            return charging.Facts(evses=_evses(tables), places=_places(tables), vehicles=_vehicles(tables, at))


def _live_places(tables: Tables) -> list[parking.PlaceFact]:
    counts: dict[str, list[parking.CountFact]] = {}
    for place_id, category, at, source, interval_s in tables.rows(
        "SELECT place_id, category, observed_at, source, interval_s FROM parking.live_count"
    ):
        counts.setdefault(place_id, []).append(parking.CountFact(category, instant(at), source, interval_s, ""))
    return [
        parking.PlaceFact(id_, name, access, state, kind, district, "", counts.get(id_, ()))
        for id_, name, access, state, kind, district in tables.rows("SELECT id, name, access, state, kind, district FROM parking.place")
    ]


def _recycling(tables: Tables, at: Moment) -> recycling.Facts:
    loads = tables.rows("""SELECT chain_id, on_day, stream, site_kind, net_kg, district, void_reason IS NOT NULL, max(version)
        FROM waste.load GROUP BY chain_id""")
    estimates = tables.rows("SELECT on_day, district, mass_kg, max(version) FROM waste.generation_estimate GROUP BY on_day, district")
    return recycling.Facts(
        loads=[
            recycling.CountedLoad(chain_id, date.fromisoformat(day), stream, kind, net_kg, district, {}, bool(void))
            for chain_id, day, stream, kind, net_kg, district, void, _ in loads
        ],
        estimates=[recycling.CountedEstimate(date.fromisoformat(day), district, mass_kg, {}) for day, district, mass_kg, _ in estimates],
    )


def _evses(tables: Tables) -> list[charging.EvseFact]:
    rows = tables.rows("""
        SELECT e.uid, e.location_id, l.access, e.lifecycle, e.standard, e.bay_no, l.place_id, l.district, coalesce(v.status, 'UNKNOWN'),
            l.state = 'open'
        FROM charging.evse e JOIN charging.location l ON l.id = e.location_id
        LEFT JOIN charging.evse_live v ON v.evse_uid = e.uid AND v.version > 0""")
    return [
        charging.EvseFact(
            uid=uid,
            location_id=location,
            access=Access(access),
            lifecycle=Lifecycle(lifecycle),
            standard=bool(standard),
            bay_no=bay_no,
            place_id=place,
            district=district,
            status=Status(status),
            open=bool(is_open),
            rows=(),
        )
        for uid, location, access, lifecycle, standard, bay_no, place, district, status, is_open in rows
    ]


def _places(tables: Tables) -> list[charging.PlaceFact]:
    rows = tables.rows("SELECT id, name, access, state, kind, district, total_bays FROM charging.place")
    return [
        charging.PlaceFact(id_, name, access, state, kind, district, total_bays, "")
        for id_, name, access, state, kind, district, total_bays in rows
    ]


def _vehicles(tables: Tables, at: Moment) -> list[charging.VehiclesFact]:
    """The stock of the newest stated day."""
    rows = tables.rows("""SELECT r.vehicles, r.standard, s.day FROM charging.vehicle_stock s
        JOIN charging.vehicle_registration r ON r.event_id = s.statement_id ORDER BY s.day DESC LIMIT 1""")
    newest = city_day(at.at + timedelta(seconds=1))
    found = [(vehicles, standard) for vehicles, standard, day in rows if date.fromisoformat(str(day)) <= newest]
    return [charging.VehiclesFact("passenger/bev/standard/", vehicles, bool(standard), None, "") for vehicles, standard in found]
