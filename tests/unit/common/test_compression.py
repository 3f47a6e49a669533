"""Packed answers: the same bytes for whoever unpacks them, never forced on anybody, packed once, without holding the loop."""

from __future__ import annotations

import asyncio
import gzip
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, Request, Response

from cityloop_common import auth, compression
from cityloop_common.compression import Body, Packer, takes_gzip
from tests.unit.common.edge import Edge, client_of

TEXT = b'{"places":[' + b",".join(b'{"id":"p%d","free":%d}' % (number, number % 7) for number in range(500)) + b"]}"


@pytest.mark.parametrize(
    "header, takes",
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5, br", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0, gzip", True),
        ("*", True),
        ("*;q=0", False),
        ("x-gzip", True),
        ("identity", False),
        ("gzip;q=rubbish", False),
        ("br;q=1, zstd", False),
    ],
)
def test_gzip_is_for_who_takes_it(header: str, takes: bool) -> None:
    """By name or by `*`, unless its weight is 0 or cannot be read."""
    assert takes_gzip([header]) is takes


def test_headers_in_several_lines_are_one_list() -> None:
    """As RFC 9110 says of every list."""
    assert takes_gzip(["br", "gzip"])
    assert not takes_gzip([])


def _routes(body: Body | bytes) -> APIRouter:
    routes = APIRouter()

    @routes.get("/text")
    async def text(request: Request, _: Annotated[auth.Principal, Depends(auth.public)]) -> Response:
        return await compression.respond(request, body, headers={"etag": '"7"'})

    return routes


async def test_an_answer_is_the_same_packed_and_plain(at_edge: Edge) -> None:
    """And says which it is, to the caller and to every cache between."""
    async with client_of(at_edge.app(_routes(Body(TEXT)))) as client:
        packed = await client.get("/tiny/v1/text")
        plain = await client.get("/tiny/v1/text", headers={"accept-encoding": "gzip;q=0"})
    assert packed.content == plain.content == TEXT
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < len(TEXT) / 4
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert (packed.headers["etag"], plain.headers["etag"]) == ('W/"7"', '"7"')


@pytest.mark.parametrize("tag", ['"7"', 'W/"7"', '"6", W/"7"', "*"])
async def test_who_has_the_answer_is_not_sent_it_again(at_edge: Edge, tag: str) -> None:
    """In whichever encoding it was sent before."""
    async with client_of(at_edge.app(_routes(Body(TEXT)))) as client:
        answer = await client.get("/tiny/v1/text", headers={"if-none-match": tag})
    assert (answer.status_code, answer.content, answer.headers["etag"], answer.headers["vary"]) == (304, b"", 'W/"7"', "Accept-Encoding")


async def test_a_short_answer_is_sent_as_it_is(at_edge: Edge) -> None:
    """Its packed form would not be shorter."""
    async with client_of(at_edge.app(_routes(b"{}"))) as client:
        answer = await client.get("/tiny/v1/text")
    assert (answer.content, answer.headers.get("content-encoding"), answer.headers["vary"]) == (b"{}", None, "Accept-Encoding")


async def test_a_body_is_packed_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at the same time."""
    packings = 0
    packed = compression._packed

    async def counted(plain: bytes) -> bytes:
        nonlocal packings
        packings += 1
        return await packed(plain)

    monkeypatch.setattr(compression, "_packed", counted)
    body = Body(TEXT * 100)
    answers = await asyncio.gather(*(body.gzipped() for _ in range(20)))
    assert packings == 1
    assert {gzip.decompress(answer) for answer in set(answers)} == {TEXT * 100}


async def test_packing_gives_way_to_the_loops_other_work() -> None:
    """A long answer is packed in steps, between which others have their turn."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(others())
        await Body(TEXT * 300).gzipped()
        task.cancel()
    assert turns >= len(TEXT) * 300 // compression.STEP_BYTES


async def test_pieces_are_packed_as_one_text() -> None:
    """Any reader of gzip gets them back, also empty ones and none."""
    packer = Packer()
    for pieces in ([], [b""], [TEXT, b"", TEXT, b"x"], [b"{", TEXT, b"}"]):
        body = await packer.pack(pieces)
        assert body.plain == b"".join(pieces)
        assert gzip.decompress(await body.gzipped()) == body.plain


async def test_only_the_piece_that_changed_is_packed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One car park of thousands changes: the others' bytes are there already."""
    packed: list[bytes] = []
    blocks = compression._blocks

    def noted(piece: bytes) -> bytes:
        packed.append(piece)
        return blocks(piece)

    monkeypatch.setattr(compression, "_blocks", noted)
    packer, pieces = Packer(), [b"[", TEXT, TEXT[::-1], b"]"]
    first = await packer.pack(pieces)
    assert packed == pieces
    packed.clear()
    pieces[1] += b" "
    second = await packer.pack(pieces)
    assert packed == [pieces[1]]
    assert gzip.decompress(await first.gzipped()) == first.plain
    assert gzip.decompress(await second.gzipped()) == b"".join(pieces)
