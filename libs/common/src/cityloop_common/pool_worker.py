"""The other end of `pool`: a process that runs one task and ends. `python -m cityloop_common.pool_worker`.

It yields to whoever serves people (nice), dies with its parent, and keeps what libraries print away from its answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import select
import signal
import sys
from typing import Any

import orjson

_LENGTH = 4
_NICE = 10
_PR_SET_PDEATHSIG = 1


class Progress:
    """What a task calls now and then."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._stopped = False

    def __call__(self, value: object) -> bool:
        """Hands a value over; True once somebody wants the task to stop (or nobody waits for it any more)."""
        _send(self._answers, {"progress": value})
        return self.stopped()

    def stopped(self) -> bool:
        """Whether the task should return the best it has."""
        while not self._stopped and select.select([0], [], [], 0)[0]:
            self._stopped = True  # a byte is the wish to stop, the end of the stream a parent that is gone
        return self._stopped


def main() -> None:
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal: what becomes of a task is its parent's to say
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    answers = os.dup(1)
    os.dup2(2, 1)
    task = orjson.loads(_read(int.from_bytes(_read(_LENGTH), "big")))
    try:
        module, _, function = task["work"].partition(":")
        result = getattr(importlib.import_module(module), function)(task["payload"], Progress(answers))
        _send(answers, {"result": result})
    except Exception as error:  # noqa: BLE001 - whatever it raises is the answer
        _send(answers, {"raised": f"{type(error).__name__}: {error}"[:2000]})
    sys.stdout.flush()
    os._exit(0)  # some solvers' threads would hold the interpreter's end


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere the time limit inside ends it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(length: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = os.read(0, min(length, 1 << 20))
        if not part:
            os._exit(1)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _send(answers: int, answer: dict[str, Any]) -> None:
    frame = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    left = memoryview(len(frame).to_bytes(_LENGTH, "big") + frame)
    while left:
        left = left[os.write(answers, left) :]


if __name__ == "__main__":
    main()
