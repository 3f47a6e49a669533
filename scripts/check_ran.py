"""Tells from pytest's JUnit files what ran: `check_ran.py REPORT.xml=suite,suite ...`, or `--sum REPORT.xml ...` for one line.

Fails when a report is missing or a suite (a folder of tests/) ran no test in it: a suite that nobody collects is green too.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path


def outcomes(report: Path) -> Counter[tuple[str, str]]:
    """How many tests of each suite ended how: passed, failed or skipped."""
    counted: Counter[tuple[str, str]] = Counter()
    for test in ET.parse(report).getroot().iter("testcase"):
        parts = (test.get("classname") or test.get("name") or "").split(".")
        suite = parts[1] if parts[0] == "tests" and len(parts) > 1 else parts[0]
        kinds = {child.tag for child in test}
        counted[suite, "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"] += 1
    return counted


def missing(argument: str) -> list[str]:
    """The faults of one REPORT.xml=suite,suite; prints what ran."""
    name, _, suites = argument.partition("=")
    if not Path(name).is_file():
        return [f"{name} was not written: its tests did not run"]
    counted = outcomes(Path(name))
    faults = []
    for suite in suites.split(","):
        passed, failed, skipped = (counted[suite, kind] for kind in ("passed", "failed", "skipped"))
        print(f"{name} {suite}: {passed} passed, {failed} failed, {skipped} skipped")
        if passed + failed == 0:
            faults.append(f"{name}: no test of tests/{suite} ran")
    return faults


def main(arguments: list[str]) -> int:
    if arguments[0] == "--sum":
        total: Counter[str] = Counter()
        for name in filter(lambda name: Path(name).is_file(), arguments[1:]):
            for (_, kind), count in outcomes(Path(name)).items():
                total[kind] += count
        print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
        return 0
    faults = [fault for argument in arguments for fault in missing(argument)]
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
