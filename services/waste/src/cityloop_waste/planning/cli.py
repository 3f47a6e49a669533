"""`cityloop waste solve` and `cityloop waste verify`: plans for files, made here or elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cityloop_common.clock import SystemClock
from cityloop_common.terminal import AsJson, fail, out, print_json, run_async
from cityloop_waste.planning import cli_files, cli_report, cli_solving
from cityloop_waste.planning.cli_solving import Wanted
from cityloop_waste.planning.domain import MOST_SECONDS, Engine
from cityloop_waste.planning.formats import Format
from cityloop_waste.planning.instances import MOST_PLACES

FileArgument = Annotated[Path, typer.Argument(help="The file.")]
FormatOption = Annotated[Format, typer.Option("--format", help="What kind of file it is.")]
BestOption = Annotated[float | None, typer.Option(min=0.000001, help="Cost of the best known plan, for the gap.", metavar="N")]
PlotOption = Annotated[Path | None, typer.Option(help="Draw the routes into this SVG file.", metavar="FILE.svg")]


def solve(
    file: FileArgument,
    format: FormatOption,
    vehicles: Annotated[int | None, typer.Option(min=1, max=MOST_PLACES, help="Vehicles at most; else as many as it takes.")] = None,
    seconds: Annotated[int, typer.Option(min=1, max=MOST_SECONDS, help="How long to search.")] = 30,
    engine: Annotated[Engine, typer.Option(help="Who searches: both engines, or one alone.")] = Engine.AUTO,
    best: BestOption = None,
    bound_seconds: Annotated[int, typer.Option(min=0, max=MOST_SECONDS, help="How long to look for a bound, after the search.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Another seed, another search.")] = 0,
    plot: PlotOption = None,
    plan_out: Annotated[Path | None, typer.Option(help="Write the plan into this JSON file.", metavar="FILE.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Plans the routes of a file in a process of its own and checks them from the file. Ctrl-C ends with the best so far."""
    text, instance = cli_files.instance(file, format)
    cli_files.writable(plot, plan_out)
    clock = SystemClock()
    began = clock.monotonic()
    wanted = Wanted(text, format, instance.name or file.stem, vehicles, seconds, engine, best, bound_seconds, seed)
    answer = run_async(cli_solving.answer(wanted, clock))
    solved = cli_report.solved(instance, answer, format=format, best=best, seconds=clock.monotonic() - began)
    report, judged = solved.report, solved.judged
    if plan_out is not None and not report.faults:
        cli_files.write(plan_out, cli_report.plan_json(judged, name=wanted.name))
    if plot is not None:
        cli_files.write(plot, cli_report.drawing(judged, name=wanted.name, gap_percent=report.gap_percent))
    if as_json:
        print_json(asdict(report))
    else:
        out.print(cli_report.told(solved, best=best), markup=False, soft_wrap=True)
    if report.faults:
        fail(f"the plan breaks {cli_report.counted(len(report.faults), 'rule')}" + ("" if plan_out is None else "; it is not written"))


def verify(
    file: FileArgument,
    plan: Annotated[Path, typer.Argument(help="The plan: a .sol file, or JSON.")],
    format: FormatOption,
    best: BestOption = None,
    plot: PlotOption = None,
    as_json: AsJson = False,
) -> None:
    """Judges a plan that was made elsewhere, from the file alone: every broken rule is named. Exit status 1 when there is any."""
    _, instance = cli_files.instance(file, format)
    found = cli_files.plan(plan, format)
    cli_files.writable(plot)
    judged = cli_report.judge(instance, found, format=format)
    verdict = cli_report.verdict(judged, best=best)
    if plot is not None:
        cli_files.write(plot, cli_report.drawing(judged, name=instance.name or file.stem, gap_percent=verdict.gap_percent))
    if as_json:
        print_json(asdict(verdict))
    else:
        out.print(cli_report.told_verdict(judged, verdict, best=best), markup=False, soft_wrap=True)
    if verdict.faults:
        fail(f"the plan breaks {cli_report.counted(len(verdict.faults), 'rule')}")
