"""Who runs the stations: the operators' machines that push over T/CEC, and their people who change and claim stations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from cityloop_charging.operators.domain import Secrets
from cityloop_charging.protocols.tcec.crypto import Keys
from cityloop_charging.protocols.tcec.domain import STATUSES, stamp_text
from cityloop_charging.protocols.tcec.replies import reply_text
from tests.simulation.city.promises import Promises, Sent
from tests.simulation.city.town import PLACE_IDS, STATIONS, STRICT
from tests.simulation.people import TRIES, Caller
from tests.simulation.world import Broken

API = "/charging/v1"
TCEC = "/charging/tcec/v1"
DONE, BUSY, BAD_SIGNATURE = 0, -1, 4001
OFF_S = (0.0, 0.0, 0.0, 3.0, 30.0, 400.0, 720.0, -120.0, -400.0)
"""How old a stamp is; more than 600 s, or more than 300 s ahead, is not believed."""


@dataclass(slots=True)
class Safe:
    """What an operator keeps of its secrets: all that it was ever given, the newest last; `changing` once new ones were ordered."""

    given: list[Secrets]
    changing: bool = False

    @property
    def keys(self) -> Keys:
        return _keys(self.given[-1])

    def read(self, raw: bytes) -> Mapping[str, Any]:
        """A reply with its Data decrypted. Raises Broken when none of the secrets signed it."""
        told: dict[str, Any] = json.loads(raw)
        for secrets in self.given:
            keys = _keys(secrets)
            if keys.signed(reply_text(told["Ret"], told["Msg"], told["Data"]), told["Sig"]):
                return told | {"Data": json.loads(keys.decrypt(told["Data"])) if told["Data"] else {}}
        raise Broken(f"a reply that nobody signed: {raw!r}")


class Machine:
    """An operator's machine: it repeats what got no answer, and its network repeats and reorders what it sends."""

    def __init__(self, caller: Caller, promises: Promises, operator_id: str, safe: Safe) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises
        self._id = operator_id
        self._safe = safe
        self._connectors = [each.connector_id for station in STATIONS if station.operator_id == operator_id for each in station.evses]
        self._said: set[tuple[str, str, str, int]] = set()
        self._last: tuple[str, str, datetime] | None = None
        self._number = 0

    async def live(self, now: Callable[[], datetime], length_s: float, clock: Callable[[], float]) -> None:
        """Pushes until the end, each as a task of its own."""
        async with asyncio.TaskGroup() as pushes:
            while clock() < length_s:
                sent = self._signed(now())
                if sent is not None:
                    _pushed = pushes.create_task(self._push_about(sent))
                await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, 1), self._rng.uniform(1, 6))))

    async def _push_about(self, sent: Sent) -> None:
        """At once or late, once or twice at a time, and perhaps once more when it was taken."""
        await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, 12))))
        times = 2 if self._rng.random() < 0.2 else 1
        await asyncio.gather(*[self._push(sent) for _ in range(times)])
        if self._rng.random() < 0.3:
            await asyncio.sleep(self._rng.uniform(0, 10))
            await self._push(sent)

    async def _push(self, sent: Sent) -> None:
        """The same envelope until there is a word on it; a renewed token is no other envelope."""
        for _ in range(TRIES):
            used = self._ask.token
            answer = await self._ask.insist("POST", f"{TCEC}/notification_stationStatus", body=sent.fields)
            if not (told := self._read(answer)):
                return
            match told["Ret"]:
                case 0:
                    self._note(sent, told["Data"]["Status"])
                    return
                case -1:
                    await asyncio.sleep(self._rng.uniform(0.1, 2))
                case 4002:
                    if self._ask.token == used:
                        await self.fetch_token()
                case 4003 if self._id == STRICT:
                    return
                case 4004:
                    return
                case ret:
                    raise Broken(f"{self._id}: {sent} was answered {ret} {told['Msg']}")
        raise Broken(f"{self._id}: no word on {sent} in {TRIES} tries")

    def _read(self, answer: httpx.Response) -> Mapping[str, Any]:
        """The reply; empty for one that says that the secrets have changed: perhaps they are not here yet to read it with."""
        if self._safe.changing and answer.json()["Ret"] == BAD_SIGNATURE:
            return {}
        return self._safe.read(answer.content)

    def _note(self, sent: Sent, status: int) -> None:
        if self._promises.taken.setdefault(sent.sig, status) != status:
            raise Broken(f"{sent} was answered Status {self._promises.taken[sent.sig]} and then {status}")

    async def fetch_token(self) -> None:
        """Asks with the newest secrets until there is a token."""
        for _ in range(TRIES):
            wanted = {"OperatorID": self._id, "OperatorSecret": self._safe.given[-1].operator_secret}
            envelope = self._envelope(wanted, stamp_text(self._ask.now()), "0001")
            told = self._read(await self._ask.insist("POST", f"{TCEC}/query_token", body=envelope))
            if told and told["Ret"] == DONE and told["Data"]["SuccStat"] == 0:
                self._ask.token = told["Data"]["AccessToken"]
                return
            if told and told["Ret"] not in (DONE, BUSY):
                raise Broken(f"{self._id} got no token: {told}")
            await asyncio.sleep(self._rng.uniform(0.1, 2))
        raise Broken(f"{self._id} got no token in {TRIES} tries")

    def _signed(self, now: datetime) -> Sent | None:
        """A new envelope, or another one under the TimeStamp and Seq of the last; None when it would say the same as an earlier one."""
        stamp, seq, at = self._numbered(now)
        some = self._rng.sample(self._connectors, self._rng.choice((1, 1, 2)))
        statuses = tuple((connector, self._rng.choice((*STATUSES, 1, 3))) for connector in some)
        said = {(stamp, seq, connector, status) for connector, status in statuses}
        if said & self._said:
            return None
        self._said |= said
        listed = [{"ConnectorID": connector, "Status": status, "ParkStatus": 0, "LockStatus": 0} for connector, status in statuses]
        info: object = listed if len(listed) > 1 or self._rng.random() < 0.3 else listed[0]
        sent = Sent(self._id, self._envelope({"ConnectorStatusInfo": info}, stamp, seq), at, statuses)
        self._promises.envelopes[sent.sig] = sent
        return sent

    def _numbered(self, now: datetime) -> tuple[str, str, datetime]:
        """TimeStamp, Seq and their instant."""
        if self._last is None or self._rng.random() > 0.3:
            at = (now - timedelta(seconds=self._rng.choice(OFF_S))).replace(microsecond=0)
            self._number = self._number % 9_000 + 1
            careless = self._id != STRICT and self._rng.random() < 0.7
            self._last = (stamp_text(at), "0001" if careless else f"{self._number:04d}", at)
        return self._last

    def _envelope(self, parameters: object, stamp: str, seq: str) -> dict[str, str]:
        keys = self._safe.keys
        fields = {"OperatorID": self._id, "Data": keys.encrypt(json.dumps(parameters).encode()), "TimeStamp": stamp, "Seq": seq}
        return {**fields, "Sig": keys.sign("".join(fields.values()))}


