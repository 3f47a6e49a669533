"""Files of the planner's commands: read within limits, refused in one line, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from rich.markup import escape

from cityloop_common.terminal import fail
from cityloop_waste.planning import formats
from cityloop_waste.planning.formats import Format
from cityloop_waste.planning.instances import MOST_BYTES, FilePlan, Instance, UnreadableInstance

REFUSED = 2


def instance(file: Path, format: Format) -> tuple[str, Instance]:
    """A file's text and what it describes. Ends the command with its line when it cannot be read."""
    text = _text(file)
    try:
        return text, formats.read(text, format)
    except UnreadableInstance as error:
        _refuse(file, error.detail)


def plan(file: Path, format: Format) -> FilePlan:
    """A plan for a file. Ends the command with its line when it cannot be read."""
    try:
        return formats.read_plan(_text(file), format)
    except UnreadableInstance as error:
        _refuse(file, error.detail)


def writable(*files: Path | None) -> None:
    """Ends the command before its work when what it is to write could not be written."""
    for file in files:
        if file is None:
            continue
        if file.is_dir():
            _refuse(file, "is a directory")
        if not file.parent.is_dir():
            _refuse(file, "there is no such directory")
        if not os.access(file.parent, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
            _refuse(file, "cannot be written")


def write(file: Path, text: str) -> None:
    """Writes a file whole; what was there stays when that fails."""
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        _refuse(file, error.strerror or str(error))


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        _refuse(file, error.strerror or str(error))
    if len(data) > MOST_BYTES:
        _refuse(file, f"a file has at most {MOST_BYTES // 1_000_000} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        _refuse(file, f"line {line}: not UTF-8 text")


def _refuse(file: Path, why: str) -> NoReturn:
    fail(escape(f"{file}: {why}"), REFUSED)  # what a file holds is no mark-up
