"""The one version of all packages.

scripts/version.py            says it, and where another one stands (exit status 1)
scripts/version.py 0.2.0      writes it everywhere; the locks do not name it, CHANGELOG.md is yours to write
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = r"\d+\.\d+\.\d+"
SOURCE = ROOT / "libs/common/src/cityloop_common/__init__.py"
PLACES = (
    (("libs/common/src/cityloop_common/__init__.py",), rf'(?<=__version__ = "){VERSION}'),
    (("libs/*/pyproject.toml", "services/*/pyproject.toml"), rf'(?<=^version = "){VERSION}|(?<=cityloop-common==){VERSION}'),
    (("web/package.json",), rf'(?<=^  "version": "){VERSION}'),
    (("web/package-lock.json",), rf'(?<=^  "version": "){VERSION}|(?<=^      "version": "){VERSION}(?=",\n      "license": "Apache-2.0")'),
    (("Dockerfile",), rf"(?<=^ARG VERSION=){VERSION}"),
    (("docker-compose.yml",), rf"(?<=CITYLOOP_VERSION:-){VERSION}"),
    (("deploy/k8s/overlays/*/kustomization.yaml",), rf"(?<=newTag: ){VERSION}"),
    (("docs/events/*.asyncapi.json",), rf'(?<=^    "version": "){VERSION}'),
)
"""Files and what in them is our version."""


def present() -> str:
    """The version that the kit says."""
    found = re.search(PLACES[0][1], SOURCE.read_text())
    assert found is not None
    return found[0]


def places() -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Every file that names it."""
    for patterns, expression in PLACES:
        for pattern in patterns:
            for path in sorted(ROOT.glob(pattern)):
                yield path, re.compile(expression, re.MULTILINE)


def others(version: str) -> list[str]:
    """One line for each place that says another version, or none at all."""
    faults = []
    for path, expression in places():
        said = set(expression.findall(path.read_text()))
        if said != {version}:
            faults.append(f"{path.relative_to(ROOT)} says {', '.join(sorted(said)) or 'no version'}, not {version}")
    return faults


def main(arguments: Sequence[str]) -> int:
    if len(arguments) > 1 or any(not re.fullmatch(VERSION, each) for each in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    if arguments:
        for path, expression in places():
            path.write_text(expression.sub(arguments[0], path.read_text()))
    found = others(version := present())
    print("\n".join(found) or version)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
