"""Nobody gets a space in a section of street for a time that parking knows it is closed for."""

from __future__ import annotations

from datetime import datetime, timedelta

from cityloop_common.clock import instant
from tests.simulation.city.tables import Tables
from tests.simulation.world import MOST_SKEW_S, Broken, World

CLOSED = """
    SELECT c.place_id, c.starts_at, c.ends_at, c.stream, c.on_day, d.version, p.version FROM parking.closure c
    JOIN parking.place p ON p.id = c.place_id JOIN parking.collection_plan d USING (stream, on_day) WHERE p.kind = 'on_street'"""


class Closing:
    """The rule that parking promises: a hold looks at the closures that are committed when its statement begins.

    A hold that began before a closure was known stays: it is shown as a conflict. So this remembers since when each closure
    has been there (a plan or a car park of another version is another closure), and asks of each new reservation whether it
    was made later; node clocks are a second off at most.
    """

    def __init__(self, tables: Tables, world: World) -> None:
        self._tables = tables
        self._world = world
        self._since: dict[tuple[object, ...], datetime] = {}
        self._seen: set[str] = set()

    def look(self) -> None:
        """Called every second. Raises Broken."""
        now = self._world.now()
        self._since = {tuple(row): self._since.get(tuple(row), now) for row in self._tables.rows(CLOSED)}
        for id_, place_id, a, b, made in self._tables.rows("SELECT id, place_id, starts_at, ends_at, created_at FROM parking.reservation"):
            if id_ in self._seen:
                continue
            self._seen.add(id_)
            made_at, starts_at, ends_at = instant(made) - timedelta(seconds=MOST_SKEW_S), instant(a), instant(b)
            for window, known in self._since.items():
                overlaps = window[0] == place_id and instant(str(window[1])) < ends_at and starts_at < instant(str(window[2]))
                if overlaps and known < made_at:
                    raise Broken(f"{id_} was held at {made} from {a} to {b}, and {window} was known since {known}")
