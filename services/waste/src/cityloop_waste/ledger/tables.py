"""Tables of the room `ledger`: two journals, and what each ticket number stands for."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, Integer, String, Table, UniqueConstraint

from cityloop_common.db import Json
from cityloop_common.journal import journal_columns
from cityloop_waste.schema import metadata

# The journal of loads: a row a version, `happened_at` is when it was weighed, `on_day` the local day of that. Never updated or
# deleted. Each row is corrected at most once, so the versions of a load are one line; site kind and district stand here because
# the registry may change. A row with a `void_reason` takes its load back.
load = Table(
    "load",
    metadata,
    Column("id", String(36), primary_key=True),
    *journal_columns(),
    Column("chain_id", String(36), nullable=False),
    Column("version", Integer, nullable=False),
    Column("site_id", String(64), nullable=False),
    Column("site_kind", String(20), nullable=False),
    Column("truck_id", String(64), nullable=False),
    Column("stream", String(20), nullable=False),
    Column("ticket_no", String(40), nullable=False),
    Column("gross_kg", Integer, nullable=False),
    Column("tare_kg", Integer, nullable=False),
    Column("net_kg", Integer, nullable=False),
    Column("minute", BigInteger, nullable=False),
    Column("on_day", Date, nullable=False),
    Column("district_given", String(80)),
    Column("district", String(80)),
    Column("flags", Json, nullable=False),
    Column("void_reason", String(200)),
    UniqueConstraint("corrects"),
    UniqueConstraint("chain_id", "version"),
    CheckConstraint("net_kg = gross_kg - tare_kg AND net_kg > 0 AND tare_kg >= 0", name="net"),
    CheckConstraint("(version = 1) = (corrects IS NULL)", name="version"),
    CheckConstraint("void_reason IS NULL OR corrects IS NOT NULL", name="void"),
)
Index("ix_load_happened_at", load.c.happened_at, load.c.id)
Index("ix_load_site_id", load.c.site_id, load.c.id)
Index("ix_load_truck_id", load.c.truck_id, load.c.minute)

# A ticket number of a site stands for one load, however often it is sent.
ticket = Table(
    "ticket",
    metadata,
    Column("site_id", String(64), primary_key=True),
    Column("ticket_no", String(40), primary_key=True),
    Column("load_id", String(36), nullable=False),
    Column("chain_id", String(36), nullable=False),
)

# The journal of what is estimated to be generated: a row a version, `happened_at` is when the day began.
generation_estimate = Table(
    "generation_estimate",
    metadata,
    Column("id", String(36), primary_key=True),
    *journal_columns(),
    Column("district", String(80), nullable=False),
    Column("on_day", Date, nullable=False),
    Column("version", Integer, nullable=False),
    Column("mass_kg", BigInteger, nullable=False),
    Column("method", String(80), nullable=False),
    UniqueConstraint("corrects"),
    UniqueConstraint("district", "on_day", "version"),
    CheckConstraint("mass_kg >= 0", name="mass_kg"),
    CheckConstraint("(version = 1) = (corrects IS NULL)", name="version"),
)
Index("ix_generation_estimate_happened_at", generation_estimate.c.happened_at, generation_estimate.c.id)
