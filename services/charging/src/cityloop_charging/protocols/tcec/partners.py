"""Operators as the hot path needs them: keys ready to use, kept for a few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cityloop_charging.context import ChargingCtx
from cityloop_charging.operators import store
from cityloop_charging.operators.domain import Credentials, is_operator_id
from cityloop_charging.operators.vault import Vault
from cityloop_charging.protocols.tcec.crypto import Keys
from cityloop_charging.protocols.tcec.domain import Ret, Taken
from cityloop_charging.protocols.tcec.replies import reply

KEPT_S = 5.0
RENEWED_S = 1.0
MOST_KEPT = 1_000
MOST_NOBODY = 256
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Partner:
    """An operator with its keys. `taken` are the replies to status notifications, which never differ."""

    operator_id: str
    version: int
    strict: bool
    keys: Keys = field(repr=False)
    operator_secret: bytes = field(repr=False)
    taken: Mapping[Taken, bytes] = field(repr=False)


class Partners:
    """Reads an operator's credentials at most every few seconds.

    Rotated secrets reach a replica that late, or with the first message that is signed with them. The unit that stores a
    message compares the version once more, so that nothing is stored under secrets that are no more. Names of nobody have a
    small place of their own: however many are sent, they push out no operator.
    """

    def __init__(self, ctx: ChargingCtx, vault: Vault) -> None:
        self._ctx = ctx
        self._vault = vault
        self._kept: dict[str, tuple[float, Partner]] = {}
        self._nobody: dict[str, tuple[float, None]] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def get(self, operator_id: str, *, stranger: Callable[[], Awaitable[None]], at_most_s: float = KEPT_S) -> Partner | None:
        """The operator, as it was read at most so long ago; None when there is no such. Raises SecretsUnreadable, Unavailable.

        `stranger` is awaited before a read for who is not known here, or that a known one's age does not ask for; it may refuse.
        """
        kept = self._young(operator_id, at_most_s)
        if kept is not None:
            return kept[1]
        if not is_operator_id(operator_id):
            return None
        turn = self._reading.setdefault(operator_id, asyncio.Lock())  # a burst after the end of an entry reads once
        try:
            async with turn:
                kept = self._young(operator_id, at_most_s)
                if kept is not None:
                    return kept[1]
                if operator_id not in self._kept or at_most_s < KEPT_S:
                    await stranger()
                return await self._read(operator_id)
        finally:
            if not turn.locked():
                self._reading.pop(operator_id, None)

    def _young(self, operator_id: str, at_most_s: float) -> tuple[float, Partner | None] | None:
        kept = self._kept.get(operator_id) or self._nobody.get(operator_id)
        return kept if kept is not None and abs(self._ctx.clock.now().timestamp() - kept[0]) < at_most_s else None

    async def _read(self, operator_id: str) -> Partner | None:
        async with self._ctx.db.read() as tx:
            found = await store.credentials(tx, self._vault, operator_id)
        partner = None if found is None else partner_of(found)
        read_at_s = self._ctx.clock.now().timestamp()
        self._kept.pop(operator_id, None)
        self._nobody.pop(operator_id, None)
        if partner is None:
            _keep(self._nobody, operator_id, (read_at_s, None), most=MOST_NOBODY)
        else:
            _keep(self._kept, operator_id, (read_at_s, partner), most=MOST_KEPT)
        return partner


def _keep(kept: dict[str, _T], operator_id: str, value: _T, *, most: int) -> None:
    while len(kept) >= most:
        kept.pop(next(iter(kept)))
    kept[operator_id] = value


def partner_of(found: Credentials) -> Partner:
    """An operator's credentials, made ready."""
    keys = Keys(data_secret=found.data_secret, data_iv=found.data_iv, sig_secret=found.sig_secret)
    taken = {each: reply(keys, Ret.OK, parameters={"Status": int(each)}) for each in Taken}
    return Partner(found.operator_id, found.version, found.strict_replay, keys, found.operator_secret.encode(), taken)
