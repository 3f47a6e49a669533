"""Writes what docker-compose.yml needs into .env: fresh secrets, made here, readable by their owner only (`make compose-env`).

What the file says already stays as it is: a second run adds only what is missing. Nothing secret is printed.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLAIN = {
    "COMPOSE_PROFILES": "dev",  # the development issuer and the invented city; empty for a production
    "CITYLOOP_ENVIRONMENT": "development",
}
SECRETS = (
    "POSTGRES_PASSWORD",
    "PARKING_DATABASE_PASSWORD",
    "CHARGING_DATABASE_PASSWORD",
    "WASTE_DATABASE_PASSWORD",
    "REDIS_PASSWORD",
    "CITYLOOP_HASH_KEY",
    "CITYLOOP_PARKING_GUEST_KEY",
    "CITYLOOP_CHARGING_SECRET_KEY",
)
BYTES = 32
SECRET_WITHOUT_VALUE = re.compile(rf"\s*(?:{'|'.join(SECRETS)})\s*=\s*$")
HEAD = "# Secrets of this installation: keep a copy, never commit it. The database passwords count from its first start on.\n"


def completed(present: str) -> tuple[str, list[str]]:
    """The file's text with what it lacked, and the names of that."""
    lines = [line for line in present.splitlines() if not SECRET_WITHOUT_VALUE.match(line)]
    known = {line.split("=", 1)[0].strip() for line in lines if "=" in line and not line.lstrip().startswith("#")}
    wanted = PLAIN | {name: secrets.token_hex(BYTES) for name in SECRETS}  # hex: part of addresses, needs no quoting
    added = [name for name in wanted if name not in known]
    text = "\n".join(lines) + "\n" if lines else HEAD
    return text + "".join(f"{name}={wanted[name]}\n" for name in added), added


def main(arguments: Sequence[str]) -> int:
    path = Path(arguments[0]) if arguments else ROOT / ".env"
    text, added = completed(path.read_text() if path.exists() else "")
    if added:
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    path.chmod(0o600)
    print(f"{path}: {', '.join(added) + ' added' if added else 'nothing was missing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
