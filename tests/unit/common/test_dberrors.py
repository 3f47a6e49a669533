"""What drivers say when a database goes away, however SQLAlchemy wraps it, and what the kit makes of it."""

from __future__ import annotations

import asyncpg
import pytest
from asyncpg.exceptions._base import DataError  # what asyncpg refuses to send; its `DataError` by name is the server's
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import asyncpg as adapted

from cityloop_common.dberrors import CheckViolation, UniqueViolation, translated
from cityloop_common.errors import Contention, DeadlinePassed, Invalid, Unavailable

DBAPI = adapted.AsyncAdapt_asyncpg_dbapi(asyncpg)  # type: ignore[no-untyped-call]
PERSONAL = "Key (subject)=(somebody) already exists."


def said(code: str, *, severity: str = "ERROR") -> asyncpg.PostgresError:
    """An answer of the server."""
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(
        {"S": severity, "V": severity, "C": code, "M": "words of the server", "D": PERSONAL}
    )
    return error


def lost(cause: Exception | None = None) -> asyncpg.ConnectionDoesNotExistError:
    """A connection that ended in the middle of a statement, with what was said or happened last."""
    error = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    error.__cause__ = cause
    return error


def wrapped(error: Exception) -> BaseException:
    """What a statement of SQLAlchemy's raises when the driver beneath raises `error`."""
    try:
        adapted.AsyncAdapt_asyncpg_connection._handle_exception_no_connection(DBAPI, error)
    except DBAPI.Error as emulated:
        made: BaseException = exc.DBAPIError.instance("SELECT 1", {}, emulated, DBAPI.Error, hide_parameters=True)
        made.__cause__ = emulated
        return made
    except Exception as same:  # what SQLAlchemy has no class for comes as it is
        return same


GONE = [
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.exceptions.ProtocolError("a message out of turn"),
    asyncpg.InterfaceError("cannot perform operation: connection is closed"),
    lost(),
    lost(ConnectionResetError("reset by peer")),
    *(lost(said(code, severity="FATAL")) for code in ("57P01", "57P02", "57P03", "XX000", "58030", "08006", "23505")),
    *(said(code, severity="FATAL") for code in ("57P01", "57P02", "57P03", "53300", "08P01", "XX000", "58P01")),
    ConnectionRefusedError("refused"),
    ConnectionResetError("reset by peer"),
    TimeoutError(),
    OSError("Multiple exceptions: refused, refused"),
]
OTHERS: list[tuple[Exception, type[Exception]]] = [
    (said("23505"), UniqueViolation),
    (said("23514"), CheckViolation),
    (said("40P01"), Contention),
    (said("40001"), Contention),
    (said("55P03"), Contention),
    (asyncpg.InvalidCachedStatementError("cached statement plan is invalid"), Contention),
    (asyncpg.exceptions.OutdatedSchemaCacheError("the cached schema is outdated"), Contention),
    (said("57014"), DeadlinePassed),
    (said("25P03", severity="FATAL"), DeadlinePassed),
    (lost(said("25P03", severity="FATAL")), DeadlinePassed),
    (said("22021"), Invalid),
    (DataError("value out of int32 range"), Invalid),
]
MEANT = [*((error, Unavailable) for error in GONE), *OTHERS]


@pytest.mark.parametrize("way", ["of the driver", "through SQLAlchemy"])
@pytest.mark.parametrize("error, ours", MEANT, ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "")
def test_an_error_has_one_meaning_on_both_ways(way: str, error: Exception, ours: type[Exception]) -> None:
    """The statement that was under way decides nothing: who is asked while a database goes away says "come again", never 500."""
    raised = error if way == "of the driver" else wrapped(error)
    with pytest.raises(ours) as caught, translated():
        raise raised
    assert type(caught.value) is ours
    assert PERSONAL not in repr(caught.value.__cause__)


@pytest.mark.parametrize("way", ["of the driver", "through SQLAlchemy"])
@pytest.mark.parametrize("code", ["42P01", "XX000", "28P01"])
def test_what_time_does_not_mend_is_not_called_an_outage(way: str, code: str) -> None:
    """A missing table, a fault of the server in one statement, a wrong password: repeating would hide it."""
    error = said(code)
    raised = error if way == "of the driver" else wrapped(error)
    with pytest.raises(type(raised)) as caught, translated():
        raise raised
    assert caught.value is raised
    assert error.detail is None
