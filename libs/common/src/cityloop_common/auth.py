"""Who asks: bearer tokens against a JWKS, roles, and the declaration that every route must make."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller is in the city."""

    CITIZEN = "citizen"
    GUEST = "guest"
    LOT_OPERATOR = "lot_operator"
    CHARGING_OPERATOR = "charging_operator"
    SITE_OPERATOR = "site_operator"
    DISPATCHER = "dispatcher"
    CREW = "crew"
    INSPECTOR = "inspector"
    OFFICER = "officer"
    CITY_ADMIN = "city_admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request.

    `network` is the /24 or /64 it comes from. `reservation_scope` is set by a signed link: such a caller may only use
    routes with a `{reservation_id}` equal to it.
    """

    subject: str
    roles: frozenset[Role]
    network: str
    operator_id: str | None = None
    reservation_scope: str | None = None

    def has(self, *roles: Role) -> bool:
        """Whether the caller has at least one of these roles."""
        return not self.roles.isdisjoint(roles)

    @property
    def anonymous(self) -> bool:
        return not self.roles


from fastapi import Request  # noqa: E402


class Allow:
    """Dependency: a valid token with at least one of the roles; 401 without, 403 with others."""

    def __init__(self, roles: frozenset[Role]) -> None:
        self.roles = roles

    async def __call__(self, request: Request) -> Principal:
        raise NotImplementedError


def allow(*roles: Role) -> Allow:
    """`caller: Annotated[Principal, Depends(auth.allow(Role.CITIZEN, Role.GUEST))]`."""
    return Allow(frozenset(roles))


async def public(request: Request) -> Principal:
    """Dependency: anyone; a token is not looked at. The principal has no roles, only its network."""
    raise NotImplementedError


async def optional(request: Request) -> Principal:
    """Dependency: anyone; a token that is given must be valid."""
    raise NotImplementedError
