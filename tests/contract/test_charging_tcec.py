"""T/CEC over HTTP, on every database: each fault has its Ret, each envelope takes effect once, clocks that are off are put aside."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from cityloop_charging.operators import store as operators_store
from cityloop_charging.operators import use_cases as operators
from cityloop_charging.operators.domain import Credentials, Secrets
from cityloop_charging.operators.tables import operator
from cityloop_charging.operators.use_cases import NewOperator
from cityloop_charging.operators.vault import Vault
from cityloop_charging.protocols.tcec import partners, use_cases
from cityloop_charging.protocols.tcec import store as tcec_store
from cityloop_charging.protocols.tcec.desk import STRANGERS_PER_MINUTE
from cityloop_charging.protocols.tcec.domain import MOST_BODY_BYTES, ConnectorStatus, Taken
from cityloop_charging.protocols.tcec.tables import tcec_seen
from cityloop_charging.protocols.tcec.use_cases import ENVELOPES, Push
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import EvseUid
from cityloop_charging.status import store
from cityloop_charging.status.domain import Status
from cityloop_charging.status.tables import evse_contact, evse_quarantine, evse_status
from cityloop_common.db import Tx
from cityloop_common.errors import Unavailable
from tests.contract.charging_support import OPERATOR, City, city, make_tables, station
from tests.contract.tcec_support import PATH, Door, Said, Sender, door

OTHER = "999000002"
ONE, TWO = EvseUid(f"{OPERATOR}*S001*S00101"), EvseUid(f"{OPERATOR}*S001*S00102")
NOTIFY = "notification_stationStatus"


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A city with a station of two EVSEs, and one of another operator."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        theirs = station(2, operator_id=OTHER)
        async with opened.db.write() as tx:
            await registry.put_in(tx, opened.ctx, [station(), theirs], source="test")
        yield opened


@pytest.fixture
async def desk(town: City) -> AsyncIterator[Door]:
    """One replica."""
    async with door(town) as opened:
        yield opened


@pytest.fixture
async def sender(desk: Door) -> Sender:
    """The operator of the first station, with a token."""
    return await desk.add_operator()


async def statuses(town: City) -> dict[str, Status]:
    """What is known of each EVSE now."""
    async with town.db.read() as tx:
        return {live.entry.report.evse.uid: live.status for live in await store.page(tx, after="", most=100)}


def taken(said: Said) -> int | None:
    """The Status of a signed answer with Ret 0; None for a refusal."""
    assert said.signed, said
    return said.parameters["Status"] if said.ret == 0 and said.parameters else None


async def test_a_status_becomes_current(desk: Door, sender: Sender) -> None:
    """Ret 0, Status 0, signed; the city is told; park status is kept as it came."""
    said = await sender.push(3, ParkStatus=50)
    assert (said.ret, said.msg, said.parameters, said.signed) == (0, "", {"Status": 0}, True)
    assert await statuses(desk.town) == {ONE: Status.CHARGING}
    told = [event.body() for event in await desk.town.told() if event.topic == "charging.evse"]
    assert [(body["evse_uid"], body["status"]) for body in told] == [(ONE, "CHARGING")]
    async with desk.town.db.read() as tx:
        row = (await tx.all(select(evse_status)))[0]
    assert (row.happened_at, row.seq, row.source, row.park_status, row.lock_status) == (sender.at, 1, "tcec", 50, None)


async def test_a_list_is_taken_wholly_or_not_at_all(desk: Door, sender: Sender) -> None:
    """One unknown connector among two: 4004, which says which entry; nothing is stored, not even that it came."""
    both = [{"ConnectorID": "S00101", "Status": 1}, {"ConnectorID": "S00102", "Status": 3}]
    wrong = [*both, {"ConnectorID": "S00109", "Status": 3}]
    said = await sender.send(NOTIFY, sender.envelope({"ConnectorStatusInfo": wrong}))
    assert (said.ret, said.signed) == (4004, True)
    assert "entry 3" in said.msg
    assert "S00109" not in said.msg
    assert [await desk.town.count(table) for table in (evse_status, tcec_seen)] == [0, 0]
    assert taken(await sender.send(NOTIFY, sender.envelope({"ConnectorStatusInfo": both}))) == 0
    assert await statuses(desk.town) == {ONE: Status.AVAILABLE, TWO: Status.CHARGING}


ENVELOPE_FAULTS: list[tuple[str, dict[str, Any], int]] = [
    *[(f"{name} is missing", {name: None}, 4003) for name in ("OperatorID", "Data", "TimeStamp", "Seq", "Sig")],
    *[(f"{name} is a number", {name: 7}, 4003) for name in ("OperatorID", "Data", "TimeStamp", "Seq", "Sig")],
    ("nobody's id", {"OperatorID": "999000009"}, 4001),
    ("another operator's id", {"OperatorID": OTHER}, 4001),
    ("an id that cannot be", {"OperatorID": "999\x00"}, 4003),
    ("an id in small letters", {"OperatorID": "99900000a"}, 4001),
    ("another stamp", {"TimeStamp": "20260101000000"}, 4001),
    ("a stamp of 13 digits", {"TimeStamp": "2026010100000"}, 4003),
    ("another Seq", {"Seq": "0002"}, 4001),
    ("a Seq of letters", {"Seq": "abcd"}, 4003),
    ("other Data", {"Data": "QUJDREVGR0hJSktMTU5PUA=="}, 4001),
    ("a small Sig", {"Sig": "a" * 32}, 4001),
    ("a Sig of another kind", {"Sig": "雪"}, 4001),
]


@pytest.mark.parametrize("interface", ["query_token", NOTIFY])
async def test_a_broken_envelope_has_its_number(desk: Door, sender: Sender, interface: str) -> None:
    """Each fault, on both interfaces; nothing is stored. The answer is signed as soon as an operator can be told from it."""
    await desk.add_operator(OTHER)
    for fault, changes, ret in ENVELOPE_FAULTS:
        envelope = {name: value for name, value in {**sender.status(3), **changes}.items() if value is not None}
        said = await sender.send(interface, envelope)
        assert (said.ret, said.parameters) == (ret, None), fault
        assert said.signed == (ret == 4001 and envelope["OperatorID"] == OPERATOR), fault
    assert await desk.town.count(evse_status) == 0


@pytest.mark.parametrize("interface", ["query_token", NOTIFY])
async def test_a_body_that_is_no_envelope_is_4003(desk: Door, sender: Sender, interface: str) -> None:
    """Also one that the edge refuses before it is read."""
    for body in (b"", b"{", b"[]", b"null", b"\xff", b"{}", b"[" * 5_000, b"x" * (MOST_BODY_BYTES + 1), b"x" * 1_100_000):
        said = await sender.send(interface, body)
        assert (said.ret, said.parameters, said.signed) == (4003, None, False), body[:9]


async def test_an_interface_that_is_not_there_is_told_in_the_standards_words(desk: Door) -> None:
    """HTTP 200 with 4004."""
    for method, path in (("GET", NOTIFY), ("PUT", "query_token"), ("POST", "notification_stationInfo"), ("GET", "none")):
        answer = await desk.client.request(method, f"{PATH}/{path}")
        assert (answer.status_code, answer.json()["Ret"]) == (200, 4004), path


async def test_data_that_is_signed_and_cannot_be_decrypted_is_4003(desk: Door, sender: Sender) -> None:
    """Not Base64, no whole blocks, broken padding: one answer."""
    good = sender.status(3)["Data"]
    seen = set()
    for data in ("####", "AAAA", good[:-8] + "AAAAAAA=", "QUJDREVGR0hJSktMTU5PUA=="):
        fields = {"OperatorID": sender.id, "Data": data, "TimeStamp": sender.status(3)["TimeStamp"], "Seq": "0001"}
        said = await sender.send(NOTIFY, {**fields, "Sig": sender.keys.sign("".join(fields.values()))})
        seen.add((said.ret, said.msg, said.signed))
    assert seen == {(4003, "Data cannot be decrypted", True)}


async def test_parameters_that_are_not_right_are_4004(desk: Door, sender: Sender) -> None:
    """Signed, decrypted, and not what the interface takes."""
    for plaintext in (b"", b"x", b"[]", b"null", b'{"ConnectorStatusInfo":{},}', b"\xff\xfe", b"[" * 5_000, b"{}"):
        for interface in ("query_token", NOTIFY):
            said = await sender.send(interface, sender.envelope(plaintext))
            assert (said.ret, said.signed) == (4004, True), plaintext[:9]


async def test_a_date_that_does_not_exist_is_4003(desk: Door, sender: Sender) -> None:
    """Signed as it may be."""
    fields = {"OperatorID": sender.id, "Data": sender.status(3)["Data"], "TimeStamp": "20260231120000", "Seq": "0001"}
    said = await sender.send(NOTIFY, {**fields, "Sig": sender.keys.sign("".join(fields.values()))})
    assert (said.ret, said.signed) == (4003, True)


async def test_a_push_needs_the_operators_own_token(desk: Door, sender: Sender) -> None:
    """None, garbage, another operator's, another scheme: 4002."""
    other = await desk.add_operator(OTHER)
    for token in ("", "x", "0" * 5_000, other.token, sender.token[:-1] + "~", "雪"):
        assert (await sender.send(NOTIFY, sender.status(3), token=token)).ret == 4002
    answer = await desk.client.post(f"{PATH}/{NOTIFY}", json=sender.status(3), headers={"authorization": f"Basic {sender.token}"})
    assert answer.json()["Ret"] == 4002
    answer = await desk.client.post(f"{PATH}/{NOTIFY}", json=sender.status(3))
    assert answer.json()["Ret"] == 4002
    assert await statuses(desk.town) == {}


