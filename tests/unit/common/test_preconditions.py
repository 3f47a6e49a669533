"""An update names the version it saw."""

import pytest
from starlette.requests import Request

from cityloop_common.errors import PreconditionFailed, PreconditionRequired
from cityloop_common.preconditions import etag, if_match, not_modified


def asking(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


async def test_if_match_reads_back_what_etag_wrote() -> None:
    """One version, there and back."""
    assert await if_match(asking(if_match=etag(7))) == 7


@pytest.mark.parametrize("headers", [{}, {"if_match": "*"}])
async def test_an_update_without_a_version_is_428(headers: dict[str, str]) -> None:
    """Nobody overwrites what they have not seen."""
    with pytest.raises(PreconditionRequired):
        await if_match(asking(**headers))


@pytest.mark.parametrize("tag", ["7", 'W/"7"', '"7", "8"', '"x"', '""', '"', '"²"', '"-1"', '"' + "9" * 30 + '"'])
async def test_a_tag_that_no_version_has_is_412(tag: str) -> None:
    """Weak, several, and rubbish."""
    with pytest.raises(PreconditionFailed):
        await if_match(asking(if_match=tag.encode("utf-8").decode("latin-1")))


@pytest.mark.parametrize("tags, known", [('"7"', True), ('W/"7"', True), ('"1", "7"', True), ("*", True), ('"8"', False)])
def test_a_known_version_is_not_sent_again(tags: str, known: bool) -> None:
    """If-None-Match compares weakly."""
    assert not_modified(asking(if_none_match=tags), etag(7)) is known
    assert not not_modified(asking(), etag(7))
