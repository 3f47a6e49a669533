"""The error tree that every service shares; `problems` turns it into RFC 9457 answers."""

from __future__ import annotations


class CityLoopError(Exception):
    """Something the caller can understand.

    Each class carries the slug of its problem type (`urn:cityloop:problem:<slug>`), the HTTP status and a title;
    `detail` says what happened this time, `members` are extension members of the problem document::

        CityLoopError
        ├── BadRequest 400            malformed: not JSON, no usable length, a broken cursor
        ├── Unauthenticated 401       no token, a forged or an expired one
        ├── Forbidden 403             a known caller who may not do this
        ├── NotFound 404              no such object, or not one of the caller's
        ├── Conflict 409              the state does not allow it
        │   └── DeadlinePassed        the write could not get its turn in time
        ├── PreconditionFailed 412    If-Match names another version
        ├── TooLarge 413              body or batch over the limit
        ├── UnsupportedMediaType 415  not the content type asked for
        ├── Invalid 422               understood, and wrong
        ├── PreconditionRequired 428  If-Match is missing
        ├── TooManyRequests 429       over the caller's limit
        └── Unavailable 503           a part that is needed does not answer
            ├── Contention            the database asked to try again
            └── CommitUnknown         the answer to COMMIT was lost: repeat with the same Idempotency-Key
    """

    slug = "internal"
    status = 500
    title = "Internal error"

    def __init__(self, detail: str = "", **members: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.members = members


class BadRequest(CityLoopError):
    slug, status, title = "bad-request", 400, "The request cannot be read"


class Unauthenticated(CityLoopError):
    slug, status, title = "unauthenticated", 401, "A valid token is needed"


class Forbidden(CityLoopError):
    slug, status, title = "forbidden", 403, "Not allowed"


class NotFound(CityLoopError):
    slug, status, title = "not-found", 404, "Not found"


class Conflict(CityLoopError):
    slug, status, title = "conflict", 409, "The state does not allow this"


class DeadlinePassed(Conflict):
    slug, title = "deadline-passed", "The write did not get its turn in time"


class PreconditionFailed(CityLoopError):
    slug, status, title = "precondition-failed", 412, "The object has changed"


class TooLarge(CityLoopError):
    slug, status, title = "too-large", 413, "Too large"


class UnsupportedMediaType(CityLoopError):
    slug, status, title = "unsupported-media-type", 415, "Unsupported media type"


class Invalid(CityLoopError):
    slug, status, title = "invalid", 422, "Understood, but not valid"


class PreconditionRequired(CityLoopError):
    slug, status, title = "precondition-required", 428, "If-Match is needed"


class TooManyRequests(CityLoopError):
    slug, status, title = "too-many-requests", 429, "Too many requests"


class Unavailable(CityLoopError):
    slug, status, title = "unavailable", 503, "Try again shortly"


class Contention(Unavailable):
    slug, title = "contention", "The database asked to try again"


class CommitUnknown(Unavailable):
    slug, title = "commit-unknown", "Whether it was stored is not known: repeat with the same Idempotency-Key"
