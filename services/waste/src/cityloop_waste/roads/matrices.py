"""Matrices that were counted before, kept in files: the same network gives the same matrix, whoever asks.

A solve runs in a process of its own that ends with it, so nothing is kept in memory. An entry's name is a hash of all that the
figures depend on: the graph (and with it the roads, their version, the truck's mass, closures, turns) and where each place joins.
Nothing ever has to be told that it is old: what is asked for no more is deleted as the least used. Files may be lost at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cityloop_common.geo import Position
from cityloop_waste.roads import graph
from cityloop_waste.roads.domain import Travel, TravelSource
from cityloop_waste.roads.network import Network

MOST_BYTES = 8_000_000
"""Of all entries together, within what deployments grant the folder: 306 places take 0.4 MB, 1,051 take 5 MB."""
RULES = 1
"""Counts how figures are made of a network: another number makes every entry another one."""
_MAGIC = b"CLT1"
_DIGEST = 32


def travel_on(joined: Network | None, places: Sequence[Position], folder: Path | None, *, most_bytes: int = MOST_BYTES) -> Travel:
    """`graph.travel_on`, from the folder where it was counted before. An entry that is damaged is counted anew.

    A folder that cannot be read or written keeps nothing, and is no fault.
    """
    if joined is None or folder is None:
        return graph.travel_on(joined, places)
    file = folder / f"{key(joined, places)}.travel"
    kept = _read(file, len(places))
    if kept is not None:
        return kept
    found = graph.travel_on(joined, places)
    _write(file, packed(found), most_bytes)
    return found


def key(joined: Network, places: Sequence[Position]) -> str:
    """What the matrix of places on a network is kept by."""
    digest = hashlib.sha256(struct.pack("<IId", RULES, len(places), graph.ACCESS_KMH))
    of_graph = (joined.graph.indptr, joined.graph.indices, joined.graph.data)
    of_places = (joined.leave, joined.reach, joined.off_m, joined.at, np.array(places, dtype=np.float64))
    for each in (*of_graph, *of_places):
        digest.update(struct.pack("<Q", each.nbytes))
        digest.update(np.ascontiguousarray(each).data)
    return digest.hexdigest()


def packed(travel: Travel) -> bytes:
    """An entry's bytes: a hash of what follows, then both tables in whole numbers, -1 where there is no way."""
    tables = [[-1 if cell is None else cell for row in table for cell in row] for table in (travel.distance_m, travel.duration_s)]
    body = zlib.compress(np.array(tables, dtype="<i4").tobytes(), 1)
    return _MAGIC + hashlib.sha256(body).digest() + body


def _read(file: Path, places: int) -> Travel | None:
    """An entry; None when there is none, or none that is whole."""
    try:
        data = file.read_bytes()
        os.utime(file)  # it was used: others are deleted before it
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(data[start:]).digest() != data[len(_MAGIC) : start]:
        return None
    cells = np.frombuffer(zlib.decompress(data[start:]), dtype="<i4").astype(np.int64)
    if len(cells) != 2 * places * places:
        return None
    distance, duration = cells.reshape(2, places, places)
    return Travel(graph.cells(distance, distance >= 0), graph.cells(duration, duration >= 0), TravelSource.GRAPH)


def _write(file: Path, data: bytes, most_bytes: int) -> None:
    """Puts an entry in place whole, after the least used ones that leave it no room are deleted."""
    if len(data) > most_bytes:
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        _prune(file.parent, most_bytes - len(data))
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            part.write(data)
        Path(part.name).replace(file)


def _prune(folder: Path, most_bytes: int) -> None:
    """Deletes files, the least used first, until the rest is within the bound; parts of processes that were killed among them."""
    entries = sorted(((each.stat().st_mtime_ns, each.name, each.stat().st_size) for each in folder.iterdir()), reverse=True)
    total = 0
    for _, name, size in entries:
        total += size
        if total > most_bytes:
            (folder / name).unlink(missing_ok=True)
