"""An operator's side: what `cityloop charging tcec` sends is taken, and what comes back is believed only when it is signed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from cityloop_charging import cli
from cityloop_charging.operators.domain import Secrets
from cityloop_charging.protocols.tcec.client import PATH, Client, Heard, NoAnswer
from cityloop_charging.protocols.tcec.crypto import Keys
from cityloop_charging.protocols.tcec.domain import Ret
from cityloop_charging.protocols.tcec.replies import reply
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.status.tables import evse_status
from cityloop_common.cli import build
from cityloop_common.clock import SystemClock
from tests.contract.charging_support import OPERATOR, City, city, make_tables, station
from tests.contract.tcec_support import Door, Sender, door

SECRETS = Secrets("o" * 32, b"d" * 16, b"i" * 16, b"s" * 32)
KEYS = Keys(data_secret=SECRETS.data_secret, data_iv=SECRETS.data_iv, sig_secret=SECRETS.sig_secret)
STATUS = {"ConnectorStatusInfo": {"ConnectorID": "S00101", "Status": 3}}


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[City]:
    """A city with one station."""
    url = f"sqlite:///{tmp_path / 'charging.db'}"
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        async with opened.db.write() as tx:
            await registry.put_in(tx, opened.ctx, [station()], source="test")
        yield opened


@pytest.fixture
async def desk(town: City) -> AsyncIterator[Door]:
    """Its door."""
    async with door(town) as opened:
        yield opened


def client_of(sender: Sender, desk: Door) -> Client:
    return Client(desk.client, SystemClock(), operator_id=sender.id, secrets=sender.secrets)


async def test_what_the_client_sends_is_taken(desk: Door) -> None:
    """Token, then a status; a second one within the same second is newer than the first."""
    client = client_of(await desk.add_operator(), desk)
    logged_in = await client.token()
    assert logged_in.parameters is not None
    token = str(logged_in.parameters["AccessToken"])
    for _ in range(2):
        heard = await client.send(client.envelope("notification_stationStatus", STATUS), token=token)
        assert heard == Heard(0, "", {"Status": 0}, verified=True)
        assert heard.accepted
    assert await desk.town.count(evse_status) == 1


async def test_a_refusal_is_heard_as_one(desk: Door) -> None:
    """Signed when the operator is known; what is not signed is never believed."""
    client = client_of(await desk.add_operator(), desk)
    heard = await client.send(client.envelope("notification_stationStatus", STATUS))
    assert (heard.ret, heard.verified, heard.parameters, heard.accepted) == (4002, True, None, False)
    stranger = Client(desk.client, SystemClock(), operator_id="999000009", secrets=SECRETS)
    heard = await stranger.token()
    assert (heard.ret, heard.verified, heard.accepted) == (4001, False, False)


def answering(content: bytes, status: int = 200) -> Client:
    """A client of somebody who always says the same."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(status, content=content)), base_url="http://x")
    return Client(http, SystemClock(), operator_id=OPERATOR, secrets=SECRETS)


async def test_an_answer_without_the_operators_signature_is_not_believed() -> None:
    """Ret 0 of anybody else, or with changed Data, is not accepted, and its Data is not looked at."""
    other = Keys(data_secret=b"d" * 16, data_iv=b"i" * 16, sig_secret=b"another")
    changed = json.loads(reply(KEYS, Ret.OK, parameters={"Status": 0}))
    changed["Data"] = KEYS.encrypt(b'{"AccessToken":"stolen"}')
    for raw in (reply(other, Ret.OK, parameters={"Status": 0}), reply(None, Ret.OK), json.dumps(changed).encode()):
        heard = await answering(raw).token()
        assert (heard.ret, heard.verified, heard.parameters, heard.accepted) == (0, False, None, False)
    assert (await answering(reply(KEYS, Ret.OK, parameters={"Status": 0})).token()).accepted


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"Ret":"x","Msg":""}', b'{"Ret":null,"Msg":""}', b"x" * 1_000_001])
async def test_what_is_no_reply_is_said_to_be_none(content: bytes) -> None:
    """Neither JSON nor Ret and Msg; too large."""
    with pytest.raises(NoAnswer):
        await answering(content).token()


