"""Answers in gzip for whoever takes it. What many are sent is packed once; streams never are, for a packer holds events back."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from cityloop_common.preconditions import not_modified

LEVEL = 6
LEAST_BYTES = 1_000  # of an answer that is worth packing
STEP_BYTES = 128 * 1024  # about 4 ms of work, then the loop's other work has its turn
_GZIP, _DEFLATE = 31, -15  # zlib's ways to say: with gzip's head and tail, with neither
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: deflate, no name, no time
_LAST_BLOCK = b"\x03\x00"  # an empty one


class Body:
    """An answer that is sent more than once: its bytes, and its gzip form, made in steps for the first who takes it."""

    __slots__ = ("_gzipped", "_packing", "plain")

    def __init__(self, plain: bytes, *, gzipped: bytes = b"") -> None:
        self.plain = plain
        self._gzipped = gzipped
        self._packing = asyncio.Lock()

    async def gzipped(self) -> bytes:
        """The same bytes for the same answer, in every run; whoever asks meanwhile waits for them."""
        async with self._packing:
            if not self._gzipped:
                self._gzipped = await _packed(self.plain)
        return self._gzipped


class Packer:
    """Packs a text of which little changes from one time to the next: pieces that are as they were are not packed again.

    A piece becomes deflate blocks that know nothing of what stands before them and end on a whole byte (RFC 1951), so they can
    be put behind one another.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[bytes, bytes]] = []

    async def pack(self, pieces: Sequence[bytes]) -> Body:
        """The pieces as one answer; each should have some ten thousand bytes. One call at a time."""
        check, kept = 0, list[tuple[bytes, bytes]]()
        for number, piece in enumerate(pieces):
            known = self._kept[number] if number < len(self._kept) else (b"", b"")
            if known[0] != piece:
                known = (piece, _blocks(piece))
                await asyncio.sleep(0)
            kept.append(known)
            check = zlib.crc32(piece, check)
        self._kept = kept
        plain = b"".join(pieces)
        tail = _LAST_BLOCK + struct.pack("<II", check, len(plain) & 0xFFFF_FFFF)
        return Body(plain, gzipped=b"".join((_HEAD, *(blocks for _, blocks in kept), tail)))


async def respond(
    request: Request, body: Body | bytes, *, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in gzip where the caller takes it and it is worth it; 304 where an ETag among the headers is one that the caller has.

    Give a `Body` that is kept where many are sent the same; bytes are packed anew each time. A strong ETag becomes a weak one in
    gzip: it is of the plain bytes.
    """
    given = {"vary": "Accept-Encoding", **(headers or {})}
    if "etag" in given and not_modified(request, given["etag"]):
        return unchanged(given)
    kept = body if isinstance(body, Body) else Body(body)
    if len(kept.plain) < LEAST_BYTES or not takes_gzip(request.headers.getlist("accept-encoding")):
        return Response(kept.plain, headers=given, media_type=media_type)
    given["content-encoding"] = "gzip"
    if "etag" in given:
        given["etag"] = weak(given["etag"])
    return Response(await kept.gzipped(), headers=given, media_type=media_type)


def unchanged(headers: Mapping[str, str]) -> Response:
    """304 to a caller who has the answer, in whichever encoding."""
    return Response(status_code=304, headers={"vary": "Accept-Encoding", **headers, "etag": weak(headers["etag"])})


def weak(tag: str) -> str:
    """The weak form of an entity tag: equal for the same answer in any encoding."""
    return tag if tag.startswith("W/") else f"W/{tag}"


def takes_gzip(accepted: Sequence[str]) -> bool:
    """Whether the values of Accept-Encoding allow gzip (RFC 9110 12.5.3): named, or `*`, with a weight above 0. Without any: no."""
    known = weights(accepted)
    return known.get("gzip", known.get("x-gzip", known.get("*", 0.0))) > 0.0


def weights(accepted: Sequence[str]) -> dict[str, float]:
    """What the values of Accept-Encoding say of each coding that they name, `*` among them."""
    found: dict[str, float] = {}
    for part in ",".join(accepted).split(","):
        coding, *parameters = (text.strip().lower() for text in part.split(";"))
        found[coding] = _weight(parameters)
    return found


def _weight(parameters: list[str]) -> float:
    """Of a coding; one that cannot be read is 0: plain bytes are never wrong."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _blocks(piece: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, wbits=_DEFLATE)
    return packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)


async def _packed(plain: bytes) -> bytes:
    packer, parts = zlib.compressobj(LEVEL, wbits=_GZIP), []
    for start in range(0, len(plain), STEP_BYTES):
        parts.append(packer.compress(memoryview(plain)[start : start + STEP_BYTES]))
        await asyncio.sleep(0)
    return b"".join((*parts, packer.flush()))
