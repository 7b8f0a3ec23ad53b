"""How often, how many, from where: rate limits, counts per address and the Origin rule. Pure: `now` is an argument."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

MESSAGES_BURST: Final = 60  # from one connection at once: offers to a full room and answers, several times over
MESSAGES_PER_S: Final = 20.0
JOINS_BURST: Final = 40  # from one address at once: a full room behind one router, reconnecting
JOINS_PER_S: Final = 1.0
CONNECTIONS_PER_ADDRESS: Final = 32
MAX_ADDRESSES: Final = 10_000  # remembered for their join attempts
MAX_FAULTS: Final = 8  # malformed or too frequent messages before a connection is closed
IPV6_PREFIX_BITS: Final = 64  # one household has that many addresses


@dataclass(slots=True)
class TokenBucket:
    """Allows `burst` at once and `per_s` in the long run."""

    burst: float
    """Most that may come at once."""
    per_s: float
    """How fast it refills."""
    level: float = field(init=False)
    """How many are allowed now."""
    updated: float = field(default=0.0)
    """When `level` was right, in the caller's seconds."""

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, now: float) -> bool:
        """Whether one more is allowed now; counts it if so."""
        self.refill(now)
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def refill(self, now: float) -> None:
        """Bring `level` up to date."""
        self.level = min(self.burst, self.level + max(0.0, now - self.updated) * self.per_s)
        self.updated = max(now, self.updated)


class AddressLimits:
    """Connections and join attempts per network address."""

    def __init__(
        self,
        connections: int = CONNECTIONS_PER_ADDRESS,
        joins_burst: int = JOINS_BURST,
        joins_per_s: float = JOINS_PER_S,
    ) -> None:
        self._most = connections
        self._joins = (joins_burst, joins_per_s)
        self._connections: dict[str, int] = {}
        self._buckets: dict[str, TokenBucket] = {}

    def connect(self, address: str) -> bool:
        """Count a connection in; False if the address has too many. Pair with `disconnect` if True."""
        if self._connections.get(address, 0) >= self._most:
            return False
        self._connections[address] = self._connections.get(address, 0) + 1
        return True

    def disconnect(self, address: str) -> None:
        """Count a connection out."""
        self._connections[address] -= 1
        if not self._connections[address]:
            del self._connections[address]

    def may_join(self, address: str, now: float) -> bool:
        """Whether the address may make one more join attempt now; counts it if so."""
        if address not in self._buckets:
            if len(self._buckets) >= MAX_ADDRESSES:
                self._forget(now)
            self._buckets[address] = TokenBucket(*self._joins, updated=now)
        return self._buckets[address].take(now)

    def _forget(self, now: float) -> None:
        """Drop the addresses that have not tried lately; if all have, the ones that may try most."""
        for bucket in self._buckets.values():
            bucket.refill(now)
        ranked = sorted(self._buckets.items(), key=lambda item: item[1].level)
        self._buckets = dict(item for item in ranked[: MAX_ADDRESSES // 2] if item[1].level < item[1].burst)


def address_key(host: str | None) -> str:
    """What counts as one address: an IPv4 address, or an IPv6 network of IPV6_PREFIX_BITS."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX_BITS), strict=False))
    return str(address)


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str] = ()) -> bool:
    """Whether a request with these `Origin` and `Host` headers may open a WebSocket (RFC 6454, RFC 6455 section 10.2).

    No Origin: not a browser, so there is no page to guard against. Otherwise it must be in `allowed`, or the hub's own.
    Own counts only where `Host` is `localhost` or a numeric address: any page can point a DNS name of its own at this
    machine (DNS rebinding), so a hub with a name must have its origin in `allowed`.
    """
    if origin is None:
        return True
    if origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host or parts.netloc.lower() != host.lower():
        return False
    return name == "localhost" or _is_numeric(name)


def _is_numeric(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
