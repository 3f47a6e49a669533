"""An operator's side of T/CEC for the suites: it signs, sends, and reads the answer; and charging's door to send to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import httpx

from cityloop_charging.operators import use_cases as operators
from cityloop_charging.operators.domain import Profile, Secrets
from cityloop_charging.operators.use_cases import NewOperator
from cityloop_charging.protocols.tcec.api import SPOKEN
from cityloop_charging.protocols.tcec.crypto import Keys
from cityloop_charging.protocols.tcec.desk import Desk, open_desk
from cityloop_charging.protocols.tcec.domain import stamp_text
from cityloop_charging.protocols.tcec.replies import reply_text
from cityloop_common import http
from cityloop_common.auth import Identity
from cityloop_common.errors import Unauthenticated
from tests.contract.charging_support import OPERATOR, City

PATH = "/charging/tcec/v1"


class NoTokens:
    """Nobody's bearer token is known: T/CEC has its own."""

    async def verify(self, token: str) -> Identity:
        raise Unauthenticated


@dataclass(frozen=True)
class Said:
    """An answer, read and verified as an operator does."""

    ret: int
    msg: str
    parameters: Mapping[str, Any] | None
    signed: bool
    raw: bytes


@dataclass
class Sender:
    """An operator with its secrets; `at` and `seq` are what the next envelope carries."""

    client: httpx.AsyncClient
    id: str
    secrets: Secrets
    at: datetime
    seq: str = "0001"
    token: str = ""

    @property
    def keys(self) -> Keys:
        return Keys(data_secret=self.secrets.data_secret, data_iv=self.secrets.data_iv, sig_secret=self.secrets.sig_secret)

    def envelope(self, parameters: object, **changes: Any) -> dict[str, Any]:
        """A signed envelope; what is changed afterwards is not signed."""
        plaintext = parameters if isinstance(parameters, bytes) else json.dumps(parameters).encode()
        fields = {"OperatorID": self.id, "Data": self.keys.encrypt(plaintext), "TimeStamp": stamp_text(self.at), "Seq": self.seq}
        return {**fields, "Sig": self.keys.sign("".join(fields.values())), **changes}

    async def send(self, interface: str, body: object, *, token: str | None = None) -> Said:
        """Sends a body as it is."""
        headers = {b"authorization": f"Bearer {self.token if token is None else token}".encode()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.client.post(f"{PATH}/{interface}", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return self.read(answer.content)

    def read(self, raw: bytes) -> Said:
        """The answer with its Data decrypted."""
        said = json.loads(raw)
        assert said.keys() == {"Ret", "Msg", "Data", "Sig"}
        signed = self.keys.signed(reply_text(said["Ret"], said["Msg"], said["Data"]), said["Sig"])
        parameters = json.loads(self.keys.decrypt(said["Data"])) if said["Data"] else None
        return Said(said["Ret"], said["Msg"], parameters, signed, raw)

    async def ask_token(self, **changes: Any) -> Said:
        """`query_token`; `changes` are to what is encrypted."""
        asked = {"OperatorID": self.id, "OperatorSecret": self.secrets.operator_secret, **changes}
        return await self.send("query_token", self.envelope(asked))

    async def log_in(self) -> None:
        """Takes a token and keeps it."""
        said = await self.ask_token()
        assert said.parameters is not None
        self.token = said.parameters["AccessToken"]

    def status(self, status: int, connector: str = "S00101", **more: Any) -> dict[str, Any]:
        """An envelope with one connector's status."""
        return self.envelope({"ConnectorStatusInfo": {"ConnectorID": connector, "Status": status, **more}})

    async def push(self, status: int, connector: str = "S00101", **more: Any) -> Said:
        """One notification."""
        return await self.send("notification_stationStatus", self.status(status, connector, **more))

    def later(self, seconds: float) -> None:
        """The next envelope's stamp."""
        self.at += timedelta(seconds=seconds)


@dataclass
class Door:
    """Charging's HTTP door on one replica."""

    town: City
    client: httpx.AsyncClient
    desk: Desk

    async def add_operator(self, id: str = OPERATOR, *, strict: bool = False) -> Sender:
        """A new operator with a token."""
        new = NewOperator(id, f"operator {id}", Profile(strict_replay=strict))
        issued = await operators.add(self.town.ctx, operators.open_vault(self.town.ctx), new)
        sender = Sender(self.client, id, issued.secrets, self.town.clock.now().replace(microsecond=0))
        await sender.log_in()
        return sender

    def at_this_door(self, sender: Sender) -> Sender:
        """The same operator, sending here."""
        return replace(sender, client=self.client)


@asynccontextmanager
async def door(town: City) -> AsyncIterator[Door]:
    """A replica of the API with its grouped writes running."""
    desk = open_desk(town.ctx)
    app = http.create_app(town.ctx, title="t", version="1", routers=[], protocols=[SPOKEN], verifier=NoTokens(), health=http.Health())
    app.state.tcec = desk
    async with asyncio.TaskGroup() as loops:
        running = loops.create_task(desk.pusher.run())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://city") as client:
            yield Door(town, client, desk)
        running.cancel()
