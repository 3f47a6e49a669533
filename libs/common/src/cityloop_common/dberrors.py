"""What can go wrong in a database unit, and the one place that turns drivers' errors into ours."""

from __future__ import annotations

import sqlite3

import asyncpg
from sqlalchemy import exc

from cityloop_common.errors import Contention, DeadlinePassed, Invalid, Unavailable

# What a PostgreSQL session of one's own can say when it is gone; asyncpg 0.32: InternalClientError when it was closed while idle.
SESSION_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_DISK_TROUBLE = ("disk", "unable to open", "readonly")
_TOO_LARGE = "a number is too large to be stored"


class UniqueViolation(Exception):
    """A row with this key is there already; the text names the constraint (PostgreSQL) or the columns (SQLite)."""


class CheckViolation(Exception):
    """A CHECK or foreign key refused the row; the text names the constraint."""


class UnitBroken(Exception):
    """A statement of the unit failed and the unit went on to COMMIT: what may fail belongs into a savepoint."""


class UnitTooOld(Unavailable):
    """The unit reached COMMIT too long after its `recorded_at`: its rows would change a closed instant."""

    slug, title = "unit-too-old", "The write took too long and was not stored"


class ClockOff(Unavailable):
    """This process's clock and the database's differ by more than 5 s."""

    slug, title = "clock-off", "The server's clock is off"


class translated:  # noqa: N801 - reads as a statement: `with translated():`
    """Turns drivers' and SQLAlchemy's errors into the kit's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        said = _said_by_driver(error)
        for each in (said, said.__cause__):  # asyncpg 0.32: a lost connection is caused by what the server said last
            if isinstance(each, asyncpg.PostgresError):
                each.detail = None  # the row's values: they may be personal, and a logged error shows its causes
        ours = _ours(said)
        if ours is None and isinstance(error, exc.TimeoutError):
            ours = Unavailable("no database connection became free")
        if ours is not None:
            raise ours from error


def _said_by_driver(error: BaseException) -> BaseException:
    """The driver's own error beneath SQLAlchemy's; of asyncpg's it makes an emulated one first."""
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return error
    emulated = isinstance(error.orig, exc.EmulatedDBAPIException)  # its `driver_exception` is not always set, its cause is
    return (error.orig.__cause__ if emulated else None) or error.orig


class watched(translated):  # noqa: N801 - reads as a statement: `with self._watch:`
    """The statements of one unit: translates their errors, and remembers that one failed."""

    def __init__(self) -> None:
        self.broken = False

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.broken = True
        super().__exit__(kind, error, trace)


def _ours(error: BaseException) -> Exception | None:  # noqa: C901, PLR0911 - a table
    match error:
        case asyncpg.UniqueViolationError():
            return UniqueViolation(str(error.constraint_name))
        case asyncpg.IntegrityConstraintViolationError():
            return CheckViolation(str(error.constraint_name))
        case asyncpg.DeadlockDetectedError() | asyncpg.SerializationError() | asyncpg.LockNotAvailableError():
            return Contention()
        case asyncpg.InvalidCachedStatementError() | asyncpg.OutdatedSchemaCacheError():  # a migration has just changed the table
            return Contention()
        case asyncpg.IdleInTransactionSessionTimeoutError():
            return DeadlinePassed("a unit did nothing for 20 s")
        case asyncpg.ConnectionDoesNotExistError(__cause__=asyncpg.IdleInTransactionSessionTimeoutError()):
            return DeadlinePassed("a unit did nothing for 20 s")
        case asyncpg.QueryCanceledError():
            return DeadlinePassed("a statement took longer than 20 s")
        case asyncpg.InterfaceError() if isinstance(error, ValueError):
            return _unstorable(error)
        case asyncpg.PostgresConnectionError() | asyncpg.InterfaceError() | asyncpg.OperatorInterventionError():
            return Unavailable("the database does not answer")
        case asyncpg.InternalClientError():  # asyncpg 0.32: the server ended the session between two statements
            return Unavailable("the database does not answer")
        case asyncpg.InsufficientResourcesError() | asyncpg.CannotConnectNowError():
            return Unavailable("the database takes no connection")
        case asyncpg.PostgresSystemError() | asyncpg.InternalServerError(severity_en="FATAL" | "PANIC"):
            return Unavailable("the database's machine is in trouble")
        case sqlite3.IntegrityError():
            text = str(error)
            kind = UniqueViolation if text.startswith("UNIQUE") else CheckViolation
            return kind(text.partition(": ")[2] or text)
        case sqlite3.OperationalError() if "locked" in str(error) or "busy" in str(error):
            return Contention()
        case sqlite3.OperationalError() if any(sign in str(error) for sign in _DISK_TROUBLE):
            return Unavailable("the database's disk does not answer")
        case ConnectionError() | OSError():
            return Unavailable("the database does not answer")
        case _:
            return _unstorable(error)


def _unstorable(error: BaseException) -> Invalid | None:
    """A value that came from a caller and that no column can hold."""
    match error:
        case asyncpg.CharacterNotInRepertoireError() | asyncpg.UntranslatableCharacterError():
            return Invalid("a text holds a character that cannot be stored")
        case asyncpg.NumericValueOutOfRangeError():
            return Invalid(_TOO_LARGE)
        case asyncpg.InterfaceError():  # asyncpg's own DataError: refused before it was sent
            return Invalid(_TOO_LARGE if "out of range" in str(error) else "a value cannot be stored")
        case OverflowError() if "SQLite" in str(error):
            return Invalid(_TOO_LARGE)
        case _:
            return None
