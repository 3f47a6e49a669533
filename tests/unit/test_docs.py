"""What is generated is what the code says, and what the examples use is there."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys

import pytest
from pydantic_settings import BaseSettings

from cityloop_common.asyncapi import files
from cityloop_common.service import installed_services
from cityloop_common.settings import SharedSettings, env_example
from tests.support import REPOSITORY

EXAMPLES = re.findall(r"^## (\S+)\n+```python\n(.*?)```", (REPOSITORY / "docs" / "kit-examples.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_kit_page_is_what_the_code_says() -> None:
    """docs/kit.md has every public signature."""
    done = subprocess.run([sys.executable, "scripts/kit_doc.py", "--check"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name,code", EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_compiles_and_imports_what_is_there(name: str, code: str) -> None:
    """Every name that an example imports exists."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cityloop"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}"), alias.name


def test_the_event_schemas_are_what_is_published() -> None:
    """docs/events is generated: `cityloop events schemas`."""
    folder = REPOSITORY / "docs" / "events"
    wanted = {name: content for service in installed_services() for name, content in files(service).items()}
    found = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    assert found == wanted


def test_the_settings_example_lists_every_setting() -> None:
    """.env.example is generated: `cityloop settings > .env.example`."""
    classes: list[type[BaseSettings]] = [SharedSettings, *(service.settings for service in installed_services())]
    assert (REPOSITORY / ".env.example").read_text() == env_example(classes)
