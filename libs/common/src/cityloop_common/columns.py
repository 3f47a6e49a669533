"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from sqlalchemy import DateTime, Dialect, String, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

from cityloop_common.errors import Invalid


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant: timestamptz on PostgreSQL, sortable text of fixed width on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[object]:
        """Text where the dialect would drop the zone."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))  # type: ignore[arg-type]
        return dialect.type_descriptor(DateTime(timezone=True))  # type: ignore[arg-type]

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> object:
        """Refuses a naive instant: nobody can say when it was. Raises Invalid for one outside the years 1 to 9999 in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        try:
            utc = value.astimezone(UTC)
        except OverflowError as error:
            raise Invalid("an instant is outside the calendar") from error
        return utc_text(utc) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: object, dialect: Dialect) -> datetime | None:
        """Aware UTC again."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        return datetime.fromisoformat(str(value))


def utc_text(at: datetime) -> str:
    """An instant as SQLite stores it: 27 characters that sort as time does."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class Json(TypeDecorator[object]):
    """A JSON value kept as the text that was written."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        """None stays NULL."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: object, dialect: Dialect) -> object:
        """The value that was written."""
        return None if value is None else orjson.loads(str(value))
