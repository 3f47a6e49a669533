"""T/CEC 102's cryptography: AES-128-CBC with a fixed IV, Base64, and an upper-case HMAC-MD5 over everything.

The standard's choices, not ours: they protect against mistakes more than against attackers, so operators speak it over TLS.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

BLOCK_BYTES = 16


class Undecryptable(ValueError):
    """Data that is not what these secrets encrypt; says nothing of what it was."""


class Keys:
    """One party's DataSecret, IV and SigSecret, ready to use; each is the bytes of its text."""

    __slots__ = ("_cipher", "_sig_secret")

    def __init__(self, *, data_secret: bytes, data_iv: bytes, sig_secret: bytes) -> None:
        """Raises ValueError for secrets of another length than AES-128's 16 bytes, or an empty SigSecret."""
        if len(data_secret) != BLOCK_BYTES or len(data_iv) != BLOCK_BYTES or not sig_secret:
            raise ValueError(f"DataSecret and its IV have {BLOCK_BYTES} bytes, SigSecret at least one")
        self._cipher = Cipher(AES(data_secret), CBC(data_iv))
        self._sig_secret = sig_secret

    def sign(self, text: str) -> str:
        """HMAC-MD5 in upper-case hexadecimal."""
        return hmac.digest(self._sig_secret, text.encode(), "md5").hex().upper()

    def signed(self, text: str, sig: str) -> bool:
        """Whether `sig` is the signature of `text`; takes the same time whichever character differs."""
        return hmac.compare_digest(self.sign(text).encode(), sig.encode())

    def encrypt(self, plaintext: bytes) -> str:
        """PKCS#7, AES-CBC, Base64."""
        missing = BLOCK_BYTES - len(plaintext) % BLOCK_BYTES
        encryptor = self._cipher.encryptor()
        return base64.b64encode(encryptor.update(plaintext + bytes([missing]) * missing) + encryptor.finalize()).decode()

    def decrypt(self, data: str) -> bytes:
        """The plaintext. Raises Undecryptable for broken Base64, length or padding. Verify the signature first."""
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Undecryptable("not Base64") from error
        if not raw or len(raw) % BLOCK_BYTES:
            raise Undecryptable("not whole blocks")
        decryptor = self._cipher.decryptor()
        padded = decryptor.update(raw) + decryptor.finalize()
        added = padded[-1]
        if not 1 <= added <= BLOCK_BYTES or padded[-added:] != bytes([added]) * added:
            raise Undecryptable("broken padding")
        return padded[:-added]
