"""T/CEC 102 without a server: the published vectors, every way an envelope can be wrong, clocks, status numbers, tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_charging.protocols.tcec import domain
from cityloop_charging.protocols.tcec.crypto import Keys, Undecryptable
from cityloop_charging.protocols.tcec.domain import (
    BadEnvelope,
    BadParameter,
    ConnectorStatus,
    Ret,
    Skew,
    TokenRequest,
    read_envelope,
    read_parameters,
    read_stamp,
    read_station_status,
    read_token_request,
    skew,
    stamp_text,
)
from cityloop_charging.protocols.tcec.replies import reply, reply_text
from cityloop_charging.protocols.tcec.tokens import AccessTokens
from cityloop_charging.status.domain import Status

NOON = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
KEYS = Keys(data_secret=b"1234567890abcdef", data_iv=b"1234567890abcdef", sig_secret=b"1234567890abcdef")
GOOD = {"OperatorID": "999000001", "Data": "il7B0BSE", "TimeStamp": "20260601120000", "Seq": "0001", "Sig": "A" * 32}


@pytest.fixture(scope="module")
def vectors(data_dir: Path) -> Mapping[str, Any]:
    """The three published vectors by their id."""
    return {each["id"]: each for each in json.loads((data_dir / "charging" / "tcec_vectors.json").read_text())}


def keys_of(vector: Mapping[str, Any]) -> Keys:
    given = {name: vector[name].encode() for name in ("dataSecret", "dataSecretIV", "sigSecret")}
    return Keys(data_secret=given["dataSecret"], data_iv=given["dataSecretIV"], sig_secret=given["sigSecret"])


@pytest.mark.parametrize("name", ["token-request", "cec-2016-part-4-appendix-c3"])
def test_the_published_requests_are_signed_as_published(vectors: Mapping[str, Any], name: str) -> None:
    """OperatorID, Data, TimeStamp and Seq without anything between; one other character and it is not signed."""
    envelope = read_envelope(json.dumps(vectors[name]["envelope"]).encode())
    keys = keys_of(vectors[name])
    assert keys.sign(envelope.signed_text) == envelope.sig
    assert keys.signed(envelope.signed_text, envelope.sig)
    assert not keys.signed(envelope.signed_text + "0", envelope.sig)
    assert not keys.signed(envelope.signed_text, envelope.sig.lower())


def test_the_published_reply_is_signed_as_published(vectors: Mapping[str, Any]) -> None:
    """Ret, Msg and Data; ours is the same bytes for the same content."""
    vector = vectors["token-reply"]
    keys, said = keys_of(vector), vector["envelope"]
    assert keys.sign(reply_text(said["Ret"], said["Msg"], said["Data"])) == said["Sig"]
    ours = json.loads(reply(keys, Ret.OK, parameters={"Status": 0}))
    assert keys.signed(reply_text(ours["Ret"], ours["Msg"], ours["Data"]), ours["Sig"])
    assert json.loads(keys.decrypt(ours["Data"])) == {"Status": 0}


def test_the_published_ciphertexts_are_what_we_encrypt(vectors: Mapping[str, Any]) -> None:
    """Both ways, byte for byte; the standard's own example has a trailing comma, so it tests cryptography only."""
    for name in ("token-request", "token-reply"):
        keys, data = keys_of(vectors[name]), vectors[name]["envelope"]["Data"]
        plaintext = vectors[name]["plaintext"].encode()
        assert (keys.decrypt(data), keys.encrypt(plaintext)) == (plaintext, data)
    third = vectors["cec-2016-part-4-appendix-c3"]
    keys, data = keys_of(third), third["envelope"]["Data"]
    plaintext = keys.decrypt(data)
    assert keys.encrypt(plaintext) == data
    assert plaintext.decode().startswith("{")
    with pytest.raises(BadParameter):
        read_parameters(plaintext)


def test_the_published_token_request_is_understood(vectors: Mapping[str, Any]) -> None:
    """Who asks, with which secret; the secret shows in no repr."""
    vector = vectors["token-request"]
    asked = read_token_request(read_parameters(keys_of(vector).decrypt(vector["envelope"]["Data"])))
    assert asked == TokenRequest("123456789", "1234567890abcdef")
    assert "1234567890abcdef" not in repr(asked)


@given(st.binary(max_size=200))
def test_what_is_encrypted_comes_back(plaintext: bytes) -> None:
    """Whatever its length: padding is always there."""
    assert KEYS.decrypt(KEYS.encrypt(plaintext)) == plaintext


