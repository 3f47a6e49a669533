"""The three real services with all their consumers on virtual time, a subscriber outside, and the people of a small town."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from pydantic import SecretStr

from cityloop_charging.operators import use_cases as operators
from cityloop_charging.operators.use_cases import NewOperator, open_vault
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.service import SERVICE as CHARGING
from cityloop_charging.settings import ChargingSettings
from cityloop_common.auth import Role
from cityloop_common.consuming import run_consumer
from cityloop_common.context import Ctx
from cityloop_common.indicator import publishing
from cityloop_common.service import Service
from cityloop_common.settings import ServiceSettings
from cityloop_parking.places import use_cases as places
from cityloop_parking.service import SERVICE as PARKING
from cityloop_parking.settings import ParkingSettings
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet import use_cases as sites
from cityloop_waste.points import use_cases as points
from cityloop_waste.service import SERVICE as WASTE
from cityloop_waste.settings import NightPlans, WasteSettings
from tests.simulation.city import platform, rules, subjects, town
from tests.simulation.city.chargers import Keeper, Machine, Safe
from tests.simulation.city.checks import Checks
from tests.simulation.city.figures import Judge
from tests.simulation.city.lots import Clerk, Driver
from tests.simulation.city.officials import Officer, Registrar, rotate_once
from tests.simulation.city.promises import Promises
from tests.simulation.city.refuse import Dispatcher, Estimator, Weighbridge
from tests.simulation.city.solver import WORKS
from tests.simulation.listening import Listener
from tests.simulation.node import Node
from tests.simulation.people import Caller, Operator
from tests.simulation.plan import Troubles
from tests.simulation.pool import InlinePool
from tests.simulation.services import ServiceSuite, fresh
from tests.simulation.suite import Boot
from tests.simulation.world import World

LENGTH_S = 60.0
FIGURES_DUE_S = 46.3
"""Into the run: the hour, or ten past midnight, that figures are published for. Sweeps that began with the run look at 46 s: by some

clocks before it, by others after it, while rows of that instant are being written.
"""
REST_S = 38.0
"""How long replicas have to find what they were not told: they compare with the database every 30 s."""
WINDOWS_S = 300
"""Windows of collection begin and end at whole five minutes."""
FOUNDED_BEFORE_S = 3600.0
DRIVERS = 8
SERVICES: Mapping[str, Service] = {each.name: each for each in (PARKING, CHARGING, WASTE)}
NODES = (*(f"{name}-{what}-{number}" for name in SERVICES for what in ("api", "worker") for number in (1, 2)), platform.NAME)
ALLOWED = frozenset({200, 201, 202, 204, 404, 409, 412, 422, 428, 429})


def begins(seed: int) -> datetime:
    """A little before ten past midnight in the city, when yesterday's figures are due, or before a full hour."""
    due = datetime(2026, 6, 1, 16, 10, tzinfo=UTC) if seed % 2 == 0 else datetime(2026, 6, 1, 1, 0, tzinfo=UTC)
    return due - timedelta(seconds=FIGURES_DUE_S)


