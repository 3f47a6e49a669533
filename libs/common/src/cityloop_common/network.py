"""Where a request comes from, as far as it may be known: a network, never a person's address."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection
from starlette.types import Scope

Network = IPv4Network | IPv6Network
UNKNOWN_NETWORK = "unknown"


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The proxies of a setting: `10.0.0.0/8`, `127.0.0.1`. Raises ValueError for anything else."""
    return tuple(ip_network(text.strip()) for text in texts if text.strip())


def client_network(request: HTTPConnection, trusted_proxies: Sequence[Network]) -> str:
    """The caller's /24 (IPv4) or /64 (IPv6) as text, `unknown` when there is no address.

    X-Forwarded-For is read from the right, and only while the hop that wrote it is a trusted proxy; uvicorn must run with
    `proxy_headers=False`, or it would believe the header first.
    """
    peer = request.scope.get("client")
    if peer is None:
        return UNKNOWN_NETWORK
    if not trusted_proxies:
        return _network_of_host(peer[0])
    address = _address(peer[0])
    if address is None:
        return UNKNOWN_NETWORK
    if _trusted(address, trusted_proxies):
        for hop in reversed(",".join(request.headers.getlist("x-forwarded-for")).split(",")):
            before = _address(hop.strip())
            if before is None:
                break
            address = before
            if not _trusted(address, trusted_proxies):
                break
    return _network(address)


@lru_cache(maxsize=4096)
def _network_of_host(host: str) -> str:
    address = _address(host)
    return UNKNOWN_NETWORK if address is None else _network(address)


def _network(address: IPv4Address | IPv6Address) -> str:
    return str(ip_network((address, 24 if address.version == 4 else 64), strict=False))


def from_trusted(scope: Scope, trusted_proxies: Sequence[Network]) -> bool:
    """Whether the peer of this connection is one of the proxies."""
    peer = scope.get("client")
    address = _address(peer[0]) if peer else None
    return address is not None and _trusted(address, trusted_proxies)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _trusted(address: IPv4Address | IPv6Address, proxies: Sequence[Network]) -> bool:
    return any(address.version == proxy.version and address in proxy for proxy in proxies)
