"""The real parking service on virtual time: two APIs, two workers, a neighbour who listens, and people."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import httpx
from pydantic import SecretStr

from cityloop_common.auth import Role
from cityloop_common.consuming import run_consumer
from cityloop_common.context import Ctx
from cityloop_common.geo import Position
from cityloop_common.settings import ServiceSettings
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Category, PlaceFacts, Pool
from cityloop_parking.search.replica import COMPARE_EVERY_S
from cityloop_parking.service import SERVICE
from cityloop_parking.settings import ParkingSettings
from tests.simulation import neighbour
from tests.simulation.invariants import NeighbourInvariants
from tests.simulation.node import Node
from tests.simulation.people import Caller, Citizen, Operator, Promises, Rush
from tests.simulation.plan import Troubles
from tests.simulation.services import ServiceSuite, fresh
from tests.simulation.suite import Boot
from tests.simulation.world import Broken, World

LENGTH_S = 90.0
CITIZENS, GUESTS, PLACES, SPACES, RUSHES = 16, 4, 3, 3, 2
OPERATOR = "operator-1"
NODES = ("api-1", "api-2", "worker-1", "worker-2", neighbour.NAME)


class Parking(ServiceSuite):
    """Parking alone, and a neighbour who listens."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.promises = Promises()
        self.path = fresh(world.folder / "parking.sqlite", SERVICE.metadata)
        self.neighbour_path = fresh(world.folder / "neighbour.sqlite", neighbour.metadata)
        self.places = [f"sim-{number}" for number in range(PLACES)]
        chance = world.stream("rush")
        self.rushes = [Rush(chance.uniform(5, LENGTH_S), chance.choice(self.places), hour) for hour in range(2, 2 + RUSHES)]
        self.invariants = NeighbourInvariants(self.path, self.neighbour_path, self.broker, self.promises)

    @staticmethod
    def troubles() -> Troubles:
        groups = (neighbour.GROUP, *(consumer.name for consumer in SERVICE.consumers))
        return Troubles(LENGTH_S, NODES, groups, kills=10, windows=5)

    def hosts(self, path: str) -> Sequence[str]:
        return NODES[:2]

    def boots(self) -> Mapping[str, Boot]:
        return {name: {"api": self._api, "worker": self._worker}.get(name.partition("-")[0], self._neighbour) for name in NODES}

    def _ctx(self, node: Node) -> Ctx[ParkingSettings]:
        settings = ParkingSettings(
            shared=self.shared,
            worker_id=node.label,
            hold_for_s=15,
            holds_per_subject=4,
            guest_key=SecretStr("g" * 32),
            guest_tokens_per_min=60,
        )
        return self.put_together(node, SERVICE.name, settings, self.path)

    async def _api(self, node: Node) -> None:
        await self.run_api(node, SERVICE, self._ctx(node))

    async def _worker(self, node: Node) -> None:
        await self.run_worker(SERVICE, self._ctx(node))

    async def _neighbour(self, node: Node) -> None:
        ctx = self.put_together(node, neighbour.NAME, ServiceSettings(shared=self.shared), self.neighbour_path)
        await run_consumer(ctx, neighbour.CONSUMER)

    async def prepare(self) -> None:
        self.broker.create(SERVICE.topics())
        founder = self.world.node("founder")
        await founder.run(self._found(self._ctx(founder)))

    async def _found(self, ctx: Ctx[ParkingSettings]) -> None:
        async with ctx.db.write() as tx:
            for number in range(PLACES):
                await places.upsert_place_in(tx, ctx, _place(number), operator_id=OPERATOR)
        await ctx.db.close()

    async def traffic(self) -> None:
        async with httpx.AsyncClient(transport=self.transport) as client, asyncio.TaskGroup() as people:
            for number in range(CITIZENS):
                name = f"citizen-{number}"
                _living = people.create_task(self._citizen(Caller(self, client, name, self.issuer.mint(Role.CITIZEN, subject=name)), name))
            for number, rush in enumerate(self.rushes):
                name = f"scout-{number}"
                scout = Caller(self, client, name, self.issuer.mint(Role.CITIZEN, subject=name))
                _living = people.create_task(rush.scout(scout, self.promises, self.world.now))
            for number in range(GUESTS):
                _living = people.create_task(self._guest(client, f"guest-{number}"))
            token = self.issuer.mint(Role.LOT_OPERATOR, operator_id=OPERATOR)
            operator = Operator(Caller(self, client, "operator", token), self.promises, self.places, length_s=LENGTH_S)
            _living = people.create_task(operator.live(self.world.now, LENGTH_S, self.world.loop.time))
        self.figures.update(self.invariants.figures())

    async def _citizen(self, caller: Caller, name: str) -> None:
        await Citizen(caller, self.promises, self.places, name, length_s=LENGTH_S).live(self.world.now, self.rushes)

    async def _guest(self, client: httpx.AsyncClient, name: str) -> None:
        """Takes a token, looks at once for what it holds, and goes on as a citizen would."""
        caller = Caller(self, client, name, "")
        answer = await caller.insist("POST", "/parking/v1/guest-tokens")
        if answer.status_code != 201:
            raise Broken(f"{name} got no token: {answer.status_code} {answer.text}")
        caller.token = str(answer.json()["token"])
        await caller.insist("GET", "/parking/v1/reservations")
        await self._citizen(caller, name)

    async def drained(self) -> bool:
        lags = [self.broker.lag(group) for group in (neighbour.GROUP, *(consumer.name for consumer in SERVICE.consumers))]
        return not any(lags) and self.invariants.nothing_waits()

    async def look_at_rest(self) -> None:
        """Every API replica shows what the database knows, at the latest when it has compared."""
        await asyncio.sleep(COMPARE_EVERY_S + 5)
        async with httpx.AsyncClient(transport=self.transport) as client:
            for name in NODES[:2]:
                answer = await client.get(f"http://{name}/parking/v1/places?near=109.787,39.565&radius_m=5000&limit=50")
                self.invariants.check_shown(name, answer)

    def check_always(self) -> None:
        self.invariants.check_always()

    def check_at_rest(self) -> None:
        self.invariants.check_at_rest()


def _place(number: int) -> PlaceFacts:
    position = Position(109.787 + number / 1000, 39.565)
    return PlaceFacts("sim", str(number), f"Car park {number}", position, (Pool(Category.STANDARD, SPACES),), invented=True)
