"""Writes docs/kit.md: every public signature of the kit, read from the code, with one example a module.

`python scripts/kit_doc.py` writes; `--check` says whether what is there is true (a test calls it).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KIT = ROOT / "libs" / "common" / "src" / "cityloop_common"
EXAMPLES = ROOT / "docs" / "kit-examples.md"
DOCUMENT = ROOT / "docs" / "kit.md"
GROUPS = {
    "Ports: time, identity, chance": ("clock", "ids", "rng", "money", "signals", "settings", "keys", "context"),
    "Storage": (
        "db",
        "connections",
        "dberrors",
        "drivers",
        "hot",
        "json_rows",
        "columns",
        "tables",
        "grouped",
        "json_rows",
        "migrating",
        "journal",
        "geo",
    ),
    "Events": (
        "envelope",
        "eventlog/port",
        "eventlog/__init__",
        "outbox",
        "relay",
        "republishing",
        "leases",
        "wakes",
        "inbox",
        "consuming",
        "asyncapi",
        "cache",
        "fanout",
    ),
    "Work": (
        "jobs",
        "sweeps",
        "service",
        "parts",
        "supervisor",
        "endings",
        "runtime",
        "metrics",
        "telemetry",
        "pool",
        "shared",
        "districts",
        "districts_api",
        "invented/__init__",
        "indicator/__init__",
    ),
    "HTTP": (
        "http",
        "routes",
        "errors",
        "problems",
        "auth",
        "jwks",
        "guests",
        "issuer",
        "idempotency",
        "preconditions",
        "compression",
        "ratelimit",
        "network",
        "sse",
        "docs_pages",
        "start_page",
        "pages",
    ),
    "Command line": ("terminal", "cli"),
    "Backups": ("backup/draft", "backup/manifest", "backup/embedded", "backup/postgres", "backup/restoring"),
}
INTERNAL = {  # adapters behind a port: open_event_log is the face of the log's; the pool's process runs the worker
    "eventlog/kafka",
    "eventlog/sqlite",
    "eventlog/murmur",
    "pool_worker",
    "backup/__init__",
}
FACES = {"indicator", "invented"}  # packages that are used by their `__init__` only: what it takes from its modules is shown there


def modules() -> list[str]:
    """Modules of the kit that are not an adapter, a command or a migration."""
    found = []
    for path in sorted(KIT.rglob("*.py")):
        name = path.relative_to(KIT).with_suffix("").as_posix()
        if name.startswith(("commands/", "migrations/")) or name == "__init__" or _is_adapter(name):
            continue
        found.append(name)
    return found


def _is_adapter(name: str) -> bool:
    package, _, module = name.partition("/")
    return name in INTERNAL or (package in FACES and module != "__init__") or re.match(r"eventlog/(kafka|sqlite)_", name) is not None


def document() -> str:
    """The whole page."""
    listed = [name for names in GROUPS.values() for name in names]
    if missing := sorted(set(modules()) - set(listed)):
        raise SystemExit(f"scripts/kit_doc.py: put {', '.join(missing)} into a group")
    examples = _examples()
    parts = [
        "# The kit",
        "What `cityloop_common` offers, signature by signature. The code is the source: `python scripts/kit_doc.py` writes this page,",
        "a test keeps it true. No business lives here; what is public is used by a service and stays.",
    ]
    for group, names in GROUPS.items():
        parts.append(f"\n## {group}")
        parts.extend(_module(name, examples.get(name, "")) for name in names if (KIT / f"{name}.py").exists())
    return "\n".join(parts) + "\n"


def _examples() -> dict[str, str]:
    """Examples by module, from docs/kit-examples.md: a heading with the module's name, then a code block."""
    text = EXAMPLES.read_text()
    return {hit.group(1): hit.group(2) for hit in re.finditer(r"^## (\S+)\n+```python\n(.*?)```", text, re.MULTILINE | re.DOTALL)}


def _module(name: str, example: str) -> str:
    tree = ast.parse((KIT / f"{name}.py").read_text())
    dotted = "cityloop_common." + name.replace("/", ".").removesuffix(".__init__")
    lines = [f"\n### {dotted}", "", (ast.get_docstring(tree) or "").strip(), ""]
    package = name.removesuffix("/__init__")
    nodes = [*(_taken(tree, package) if package in FACES else ()), *tree.body]
    signatures = [line for node in nodes for line in _node(node)]
    if signatures:
        lines += ["```python", *signatures, "```"]
    if example:
        lines += ["", "Example:", "", "```python", example.rstrip(), "```"]
    return "\n".join(lines)


def _taken(tree: ast.Module, package: str) -> Iterator[ast.stmt]:
    """What a package's face takes from its own modules, in the order of its imports and of their text."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"cityloop_common.{package}."):
            wanted = {alias.name for alias in node.names}
            module = (node.module or "").removeprefix("cityloop_common.").replace(".", "/")
            yield from (inner for inner in ast.parse((KIT / f"{module}.py").read_text()).body if wanted & set(_defined(inner)))


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    return [target.id for target in node.targets if isinstance(target, ast.Name)] if isinstance(node, ast.Assign) else []


def _node(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
        return [_function(node, "")]
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        return _class(node)
    if (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.isupper()
        and node.targets[0].id[0] != "_"
    ):
        value = ast.unparse(node.value)
        return [f"{node.targets[0].id} = {value if len(value) <= 80 else '...'}"]
    return []


def _class(node: ast.ClassDef) -> list[str]:
    bases = f"({', '.join(ast.unparse(base) for base in node.bases)})" if node.bases else ""
    lines = [f"class {node.name}{bases}:{_said(node)}"]
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and (not inner.name.startswith("_") or inner.name == "__init__"):
            lines.append(_function(inner, "    "))
        elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name) and not inner.target.id.startswith("_"):
            lines.append(f"    {inner.target.id}: {ast.unparse(inner.annotation)}")
        elif isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Constant) and not ast.unparse(inner).startswith("_"):
            lines.append(f"    {ast.unparse(inner)}")
    return lines


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, indent: str) -> str:
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    answers = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    decorators = [
        ast.unparse(each) for each in node.decorator_list if ast.unparse(each) in {"property", "asynccontextmanager", "contextmanager"}
    ]
    head = "".join(f"{indent}@{each}\n" for each in decorators)
    return f"{head}{indent}{start} {node.name}({ast.unparse(node.args)}){answers}{_said(node)}"


def _said(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    text = (ast.get_docstring(node) or "").strip().splitlines()
    return f"  # {text[0]}" if text else ""


def main() -> int:
    """Writes the page, or checks it."""
    text = document()
    if "--check" in sys.argv:
        if not DOCUMENT.exists() or DOCUMENT.read_text() != text:
            sys.stderr.write("docs/kit.md is not what the code says: run `python scripts/kit_doc.py`\n")
            return 1
        return 0
    DOCUMENT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
