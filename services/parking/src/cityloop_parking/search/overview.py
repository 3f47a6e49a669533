"""Every car park in one answer, for a page that shows the whole city: from the index, and made once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from cityloop_common.clock import Clock
from cityloop_common.compression import Body, Packer
from cityloop_common.shared import Shared
from cityloop_parking.search.index import SearchIndex

MOST_PLACES = 5_000
PIECE = 64  # places that are packed together: about 30 kB
State = tuple[SearchIndex, bytes]
"""An index, and the instant up to which it is true."""


class Overview:
    """What one replica answers. A place that changes costs its own JSON and the packing of its piece, not of all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shared: Shared[Body] = Shared(clock)
        self._packer = Packer()

    async def of(self, state: Callable[[], State]) -> Body:
        """Every place by id, as many as `MOST_PLACES`, no older than this question. Raises what `state` raises."""

        def version() -> object:
            index, _ = state()
            return index, index.revision

        return await self._shared.get(partial(self._made, state), version)

    async def _made(self, state: Callable[[], State]) -> Body:
        index, as_of = state()  # what changes while this runs may be in it or not: it is another version
        now_s, entries = self._clock.now().timestamp(), index.in_order()
        truncated = b"true" if len(entries) > MOST_PLACES else b"false"
        pieces = [b'{"as_of":"%b","datum":"wgs84","truncated":%b,"places":[' % (as_of, truncated)]
        entries = entries[:MOST_PLACES]
        for start in range(0, len(entries), PIECE):
            places = [entry.body(now_s, index.heard_s) + b"}" for entry in entries[start : start + PIECE]]
            pieces.append((b"," if start else b"") + b",".join(places))
            await asyncio.sleep(0)
        return await self._packer.pack([*pieces, b"]}"])