@pytest.mark.parametrize("data", ["", "x", "####", "AAAA", "AAAA=", "é" * 24, KEYS.encrypt(b"x")[:-4] + "AAA=", " " + KEYS.encrypt(b"x")])
def test_what_cannot_be_decrypted_says_so(data: str) -> None:
    """Not Base64, no whole blocks, broken padding."""
    with pytest.raises(Undecryptable):
        KEYS.decrypt(data)


@given(st.text(max_size=120) | st.binary(min_size=16, max_size=64).map(lambda raw: base64.b64encode(raw).decode()))
def test_decrypting_anything_fails_in_one_way(data: str) -> None:
    """It answers bytes or raises Undecryptable."""
    with suppress(Undecryptable):
        KEYS.decrypt(data)


@pytest.mark.parametrize("wrong", [{"data_secret": b"short"}, {"data_iv": b"x" * 17}, {"sig_secret": b""}])
def test_secrets_of_another_length_are_refused(wrong: dict[str, bytes]) -> None:
    """AES-128 has 16 bytes."""
    given = {"data_secret": b"x" * 16, "data_iv": b"x" * 16, "sig_secret": b"x", **wrong}
    with pytest.raises(ValueError, match="16 bytes"):
        Keys(**given)


@pytest.mark.parametrize("field", list(GOOD))
@pytest.mark.parametrize("value", [None, "", 7, True, ["x"], {}])
def test_every_field_of_the_envelope_is_needed_as_a_text(field: str, value: object) -> None:
    """Missing, empty or another type: 4003, which names the field."""
    with pytest.raises(BadEnvelope, match=field) as refused:
        read_envelope(json.dumps({**GOOD, field: value}).encode())
    assert refused.value.ret is Ret.ENVELOPE
    without = {name: given for name, given in GOOD.items() if name != field}
    with pytest.raises(BadEnvelope, match=field):
        read_envelope(json.dumps(without).encode())


@pytest.mark.parametrize(
    "field, value",
    [
        ("OperatorID", "no\x00body"), ("OperatorID", "x" * 65), ("OperatorID", "９９９０００００１"), ("OperatorID", "-1"),
        ("TimeStamp", "2026060112000"), ("TimeStamp", "202606011200000"), ("TimeStamp", "2026-06-01 12:00"),
        ("TimeStamp", "２０２６０６０１１２００００"),
        ("Seq", "1"), ("Seq", "00001"), ("Seq", "000a"), ("Seq", "٠٠٠١"),
    ],
)  # fmt: skip
def test_fields_that_cannot_be_are_refused(field: str, value: str) -> None:
    """Digits are ASCII digits."""
    with pytest.raises(BadEnvelope, match=field):
        read_envelope(json.dumps({**GOOD, field: value}).encode())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{}" + b" " * domain.MOST_BODY_BYTES])
def test_bodies_that_are_no_envelope(body: bytes) -> None:
    """Not JSON, no object, too deep, too large."""
    with pytest.raises(BadEnvelope):
        read_envelope(body)


def test_other_members_of_an_envelope_are_ignored() -> None:
    """Extensions exist."""
    assert read_envelope(json.dumps({**GOOD, "Version": 2}).encode()).seq == "0001"


def test_stamps_are_local_time_of_the_city() -> None:
    """And back; a date that does not exist is refused."""
    assert read_stamp("20260601120000") == NOON
    assert stamp_text(NOON) == "20260601120000"
    for text in ("20260231000000", "20261301000000", "20260601240000", "20260601126000", "00000101000000"):
        with pytest.raises(BadEnvelope):
            read_stamp(text)


@pytest.mark.parametrize(
    "age, expected",
    [
        (timedelta(minutes=10), None),
        (timedelta(minutes=10, seconds=1), Skew.LATE),
        (timedelta(minutes=-5), None),
        (timedelta(minutes=-5, seconds=-1), Skew.EARLY),
    ],
)
def test_ten_minutes_late_and_five_early_are_believed(age: timedelta, expected: Skew | None) -> None:
    """The limits themselves are fine."""
    assert skew(NOON - age, NOON) is expected


@pytest.mark.parametrize(
    "number, status",
    [
        (0, Status.UNKNOWN), (1, Status.AVAILABLE), (2, Status.BLOCKED), (3, Status.CHARGING), (4, Status.RESERVED),
        (255, Status.OUTOFORDER),
    ],
)  # fmt: skip
def test_status_numbers_in_ocpis_words(number: int, status: Status) -> None:
    """2 is a car that is plugged in and does not charge: not free."""
    found = read_station_status({"ConnectorStatusInfo": {"ConnectorID": "S00101", "Status": number}})
    assert found == (ConnectorStatus("S00101", status),)


