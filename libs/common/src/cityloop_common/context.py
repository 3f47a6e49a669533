"""Everything that a use case may touch, handed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from cityloop_common.cache import Cache
from cityloop_common.clock import Clock
from cityloop_common.db import Database
from cityloop_common.districts import NO_DISTRICTS, Districts
from cityloop_common.eventlog import EventLog
from cityloop_common.fanout import Fanout
from cityloop_common.ids import Ids
from cityloop_common.pool import Pool, SpawnedPool
from cityloop_common.rng import Rng
from cityloop_common.signals import Signals

if TYPE_CHECKING:
    from cityloop_common.settings import ServiceSettings

S_co = TypeVar("S_co", bound="ServiceSettings", covariant=True)


@dataclass(frozen=True, slots=True)
class Ctx(Generic[S_co]):
    """One service in one process: its settings and its ports.

    `fanout` tells read replicas what changed; a worker offers to it after commits. `pool` runs long arithmetic in processes of
    its own; `districts` are the polygons that figures are split by.
    """

    service: str
    settings: S_co
    clock: Clock
    ids: Ids
    rng: Rng
    db: Database
    log: EventLog
    cache: Cache
    pool: Pool = field(default_factory=SpawnedPool)
    districts: Districts = NO_DISTRICTS
    fanout: Fanout = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fanout", Fanout(self.cache, self.service, clock=self.clock))

    @property
    def signals(self) -> Signals:
        """In-process wake-ups; the database rings them after commits."""
        return self.db.signals

    @property
    def source(self) -> str:
        """The CloudEvents source of what this service publishes."""
        return f"/cityloop/{self.service}"
