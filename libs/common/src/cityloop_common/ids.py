"""Identity as a port: UUID version 7 (RFC 9562) from an injected clock and random stream."""

from __future__ import annotations

import random

from cityloop_common.clock import Clock


class Ids:
    """Hands out ids that sort by creation within one process.

    Layout (RFC 9562, 5.7): 48 bits of milliseconds, version, 12 bits counter, variant, 62 random bits.
    """

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._last_ms = 0
        self._counter = 0

    def new(self) -> str:
        """A new id as 36 lower-case characters."""
        now_ms = int(self._clock.now().timestamp() * 1000)
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._counter = self._rng.getrandbits(11)
        else:
            self._counter += 1
            if self._counter > 0xFFF:  # more than the counter holds in one millisecond: borrow from the next
                self._last_ms += 1
                self._counter = self._rng.getrandbits(11)
        value = (self._last_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | self._counter << 64 | 0b10 << 62 | self._rng.getrandbits(62)
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
