"""ETag and If-Match: an update says which version it saw."""

from fastapi import Request

from cityloop_common.errors import PreconditionFailed, PreconditionRequired


def etag(version: int) -> str:
    """The strong entity tag of a version, for the ETag header."""
    return f'"{version}"'


async def if_match(request: Request) -> int:
    """Dependency: the version that the caller saw; it belongs into the statement's own condition.

    Raises PreconditionRequired without If-Match (or with `*`, which names no version) and PreconditionFailed for a tag
    that no version has.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        raise PreconditionRequired('Send `If-Match: "<version>"` with the ETag you were given.')
    version = _version(given.strip())
    if version is None:
        raise PreconditionFailed("If-Match names no version of this object.")
    return version


def not_modified(request: Request, tag: str) -> bool:
    """Whether the caller already has this representation (If-None-Match): answer 304 without a body."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    tags = {part.strip().removeprefix("W/") for part in given.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags


def _version(tag: str) -> int | None:
    digits = tag[1:-1]
    quoted = len(tag) > 2 and tag[0] == tag[-1] == '"'
    return int(digits) if quoted and digits.isascii() and digits.isdecimal() and len(digits) <= 18 else None