def test_one_connector_or_a_list() -> None:
    """The standard has one object; several senders send a list. Park and lock status stay as they came."""
    one = {"ConnectorID": "S00101", "Status": 1, "ParkStatus": 50, "LockStatus": 0, "Extra": "x"}
    two = {"ConnectorID": "S00102", "Status": 3, "ParkStatus": None}
    assert read_station_status({"ConnectorStatusInfo": [one, two]}) == (
        ConnectorStatus("S00101", Status.AVAILABLE, 50, 0),
        ConnectorStatus("S00102", Status.CHARGING),
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"ConnectorStatusInfo": None},
        {"ConnectorStatusInfo": "x"},
        {"ConnectorStatusInfo": []},
        {"ConnectorStatusInfo": [None]},
        {"ConnectorStatusInfo": {"Status": 1}},
        {"ConnectorStatusInfo": {"ConnectorID": "", "Status": 1}},
        {"ConnectorStatusInfo": {"ConnectorID": "x" * 65, "Status": 1}},
        {"ConnectorStatusInfo": {"ConnectorID": "a\x00b", "Status": 1}},
        {"ConnectorStatusInfo": {"ConnectorID": "充电", "Status": 1}},
        {"ConnectorStatusInfo": {"ConnectorID": 101, "Status": 1}},
        {"ConnectorStatusInfo": {"ConnectorID": "a"}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": "1"}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": True}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": 1.0}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": 5}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": -1}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": 1, "ParkStatus": "50"}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": 1, "ParkStatus": 256}},
        {"ConnectorStatusInfo": {"ConnectorID": "a", "Status": 1, "LockStatus": -1}},
        {"ConnectorStatusInfo": [{"ConnectorID": "a", "Status": 1}, {"ConnectorID": "a", "Status": 3}]},
        {"ConnectorStatusInfo": [{"ConnectorID": f"c{number}", "Status": 1} for number in range(501)]},
    ],
)
def test_parameters_that_are_not_right(parameters: dict[str, object]) -> None:
    """4004, and nothing of what was sent is quoted."""
    with pytest.raises(BadParameter) as refused:
        read_station_status(parameters)
    assert refused.value.ret is Ret.BUSINESS
    assert "c499" not in refused.value.detail


NAMES = st.sampled_from(["ConnectorStatusInfo", "ConnectorID", "Status", *GOOD])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_reading_anything_fails_in_the_standards_words(body: bytes) -> None:
    """An envelope, parameters, a status, a token request: each is read, or refused with a Ret."""

    for read in (
        lambda: read_envelope(body),
        lambda: read_station_status(read_parameters(body)),
        lambda: read_token_request(read_parameters(body)),
    ):
        with suppress(BadEnvelope, BadParameter):
            read()


def test_a_token_is_its_operators_until_its_end_or_new_secrets() -> None:
    """Any replica with the same key knows it; nobody else can make one."""
    tokens = AccessTokens(b"k" * 32, lasts_s=7200)
    token = tokens.issue("999000001", version=3, now_s=1000)
    assert len(token) <= 64
    again = AccessTokens(b"k" * 32, lasts_s=60)
    assert again.holds(token, "999000001", version=3, now_s=8199.9)
    assert not again.holds(token, "999000001", version=3, now_s=8200)
    assert not again.holds(token, "999000001", version=4, now_s=1000)
    assert not again.holds(token, "999000002", version=3, now_s=1000)
    assert not AccessTokens(b"j" * 32, lasts_s=60).holds(token, "999000001", version=3, now_s=1000)


@given(st.text(max_size=80))
def test_what_is_no_token_never_holds(text: str) -> None:
    """Whatever it is."""
    assert not AccessTokens(b"k" * 32, lasts_s=7200).holds(text, "999000001", version=1, now_s=0)


def test_a_token_cannot_be_lengthened() -> None:
    """Its end is under the seal."""
    tokens = AccessTokens(b"k" * 32, lasts_s=7200)
    end, _, mac = tokens.issue("999000001", version=1, now_s=1000).partition(".")
    assert not tokens.holds(f"{int(end, 16) + 1:x}.{mac}", "999000001", version=1, now_s=1000)
