"""Settings from the environment: CITYLOOP_<NAME> for all, CITYLOOP_<SERVICE>_<NAME> for one service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as NotJson

T = TypeVar("T", bound=BaseSettings)


class SettingsError(Exception):
    """The environment says something that cannot be followed; the text names the variable."""


class Sample(StrEnum):
    """The invented city of `cityloop dev`: not there, there once, or kept alive by a small simulation."""

    OFF = "off"
    STATIC = "static"
    LIVE = "live"


class SharedSettings(BaseSettings):
    """What every service and the command share."""

    model_config = SettingsConfigDict(env_prefix="CITYLOOP_", extra="ignore", frozen=True)

    environment: Literal["development", "production"] = Field(
        "development", description="Production refuses development keys and the issuer."
    )
    var: Path = Field(Path("var"), description="Folder of what the embedded form keeps.")
    host: str = Field("127.0.0.1", description="Address that HTTP binds.")
    port: int = Field(8080, ge=1, le=65535, description="Port that HTTP binds.")
    event_log_url: str = Field("", description="sqlite:///path or kafka://host:port[,host:port]; empty: <var>/events.db.")
    cache_url: str = Field("memory:", description="memory: or redis://host:port/db.")
    issuer: str = Field("urn:cityloop:development", description="Who signs tokens (JWT iss).")
    audience: str = Field("cityloop", description="Whom tokens are for (JWT aud).")
    jwks_url: str = Field("", description="Where the issuer's public keys are; empty: the development issuer of `cityloop dev`.")
    token_algorithms: list[str] = Field(["EdDSA", "ES256", "RS256"], description="Signature algorithms that are accepted.")
    role_claim: str = Field("roles", description="Claim that lists the caller's roles.")
    operator_claim: str = Field("operator_id", description="Claim that names the caller's operator.")
    role_map: dict[str, str] = Field({}, description="Issuer's role name to ours, as JSON.")
    trusted_proxies: list[str] = Field([], description="Networks whose X-Forwarded-For is believed, as JSON.")
    hash_key: SecretStr | None = Field(None, description="Key of hashed networks and other lookups, 32 bytes or more.")
    city_bounds: tuple[float, float, float, float] = Field(
        (109.0, 38.9, 110.6, 40.0), description="West, south, east, north of the jurisdiction in WGS-84."
    )
    districts: Path | None = Field(None, description="GeoJSON polygons with id and name; empty: the sample's grid, if any.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    sample: Sample = Field(Sample.LIVE, description="The invented sample city of `cityloop dev`.")
    data: Path = Field(Path("../shared/data"), description="Folder of real data for tests and examples.")
    scale: Literal["ci", "full"] = Field("ci", description="Size of the stress suites.")
    pool_workers: int = Field(2, ge=1, le=64, description="Processes for long arithmetic (solvers) that run at a time.")
    pool_most_waiting: int = Field(16, ge=0, le=1000, description="Tasks that may wait for such a process; one more is refused.")
    drain_for_s: float = Field(2.0, ge=0, le=60, description="How long readiness fails before connections are closed at SIGTERM.")
    stop_within_s: float = Field(20.0, ge=1, le=300, description="How long requests and loops have to end at SIGTERM.")

    @field_validator("districts", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value  # a form that always names the variable, with no file

    def log_url(self) -> str:
        """The event log's address with its default filled in."""
        return self.event_log_url or f"sqlite:///{self.var / 'events.db'}"


class ServiceSettings(BaseSettings):
    """What each service has of its own; `shared` is handed in."""

    shared: SharedSettings = Field(default_factory=SharedSettings, exclude=True)
    database_url: str = Field("", description="sqlite:///path or postgresql://user@host/name; empty: <var>/<service>.db.")
    database_pool: int = Field(10, ge=2, le=200, description="Connections that one process keeps to its database.")
    worker_id: str = Field("", description="Name of this worker in leases; empty: host and process.")

    def db_url(self, service: str) -> str:
        """The database's address with its default filled in."""
        return self.database_url or f"sqlite:///{self.shared.var / f'{service}.db'}"


def service_config(service: str) -> SettingsConfigDict:
    """The pydantic configuration of a service's settings class."""
    return SettingsConfigDict(env_prefix=f"CITYLOOP_{service.upper()}_", extra="ignore", frozen=True)


def load(cls: type[T], **given: Any) -> T:
    """Reads settings; raises SettingsError with one line a fault, naming the variable."""
    prefix = str(cls.model_config.get("env_prefix", ""))
    try:
        return cls(**given)
    except NotJson as error:
        raise SettingsError(f"{prefix}: {error}") from error
    except ValidationError as error:
        lines = [f"{prefix}{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}" for fault in error.errors()]
        raise SettingsError("\n".join(lines)) from error


@contextmanager
def named(variable: str) -> Iterator[None]:
    """What cannot be used of a setting ends as one line that names its variable (SettingsError)."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from error


def refuse_unknown(classes: Iterable[type[BaseSettings]], environ: Mapping[str, str] | None = None) -> None:
    """Raises SettingsError when a CITYLOOP_* variable belongs to none of the classes (a typing mistake)."""
    known = {variable for cls in classes for variable, _ in variables(cls)}
    given = {name for name in (environ if environ is not None else os.environ) if name.startswith("CITYLOOP_")}
    unknown = sorted(name for name in given - known if not name.startswith(("CITYLOOP_TEST_", "CITYLOOP_STACK_")))
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; see .env.example")


def variables(cls: type[BaseSettings]) -> list[tuple[str, Any]]:
    """Environment variable and field of each setting of a class."""
    prefix = str(cls.model_config.get("env_prefix", ""))
    return [(f"{prefix}{name}".upper(), field) for name, field in cls.model_fields.items() if name != "shared"]


def env_example(classes: Iterable[type[BaseSettings]]) -> str:
    """The text of .env.example: every setting with its meaning and its default."""
    blocks = ["# Every setting with its default. Generated: cityloop settings > .env.example"]
    for cls in classes:
        blocks.append(f"\n# {(cls.__doc__ or cls.__name__).strip().splitlines()[0]}")
        for variable, field in variables(cls):
            default = field.get_default(call_default_factory=True)
            blocks.append(f"# {field.description}\n# {variable}={_shown(default)}")
    return "\n".join(blocks) + "\n"


def _shown(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, list | dict | tuple):
        return json.dumps(default)
    return str(default)