async def test_a_token_lasts_two_hours_on_every_replica(desk: Door, sender: Sender, url: str, tmp_path: Path) -> None:
    """Another replica with the same key takes it; after 7,200 s nobody does."""
    desk.town.clock.stand()
    await sender.log_in()
    said = await sender.ask_token()
    assert said.parameters is not None
    assert (said.parameters["OperatorID"], said.parameters["SuccStat"], said.parameters["FailReason"]) == (OPERATOR, 0, 0)
    assert said.parameters["TokenAvailableTime"] == 7200
    async with city(url, tmp_path) as replica, door(replica) as second:
        assert taken(await second.at_this_door(sender).push(3)) == 0
    desk.town.later(seconds=7199 - 5)
    sender.at = desk.town.clock.now().replace(microsecond=0)
    assert taken(await sender.push(1)) == 0
    desk.town.later(seconds=10)
    sender.later(10)
    assert (await sender.push(3)).ret == 4002


async def test_new_secrets_end_the_old_ones_and_their_tokens(desk: Door, sender: Sender) -> None:
    """What is signed with the old ones is 4001; with the new ones the old token is 4002, a new one works at once."""
    issued = await operators.rotate(desk.town.ctx, operators.open_vault(desk.town.ctx), OPERATOR)
    assert (await sender.push(3)).ret == 4001
    desk.town.later(seconds=1.5)
    sender.secrets = issued.secrets
    assert (await sender.push(3)).ret == 4002
    await sender.log_in()
    assert taken(await sender.push(3)) == 0


