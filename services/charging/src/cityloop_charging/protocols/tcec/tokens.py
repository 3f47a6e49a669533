"""Access tokens that need no table: signed with a key of the service, so every replica knows them, also after a restart."""

from __future__ import annotations

import base64
import hmac
import re

_MAC_BYTES = 24
_SHAPE = re.compile(r"([0-9a-f]{1,12})\.([0-9A-Za-z_-]{32})", re.ASCII)


class AccessTokens:
    """Issues and checks tokens. One is bound to its operator, its end and the version of the operator's secrets."""

    def __init__(self, key: bytes, *, lasts_s: int) -> None:
        self._key = key
        self.lasts_s = lasts_s

    def issue(self, operator_id: str, *, version: int, now_s: int) -> str:
        """A token, shorter than the published sample's 64 characters, good for `lasts_s` from now."""
        ends_at_s = now_s + self.lasts_s
        return f"{ends_at_s:x}.{self._mac(operator_id, version, ends_at_s)}"

    def holds(self, token: str, operator_id: str, *, version: int, now_s: float) -> bool:
        """Whether it is a token of this operator, made since its secrets last changed, and not over."""
        shape = _SHAPE.fullmatch(token)
        if shape is None:
            return False
        ends_at_s = int(shape[1], 16)
        return hmac.compare_digest(self._mac(operator_id, version, ends_at_s), shape[2]) and now_s < ends_at_s

    def _mac(self, operator_id: str, version: int, ends_at_s: int) -> str:
        text = f"tcec-token/{operator_id}/{version}/{ends_at_s}"
        return base64.urlsafe_b64encode(hmac.digest(self._key, text.encode(), "sha256")[:_MAC_BYTES]).decode()
