"""Rules of this repository that ruff cannot say. Prints one line a fault; exit status 1 when there is any.

A file has at most 420 lines, a function 45 from `def` to its end without the docstring; `hash()` and its order that differs
between processes stays out; a room's `api` is used by the corridor only. Tests, benchmarks and migrations may be longer.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES = 420, 45
ROOM_API = re.compile(r"cityloop_\w+\.\w+\.api")


def sources() -> Iterator[Path]:
    """Every Python file that is ours."""
    for pattern in ("libs/*/src/**/*.py", "services/*/src/**/*.py", "tests/**/*.py", "benchmarks/**/*.py", "scripts/*.py"):
        yield from sorted(ROOT.glob(pattern))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    told = ast.get_docstring(function) is not None and first.end_lineno is not None
    doc = first.end_lineno - first.lineno + 1 if told and first.end_lineno else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - doc


def faults(path: Path) -> Iterator[tuple[int, str]]:
    """Line and fault."""
    text = path.read_text()
    product = path.relative_to(ROOT).parts[0] in {"libs", "services", "scripts"}
    if product and (lines := text.count("\n")) > FILE_LINES:
        yield 1, f"file has {lines} lines, more than {FILE_LINES}: split it by noun"
    in_a_room = product and len(path.relative_to(ROOT).parts) > 5 and path.relative_to(ROOT).parts[0] == "services"
    for node in ast.walk(ast.parse(text, path.name)):
        if in_a_room and isinstance(node, ast.ImportFrom) and ROOM_API.fullmatch(node.module or ""):
            yield node.lineno, f"a room imports {node.module}: use its domain, store or use cases"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash":
            yield node.lineno, "hash() differs between processes: zlib.crc32 or hashlib"
        if (
            product
            and "migrations" not in path.parts
            and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (lines := length(node)) > FUNCTION_LINES
        ):
            yield node.lineno, f"{node.name} has {lines} lines, more than {FUNCTION_LINES}: one level of abstraction"


def main() -> int:
    found = [f"{path.relative_to(ROOT)}:{line}: {fault}" for path in sources() for line, fault in faults(path)]
    print("\n".join(found) or "House rules: kept")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
