"""`python -m tests.simulation --seed N`: runs a seed again, shrinks its plan, or runs a batch."""

from __future__ import annotations

import argparse
import io
import os
import resource
import sys
from contextlib import nullcontext
from pathlib import Path

from cityloop_common.telemetry import configure_logging
from tests.simulation.cases import case, scenarios
from tests.simulation.plan import Plan, parse_plan, plan_text, shrink
from tests.simulation.runner import Case, Result, as_json, run
from tests.simulation.world import Mode

MEMORY_BYTES = 4 << 30


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--scenario", choices=scenarios(), default="parking")
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--seeds", help="first-last")
    parser.add_argument("--mode", choices=[mode.value for mode in Mode], default=Mode.SQLITE.value)
    parser.add_argument("--plan", help="faults as at:fault:target:amount:for, comma between; without it the seed draws them")
    parser.add_argument("--bug", default="", help="plants a bug")
    parser.add_argument("--trace", type=Path, help="writes every effect to this file")
    parser.add_argument("--shrink", action="store_true", help="leaves out the faults that a failing seed does not need")
    parser.add_argument("--until-broken", action="store_true", help="ends at the first seed that breaks an invariant")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each seed")
    parser.add_argument("--log", action="store_true", help="shows what services log as errors")
    return parser.parse_args()


def _show(result: Result, *, as_line: bool) -> None:
    if as_line:
        print(as_json(result), flush=True)
        return
    print(f"seed {result.seed} {result.mode} trace {result.trace_hash}: {result.broken or 'every invariant holds'}")
    print(f"  {result.deaths} deaths, {result.effects} effects, {result.virtual_s:.0f} s in {result.real_s:.1f} s, {result.figures}")
    if result.broken:
        print(f"  {result.replay()}")


def _shrunk(chosen: Case, seed: int, mode: Mode, failing: Result) -> Plan:
    def fails(plan: Plan) -> bool:
        return bool(run(chosen, seed, mode, plan=plan).broken)

    return shrink(parse_plan(failing.plan), fails)


def main() -> int:
    """Exit status 1 when an invariant is broken."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))  # a run that never ends must not take the machine with it
    args = _arguments()
    configure_logging("error", stream=sys.stderr if args.log else io.StringIO())
    chosen, mode = case(args.scenario, args.bug), Mode(args.mode)
    first, last = (args.seed, args.seed) if args.seeds is None else map(int, args.seeds.split("-"))
    plan = None if args.plan is None else parse_plan(args.plan)
    failed = False
    with args.trace.open("w") if args.trace else nullcontext() as trace:
        for seed in range(first, last + 1):
            result = run(chosen, seed, mode, plan=plan, trace=trace)
            _show(result, as_line=args.json)
            failed = failed or bool(result.broken)
            if result.broken and args.shrink:
                smaller = _shrunk(chosen, seed, mode, result)
                print(f"  needs only --plan '{plan_text(smaller)}'")
            if result.broken and args.until_broken:
                break
    return int(failed)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # no destructor of a dead task runs
