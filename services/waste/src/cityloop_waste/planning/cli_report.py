"""What the planner's commands print of a plan for a file: its figures, its broken rules, and its drawing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cityloop_waste.planning import plans_files, plot
from cityloop_waste.planning.cli_solving import gap_percent
from cityloop_waste.planning.formats import Format, printed
from cityloop_waste.planning.instances import FilePlan, Instance, SpotKind
from cityloop_waste.planning.plot import Caption

FAULTS_SHOWN = 20
STOPS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """A plan, judged from the file. `cost` None: it calls at places that the file has not."""

    instance: Instance
    format: Format
    plan: FilePlan
    cost: float | None
    unserved: int
    faults: tuple[str, ...]
    reasons: Mapping[int, str]

    @property
    def costs(self) -> str:
        """The cost with its unit."""
        return "unknown" if self.cost is None else f"{self.cost:,.10g} {self.instance.unit}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a plan from elsewhere comes to; `gap_percent` is how much dearer it is than the best known, where that was given."""

    vehicles: int
    cost: float | None
    gap_percent: float | None
    unserved: int
    verified: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a solve comes to. `cost` is counted from the file, in the unit of printed results, and so is `bound`.

    `unserved` counts stops that no route serves; `faults` are broken rules; `peak_mb` is the most that the solver's process took.
    """

    vehicles: int
    cost: float | None
    gap_percent: float | None
    bound: float | None
    unserved: int
    verified: bool
    faults: tuple[str, ...]
    seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Solved:
    """A report and what it says more to people than to programs."""

    report: Report
    judged: Judged
    weak: bool
    engines: tuple[str, ...]


def judge(instance: Instance, plan: FilePlan, *, format: Format, reasons: Mapping[int, str] | None = None) -> Judged:
    """A plan, judged from the file alone."""
    faults = tuple(instance.faults(plan))
    spots = instance.spots()
    callable_at = {spot.id for spot in spots if spot.kind is not SpotKind.DEPOT}
    served = {place for route in plan.routes for place in route}
    cost = printed(instance.cost(plan.routes), format) if served <= callable_at else None
    unserved = sum(1 for spot in spots if spot.kind is SpotKind.STOP and spot.id not in served)
    return Judged(instance, format, plan, cost, unserved, faults, reasons or {})


def solved(instance: Instance, answer: Mapping[str, Any], *, format: Format, best: float | None, seconds: float) -> Solved:
    """What the solver's process answered, judged. Where costs are whole numbers or tenths its own cost must be the file's."""
    reasons: dict[int, str] = dict(answer["unserved"])
    told = None if format is Format.KIM2006 else answer["cost"]
    plan = FilePlan(tuple(tuple(route) for route in answer["routes"]), told, tuple(reasons))
    judged = judge(instance, plan, format=format, reasons=reasons)
    bound = answer["bound"]
    report = Report(
        vehicles=plan.vehicles,
        cost=judged.cost,
        gap_percent=_gap(judged.cost, best),
        bound=None if bound is None else _down(bound["cost"], format),
        unserved=judged.unserved,
        verified=not judged.faults,
        faults=judged.faults,
        seconds=round(seconds, 1),
        peak_mb=answer["peak_mb"],
    )
    engines = tuple(
        f"{each['engine']} {printed(each['cost'], format):,.10g} after {each['seconds']:.0f} s"
        for each in answer["engines"]
        if each["cost"] is not None
    )
    return Solved(report, judged, bool(bound and bound["weak"]), engines)


def verdict(judged: Judged, *, best: float | None) -> Verdict:
    """What a plan from elsewhere comes to."""
    return Verdict(
        vehicles=judged.plan.vehicles,
        cost=judged.cost,
        gap_percent=_gap(judged.cost, best),
        unserved=judged.unserved,
        verified=not judged.faults,
        faults=judged.faults,
    )


def told(solved: Solved, *, best: float | None) -> str:
    """A solve in a few lines."""
    report, judged = solved.report, solved.judged
    lines = [_headline(judged, report.gap_percent, best)]
    if report.bound is not None and report.cost:
        proven = (report.cost - report.bound) / report.cost * 100
        any_plan = "no plan that serves these stops" if report.unserved else "no plan"
        weak = "; weak: with so many stops a trip this lies far below" if solved.weak else ""
        lines.append(f"proven gap {proven:.2f} %: {any_plan} costs less than {report.bound:,.10g} (loads and distances alone{weak})")
    if len(solved.engines) > 1:
        lines.append(f"for comparison, what each engine came to: {'; '.join(solved.engines)}")
    lines += _left_out(judged)
    lines += _faults(judged)
    lines.append(f"{report.seconds:.1f} s, {report.peak_mb:.0f} MB")
    return "\n".join(lines)


def told_verdict(judged: Judged, verdict: Verdict, *, best: float | None) -> str:
    """A verdict in a few lines."""
    return "\n".join([_headline(judged, verdict.gap_percent, best), *_left_out(judged), *_faults(judged)])


def plan_json(judged: Judged, *, name: str) -> str:
    """The plan as `plans_files` reads it again."""
    counted_plan = FilePlan(judged.plan.routes, judged.cost, judged.plan.unserved)
    document = plans_files.document(counted_plan, format=judged.format.value, name=name, unit=judged.instance.unit, reasons=judged.reasons)
    return json.dumps(document, ensure_ascii=False) + "\n"


def drawing(judged: Judged, *, name: str, gap_percent: float | None) -> str:
    """The plan as SVG."""
    spots = judged.instance.spots()
    kinds = {spot.id: spot.kind for spot in spots}
    figures = [f"cost {judged.costs}", counted(judged.plan.vehicles, "vehicle")]
    figures += [] if gap_percent is None else [f"{_above(gap_percent)} the best known"]
    figures += [counted(judged.unserved, "stop") + " not served"] if judged.unserved else []
    figures += [f"breaks {counted(len(judged.faults), 'rule')}: {judged.faults[0]}"] if judged.faults else ["every rule checked"]
    routes = []
    for number, route in enumerate(judged.plan.routes, 1):
        stops = sum(1 for place in route if kinds.get(place) is SpotKind.STOP)
        unloads = sum(1 for place in route if kinds.get(place) is SpotKind.SITE)
        routes.append(f"{number}: {counted(stops, 'stop')}" + (f", {counted(unloads, 'unload')}" if unloads else ""))
    unit = "ft" if judged.format is Format.KIM2006 else "units"
    return plot.svg(spots, judged.plan, Caption(name, "; ".join(figures), unit, routes))


def counted(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _headline(judged: Judged, gap: float | None, best: float | None) -> str:
    above = "" if gap is None or best is None else f", {_above(gap)} {best:,.10g}"
    checked = "every rule checked" if not judged.faults else f"it breaks {counted(len(judged.faults), 'rule')}"
    return f"cost {judged.costs} with {counted(judged.plan.vehicles, 'vehicle')}{above}; {checked}"


def _above(gap: float) -> str:
    return f"{gap:.2f} % above" if gap >= 0 else f"{-gap:.2f} % below"


def _left_out(judged: Judged) -> list[str]:
    if not judged.plan.unserved:
        return []
    stops = [f"{stop} ({judged.reasons[stop]})" if stop in judged.reasons else str(stop) for stop in judged.plan.unserved]
    return [f"{counted(len(stops), 'stop')} left out: {', '.join(_some(stops, STOPS_SHOWN))}"]


def _faults(judged: Judged) -> list[str]:
    return [f"  {fault}" for fault in _some(judged.faults, FAULTS_SHOWN)]


def _some(told: Sequence[str], most: int) -> list[str]:
    return list(told) if len(told) <= most else [*told[:most], f"and {len(told) - most:,} more"]


def _gap(cost: float | None, best: float | None) -> float | None:
    return None if cost is None or best is None else round(gap_percent(cost, best), 4)


def _down(bound: float, format: Format) -> float:
    """A bound as it is printed: never above itself."""
    shown = printed(bound, format)
    if shown <= bound + 1e-9:
        return shown
    return printed(math.floor(bound * 100) / 100, format) if format is Format.KIM2006 else shown
