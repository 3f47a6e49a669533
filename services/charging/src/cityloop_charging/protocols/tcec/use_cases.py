"""What one does with T/CEC messages: take a group of status notifications in one unit, forget old envelopes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cityloop_charging.context import ChargingCtx
from cityloop_charging.protocols.tcec import store
from cityloop_charging.protocols.tcec.domain import (
    BadEnvelope,
    BadParameter,
    BadSignature,
    ConnectorStatus,
    Interface,
    Taken,
    TcecRefusal,
    skew,
)
from cityloop_charging.protocols.tcec.store import Key, Known, Seen
from cityloop_charging.status import use_cases as status
from cityloop_charging.status.domain import Report
from cityloop_common import telemetry
from cityloop_common.db import WriteTx
from cityloop_common.grouped import GroupedWrite

SOURCE = "tcec"
GROUP = 64
REUSED = "TimeStamp and Seq came before with other content"
ENVELOPES = telemetry.counter(
    "tcec_envelopes_total",
    "Envelopes with signature and token: fresh, repeated (answered again), seq_reused (other content), skewed (put aside), refused",
    ("service", "outcome"),
)


@dataclass(frozen=True, slots=True)
class Push:
    """A status notification whose signature and token hold. `version` is that of the secrets that it was judged by."""

    operator_id: str
    version: int
    strict: bool
    time_stamp: str
    seq: str
    sig: str
    stamped_at: datetime
    received_at: datetime
    statuses: tuple[ConnectorStatus, ...]

    @property
    def key(self) -> Key:
        return Key(self.operator_id, Interface.STATION_STATUS.value, self.time_stamp, self.seq)

    @property
    def envelope(self) -> tuple[Key, str]:
        return self.key, self.sig


Pusher = GroupedWrite[Push, Taken]


def open_pusher(ctx: ChargingCtx) -> Pusher:
    """Notifications of one API replica that share units: `submit` a Push, `run` under the supervisor."""
    return GroupedWrite(ctx.db, partial(_push_group, ctx), max_items=GROUP)


async def push_in(tx: WriteTx, ctx: ChargingCtx, pushes: Sequence[Push]) -> list[Taken | Exception]:
    """Takes notifications in an open unit: each wholly or not at all, one that is refused stops no other.

    An envelope that came before gets its answer again and has no second effect. One with the same TimeStamp and Seq and
    other content is taken and counted, or refused where the operator's profile is strict. A stamp that cannot be believed
    is put aside and answered as ignored. Refused envelopes are not noted: the same one may be sent again.
    """
    known = await store.look_up(tx, {push.envelope: [each.connector_id for each in push.statuses] for push in pushes})
    taken: dict[Key, dict[str, Taken]] = {}  # of this group
    outcomes: list[Taken | Exception] = []
    fresh: dict[int, Seen] = {}
    counted: Counter[str] = Counter()
    for index, push in enumerate(pushes):
        here = taken.setdefault(push.key, {})
        outcome, kind = _judged(push, here, known[push.envelope])
        outcomes.append(outcome)
        counted[kind] += 1
        if isinstance(outcome, Taken) and kind != "repeated":
            here[push.sig] = outcome
            fresh[index] = Seen(push.key, push.sig, push.strict, outcome, push.stamped_at)
    if fresh:
        await _note(tx, fresh, outcomes, pushes)
        await _take(tx, ctx, [(pushes[index], known[pushes[index].envelope]) for index in fresh])
    tx.after_commit(partial(_count, ctx, counted))
    return outcomes


async def prune(ctx: ChargingCtx) -> int:
    """Sweep: forgets envelopes of the day before."""
    async with ctx.db.write() as tx:
        return await store.prune(tx)


async def _push_group(ctx: ChargingCtx, tx: WriteTx, pushes: Sequence[Push]) -> list[Taken | Exception]:
    return await push_in(tx, ctx, pushes)


def _judged(push: Push, here: Mapping[str, Taken], known: Known) -> tuple[Taken | TcecRefusal, str]:
    """What becomes of one, and how it is counted; `here` are the answers of this group's envelopes with its TimeStamp and Seq."""
    answered = here.get(push.sig, known.answered)
    if answered is not None:
        return Taken(answered), "repeated"
    reused = known.reused or bool(here)
    if reused and push.strict:
        return BadEnvelope(REUSED), "refused"
    if known.version != push.version:
        return BadSignature("the operator's secrets have changed"), "refused"
    for number, each in enumerate(push.statuses, 1):
        if each.connector_id not in known.evses:
            return BadParameter(f"entry {number} of ConnectorStatusInfo: the operator has no connector of this ConnectorID"), "refused"
    if skew(push.stamped_at, push.received_at) is not None:
        return Taken.IGNORED, "skewed"
    return Taken.ACCEPTED, "seq_reused" if reused else "fresh"


async def _note(tx: WriteTx, fresh: dict[int, Seen], outcomes: list[Taken | Exception], pushes: Sequence[Push]) -> None:
    """Notes what is fresh. What another replica noted in the meantime is fresh no more, and answered as there, each copy of it."""
    noted = await store.remember(tx, list(fresh.values()))
    lost = [index for index, each in fresh.items() if (each.key, each.sig) not in noted]
    if not lost:
        return
    known = await store.look_up(tx, {pushes[index].envelope: [pushes[index].statuses[0].connector_id] for index in lost})
    for index in lost:
        del fresh[index]
        answered = known[pushes[index].envelope].answered
        for copy, push in enumerate(pushes[index:], index):
            if push.envelope == pushes[index].envelope:
                outcomes[copy] = Taken(answered) if answered is not None else BadEnvelope(REUSED)


async def _take(tx: WriteTx, ctx: ChargingCtx, pushes: Sequence[tuple[Push, Known]]) -> None:
    """The effect: statuses, or evidence of a clock that is off."""
    believed: list[Report] = []
    aside: list[tuple[Report, str]] = []
    for push, known in pushes:
        off = skew(push.stamped_at, push.received_at)
        for each in push.statuses:
            evse = known.evses[each.connector_id]
            report = Report(evse, each.status, push.stamped_at, SOURCE, int(push.seq), each.park_status, each.lock_status)
            if off is None:
                believed.append(report)
            else:
                aside.append((report, off.value))
    await status.record_in(tx, ctx, believed)
    await status.quarantine_in(tx, ctx, aside)


def _count(ctx: ChargingCtx, counted: Mapping[str, int]) -> None:
    for outcome, count in counted.items():
        ENVELOPES.add(ctx.service, outcome, by=count)
