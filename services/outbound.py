"""Which hosts an agent may live on: what a schedule may make Nextfire connect to, and what not.

An address is one of three kinds. PUBLIC ones may be reached. PRIVATE ones (loopback, RFC 1918, RFC 6598, RFC 4193)
may be where private networks are open, or the list of what is allowed names them. All else is CLOSED: link-local
addresses with the metadata services of clouds, multicast, what is reserved, and old tunnels that hide an IPv4
address. Only an address range on the list opens those, since a name says nothing of where it leads tomorrow.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PRIVATE = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)
# Metadata services that stand outside of the link-local ranges: AWS, Google Cloud, Alibaba Cloud, Azure.
_METADATA = tuple(map(ip_network, ("fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32")))
# From the IANA special-purpose address registries, less what is private above.
_SPECIAL_IPV4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
# https://url.spec.whatwg.org/#ends-in-a-number-checker
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


class Kind(Enum):
    """What an address is good for."""

    PUBLIC = "public"
    PRIVATE = "private"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class HostList:
    """Names, `*.` patterns for all names below one, and address ranges."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> "HostList":
        """Raises ValueError for an entry that is none of the three."""
        names, networks = set(), []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                names.add(_pattern(entry))
        return cls(frozenset(names), tuple(networks))

    def __bool__(self) -> bool:
        return bool(self.names or self.networks)

    def names_host(self, host: str) -> bool:
        """Whether the host, or a pattern for it, is on the list."""
        labels = canonical(host).split(".")
        above = (f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels)))
        return ".".join(labels) in self.names or not self.names.isdisjoint(above)

    def names_address(self, address: Address) -> bool:
        """Whether a range on the list holds the address, or the IPv4 address inside it."""
        return any(each in network for each in _forms(address) for network in self.networks)


@dataclass(frozen=True, slots=True)
class OutboundRules:
    """`deny` always wins. With an `allow`, only what is on it may be reached, and private addresses among that."""

    allow: HostList = HostList()
    deny: HostList = HostList()
    private_networks: bool = False

    def permits(self, host: str, address: Address) -> bool:
        """Whether a connection to the host may be made at this address of it."""
        if self.deny.names_host(host) or self.deny.names_address(address):
            return False
        by_name, by_address = self.allow.names_host(host), self.allow.names_address(address)
        if self.allow and not (by_name or by_address):
            return False
        kind = kind_of(address)
        if kind is Kind.CLOSED:
            return by_address
        return kind is Kind.PUBLIC or self.private_networks or by_name or by_address

    def decides_by_name(self, host: str) -> bool | None:
        """What can be said of a name before it is looked up; None where it depends on the addresses."""
        if self.deny.names_host(host):
            return False
        if self.allow.names_host(host):
            return True
        if self.allow and not self.allow.networks:
            return False
        return True if self.private_networks and not self.allow else None


def kind_of(address: Address) -> Kind:
    """The kind of an address; one that carries an IPv4 address (mapped, NAT64) is of the kind of that."""
    address = _forms(address)[-1]
    if any(address in network for network in _METADATA):
        return Kind.CLOSED
    if any(address in network for network in _PRIVATE):
        return Kind.PRIVATE
    if isinstance(address, IPv4Address):
        special = any(address in network for network in _SPECIAL_IPV4)
    else:
        special = address not in _GLOBAL_IPV6 or any(address in network for network in _SPECIAL_IPV6)
    return Kind.CLOSED if special else Kind.PUBLIC


def literal(host: str) -> Address | None:
    """The address that a host is, or None for a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def is_odd_literal(host: str) -> bool:
    """Whether a host is an address in a spelling that programs read differently: 0x7f.1, 2130706433, fe80::1%eth0."""
    if (address := literal(host)) is not None:
        return isinstance(address, IPv6Address) and address.scope_id is not None
    return _NUMERIC_LABEL.fullmatch(canonical(host).rpartition(".")[2]) is not None


def canonical(host: str) -> str:
    """A name in lower case and in ASCII, without the dot of the root."""
    host = host.removesuffix(".").lower()
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return host


def _pattern(entry: str) -> str:
    wild, name = ("*.", entry[2:]) if entry.startswith("*.") else ("", entry)
    pattern = wild + canonical(name)
    if not _PATTERN.fullmatch(pattern) or is_odd_literal(name):
        raise ValueError(f"{entry!r} is no host, no *.host and no address range such as 10.0.0.0/8")
    return pattern


def _forms(address: Address) -> tuple[Address, ...]:
    """The address itself, and behind it the IPv4 address that it carries."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.scope_id is not None:
        address = IPv6Address(int(address))
    if address.ipv4_mapped is not None:
        return (address, address.ipv4_mapped)
    if address in _NAT64:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)
