"""Tables of the room `operators`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Integer, LargeBinary, String, Table

from cityloop_charging.schema import metadata
from cityloop_common.db import Json, UtcDateTime

# One row per operator. `sealed` is nonce and ciphertext of its four secrets, `key_id` the key that sealed them.
operator = Table(
    "operator",
    metadata,
    Column("id", String(9), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("profile", Json, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("version >= 1", name="version"),
)
