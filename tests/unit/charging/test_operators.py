"""Operators' secrets: what can be one, how they rest, and that they show nowhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cityloop_charging.operators.domain import (
    NOBODY,
    Credentials,
    InvalidOperator,
    OperatorId,
    ParkStatus,
    Secrets,
    SecretsUnreadable,
    check_operator,
    check_secrets,
    draw_secrets,
)
from cityloop_charging.operators.vault import NONCE_BYTES, Vault
from cityloop_common.rng import Rng

ID = OperatorId("999000001")
SECRETS = Secrets("operator-secret", b"1234567890abcdef", b"fedcba0987654321", b"sig-secret")


def test_drawn_secrets_can_be_used_and_differ() -> None:
    """Two draws share nothing."""
    chance = Rng("operators").stream("secrets")
    one, other = check_secrets(draw_secrets(chance)), check_secrets(draw_secrets(chance))
    texts = [
        each for secrets in (one, other) for each in (secrets.operator_secret, secrets.data_secret, secrets.data_iv, secrets.sig_secret)
    ]
    assert len(set(texts)) == 8


def test_what_was_sealed_is_opened_and_no_secret_is_in_it() -> None:
    """Twice sealed is twice other bytes: a nonce is used once."""
    vault = Vault(b"k" * 32, rng=Rng())
    sealed, again = vault.seal(ID, SECRETS), vault.seal(ID, SECRETS)
    assert vault.open(ID, sealed, key_id=vault.key_id) == SECRETS == vault.open(ID, again, key_id=vault.key_id)
    assert sealed[:NONCE_BYTES] != again[:NONCE_BYTES]
    for secret in (SECRETS.operator_secret.encode(), SECRETS.data_secret, SECRETS.data_iv, SECRETS.sig_secret):
        assert secret not in sealed


def test_another_key_operator_or_byte_opens_nothing() -> None:
    """The ciphertext is bound to its key and to its operator."""
    vault, other = Vault(b"k" * 32, rng=Rng()), Vault(b"l" * 32, rng=Rng())
    sealed = vault.seal(ID, SECRETS)
    assert vault.key_id != other.key_id
    assert Vault(b"k" * 32, rng=Rng()).open(ID, sealed, key_id=vault.key_id) == SECRETS
    attempts = [
        (other, ID, sealed, vault.key_id),
        (other, ID, sealed, other.key_id),
        (vault, OperatorId("888000001"), sealed, vault.key_id),
        (vault, ID, sealed[:-1] + bytes([sealed[-1] ^ 1]), vault.key_id),
        (vault, ID, b"", vault.key_id),
    ]
    for opener, operator_id, bytes_, key_id in attempts:
        with pytest.raises(SecretsUnreadable):
            opener.open(operator_id, bytes_, key_id=key_id)


def test_secrets_show_in_no_repr() -> None:
    """Not in a log of a dataclass, not in an error."""
    held = Credentials(ID, "operator-secret", b"1234567890abcdef", b"fedcba0987654321", b"sig-secret", True, ParkStatus.LOCKED, 1)
    for text in (repr(SECRETS), repr(held), str(held), repr(Vault(b"k" * 32, rng=Rng()))):
        for secret in ("operator-secret", "1234567890abcdef", "fedcba0987654321", "sig-secret", "kkkk"):
            assert secret not in text
    with pytest.raises(InvalidOperator) as refused:
        check_secrets(replace(SECRETS, data_secret=b"short-secret"))
    assert "short-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"data_secret": b"1" * 15},
        {"data_secret": b"1" * 17},
        {"data_iv": b"1" * 15 + b"\x00"},
        {"data_iv": "１２３４５".encode()},
        {"operator_secret": "short"},
        {"operator_secret": "x" * 129},
        {"operator_secret": "with space"},
        {"sig_secret": b""},
    ],
)
def test_a_secret_that_cannot_be_one_is_refused(changes: dict[str, str | bytes]) -> None:
    """AES-128 wants 16 bytes; all are printable ASCII."""
    with pytest.raises(InvalidOperator):
        check_secrets(replace(SECRETS, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "id, name",
    [
        ("12345678", "n"),
        ("1234567890", "n"),
        ("12345678a", "n"),
        ("123 56789", "n"),
        ("１23456789", "n"),
        (NOBODY, "n"),
        (ID, " "),
        (ID, "x" * 201),
        (ID, "a\x00"),
    ],
)
def test_an_operator_that_cannot_be_one_is_refused(id: str, name: str) -> None:
    """Nine capital letters and digits, and a name."""
    with pytest.raises(InvalidOperator):
        check_operator(id, name)
