"""What is answered: `Ret`, `Msg`, `Data` and their signature, as bytes."""

from __future__ import annotations

import orjson

from cityloop_charging.protocols.tcec.crypto import Keys
from cityloop_charging.protocols.tcec.domain import Ret


def reply(keys: Keys | None, ret: Ret, msg: str = "", parameters: object = None) -> bytes:
    """A reply, with its Data encrypted and all of it signed; without keys (nobody is known) Data and Sig are empty."""
    data = keys.encrypt(orjson.dumps(parameters)) if keys is not None and parameters is not None else ""
    sig = keys.sign(reply_text(ret, msg, data)) if keys is not None else ""
    return orjson.dumps({"Ret": int(ret), "Msg": msg, "Data": data, "Sig": sig})


def reply_text(ret: int, msg: str, data: str) -> str:
    """What a reply's signature is made over."""
    return f"{int(ret)}{msg}{data}"
