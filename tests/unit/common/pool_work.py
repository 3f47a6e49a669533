"""What the pool's tests run in its processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from cityloop_common.pool_worker import Progress


def double(payload: dict[str, Any], progress: Progress) -> dict[str, int]:
    print("noise on standard output")
    os.write(1, b"and below Python\n")
    progress({"half": True})
    return {"twice": payload["n"] * 2}


def refuse(_payload: dict[str, Any], _progress: Progress) -> None:
    raise ValueError("not like this")


def die(_payload: dict[str, Any], _progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_payload: dict[str, Any], _progress: Progress) -> None:
    print("last words", file=sys.stderr, flush=True)
    os._exit(3)


def hang(_payload: dict[str, Any], _progress: Progress) -> None:
    time.sleep(60)


def wait_for_stop(_payload: dict[str, Any], progress: Progress) -> str:
    progress({"pid": os.getpid()})
    while not progress.stopped():
        time.sleep(0.01)
    return "stopped"


def babble(_payload: dict[str, Any], _progress: Progress) -> str:
    print("x" * 200_000)
    return "said"
