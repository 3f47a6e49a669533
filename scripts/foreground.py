"""Runs a command as the only one that hears Ctrl-C: `foreground.py COMMAND [ARGUMENT ...]`.

make dies of the SIGINT that a terminal sends to everything in the foreground, whatever its command answers; so the command
gets the foreground for itself and its exit status is make's. Without a terminal the command is just run.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def _terminal() -> int | None:
    """The controlling terminal, when this process is in its foreground."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        return terminal if os.tcgetpgrp(terminal) == os.getpgrp() else None
    except OSError:
        return None


def _start(command: list[str], terminal: int) -> int:
    """Starts the command in a process group of its own that owns the terminal."""
    gate, opened = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.close(opened)
        os.read(gate, 1)  # until the terminal is ours
        os.execvp(command[0], command)
    os.close(gate)
    os.setpgid(child, child)
    os.tcsetpgrp(terminal, child)
    os.close(opened)
    return child


def _wait(child: int, terminal: int) -> int:
    """The command's end as an exit status; Ctrl-Z stops both, `fg` goes on with both."""
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            os.tcsetpgrp(terminal, os.getpgrp())
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        os.tcsetpgrp(terminal, os.getpgrp())
        os.killpg(0, signal.SIGSTOP)
        os.tcsetpgrp(terminal, child)
        os.killpg(child, signal.SIGCONT)


def main(command: list[str]) -> int:
    """Raises nothing of its own: the status is the command's."""
    terminal = _terminal()
    if terminal is None:
        os.execvp(command[0], command)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # handing the terminal on must not stop us
    child = _start(command, terminal)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGHUP, pass_on)
    return _wait(child, terminal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
