"""`cityloop charging link ...`: which station stands in which car park."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cityloop_charging.bays import use_cases
from cityloop_charging.bays.domain import By, Decider, Link, LinkState
from cityloop_charging.bays.store import ListedLink
from cityloop_charging.opening import opened_charging
from cityloop_common.terminal import AsJson, out, print_json, run_async, show

app = typer.Typer(no_args_is_help=True, help="Links between charging stations and car parks.")
MOST_LISTED = 10_000


@app.command("list")
def list_links(state: Annotated[LinkState | None, typer.Option(help="Only links in this state.")] = None, as_json: AsJson = False) -> None:
    """Lists links in the order of their stations."""
    rows = [
        {
            "location_id": each.link.location_id,
            "place_id": each.link.place_id,
            "state": each.link.state,
            "by": each.link.by.decider,
            "station": each.location_name,
            "car_park": each.place_name,
            "distance_m": each.link.evidence.get("distance_m"),
            "score_ppm": each.link.evidence.get("score_ppm"),
        }
        for each in run_async(_links(state))
    ]
    show(("location_id", "place_id", "state", "by", "station", "car_park", "distance_m", "score_ppm"), rows, as_json=as_json, title="links")


@app.command("confirm")
def confirm(
    location_id: Annotated[str, typer.Argument(metavar="LOCATION", help="The station's id.")],
    place_id: Annotated[str, typer.Argument(metavar="PLACE", help="The car park's id.")],
    as_json: AsJson = False,
) -> None:
    """Confirms that a station stands in a car park; confirming again changes nothing."""
    link = run_async(_confirm(location_id, place_id))
    if as_json:
        print_json({"location_id": link.location_id, "place_id": link.place_id, "state": link.state, "since": link.happened_at})
    else:
        out.print(f"{link.location_id} stands in {link.place_id}: {link.state}", markup=False)


async def _links(state: LinkState | None) -> Sequence[ListedLink]:
    async with opened_charging() as ctx:
        return await use_cases.links(ctx, state=state, after="", most=MOST_LISTED)


async def _confirm(location_id: str, place_id: str) -> Link:
    async with opened_charging() as ctx:
        return await use_cases.confirm(ctx, location_id, place_id, By(Decider.COMMAND))
