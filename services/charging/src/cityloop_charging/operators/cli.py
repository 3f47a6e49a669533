"""`cityloop charging operator ...`: who may report, and the secrets that it reports with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from cityloop_charging.opening import opened_charging
from cityloop_charging.operators import use_cases
from cityloop_charging.operators.domain import Operator, ParkStatus, Profile, Secrets
from cityloop_charging.operators.use_cases import Issued, NewOperator
from cityloop_common.terminal import AsJson, fail, out, print_json, run_async, show

app = typer.Typer(no_args_is_help=True, help="Operators of charging stations and their secrets.")
OperatorArg = Annotated[str, typer.Argument(metavar="ID", help="OperatorID of T/CEC 102: 9 capital letters and digits.")]


@app.command("add")
def add(
    operator_id: OperatorArg,
    name: Annotated[str, typer.Option(help="Its name.")],
    strict_replay: Annotated[
        bool, typer.Option("--strict-replay", help="It never uses a TimeStamp and Seq twice: another message under them is refused.")
    ] = False,
    park_status: Annotated[ParkStatus, typer.Option(help="What its ParkStatus 50 means.")] = ParkStatus.UNKNOWN,
    operator_secret: Annotated[str | None, typer.Option(help="Its own OperatorSecret; give all four or none.")] = None,
    data_secret: Annotated[str | None, typer.Option(help="Its own DataSecret, 16 characters.")] = None,
    data_iv: Annotated[str | None, typer.Option("--data-iv", help="Its own DataSecretIV, 16 characters.")] = None,
    sig_secret: Annotated[str | None, typer.Option(help="Its own SigSecret.")] = None,
    as_json: AsJson = False,
) -> None:
    """Adds an operator and prints its secrets, this once."""
    given = _given(operator_secret, data_secret, data_iv, sig_secret)
    new = NewOperator(operator_id, name, Profile(strict_replay, park_status), given)
    _print(run_async(_add(new)), as_json=as_json)


@app.command("rotate")
def rotate(operator_id: OperatorArg, as_json: AsJson = False) -> None:
    """Gives an operator four new secrets and prints them, this once; the old ones end at once."""
    _print(run_async(_rotate(operator_id)), as_json=as_json)


@app.command("list")
def list_operators(as_json: AsJson = False) -> None:
    """Lists operators, without their secrets."""
    rows = [_described(each) for each in run_async(_everyone())]
    show(("operator_id", "name", "strict_replay", "park_status", "version", "created_at"), rows, as_json=as_json, title="operators")


async def _add(new: NewOperator) -> Issued:
    async with opened_charging() as ctx:
        return await use_cases.add(ctx, use_cases.open_vault(ctx), new)


async def _rotate(operator_id: str) -> Issued:
    async with opened_charging() as ctx:
        return await use_cases.rotate(ctx, use_cases.open_vault(ctx), operator_id)


async def _everyone() -> Sequence[Operator]:
    async with opened_charging() as ctx:
        return await use_cases.everyone(ctx)


def _given(operator_secret: str | None, data_secret: str | None, data_iv: str | None, sig_secret: str | None) -> Secrets | None:
    if operator_secret is None and data_secret is None and data_iv is None and sig_secret is None:
        return None
    if operator_secret is None or data_secret is None or data_iv is None or sig_secret is None:
        fail("an operator's own secrets are four: --operator-secret --data-secret --data-iv --sig-secret", 2)
    return Secrets(operator_secret, data_secret.encode(), data_iv.encode(), sig_secret.encode())


def _described(operator: Operator) -> Mapping[str, object]:
    return {
        "operator_id": operator.id,
        "name": operator.name,
        "strict_replay": operator.profile.strict_replay,
        "park_status": operator.profile.park_status,
        "version": operator.version,
        "created_at": operator.created_at,
    }


def _print(issued: Issued, *, as_json: bool) -> None:
    secrets = {
        "operator_secret": issued.secrets.operator_secret,
        "data_secret": issued.secrets.data_secret.decode(),
        "data_iv": issued.secrets.data_iv.decode(),
        "sig_secret": issued.secrets.sig_secret.decode(),
    }
    if as_json:
        print_json({**_described(issued.operator), **secrets})
        return
    out.print(f"operator {issued.operator.id}, version {issued.operator.version}. These are shown only now:")
    for name, value in secrets.items():
        out.print(f"  {name:<16}{value}", markup=False)
