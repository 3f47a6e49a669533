"""A setting that cannot be followed is refused at the start, in one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityloop_common.jwks import jwks_over_http
from cityloop_common.parts import build_api, build_ctx, close_ports, open_ports
from cityloop_common.service import installed_services
from cityloop_common.settings import SettingsError, SharedSettings, load

WRONG = {
    "CITYLOOP_CACHE_URL": "memcached://host",
    "CITYLOOP_EVENT_LOG_URL": "nats://host",
    "CITYLOOP_PARKING_DATABASE_URL": "nothing like an address",
    "CITYLOOP_DISTRICTS": "/no/such/file.geojson",
    "CITYLOOP_ROLE_MAP": '{"boss": "king"}',
    "CITYLOOP_TRUSTED_PROXIES": '["somewhere"]',
    "CITYLOOP_TOKEN_ALGORITHMS": '["HS256"]',
}


@pytest.mark.parametrize("variable", WRONG)
async def test_a_wrong_setting_is_named(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No traceback, and nobody has to guess which of them it was."""
    monkeypatch.setenv("CITYLOOP_VAR", str(tmp_path))
    monkeypatch.setenv(variable, WRONG[variable])
    service = next(each for each in installed_services() if each.name == "parking")
    with pytest.raises(SettingsError, match=variable):
        shared = load(SharedSettings)
        ports = open_ports(shared)
        ctx = None
        try:
            ctx = build_ctx(service, shared, ports)
            build_api(service, ctx, jwks_over_http("http://127.0.0.1:1/"))
        finally:
            if ctx is not None:
                await ctx.db.close()
            await close_ports(ports)