async def test_the_published_token_request_is_answered(desk: Door, data_dir: Path) -> None:
    """The envelope of 2018, byte for byte: asking for a token has no effect, so its age does not matter; and it is not noted."""
    vectors = json.loads((data_dir / "charging" / "tcec_vectors.json").read_text())
    envelope = next(each["envelope"] for each in vectors if each["id"] == "token-request")
    own = Secrets("1234567890abcdef", b"1234567890abcdef", b"1234567890abcdef", b"1234567890abcdef")
    new = NewOperator("123456789", "published", secrets=own)
    await operators.add(desk.town.ctx, operators.open_vault(desk.town.ctx), new)
    published = Sender(desk.client, "123456789", own, desk.town.clock.now())
    for _ in range(2):
        said = await published.send("query_token", envelope)
        assert (said.ret, said.signed) == (0, True)
        assert said.parameters is not None
        assert (said.parameters["SuccStat"], said.parameters["TokenAvailableTime"]) == (0, 7200)
    assert await desk.town.count(tcec_seen) == 0


async def test_a_wrong_operator_secret_gets_no_token(desk: Door, sender: Sender) -> None:
    """Answered as the standard says: Ret 0, SuccStat 1, FailReason 2; another operator's id in Data is 4004."""
    said = await sender.ask_token(OperatorSecret="wrong")
    assert (said.ret, said.signed) == (0, True)
    assert said.parameters == {"OperatorID": OPERATOR, "SuccStat": 1, "AccessToken": "", "TokenAvailableTime": 0, "FailReason": 2}
    assert (await sender.ask_token(OperatorID=OTHER)).ret == 4004


