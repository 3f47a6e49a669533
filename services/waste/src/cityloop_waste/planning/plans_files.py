"""Plans for the files that can be solved: read as others make them, written as `cityloop waste solve --plan-out` does.

Two forms for all kinds of files, told apart by their first character:

- a `.sol` file: `Route #1: 3 7 12` a line, then `Cost 27591`;
- JSON: `{"routes": [[3, 7, 12]], "cost": 27591, "unserved": [{"stop": 5, "reason": "window"}]}`; only `routes` must be there, and
  `format`, `instance`, `unit` and `vehicles` may be.

A route names what lies between the depot and the depot by the numbers of the instance's file, unload sites too. Of a file with unload
sites (kim2006) a `.sol` need not tell its cost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from cityloop_waste.planning.instances import FilePlan, UnreadableInstance, at, numbered, real, shown, whole

MOST_ROUTES = 3_000
MOST_VISITS = 20_000
_MEMBERS = {"format", "instance", "unit", "vehicles", "cost", "routes", "unserved"}


def read(text: str, format: str, *, cost_needed: bool) -> FilePlan:
    """A plan for a file of this format. Raises UnreadableInstance with the line, or in JSON the member, that makes no sense."""
    plan = _read_json(text, format) if text.lstrip()[:1] == "{" else _read_sol(text, cost_needed=cost_needed)
    if len(plan.routes) > MOST_ROUTES or sum(map(len, plan.routes)) > MOST_VISITS:
        raise UnreadableInstance(f"more than {MOST_ROUTES} routes or {MOST_VISITS} visits are not read")
    return plan


def document(plan: FilePlan, *, format: str, name: str, unit: str, reasons: Mapping[int, str]) -> dict[str, Any]:
    """A plan as JSON; `read` reads it."""
    return {
        "format": format,
        "instance": name,
        "unit": unit,
        "vehicles": plan.vehicles,
        "cost": plan.cost,
        "routes": [list(route) for route in plan.routes if route],
        "unserved": [{"stop": stop, "reason": reasons.get(stop, "not-reached")} for stop in plan.unserved],
    }


def _read_sol(text: str, *, cost_needed: bool) -> FilePlan:
    routes: list[tuple[int, ...]] = []
    last = 0
    for number, line in numbered(text):
        last = number
        words = line.replace(":", " : ", 1).split()
        if words[0] == "Route" and len(words) >= 3 and words[2] == ":":
            routes.append(tuple(whole(number, word, "a stop") for word in words[3:]))
        elif words[0] == "Cost" and len(words) == 2:
            return FilePlan(tuple(routes), real(number, words[1], "the cost"))
        else:
            raise at(number, f"{shown(line)} is neither a route (Route #1: 3 7 12) nor the cost (Cost 27591)")
    if not routes:
        raise at(last, "the file ends before its first route")
    if cost_needed:
        raise at(last, "the file ends before its cost")
    return FilePlan(tuple(routes))


def _read_json(text: str, format: str) -> FilePlan:
    try:
        told = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise at(error.lineno, f"not JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:  # lists in lists in lists; a number of thousands of digits
        raise UnreadableInstance(f"not a plan: {error}") from error
    if not isinstance(told, dict) or "routes" not in told:
        raise UnreadableInstance("routes: missing")
    if strange := sorted(told.keys() - _MEMBERS):
        raise UnreadableInstance(f"{shown(strange[0])[1:-1]}: a plan has {', '.join(sorted(_MEMBERS))}")
    if told.get("format", format) != format:
        raise UnreadableInstance(f"format: the plan is for a file of format {shown(str(told['format']))}, not {format!r}")
    routes = tuple(
        tuple(_number(f"routes[{row}][{column}]", stop) for column, stop in enumerate(_list(f"routes[{row}]", route)))
        for row, route in enumerate(_list("routes", told["routes"]))
    )
    return FilePlan(routes, _cost(told.get("cost")), tuple(_left_out(told.get("unserved", []))))


def _left_out(value: object) -> list[int]:
    left: list[int] = []
    for row, each in enumerate(_list("unserved", value)):
        if not isinstance(each, dict) or not {"stop"} <= each.keys() <= {"stop", "reason"}:
            raise UnreadableInstance(f"unserved[{row}]: an object with stop and reason is needed")
        left.append(_number(f"unserved[{row}].stop", each["stop"]))
    return left


def _cost(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UnreadableInstance(f"cost: {shown(str(value))} is no number")
    return float(value)


def _number(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 10**12:
        raise UnreadableInstance(f"{where}: {shown(str(value))} is no number of a stop")
    return value


def _list(where: str, value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise UnreadableInstance(f"{where}: a list is needed")
    return value


def _no_number(word: str) -> NoReturn:
    raise UnreadableInstance(f"{word} is no number")
