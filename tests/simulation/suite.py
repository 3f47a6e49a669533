"""What every scenario is made of: the world's parts, its nodes with their boots, and the faults of a plan."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from tests.simulation.http import Network, NodeTransport
from tests.simulation.log import Broker
from tests.simulation.node import Node
from tests.simulation.plan import Fault, Plan, PlannedFault, Troubles
from tests.simulation.world import Broken, World

Boot = Callable[[Node], Coroutine[Any, Any, None]]
AFTERMATH_S = 12.0


class Suite(ABC):
    """A run: nodes boot, users come, faults happen, everything drains, the checks are asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broker = Broker(world)
        self.network = Network(world)
        self.transport = NodeTransport(self.network)
        self.figures: dict[str, int] = {}
        self._down_s: dict[str, float] = {}
        self._calm = False
        world.on_death(self._bury)

    @staticmethod
    @abstractmethod
    def troubles() -> Troubles:
        """How much goes wrong."""

    @abstractmethod
    def boots(self) -> Mapping[str, Boot]:
        """The processes by name, and how each starts."""

    def hosts(self, path: str) -> Sequence[str]:
        """The nodes that answer an address."""
        return tuple(self.boots())

    @abstractmethod
    async def prepare(self) -> None:
        """Schema and first rows, before anything can fail."""

    @abstractmethod
    async def traffic(self) -> None:
        """Everything that users do; returns when the last one is done."""

    @abstractmethod
    async def drained(self) -> bool:
        """Whether nothing is left under way."""

    @abstractmethod
    def check_always(self) -> None:
        """Raises Broken: what must hold at any instant."""

    @abstractmethod
    def check_at_rest(self) -> None:
        """Raises Broken: what must hold once everything is drained."""

    async def play(self, plan: Plan) -> None:
        """The whole run."""
        await self.prepare()
        for name in self.boots():
            self.start(name)
        for fault in plan:
            self.world.loop.call_later(fault.at_s, self._happen, fault, context=self.world.outside)
        watching = self.world.loop.create_task(self._watch())
        await self.traffic()
        await self._settle()
        await self.look_at_rest()
        watching.cancel()
        self.check_always()
        self.check_at_rest()

    def start(self, name: str) -> None:
        """Starts a new incarnation of a process."""
        node = self.world.node(name)
        node.spawn(self.boots()[name](node), "boot")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                self.check_always()
            except Broken as broken:
                self.world.error(str(broken))

    async def _settle(self) -> None:
        """No new faults; whoever is down comes back; then the run must drain within 600 virtual seconds."""
        self._calm = True
        self.cache_goes(down=False)
        self.broker.trouble.down = False
        self.broker.trouble.refused = self.broker.trouble.unacknowledged = self.network.lost = 0.0
        for node in self.world.nodes.values():
            node.arm(0)
            node.arm_at_commit(0)
            node.slow = 1.0
        await asyncio.sleep(AFTERMATH_S)
        give_up_at = self.world.loop.now + 600
        while not await self.drained():
            if self.world.loop.now > give_up_at:
                raise Broken("does not drain")
            await asyncio.sleep(1.0)

    def _bury(self, node: Node) -> None:
        back_in_s = self._down_s.pop(node.name, 1.0)
        self.world.loop.call_later(back_in_s, self.start, node.name, context=self.world.outside)

    def _happen(self, planned: PlannedFault) -> None:
        if self._calm:
            return
        self.world.note("fate", str(planned))
        undo = self._begin(planned)
        if undo is not None:
            self.world.loop.call_later(planned.for_s, undo, context=self.world.outside)

    def _begin(self, planned: PlannedFault) -> Callable[[], None] | None:
        """Starts a fault; answers how a window of trouble ends."""
        trouble, share = self.broker.trouble, planned.amount / 100
        match planned.fault:
            case Fault.KILL | Fault.KILL_AT_COMMIT | Fault.SLOW:
                return self._to_node(planned)
            case Fault.LOG_DOWN:
                trouble.down = True
                return lambda: setattr(trouble, "down", False)
            case Fault.SENDS_REFUSED:
                trouble.refused = share
                return lambda: setattr(trouble, "refused", 0.0)
            case Fault.SENDS_UNACKED:
                trouble.unacknowledged = share
                return lambda: setattr(trouble, "unacknowledged", 0.0)
            case Fault.ANSWERS_LOST:
                self.network.lost = share
                return lambda: setattr(self.network, "lost", 0.0)
            case Fault.CACHE_DOWN:
                self.cache_goes(down=True)
                return lambda: self.cache_goes(down=False)
            case Fault.REWIND:
                self.broker.rewind(planned.target, planned.amount)
            case Fault.COMPACT:
                self.broker.compact()
            case Fault.CACHE_FLUSHED:
                self.flush_cache()
        return None

    def _to_node(self, planned: PlannedFault) -> Callable[[], None] | None:
        node = self.world.nodes.get(planned.target)
        if node is None or node.dead:
            return None
        if planned.fault is Fault.SLOW:
            node.slow = float(planned.amount)
            return lambda: setattr(node, "slow", 1.0)
        self._down_s[planned.target] = planned.for_s
        if planned.fault is Fault.KILL:
            node.arm(planned.amount)
        else:
            node.arm_at_commit(planned.amount)
        return None

    async def look_at_rest(self) -> None:  # noqa: B027
        """Asks the nodes what they answer once nothing moves."""

    def flush_cache(self) -> None:  # noqa: B027 - not every suite has one
        """Empties the cache, in a suite that has one."""

    def cache_goes(self, *, down: bool) -> None:  # noqa: B027
        """Loses the cache or gives it back, in a suite that has one."""
