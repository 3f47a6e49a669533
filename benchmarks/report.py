"""Rows of docs/benchmarks.md: what was measured, beside what, and their ratio."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"


@dataclass(frozen=True, slots=True)
class Measured:
    """One row. `ours` and `baseline` are rates per second (or milliseconds where `unit` says so), one entry per round."""

    row: str
    what: str
    conditions: str
    ours: list[float]
    baseline: list[float]
    unit: str
    floor: float | None
    aim: float | None
    note: str = ""

    @property
    def ratio(self) -> float:
        """Median of the rounds' ratios; rounds of both are taken in turns."""
        return median(mine / theirs for mine, theirs in zip(self.ours, self.baseline, strict=True))

    def line(self) -> str:
        """The row as Markdown."""
        spread = ", ".join(f"{mine / theirs:.2f}" for mine, theirs in zip(self.ours, self.baseline, strict=True))
        target = "-" if self.floor is None else f"≥ {self.floor:g}" + (f" (aim {self.aim:g})" if self.aim is not None else "")
        verdict = "" if self.floor is None else (" reached" if self.ratio >= self.floor else " **missed**")
        if self.floor is not None and self.aim is not None:
            verdict += ", aim reached" if self.ratio >= self.aim else ", aim missed"
        ours, theirs = (f"{median(rates):,.1f} {self.unit}" for rates in (self.ours, self.baseline))
        return (
            f"| {self.row} | {self.what} | {self.conditions} | {ours} | {theirs} "
            f"| **{self.ratio:.2f}** ({spread}) | {target}{verdict} | {self.note} |"
        )


def machine() -> str:
    """What the figures were taken on."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        model = found.group(1).strip() if found else model
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}, load {load:.1f}"
    )


def write(rows: list[Measured], *, today: date, command: str) -> None:
    """Replaces the measured rows in the document; rows that were not run stay as they were."""
    text = DOCUMENT.read_text() if DOCUMENT.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    old, _, tail = rest.partition(END)
    lines = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ") and not line.startswith("| row")}
    for each in rows:
        lines[each.row] = each.line() + f" {today} |"
    table = [
        f"Newest run: {today}, `{command}`, {machine()}.",
        "",
        "| row | what | conditions | ours | baseline | ratio (each round) | wanted | note | date |",
        "|---|---|---|---|---|---|---|---|---|",
        *(lines[name] for name in sorted(lines)),
    ]
    DOCUMENT.write_text(head + BEGIN + "\n" + "\n".join(table) + "\n" + END + tail)