async def test_five_wrong_secrets_a_minute_close_the_door_for_its_operator(desk: Door, sender: Sender) -> None:
    """Then even the right one is told to come later, until the minute is over; others, and pushes, go on."""
    other = await desk.add_operator(OTHER)
    desk.town.later(seconds=60 - desk.town.clock.now().timestamp() % 60 + 1)  # a minute that has just begun
    for _ in range(5):
        assert (await sender.ask_token(OperatorSecret="wrong")).ret == 0
    assert [(await sender.ask_token(OperatorSecret="wrong")).ret, (await sender.ask_token()).ret] == [-1, -1]
    assert (await other.ask_token()).ret == 0
    sender.at = desk.town.clock.now().replace(microsecond=0)
    assert taken(await sender.push(3)) == 0
    desk.town.later(seconds=60)
    assert (await sender.ask_token()).ret == 0


async def test_many_wrong_secrets_at_once_learn_no_more_than_five(desk: Door, sender: Sender) -> None:
    """Thirty in flight, the last of them right: five are answered, the others are told to come later."""
    desk.town.later(seconds=60 - desk.town.clock.now().timestamp() % 60 + 1)
    guesses = [sender.ask_token(OperatorSecret=f"guess {number}") for number in range(29)]
    answers = await asyncio.gather(*guesses, sender.ask_token())
    assert sorted(said.ret for said in answers) == [-1] * 25 + [0] * 5
    assert answers[-1].ret == -1


async def test_right_secrets_are_not_limited(desk: Door, sender: Sender) -> None:
    """Failures are: a right one clears those before it, so three wrong ones between right ones lock nobody out."""
    desk.town.later(seconds=60 - desk.town.clock.now().timestamp() % 60 + 1)
    for _ in range(4):
        rets = [(await sender.ask_token(OperatorSecret="wrong")).ret for _ in range(3)]
        assert [*rets, (await sender.ask_token()).ret] == [0] * 4