async def test_another_http_status_or_silence_is_no_answer() -> None:
    """Also signed Data that these secrets do not decrypt."""
    with pytest.raises(NoAnswer):
        await answering(reply(KEYS, Ret.OK), status=502).token()
    sig_only = Keys(data_secret=b"x" * 16, data_iv=b"x" * 16, sig_secret=SECRETS.sig_secret)
    with pytest.raises(NoAnswer):
        await answering(reply(sig_only, Ret.OK, parameters={"a": 1})).token()

    def silent(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    http = httpx.AsyncClient(transport=httpx.MockTransport(silent), base_url="http://x")
    with pytest.raises(NoAnswer, match="ConnectError"):
        await Client(http, SystemClock(), operator_id=OPERATOR, secrets=SECRETS).token()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["tcec", *arguments])


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Lets the command speak to somebody who answers with these parameters; what it sent is kept."""

    def install(*answers: bytes) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        left = list(answers)

        def handle(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            assert KEYS.signed(body["OperatorID"] + body["Data"] + body["TimeStamp"] + body["Seq"], body["Sig"])
            sent.append({**body, "path": request.url.path, "data": json.loads(KEYS.decrypt(body["Data"])), **dict(request.headers)})
            return httpx.Response(200, content=left.pop(0))

        real = httpx.AsyncClient

        def made(**given: Any) -> httpx.AsyncClient:
            return real(**{**given, "transport": httpx.MockTransport(handle)})

        monkeypatch.setattr("cityloop_charging.protocols.tcec.cli.httpx.AsyncClient", made)
        for name, value in (("OPERATOR_SECRET", "o" * 32), ("DATA_SECRET", "d" * 16), ("DATA_IV", "i" * 16), ("SIG_SECRET", "s" * 32)):
            monkeypatch.setenv(f"TCEC_{name}", value)
        return sent

    return install


TOKEN = reply(KEYS, Ret.OK, parameters={"OperatorID": OPERATOR, "SuccStat": 0, "AccessToken": "t0", "TokenAvailableTime": 7200})
SEND = ("send", "--operator", OPERATOR, "--connector", "S00101", "--status", "3", "--url", "http://city")


def test_send_takes_a_token_and_reports(heard: Callable[..., list[dict[str, Any]]]) -> None:
    """Secrets from the environment, stamp and number as asked; exit status 0 and the decrypted answer as JSON."""
    sent = heard(TOKEN, reply(KEYS, Ret.OK, parameters={"Status": 0}))
    done = run(*SEND, "--timestamp", "20260601120000", "--seq", "0042", "--park-status", "50", "--json")
    assert (done.exit_code, json.loads(done.output)) == (0, {"ret": 0, "msg": "", "verified": True, "data": {"Status": 0}})
    assert [each["path"] for each in sent] == [f"{PATH}/query_token", f"{PATH}/notification_stationStatus"]
    assert sent[0]["data"] == {"OperatorID": OPERATOR, "OperatorSecret": "o" * 32}
    assert sent[1]["data"] == {"ConnectorStatusInfo": {"ConnectorID": "S00101", "Status": 3, "ParkStatus": 50}}
    assert (sent[1]["TimeStamp"], sent[1]["Seq"], sent[1]["authorization"]) == ("20260601120000", "0042", "Bearer t0")


@pytest.mark.parametrize(
    "answers",
    [
        [reply(KEYS, Ret.SIGNATURE, "no")],
        [reply(KEYS, Ret.OK, parameters={"SuccStat": 1, "AccessToken": "", "FailReason": 2})],
        [TOKEN, reply(KEYS, Ret.BUSINESS, "no")],
        [TOKEN, reply(None, Ret.OK)],
        [b"no reply"],
    ],
)
def test_send_ends_with_1_when_it_is_not_taken(heard: Callable[..., list[dict[str, Any]]], answers: list[bytes]) -> None:
    """Refused at the door, no token, refused, unsigned, no reply."""
    heard(*answers)
    assert run(*SEND).exit_code == 1


def test_token_prints_the_token(heard: Callable[..., list[dict[str, Any]]]) -> None:
    """And ends with 1 for a wrong secret."""
    heard(TOKEN, reply(KEYS, Ret.OK, parameters={"SuccStat": 1, "AccessToken": "", "FailReason": 2}))
    arguments = ("token", "--operator", OPERATOR, "--url", "http://city")
    good, bad = run(*arguments), run(*arguments)
    assert good.exit_code == 0
    assert "t0" in good.output
    assert bad.exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seq", "1"),
        ("--timestamp", "20260231000000"),
        ("--timestamp", "now"),
        ("--interface", "../v1/locations"),
        ("--url", "ftp://city"),
        ("--url", "city"),
        ("--sig-secret", "short"),
        ("--status", "256"),
    ],
)
def test_options_that_cannot_be_are_2(heard: Callable[..., list[dict[str, Any]]], arguments: tuple[str, str]) -> None:
    """Before anything is sent."""
    sent = heard()
    assert run(*SEND, *arguments).exit_code == 2
    assert sent == []


def test_three_secrets_are_not_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, or none."""
    monkeypatch.delenv("TCEC_DATA_SECRET", raising=False)
    assert run(*SEND, "--operator-secret", "o" * 32, "--sig-secret", "s" * 32, "--data-iv", "i" * 16).exit_code == 2


def test_secrets_come_from_the_services_database(
    heard: Callable[..., list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When none are given; an operator that is not there ends the command with a word on how to add it."""
    sent = heard(TOKEN)
    for name in ("OPERATOR_SECRET", "DATA_SECRET", "DATA_IV", "SIG_SECRET"):
        monkeypatch.delenv(f"TCEC_{name}")
    monkeypatch.setenv("CITYLOOP_VAR", str(tmp_path / "var"))
    app = build()

    def charging(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["charging", *arguments])

    assert charging("migrate").exit_code == 0
    own = ("--operator-secret", "o" * 32, "--data-secret", "d" * 16, "--data-iv", "i" * 16, "--sig-secret", "s" * 32)
    assert charging("operator", "add", OPERATOR, "--name", "a", *own).exit_code == 0
    assert charging("tcec", "token", "--operator", OPERATOR).exit_code == 0
    assert len(sent) == 1
    unknown = charging("tcec", "token", "--operator", "999000009")
    assert (unknown.exit_code, "operator add 999000009" in unknown.stderr) == (1, True)
