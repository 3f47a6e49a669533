"""Writes what CityLoop is made of as one CycloneDX document: Python packages and what the pages are built from.

    python -m scripts.sbom FILE        (`make sbom`)

Two tools that others wrote look (cyclonedx-py at .venv, npm at web/package-lock.json); this joins what they found, marks what
only installs or builds as `excluded`, leaves out what only tests, and has the result checked against the standard's own
schema. The same locks give the same file, byte for byte.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from cityloop_common import __version__
from scripts.image_root import closure, locked_blocks

ROOT = Path(__file__).resolve().parent.parent
OURS = "cityloop-"
Document = dict[str, Any]


class NoBom(Exception):
    """The document cannot be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one tool found: components, and which needs which by their `bom-ref`."""

    components: Sequence[Document]
    needs: Mapping[str, Sequence[str]]

    def reached_from(self, roots: Sequence[str]) -> set[str]:
        """Everything that those need, and they themselves."""
        reached, ahead = set(roots), list(roots)
        while ahead:
            new = set(self.needs.get(ahead.pop(), ())) - reached
            reached |= new
            ahead += new
        return reached


def python_side() -> Found:
    """The packages of requirements.lock and our own, as they stand in .venv."""
    told = run(sys.executable, "-m", "cyclonedx_py", "environment", "--no-validate", "--output-reproducible", "--sv", "1.6", sys.executable)
    return kept(told, locked_blocks((ROOT / "requirements.lock").read_text()))


def kept(told: Document, names: Collection[str]) -> Found:
    """Of what stands there only what is locked to run, and what is ours; no component tells where it lay."""
    components = []
    for each in told["components"]:
        if each["name"].startswith(OURS):
            components.append({name: value for name, value in each.items() if name != "externalReferences"})
        elif canonicalize_name(each["name"]) in names:
            components.append(each)
    return Found(components, needs_of(told))


def web_side() -> Found:
    """The packages that end in the pages, and those that build them."""
    told = run("npm", "sbom", "--package-lock-only", "--omit=dev", "--sbom-format=cyclonedx", cwd=ROOT / "web")
    components = [{**each, "scope": "excluded"} if "scope" not in each else each for each in told.get("components", [])]
    return Found(components, needs_of(told))


def needs_of(told: Document) -> Mapping[str, Sequence[str]]:
    return {each["ref"]: each.get("dependsOn", []) for each in told.get("dependencies", [])}


def joined(python: Found, web: Found, *, shipped: Sequence[str], runs: Callable[[Iterable[str]], Collection[str]] = closure) -> Document:
    """One document. `shipped` names the web packages that the pages themselves contain; the others build them.

    `runs` says what our packages need to run: what the image holds. The tool's own graph takes optional extras for needs.
    """
    ours = [each["bom-ref"] for each in python.components if each["name"].startswith(OURS)]
    needed = runs(each["name"] for each in python.components if each["name"].startswith(OURS))
    contained = web.reached_from([each["bom-ref"] for each in web.components if each["name"] in shipped])
    components = [scoped(each, canonicalize_name(each["name"]) in needed) for each in python.components]
    components += [scoped(each, each["bom-ref"] in contained) for each in web.components]
    components.sort(key=lambda each: str(each["bom-ref"]))
    refs = {each["bom-ref"] for each in components}
    graph = [{"ref": ref, "dependsOn": sorted(set(needs) & refs)} for ref, needs in {**python.needs, **web.needs}.items() if ref in refs]
    root = f"cityloop=={__version__}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "cityloop",
                "version": __version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": sorted([{"ref": root, "dependsOn": sorted([*ours, *contained])}, *graph], key=lambda each: str(each["ref"])),
    }


def scoped(component: Document, runs: bool) -> Document:  # noqa: FBT001 - one place, called by position
    """What only installs or builds is there, and is not part of what runs."""
    return {**component, "scope": "required" if runs else "excluded"}


def check(text: str) -> None:
    """Raises NoBom with what the standard's schema objects to."""
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise NoBom(f"not CycloneDX 1.6: {fault}")


def run(*command: str, cwd: Path = ROOT) -> Document:
    """What a tool prints, as JSON. Node and npm are those of .venv. Raises NoBom."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(command, check=False, cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise NoBom(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    document: Document = json.loads(done.stdout)
    return document


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    package = json.loads((ROOT / "web" / "package.json").read_text())
    shipped = [name for name in package["dependencies"] if name != "vite"]
    try:
        document = joined(python_side(), web_side(), shipped=shipped)
        text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        check(text)
    except NoBom as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 1
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    required = sum(each["scope"] == "required" for each in document["components"])
    print(f"{target}: {required} components that run, {len(document['components']) - required} that only install or build them")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
