"""`cityloop charging tcec ...`: signs and sends as an operator does, because nobody does that in curl."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer

from cityloop_charging.opening import opened_charging
from cityloop_charging.operators import store as operators
from cityloop_charging.operators.domain import InvalidOperator, Secrets, UnknownOperator, check_secrets
from cityloop_charging.operators.use_cases import open_vault
from cityloop_charging.protocols.tcec.client import Client, Heard
from cityloop_charging.protocols.tcec.domain import BadEnvelope, Interface, read_stamp
from cityloop_common.clock import SystemClock
from cityloop_common.terminal import AsJson, fail, out, print_json, run_async, shared_settings

app = typer.Typer(no_args_is_help=True, help="T/CEC 102, as an operator speaks it.")


Operator = Annotated[str, typer.Option("--operator", help="OperatorID of who sends.", metavar="ID")]
Url = Annotated[str, typer.Option(help="Where the service is; this machine's own port when left out.")]
OperatorSecret = Annotated[
    str, typer.Option(envvar="TCEC_OPERATOR_SECRET", help="Give all four secrets, or none to read them from the service's database.")
]
DataSecret = Annotated[str, typer.Option(envvar="TCEC_DATA_SECRET", help="16 characters.")]
DataIv = Annotated[str, typer.Option("--data-iv", envvar="TCEC_DATA_IV", help="16 characters.")]
SigSecret = Annotated[str, typer.Option(envvar="TCEC_SIG_SECRET")]


@app.command("token")
def token(
    operator: Operator,
    url: Url = "",
    operator_secret: OperatorSecret = "",
    data_secret: DataSecret = "",
    data_iv: DataIv = "",
    sig_secret: SigSecret = "",
    as_json: AsJson = False,
) -> None:
    """Takes an access token and prints it. Exit status 1 when it is refused."""
    secrets = _given(operator_secret, data_secret, data_iv, sig_secret)
    heard = run_async(_with_client(operator, url, secrets, Client.token))
    _print(heard, as_json=as_json)
    if not heard.accepted or _token(heard) is None:
        raise typer.Exit(1)


@app.command("send")
def send(
    operator: Operator,
    connector: Annotated[str, typer.Option(help="ConnectorID that is reported on.")],
    status: Annotated[int, typer.Option(min=0, max=255, help="0 offline, 1 idle, 2 plugged in, 3 charging, 4 reserved, 255 fault.")],
    url: Url = "",
    interface: Annotated[str, typer.Option(help="Which interface it is sent to.")] = Interface.STATION_STATUS.value,
    park_status: Annotated[int | None, typer.Option(min=0, max=255, help="ParkStatus, sent when it is given.")] = None,
    timestamp: Annotated[str, typer.Option(help="TimeStamp, yyyyMMddHHmmss in local time; now when left out.")] = "",
    seq: Annotated[str, typer.Option(help="Seq, four digits; the millisecond of now when left out.")] = "",
    operator_secret: OperatorSecret = "",
    data_secret: DataSecret = "",
    data_iv: DataIv = "",
    sig_secret: SigSecret = "",
    as_json: AsJson = False,
) -> None:
    """Reports a connector's status: takes a token, signs, sends, verifies the answer and prints it. Exit status 1 when Ret is not 0."""
    _check(interface, timestamp, seq)
    info: dict[str, object] = {"ConnectorID": connector, "Status": status}
    if park_status is not None:
        info["ParkStatus"] = park_status
    secrets = _given(operator_secret, data_secret, data_iv, sig_secret)

    async def push(client: Client) -> Heard:
        logged_in = await client.token()
        if not logged_in.accepted or _token(logged_in) is None:
            return logged_in
        envelope = client.envelope(interface, {"ConnectorStatusInfo": info}, time_stamp=timestamp or None, seq=seq or None)
        return await client.send(envelope, token=_token(logged_in))

    heard = run_async(_with_client(operator, url, secrets, push))
    _print(heard, as_json=as_json)
    if not heard.accepted or heard.parameters is None or heard.parameters.get("SuccStat"):
        raise typer.Exit(1)


async def _with_client(operator: str, url: str, secrets: Secrets | None, work: Callable[[Client], Awaitable[Heard]]) -> Heard:
    address = url or f"http://127.0.0.1:{shared_settings().port}"
    if urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).hostname:
        fail(f"--url {address!r} is not an address: http://host:port", 2)
    held = secrets or await _from_database(operator)
    async with httpx.AsyncClient(base_url=address, trust_env=bool(url)) as http:  # a proxy is asked only for an address that was given
        return await work(Client(http, SystemClock(), operator_id=operator, secrets=held))


async def _from_database(operator: str) -> Secrets:
    async with opened_charging() as ctx:
        vault = open_vault(ctx)
        async with ctx.db.read() as tx:
            found = await operators.credentials(tx, vault, operator)
    if found is None:
        raise UnknownOperator(f"Add it first: cityloop charging operator add {operator} --name NAME")
    return Secrets(found.operator_secret, found.data_secret, found.data_iv, found.sig_secret)


def _given(operator_secret: str, data_secret: str, data_iv: str, sig_secret: str) -> Secrets | None:
    """The secrets of the options, None when there are none."""
    given = (operator_secret, data_secret, data_iv, sig_secret)
    if not any(given):
        return None
    if not all(given):
        fail("an operator's secrets are four: give all of them, or none to read them from the service's database", 2)
    try:
        return check_secrets(Secrets(operator_secret, data_secret.encode(), data_iv.encode(), sig_secret.encode()))
    except InvalidOperator as error:
        fail(error.detail, 2)


def _check(interface: str, timestamp: str, seq: str) -> None:
    if not interface.replace("_", "").isalnum() or not interface.isascii():
        fail("--interface is the name of one: letters, digits, underscores", 2)
    if seq and not (len(seq) == 4 and seq.isascii() and seq.isdigit()):
        fail("--seq has four digits", 2)
    try:
        if timestamp:
            read_stamp(timestamp)
    except BadEnvelope as error:
        fail(f"--timestamp: {error.detail}", 2)


def _token(heard: Heard) -> str | None:
    found = heard.parameters.get("AccessToken") if heard.parameters else None
    return found if isinstance(found, str) and found else None


def _view(heard: Heard) -> Mapping[str, object]:
    return {"ret": heard.ret, "msg": heard.msg, "verified": heard.verified, "data": heard.parameters}


def _print(heard: Heard, *, as_json: bool) -> None:
    if as_json:
        print_json(_view(heard))
        return
    out.print(f"Ret {heard.ret} {heard.msg}".rstrip(), markup=False)
    for name, value in (heard.parameters or {}).items():
        out.print(f"  {name:<20}{value}", markup=False, soft_wrap=True)
    if not heard.verified:
        out.print("  the answer is not signed with the operator's SigSecret")
