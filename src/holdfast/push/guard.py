"""Which addresses a request may reach.

Whoever can make a task lends this host's place in the network. So a request goes to public addresses only, unless an
operator allows more (``HOLDFAST_PUSH_ALLOW=127.0.0.1/32,10.1.0.0/16``). What is judged is the address that is connected
to: names are resolved here, refused addresses are left out, and the connection is made to one of the rest. A name that
leads elsewhere a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from holdfast.errors import HoldfastError, InvalidOption, shown

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED: Final[tuple[tuple[str, tuple[Network, ...]], ...]] = tuple(
    (word, tuple(ip_network(each) for each in networks.split()))
    for word, networks in (
        ("unspecified", "0.0.0.0/8 ::/128"),
        ("loopback", "127.0.0.0/8 ::1/128"),
        ("private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        ("link-local", "169.254.0.0/16 fe80::/10"),
        ("shared by carriers", "100.64.0.0/10"),
        ("of a protocol's own", "192.0.0.0/24 192.88.99.0/24 2001::/23 100::/64"),
        ("for documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"),
        ("for measurements", "198.18.0.0/15"),
        ("multicast", "224.0.0.0/4 ff00::/8"),
        ("reserved", "240.0.0.0/4 255.255.255.255/32"),
        # Each of these can hold an IPv4 address, and what it leads to depends on who routes it.
        ("one that holds an IPv4 address", "64:ff9b::/96 64:ff9b:1::/48 2002::/16 2001:0::/32 ::/96"),
    )
)


class AddressRefused(HoldfastError, OSError):
    """The URL leads to an address that requests may not reach."""


class Guard:
    """Judges addresses. ``allowed`` are networks that may be reached whatever they are."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self.allowed = tuple(allowed)
        self.objection = lru_cache(maxsize=4_096)(self.judged)

    @classmethod
    def reading(cls, text: str) -> Guard:
        """From ``HOLDFAST_PUSH_ALLOW``: networks or addresses, separated by commas.

        Raises:
            InvalidOption
        """
        return cls(network(part.strip()) for part in text.split(",") if part.strip())

    def judged(self, address: str) -> str | None:
        """Why this address may not be reached; None if it may."""
        found = canonical(ip_address(address.partition("%")[0]))
        if any(found in each for each in self.allowed if each.version == found.version):
            return None
        for word, networks in REFUSED:
            if any(found in each for each in networks if each.version == found.version):
                return word
        return None if found.is_global else "not a public one"

    def check(self, host: str, addresses: list[str]) -> list[str]:
        """Those of these addresses that may be reached.

        Raises:
            AddressRefused: there is none.
        """
        objections = {address: self.objection(address) for address in addresses}
        allowed = [address for address, objection in objections.items() if objection is None]
        if not allowed:
            address, objection = next(iter(objections.items()))
            raise AddressRefused(
                f"{host} leads to an address that is {objection}",
                seen=address,
                do=f"If that is meant, allow it where requests are sent: HOLDFAST_PUSH_ALLOW={address}",
            )
        return allowed


def canonical(address: Address) -> Address:
    """The IPv4 address, if this is one in IPv6's clothes."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address


def network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidOption(
            "HOLDFAST_PUSH_ALLOW names no network", seen=shown(text), do="Write it like 127.0.0.1/32,10.1.0.0/16."
        ) from None


@lru_cache(maxsize=4_096)
def literal(host: str) -> str | None:
    """The address, if the host of a URL is one already: such a host is never resolved, so it is judged apart."""
    try:
        return str(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return None


class GuardedResolver(AbstractResolver):
    """Resolves names to those of their addresses that may be reached."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await look_up(host, port, family)
        addresses = self.guard.check(host, list(dict.fromkeys(found)))
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


async def look_up(host: str, port: int, family: int) -> list[str]:
    """The addresses of a name, as the system's resolver gives them."""
    loop = asyncio.get_running_loop()
    found: list[Any] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    return [str(entry[4][0]) for entry in found]