async def test_names_of_nobody_are_looked_up_no_more_than_a_network_may(
    desk: Door, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then they are told to come later; whoever is known goes on, and is pushed out of memory by none of them."""
    desk.town.later(seconds=60 - desk.town.clock.now().timestamp() % 60 + 1)
    sender.at = desk.town.clock.now().replace(microsecond=0)
    await sender.log_in()
    read: list[str] = []
    reads = operators_store.credentials

    async def counted(tx: Tx, vault: Vault, operator_id: str) -> Credentials | None:
        read.append(operator_id)
        return await reads(tx, vault, operator_id)

    monkeypatch.setattr(operators_store, "credentials", counted)
    monkeypatch.setattr(partners, "MOST_KEPT", 2)
    names = [f"NOBODY{number:03d}" for number in range(100)]
    answers = [await sender.send(NOTIFY, {**sender.status(3), "OperatorID": name}) for name in names]
    assert [said.ret for said in answers] == [4001] * STRANGERS_PER_MINUTE + [-1] * (100 - STRANGERS_PER_MINUTE)
    assert taken(await sender.push(3)) == 0
    assert read == names[:STRANGERS_PER_MINUTE]
    desk.town.later(seconds=10)
    assert taken(await sender.push(1)) == 0
    assert read[STRANGERS_PER_MINUTE:] == [OPERATOR]
    desk.town.later(seconds=60)
    assert (await sender.send(NOTIFY, {**sender.status(3), "OperatorID": names[-1]})).ret == 4001


async def test_forged_envelopes_close_nobodys_door(desk: Door, sender: Sender) -> None:
    """Only who holds the SigSecret can spend an operator's tries."""
    for _ in range(20):
        await sender.send("query_token", {**sender.envelope({"OperatorID": OPERATOR, "OperatorSecret": "wrong"}), "Sig": "A" * 32})
    assert (await sender.ask_token()).ret == 0


async def test_an_operator_reports_on_its_own_connectors_only(desk: Door, sender: Sender) -> None:
    """Another's, an unknown and a removed one are answered alike."""
    async with desk.town.db.write() as tx:
        await registry.put_in(tx, desk.town.ctx, [station(evses=1)], source="test")
    refusals = [await sender.push(3, connector) for connector in ("S00201", "S99999", "S00102")]
    assert {(said.ret, said.msg) for said in refusals} == {(4004, refusals[0].msg)}
    assert await statuses(desk.town) == {}


async def test_the_same_envelope_again_is_answered_again_and_has_no_second_effect(desk: Door, sender: Sender) -> None:
    """The same bytes, at any replica, at any time of the day; what is newer stays."""
    first = sender.status(3)
    said = await sender.send(NOTIFY, first)
    sender.later(1)
    await sender.push(1)
    before = [await desk.town.count(table) for table in (evse_status, tcec_seen, evse_contact)]
    for _ in range(3):
        assert (await sender.send(NOTIFY, first)).raw == said.raw
    desk.town.later(minutes=110)
    assert (await sender.send(NOTIFY, first)).raw == said.raw
    assert [await desk.town.count(table) for table in (evse_status, tcec_seen, evse_contact)] == before
    assert await statuses(desk.town) == {ONE: Status.AVAILABLE}


async def test_a_seq_used_twice_for_other_content_is_taken_once_and_counted(desk: Door, sender: Sender) -> None:
    """Careless senders number everything 0001: both are messages, each once."""
    before = ENVELOPES.value("charging", "seq_reused")
    assert [taken(await sender.push(3)), taken(await sender.push(1, "S00102"))] == [0, 0]
    assert ENVELOPES.value("charging", "seq_reused") == before + 1
    assert await desk.town.count(tcec_seen) == 2
    assert await statuses(desk.town) == {ONE: Status.CHARGING, TWO: Status.AVAILABLE}


async def test_a_strict_operator_may_not_use_a_seq_twice(desk: Door) -> None:
    """4003 for other content under the same TimeStamp and Seq; the same envelope again is answered again."""
    strict = await desk.add_operator(OTHER, strict=True)
    first = strict.status(3, "S00201")
    said = await strict.send(NOTIFY, first)
    assert taken(said) == 0
    again = await strict.push(1, "S00201")
    assert (again.ret, again.signed) == (4003, True)
    assert (await strict.send(NOTIFY, first)).raw == said.raw
    strict.seq = "0002"
    assert taken(await strict.push(1, "S00201")) == 0
    assert await statuses(desk.town) == {f"{OTHER}*S002*S00201": Status.AVAILABLE}


async def test_of_two_replicas_only_one_takes_a_strict_operators_seq(desk: Door, url: str, tmp_path: Path) -> None:
    """Twelve different messages under one Seq at once, six a replica: one is taken, eleven are 4003."""
    strict = await desk.add_operator(OTHER, strict=True)
    async with city(url, tmp_path) as replica, door(replica) as second:
        doors = [strict, second.at_this_door(strict)]
        pushes = [doors[number % 2].push(3 if number % 3 else 1, "S00201", ParkStatus=number) for number in range(12)]
        answers = await asyncio.gather(*pushes)
    assert sorted(said.ret for said in answers) == [0] + [4003] * 11
    assert await desk.town.count(evse_status) == 1


async def test_whoever_loses_a_strict_seq_is_told_so_however_often_it_sent_at_once(
    desk: Door, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica notes the Seq between this one's look and its note: both copies in the group are 4003, none is Ret 0."""
    strict = await desk.add_operator(OTHER, strict=True)
    look_up, first = tcec_store.look_up, strict.status(3, "S00201")
    looks: list[int] = []

    async def look_before(tx: Tx, envelopes: Any) -> Any:
        known = await look_up(tx, envelopes)
        looks.append(len(looks))
        return {each: replace(one, reused=False) for each, one in known.items()} if looks == [0] else known

    assert taken(await strict.send(NOTIFY, first)) == 0
    monkeypatch.setattr(tcec_store, "look_up", look_before)
    second = strict.status(1, "S00201")
    async with city(url, tmp_path) as replica, door(replica) as other:
        there = other.at_this_door(strict)
        answers = await asyncio.gather(*(there.send(NOTIFY, second) for _ in range(2)))
    assert [said.ret for said in answers] == [4003, 4003]
    assert await statuses(desk.town) == {f"{OTHER}*S002*S00201": Status.CHARGING}


async def test_one_envelope_sent_to_two_replicas_at_once_takes_effect_once(desk: Door, sender: Sender, url: str, tmp_path: Path) -> None:
    """Ten different ones, each twenty times, shuffled: everyone is told the same, each is journalled once."""
    async with city(url, tmp_path) as replica, door(replica) as second:
        doors = [sender, second.at_this_door(sender)]
        envelopes = []
        for number in range(10):
            sender.seq = f"{number:04d}"
            envelopes.append(sender.status(1 + 2 * (number % 2)))
        sends = [(copy % 2, envelope) for copy in range(20) for envelope in envelopes]
        random.Random(7).shuffle(sends)
        answers = await asyncio.gather(*(doors[which].send(NOTIFY, envelope) for which, envelope in sends))
    assert {said.raw for said in answers} == {answers[0].raw}
    assert taken(answers[0]) == 0
    assert await desk.town.count(tcec_seen) == 10
    async with desk.town.db.read() as tx:
        rows = await tx.all(select(evse_status))
    assert len({(row.happened_at, row.seq) for row in rows}) == len(rows) <= 10
    assert await statuses(desk.town) == {ONE: Status.CHARGING}


async def test_shuffled_and_repeated_pushes_end_in_the_newest(desk: Door, sender: Sender) -> None:
    """Sixty stamps, each sent twice, in any order: the newest is current."""
    envelopes = []
    for number in range(60):
        envelopes.append(sender.status([1, 3, 2][number % 3]))
        sender.later(1)
    doubled = envelopes * 2
    random.Random(11).shuffle(doubled)
    answers = await asyncio.gather(*(sender.send(NOTIFY, envelope) for envelope in doubled))
    assert {taken(said) for said in answers} == {0}
    assert await statuses(desk.town) == {ONE: Status.BLOCKED}
    assert await desk.town.count(tcec_seen) == 60


@pytest.mark.parametrize("off, skew", [(timedelta(minutes=-11), "late"), (timedelta(minutes=6), "early"), (timedelta(days=-3000), "late")])
async def test_a_stamp_that_cannot_be_believed_is_put_aside(desk: Door, sender: Sender, off: timedelta, skew: str) -> None:
    """Ret 0, Status 1: received, and no repetition would help. It is kept once, never current, and blocks nothing later."""
    now = sender.at
    sender.at = now + off
    envelope = sender.status(255)
    assert [taken(await sender.send(NOTIFY, envelope)) for _ in range(2)] == [1, 1]
    async with desk.town.db.read() as tx:
        q = evse_quarantine.c
        kept = await tx.all(select(q.evse_uid, q.skew, q.first_at, q.last_at, q.count))
    assert [tuple(row) for row in kept] == [(ONE, skew, sender.at, sender.at, 1)]
    assert await desk.town.count(evse_status) == 0
    sender.at = now
    assert taken(await sender.push(1)) == 0
    assert await statuses(desk.town) == {ONE: Status.AVAILABLE}


async def test_a_late_stamp_is_journalled_and_not_current(desk: Door, sender: Sender) -> None:
    """Within the ten minutes it is history, not quarantine; the receive time is kept beside its own."""
    assert taken(await sender.push(3)) == 0
    newest = sender.at
    sender.later(-300)
    assert taken(await sender.push(1)) == 0
    assert await statuses(desk.town) == {ONE: Status.CHARGING}
    async with desk.town.db.read() as tx:
        rows = await tx.all(select(evse_status).order_by(evse_status.c.happened_at))
    assert [row.happened_at for row in rows] == [newest - timedelta(seconds=300), newest]
    assert all(row.recorded_at > newest - timedelta(seconds=1) for row in rows)


async def test_envelopes_are_forgotten_after_a_day(desk: Door, sender: Sender) -> None:
    """By then their stamp is too old to take effect again: a repetition is put aside."""
    envelope = sender.status(3)
    await sender.send(NOTIFY, envelope)
    desk.town.later(hours=23.9)
    assert await use_cases.prune(desk.town.ctx) == 0
    desk.town.later(hours=0.2)
    assert await use_cases.prune(desk.town.ctx) == 1
    await sender.log_in()
    assert taken(await sender.send(NOTIFY, envelope)) == 1
    assert await desk.town.count(evse_status) == 1


@pytest.mark.parametrize("ahead_h", [25, 24 * 30])
async def test_an_envelope_from_tomorrow_takes_no_effect_tomorrow(desk: Door, sender: Sender, ahead_h: int) -> None:
    """It was put aside when it came, and is answered so again when its time has come; a day later it is forgotten."""
    sender.later(ahead_h * 3600)
    envelope = sender.status(255)
    assert taken(await sender.send(NOTIFY, envelope)) == 1
    desk.town.later(hours=ahead_h)
    await use_cases.prune(desk.town.ctx)
    await sender.log_in()
    assert taken(await sender.send(NOTIFY, envelope)) == 1
    assert await desk.town.count(evse_status) == 0
    desk.town.later(hours=24.1)
    assert await use_cases.prune(desk.town.ctx) == 1


async def test_a_clock_that_is_years_ahead_keeps_no_envelope_for_years(desk: Door, sender: Sender) -> None:
    """A month and a day."""
    sender.later(3 * 366 * 86_400)
    assert taken(await sender.push(255)) == 1
    desk.town.later(days=32, hours=0.1)
    assert await use_cases.prune(desk.town.ctx) == 1


async def test_one_bad_notification_in_a_group_stops_no_other(desk: Door, sender: Sender) -> None:
    """In one unit: unknown connector, judged by old secrets, good, its repetition, put aside, good again."""
    now = desk.town.clock.now()

    def push(seq: int, connector: str = "S00101", *, version: int = 1, at: timedelta = timedelta(0), sig: str = "") -> Push:
        statuses = (ConnectorStatus(connector, Status.CHARGING if seq % 2 else Status.AVAILABLE),)
        return Push(OPERATOR, version, False, "20260601120000", f"{seq:04d}", sig or f"{seq:032X}", now + at, now, statuses)

    pushes = [push(1, "S99999"), push(2, version=2), push(3), push(3), push(4, at=timedelta(minutes=9)), push(6, "S00102")]
    async with desk.town.db.write() as tx:
        outcomes = await use_cases.push_in(tx, desk.town.ctx, pushes)
    assert [each if isinstance(each, Taken) else getattr(each, "ret", None) for each in outcomes] == [4004, 4001, 0, 0, 1, 0]
    assert await statuses(desk.town) == {ONE: Status.CHARGING, TWO: Status.AVAILABLE}
    assert [await desk.town.count(table) for table in (tcec_seen, evse_status, evse_quarantine)] == [3, 2, 1]


async def test_a_repetition_after_an_answer_that_was_lost_is_the_same(desk: Door, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away: -1, send again; the same envelope is then taken, once."""
    envelope = sender.status(3)

    async def away(*_: object) -> None:
        raise Unavailable

    with monkeypatch.context() as broken:
        broken.setattr(tcec_store, "remember", away)
        assert (await sender.send(NOTIFY, envelope)).ret == -1
    assert await desk.town.count(evse_status) == 0
    assert taken(await sender.send(NOTIFY, envelope)) == 0


async def test_what_nobody_foresaw_is_500_and_tells_nothing(desk: Door, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed, HTTP 200, without the error's words."""

    async def fails(*_: object) -> None:
        raise RuntimeError("the secret is 1234567890abcdef")

    monkeypatch.setattr(tcec_store, "look_up", fails)
    said = await sender.push(3)
    assert (said.ret, said.msg, said.signed) == (500, "system error", True)


async def test_secrets_that_cannot_be_opened_are_500(desk: Door, sender: Sender) -> None:
    """Sealed under another key: nobody is known then, so the answer is not signed."""
    async with desk.town.db.write() as tx:
        await tx.run(operator.update().values(key_id="other"))
    desk.town.later(seconds=10)
    said = await sender.push(3)
    assert (said.ret, said.signed) == (500, False)


PIECES = st.sampled_from(["OperatorID", "Data", "TimeStamp", "Seq", "Sig"])
VALUES = (
    st.none() | st.integers() | st.text(max_size=40) | st.lists(st.integers(), max_size=2) | st.sampled_from([OPERATOR, "0001", "A" * 32])
)
PLAIN = st.binary(max_size=40) | st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.dictionaries(st.sampled_from(["ConnectorStatusInfo", "ConnectorID", "Status", "ParkStatus"]), inner, max_size=3)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(PIECES, VALUES, max_size=2), PLAIN, st.sampled_from(["query_token", NOTIFY]), st.booleans())
def test_nothing_that_is_sent_escapes_the_standard(
    fuzz: tuple[asyncio.Runner, Sender], changes: dict[str, object], plain: object, interface: str, with_token: bool
) -> None:
    """Whatever the envelope and its Data hold: HTTP 200 and one of the numbers, never a server error."""
    runner, sender = fuzz
    envelope = {**sender.envelope(plain), **changes}
    said = runner.run(sender.send(interface, envelope, token=sender.token if with_token else ""))
    assert said.ret in {4001, 4002, 4003, 4004} or (said.ret == 0 and said.signed), said


@pytest.fixture
def fuzz(tmp_path: Path) -> Any:
    """A sender on one event loop that outlives the examples."""
    url = f"sqlite:///{tmp_path / 'charging.db'}"
    with asyncio.Runner() as runner:
        stack: list[Any] = []

        async def open_all() -> Sender:
            await make_tables(url)
            town_at = city(url, tmp_path)
            opened = await town_at.__aenter__()
            async with opened.db.write() as tx:
                await registry.put_in(tx, opened.ctx, [station()], source="test")
            door_at = door(opened)
            entered = await door_at.__aenter__()
            stack.extend([town_at, door_at])
            return await entered.add_operator()

        async def close_all() -> None:
            for each in reversed(stack):
                await each.__aexit__(None, None, None)

        yield runner, runner.run(open_all())
        runner.run(close_all())


def test_an_answer_names_no_secret(fuzz: tuple[asyncio.Runner, Sender]) -> None:
    """In none of the refusals, nor the plaintext of what was sent."""
    runner, sender = fuzz
    secrets = [sender.secrets.operator_secret, *(each.decode() for each in (sender.secrets.data_secret, sender.secrets.sig_secret))]
    raws = [
        runner.run(sender.send("query_token", sender.envelope({"OperatorID": OPERATOR}))).raw,
        runner.run(sender.push(77, "S00101")).raw,
        runner.run(sender.push(1, "S00109")).raw,
        runner.run(sender.ask_token(OperatorSecret="no-such-secret")).raw,
    ]
    for raw in raws:
        assert not any(secret in raw.decode() for secret in (*secrets, "no-such-secret", "S00109"))