class Keeper:
    """An operator's person: changes its stations, and says in which car parks they stand."""

    def __init__(self, caller: Caller, promises: Promises, operator_id: str) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises
        self._stations = [station for station in STATIONS if station.operator_id == operator_id]

    async def live(self, length_s: float, clock: Callable[[], float]) -> None:
        """A change or a claim now and then."""
        number = 0
        while clock() < length_s:
            await asyncio.sleep(self._rng.choice((self._rng.uniform(0, 2), self._rng.uniform(5, 25))))
            number += 1
            if self._rng.random() < 0.25:
                await self._claim(f"claim-{number}")
            else:
                await self._change(str(self._rng.choice(self._stations).id))

    async def _claim(self, key: str) -> None:
        body = {"place_id": self._rng.choice(PLACE_IDS), "bay_nos": []}
        await self._ask.insist("POST", f"{API}/locations/{self._rng.choice(self._stations).id}/place-claims", body=body, key=key)

    async def _change(self, location_id: str) -> None:
        seen = await self._ask.insist("GET", f"{API}/locations/{location_id}")
        body = self._changed(seen.json())
        answer = await self._ask.insist("PUT", f"{API}/locations/{location_id}", body=body, seen=seen.headers["etag"])
        if answer.status_code < 300:
            told = answer.json()
            said, version = (told["access"], told["state"]), (told["id"], told["version"])
            if self._promises.stations.setdefault(version, said) != said:
                raise Broken(f"{version} was acknowledged as {self._promises.stations[version]} and as {said}")

    def _changed(self, told: Mapping[str, Any]) -> dict[str, object]:
        body: dict[str, object] = {name: told[name] for name in ("name", "position", "access", "state", "invented")}
        body |= {"datum": "wgs84", "district": None}
        station = self._stations[[str(each.id) for each in self._stations].index(told["id"])]
        listed = {each["connector_id"] for each in told["evses"]}
        match self._rng.choice(("evses", "evses", "state", "access")):
            case "evses":
                listed ^= {self._rng.choice([each.connector_id for each in station.evses])}
            case "state":
                body["state"] = "closed" if told["state"] == "open" else "open"
            case _:
                body["access"] = self._rng.choice(("public", "compound", "private"))
        facts = [each for each in station.evses if each.connector_id in listed]
        body["evses"] = [
            {"connector_id": each.connector_id, "power_w": each.power_w, "current": each.current, "bay_no": each.bay_no} for each in facts
        ]
        return body


def _keys(secrets: Secrets) -> Keys:
    return Keys(data_secret=secrets.data_secret, data_iv=secrets.data_iv, sig_secret=secrets.sig_secret)
