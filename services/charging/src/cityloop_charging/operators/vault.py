"""Operators' secrets at rest: sealed with AES-256-GCM under a key of the service, bound to their operator."""

from __future__ import annotations

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cityloop_charging.operators.domain import OperatorId, Secrets, SecretsUnreadable
from cityloop_common.rng import Rng

NONCE_BYTES = 12
_FIELDS = ("operator_secret", "data_secret", "data_iv", "sig_secret")


class Vault:
    """Seals and opens secrets; `key_id` names the key without telling anything of it."""

    __slots__ = ("_chance", "_cipher", "key_id")

    def __init__(self, key: bytes, *, rng: Rng) -> None:
        self._cipher = AESGCM(_derived(key, b"cityloop/charging/secrets", 32))
        self.key_id = _derived(key, b"cityloop/charging/secrets/key-id", 8).hex()
        self._chance = rng.stream("charging/vault")

    def seal(self, operator_id: OperatorId, secrets: Secrets) -> bytes:
        """Nonce and ciphertext. Only `open` with the same operator and key gives the secrets back."""
        nonce = self._chance.randbytes(NONCE_BYTES)
        texts = (secrets.operator_secret, *(each.decode("ascii") for each in (secrets.data_secret, secrets.data_iv, secrets.sig_secret)))
        plain = orjson.dumps(dict(zip(_FIELDS, texts, strict=True)))
        return nonce + self._cipher.encrypt(nonce, plain, operator_id.encode())

    def open(self, operator_id: OperatorId, sealed: bytes, *, key_id: str) -> Secrets:
        """The secrets. Raises SecretsUnreadable when another key sealed them, or another operator's row holds them."""
        if key_id != self.key_id:
            raise SecretsUnreadable(f"They were sealed under the key {key_id}, the key that is set is {self.key_id}.")
        try:
            plain = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], operator_id.encode())
        except (InvalidTag, ValueError) as error:
            raise SecretsUnreadable("The row was changed, or is another operator's.") from error
        operator_secret, data_secret, data_iv, sig_secret = (str(orjson.loads(plain)[name]) for name in _FIELDS)
        return Secrets(operator_secret, data_secret.encode(), data_iv.encode(), sig_secret.encode())


def _derived(key: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=purpose).derive(key)
