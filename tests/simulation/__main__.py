"""`python -m tests.simulation --seed N`: runs a seed again, shrinks its plan, or runs a batch."""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import os
import resource
import signal
import sys
import traceback
from contextlib import nullcontext, suppress
from pathlib import Path

from cityloop_common.telemetry import configure_logging
from tests.simulation.cases import case, scenarios
from tests.simulation.plan import Plan, parse_plan, plan_text, shrink
from tests.simulation.runner import Case, Result, as_json, run
from tests.simulation.world import Mode

MEMORY_BYTES = 4 << 30
PR_SET_PDEATHSIG = 1
SEEDS_PER_CHILD = 5  # dead tasks are never collected: a process grows with each seed


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
    parser.add_argument("--aside", action="store_true", help="leaves the processors to whoever else wants them")
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


def _step_aside() -> None:
    """The least priority, also among the sessions that Linux shares the processors between."""
    os.nice(19)
    with suppress(OSError):  # it leads one already
        os.setsid()
    with suppress(OSError):  # not on Linux
        Path("/proc/self/autogroup").write_text("19")


def _end_with(parent: int) -> None:
    """In a session of its own no Ctrl-C reaches it."""
    with suppress(AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(2)


def _batch(args: argparse.Namespace, seeds: range) -> bool:
    """Runs seeds, each as if it was alone; whether an invariant was broken."""
    chosen, mode = case(args.scenario, args.bug), Mode(args.mode)
    plan = None if args.plan is None else parse_plan(args.plan)
    failed = False
    with args.trace.open("a") if args.trace else nullcontext() as trace:
        for seed in seeds:
            result = run(chosen, seed, mode, plan=plan, trace=trace)
            _show(result, as_line=args.json)
            failed = failed or bool(result.broken)
            if result.broken and args.shrink:
                smaller = _shrunk(chosen, seed, mode, result)
                print(f"  needs only --plan '{plan_text(smaller)}'")
            if result.broken and args.until_broken:
                break
    return failed


def _in_child(args: argparse.Namespace, seeds: range) -> int:
    """The exit status of a copy of this process that runs these seeds: what it imported is there, what it leaves goes with it."""
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if not child:
        status = 2
        try:
            _end_with(parent)
            status = int(_batch(args, seeds))
            sys.stdout.flush()
        except BaseException:
            status = 2
            traceback.print_exc()
        finally:
            os._exit(status)  # no destructor of a dead task runs
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """Exit status 1 when an invariant is broken, another when a run did not come to its end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))  # a run that never ends must not take the machine with it
    args = _arguments()
    if args.aside:
        _end_with(os.getppid())
        _step_aside()
    configure_logging("error", stream=sys.stderr if args.log else io.StringIO())
    gc.disable()  # nothing may be collected in a run; between runs it would look through all that was left
    case(args.scenario, args.bug)  # imports what the children need
    if args.trace:
        args.trace.write_text("")
    first, last = (args.seed, args.seed) if args.seeds is None else map(int, args.seeds.split("-"))
    worst = 0
    for start in range(first, last + 1, SEEDS_PER_CHILD):
        status = _in_child(args, range(start, min(start + SEEDS_PER_CHILD, last + 1)))
        worst = status if status not in (0, 1) else max(worst, status)
        if status not in (0, 1) or (status and args.until_broken):
            break
    return worst


if __name__ == "__main__":
    sys.exit(main())
