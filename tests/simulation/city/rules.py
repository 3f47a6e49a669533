"""Rules that hold for every single commit, kept by triggers in the databases themselves: a look each second would miss most of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

JOURNALS: Mapping[str, Sequence[str]] = {
    "parking": ("place_version", "observation", "indicator_value"),
    "charging": (
        "location_version",
        "evse_version",
        "evse_status",
        "place_version",
        "link_version",
        "vehicle_registration",
        "tcec_seen",
        "indicator_value",
    ),
    "waste": ("plan_version", "load", "generation_estimate", "ticket", "indicator_value"),
}
FORWARD: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "parking": (
        ("place", "id", "version"),
        ("charger", "evse_uid", "version"),
        ("charger_location", "location_id", "version"),
        ("chargers_heard", "service", "heard_at"),
        ("collection_plan", "stream", "version"),
        ("search_entry", "place_id", "version"),
        ("search_entry", "place_id", "place_version"),
        ("search_entry", "place_id", "counts_version"),
        ("search_entry", "place_id", "chargers_version"),
        ("search_entry", "place_id", "closures_version"),
    ),
    "charging": (
        ("location", "id", "version"),
        ("place", "id", "sequence"),
        ("evse_live", "evse_uid", "version"),
        ("vehicle_stock", "day", "version"),
    ),
    "waste": (("plan", "id", "version"), ("plan_day", "stream", "version"), ("street_section", "place_id", "version")),
}
"""Table, key and the number that never becomes smaller."""


def triggers(service: str) -> Iterator[str]:
    """Statements that add the rules to a service's database; what breaks one is noted in `broken_rule`."""
    yield "CREATE TABLE broken_rule (rule TEXT, what TEXT, was TEXT, became TEXT)"
    for table in JOURNALS.get(service, ()):
        for verb in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER journal_{table}_{verb} AFTER {verb} ON {table} BEGIN"
                f" INSERT INTO broken_rule VALUES ('a row of {table} was changed: {verb}', old.rowid, NULL, NULL); END"
            )
    for table, key, number in FORWARD.get(service, ()):
        yield (
            f"CREATE TRIGGER forward_{table}_{number} AFTER UPDATE ON {table} WHEN new.{number} < old.{number} BEGIN"
            f" INSERT INTO broken_rule VALUES ('{table}.{number} went back', old.{key}, old.{number}, new.{number}); END"
        )


def questions(services: Sequence[str]) -> dict[str, str]:
    """Whether a rule has been broken."""
    return {f"a rule of {name} was broken": f"SELECT rule, what, was, became FROM {name}.broken_rule" for name in services}