class City(ServiceSuite):
    """Parking, charging and waste, each with two APIs, two workers and a database of its own."""

    def __init__(self, world: World) -> None:
        super().__init__(world, pool_workers=2 if world.seed % 4 == 0 else 1)  # as many plans at a time; an idle one costs CPU, too
        self.promises = Promises()
        self.paths = {
            name: fresh(world.folder / f"{name}.sqlite", service.metadata, rules=rules.triggers(name)) for name, service in SERVICES.items()
        }
        self.paths[platform.NAME] = fresh(world.folder / "platform.sqlite", platform.metadata)
        self.safes: dict[str, Safe] = {}
        self.listeners: dict[str, Listener] = {}
        self.checks = Checks(self.paths, self.broker, self.promises, world)
        self._listening: list[asyncio.Task[None]] = []

    @staticmethod
    def troubles() -> Troubles:
        groups = (platform.CONSUMER.name, *(consumer.name for service in SERVICES.values() for consumer in service.consumers))
        return Troubles(LENGTH_S, NODES, groups, kills=8, windows=7, kills_at_commit=8)

    def hosts(self, path: str) -> Sequence[str]:
        return [f"{path.split('/')[1]}-api-{number}" for number in (1, 2)]

    def boots(self) -> Mapping[str, Boot]:
        return {name: self._platform if name == platform.NAME else self._start for name in NODES}

    async def _start(self, node: Node) -> None:
        name, what, _ = node.name.split("-")
        service, ctx = SERVICES[name], self.ctx(node, name)
        await (self.run_api(node, service, ctx) if what == "api" else self.run_worker(service, ctx))

    async def _platform(self, node: Node) -> None:
        settings = ServiceSettings(shared=self.shared)
        await run_consumer(self.put_together(node, platform.NAME, settings, self.paths[platform.NAME]), platform.CONSUMER)

    def ctx(self, node: Node, name: str) -> Ctx[Any]:
        """A service's context on a node."""
        settings: dict[str, Callable[[], ServiceSettings]] = {
            "parking": lambda: ParkingSettings(
                shared=self.shared, worker_id=node.label, hold_for_s=15, holds_per_subject=4, guest_key=SecretStr("g" * 32)
            ),
            "charging": lambda: ChargingSettings(
                shared=self.shared, worker_id=node.label, secret_key=SecretStr("s" * 32), tcec_token_for_s=60
            ),
            "waste": lambda: WasteSettings(shared=self.shared, worker_id=node.label, plan_seconds=5, night_plans=NightPlans.OFF),
        }
        pool = InlinePool(node, WORKS, longest_s=6.0)
        return self.put_together(node, name, settings[name](), self.paths[name], pool=pool, districts=town.districts())

    async def prepare(self) -> None:
        """The town was there an hour before, and its first figures are published."""
        for service in SERVICES.values():
            self.broker.create(service.topics())
        founding: dict[str, Callable[[Ctx[Any]], Coroutine[Any, Any, None]]] = {
            "parking": self._found_parking,
            "charging": self._found_charging,
            "waste": self._found_waste,
        }
        for name, found in founding.items():
            founder = self.world.node(f"founder-{name}", skew_s=-FOUNDED_BEFORE_S)
            await founder.run(self._found(self.ctx(founder, name), found))

    async def _found(self, ctx: Ctx[Any], found: Callable[[Ctx[Any]], Coroutine[Any, Any, None]]) -> None:
        await found(ctx)
        await publishing.publish_due(ctx, SERVICES[ctx.service].indicators)
        await ctx.db.close()

    async def _found_parking(self, ctx: Ctx[ParkingSettings]) -> None:
        async with ctx.db.write() as tx:
            for place in town.PLACES:
                await places.upsert_place_in(tx, ctx, place, operator_id=town.LOT_OPERATOR)

    async def _found_charging(self, ctx: Ctx[ChargingSettings]) -> None:
        vault = open_vault(ctx)
        for operator_id, profile in town.PROFILES.items():
            issued = await operators.add(ctx, vault, NewOperator(operator_id, f"Operator {operator_id}", profile))
            self.safes[operator_id] = Safe([issued.secrets])
        async with ctx.db.write() as tx:
            await registry.put_in(tx, ctx, town.STATIONS, source="founding")

    async def _found_waste(self, ctx: Ctx[WasteSettings]) -> None:
        async with ctx.db.write() as tx:
            await fleet.put_depots(tx, [town.DEPOT])
            await fleet.put_trucks(tx, town.TRUCKS)
            await sites.keep_sites_in(tx, ctx, town.SITES)
            await points.keep_in(tx, ctx, town.POINTS)

    async def traffic(self) -> None:
        self._listen()
        async with httpx.AsyncClient(transport=self.transport) as client, asyncio.TaskGroup() as people:
            for life in (*self._motorists(client), *self._charging_people(client), *self._waste_people(client)):
                _living = people.create_task(life)
        self.figures.update(self.checks.figures())

    def _listen(self) -> None:
        """A client of each service's stream, until the end of the run."""
        client = httpx.AsyncClient(transport=self.transport)
        dispatcher = self.issuer.mint(Role.DISPATCHER, subject="listener")
        for name, subject in subjects.subjects(self.hosts, dispatcher).items():
            listener = self.listeners[name] = Listener(self.world, client, subject, name)
            self._listening.append(self.world.loop.create_task(self._guarded(listener)))

    async def _guarded(self, listener: Listener) -> None:
        try:
            await listener.live()
        except Exception as error:
            self.world.error(str(error))
            raise

    def _caller(self, client: httpx.AsyncClient, name: str, role: Role, operator_id: str | None = None) -> Caller:
        return Caller(self, client, name, self.issuer.mint(role, subject=name, operator_id=operator_id), allowed=ALLOWED)

    def _motorists(self, client: httpx.AsyncClient) -> list[Coroutine[Any, Any, None]]:
        clock, promises = self.world.loop.time, self.promises
        lives: list[Coroutine[Any, Any, None]] = []
        for number in range(DRIVERS):
            name = f"driver-{number}"
            caller = self._caller(client, name, Role.CITIZEN)
            lives.append(Driver(caller, promises.people, town.PLACE_IDS, name, length_s=LENGTH_S).live(self.world.now, ()))
        for number in (1, 2):
            caller = self._caller(client, f"clerk-{number}", Role.LOT_OPERATOR, town.LOT_OPERATOR)
            lives.append(Clerk(caller, promises).live(LENGTH_S, clock))
        counter = self._caller(client, "counter", Role.LOT_OPERATOR, town.LOT_OPERATOR)
        sensors = Operator(counter, promises.people, town.PLACE_IDS[:3], length_s=LENGTH_S)
        return [*lives, sensors.live(self.world.now, LENGTH_S, clock)]

    def _charging_people(self, client: httpx.AsyncClient) -> list[Coroutine[Any, Any, None]]:
        clock, promises = self.world.loop.time, self.promises
        lives: list[Coroutine[Any, Any, None]] = []
        for operator_id, safe in self.safes.items():
            machine = Machine(Caller(self, client, f"machine-{operator_id}", ""), promises, operator_id, safe)
            lives.append(machine.live(self.world.now, LENGTH_S, clock))
            keeper = self._caller(client, f"keeper-{operator_id}", Role.CHARGING_OPERATOR, operator_id)
            lives.append(Keeper(keeper, promises, operator_id).live(LENGTH_S, clock))
        officers = ("officer-1", "officer-2")
        lives += [Officer(self._caller(client, name, Role.OFFICER), promises, name).live(LENGTH_S, clock) for name in officers]
        lives.append(Registrar(self._caller(client, "registrar", Role.OFFICER), promises).live(LENGTH_S, clock))
        chance = self.world.stream("rotation")
        if chance.random() < 0.5:
            lives.append(rotate_once(chance.uniform(10, LENGTH_S - 10), partial(self._rotate, chance.choice(sorted(self.safes)))))
        return lives

    async def _rotate(self, operator_id: str) -> None:
        """As `cityloop charging operator rotate` does, on a machine that does not die."""
        node, safe = self.world.node("secretary"), self.safes[operator_id]
        safe.changing = True
        ctx = self.ctx(node, "charging")
        issued = await node.run(operators.rotate(ctx, open_vault(ctx), operator_id))
        safe.given.append(issued.secrets)

    def _waste_people(self, client: httpx.AsyncClient) -> list[Coroutine[Any, Any, None]]:
        clock, promises = self.world.loop.time, self.promises
        lives: list[Coroutine[Any, Any, None]] = [
            Dispatcher(self._caller(client, name, Role.DISPATCHER), promises, name).live(LENGTH_S, clock)
            for name in ("dispatcher-1", "dispatcher-2")
        ]
        for site_id in town.LOADS:
            weigher = self._caller(client, f"weigher-{site_id}", Role.SITE_OPERATOR, town.SITE_OPERATOR)
            lives.append(Weighbridge(weigher, promises, site_id).live(LENGTH_S, clock))
        lives.append(Estimator(self._caller(client, "estimator", Role.OFFICER), promises).live(LENGTH_S, clock))
        return lives

    async def drained(self) -> bool:
        consumers = [platform.CONSUMER, *(consumer for service in SERVICES.values() for consumer in service.consumers)]
        return not any(self.broker.lag(consumer.name) for consumer in consumers) and self.checks.nothing_waits()

    async def look_at_rest(self) -> None:
        """Until figures are published and replicas have compared; then everybody is asked what they show."""
        rest_s = max(self.world.loop.now + REST_S, FIGURES_DUE_S + 60 + 18)
        await asyncio.sleep(rest_s - self.world.loop.now)
        if not 5 <= int(self.world.now().timestamp()) % WINDOWS_S <= WINDOWS_S - 10:
            await asyncio.sleep(15)  # no window begins or ends while everybody is asked, by clocks that differ
        async with httpx.AsyncClient(transport=self.transport) as client:
            shown = {
                name: await client.get(f"http://{name}{subjects.WHOLE[name.split('-')[0]]}") for name in self._apis("parking", "charging")
            }
        for name, service in SERVICES.items():
            node = self.world.node(f"judge-{name}", skew_s=0.0)
            ctx = self.ctx(node, name)
            await node.run(Judge(ctx, service, self.paths).look())
        self.checks.check_shown(shown)
        self.checks.check_heard({name: listener.state for name, listener in self.listeners.items()})
        self.figures["heard"] = sum(listener.events for listener in self.listeners.values())

    def _apis(self, *names: str) -> list[str]:
        return [node for node in NODES if "-api-" in node and node.split("-")[0] in names]

    def check_always(self) -> None:
        self.checks.check_always()

    def check_at_rest(self) -> None:
        self.checks.check_at_rest()
