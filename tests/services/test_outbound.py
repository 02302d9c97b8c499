"""Which hosts agents may live on: the rules alone."""

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis.strategies import ip_addresses

from services.outbound import Address, HostList, Kind, OutboundRules, canonical, is_odd_literal, kind_of

PUBLIC = ["8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"]
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "::1", "fc00::1", "fdff::1",
]  # fmt: skip
CLOSED = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "2001:db8::1", "3fff::1",
    "100::1", "5f00::1", "4000::1", "::7f00:1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1",
    "2002:7f00:1::", "2002:808:808::1", "2001::1", "2001:0:7f00:1::1", "2001:2::1", "2001:10::1",
]  # fmt: skip


@pytest.mark.parametrize(("addresses", "kind"), [(PUBLIC, Kind.PUBLIC), (PRIVATE, Kind.PRIVATE), (CLOSED, Kind.CLOSED)])
def test_the_kinds_of_addresses(addresses: list[str], kind: Kind) -> None:
    assert {each: kind_of(ip_address(each)) for each in addresses} == dict.fromkeys(addresses, kind)


@pytest.mark.parametrize("prefix", ["::ffff:0:0", "64:ff9b::"])
def test_an_ipv4_address_inside_an_ipv6_address_is_what_counts(prefix: str) -> None:
    network = ip_network(f"{prefix}/96")
    for address, kind in [("8.8.8.8", Kind.PUBLIC), ("10.0.0.1", Kind.PRIVATE), ("169.254.169.254", Kind.CLOSED)]:
        assert kind_of(network[int(ip_address(address))]) is kind


@given(ip_addresses())
def test_what_the_standard_library_does_not_call_global_is_not_public(address: Address) -> None:
    """An opinion from elsewhere; Hypothesis draws from the special-purpose networks."""
    carries_ipv4 = isinstance(address, IPv6Address) and (address.ipv4_mapped or address in ip_network("64:ff9b::/96"))
    if not address.is_global and not carries_ipv4:
        assert kind_of(address) is not Kind.PUBLIC


BY_DEFAULT = OutboundRules()
OPEN = OutboundRules(private_networks=True)
ONLY = OutboundRules(allow=HostList.of(["*.agents.internal", "agent.example.com", "10.1.0.0/16"]))
METADATA = OutboundRules(allow=HostList.of(["169.254.169.254/32"]))
DENYING = OutboundRules(
    deny=HostList.of(["*.corp.example", "10.1.0.0/16", "8.8.8.8", "Bücher.example"]), private_networks=True
)


@pytest.mark.parametrize(
    ("rules", "host", "address", "permitted"),
    [
        (BY_DEFAULT, "agent.example.com", "8.8.8.8", True),
        (BY_DEFAULT, "agent.example.com", "10.0.0.1", False),
        (BY_DEFAULT, "agent.example.com", "::ffff:10.0.0.1", False),
        (BY_DEFAULT, "agent.example.com", "169.254.169.254", False),
        (OPEN, "localhost", "127.0.0.1", True),
        (OPEN, "metadata.google.internal", "169.254.169.254", False),
        (OPEN, "alibaba", "100.100.100.200", False),
        # an allow list is all that may be reached, in private networks too
        (ONLY, "agent.example.com", "8.8.8.8", True),
        (ONLY, "AGENT.example.com.", "10.9.9.9", True),
        (ONLY, "other.example.com", "8.8.8.8", False),
        (ONLY, "writer.agents.internal", "10.9.9.9", True),
        (ONLY, "a.b.agents.internal", "10.9.9.9", True),
        (ONLY, "agents.internal", "10.9.9.9", False),
        (ONLY, "evilagents.internal", "10.9.9.9", False),
        (ONLY, "anything", "10.1.2.3", True),
        (ONLY, "10.1.2.3", "10.1.2.3", True),
        (ONLY, "anything", "::ffff:10.1.2.3", True),
        # but a name opens nothing that only a range may
        (ONLY, "agent.example.com", "169.254.169.254", False),
        (METADATA, "anything", "169.254.169.254", True),
        # what is denied is denied
        (DENYING, "build.corp.example", "8.8.4.4", False),
        (DENYING, "BUILD.corp.example.", "8.8.4.4", False),
        (DENYING, "xn--bcher-kva.example", "8.8.4.4", False),
        (DENYING, "agent.example.com", "10.1.2.3", False),
        (DENYING, "agent.example.com", "::ffff:10.1.2.3", False),
        (DENYING, "agent.example.com", "64:ff9b::8.8.8.8", False),
        (DENYING, "agent.example.com", "10.2.0.1", True),
    ],
)
def test_what_is_permitted(rules: OutboundRules, host: str, address: str, permitted: bool) -> None:
    assert rules.permits(host, ip_address(address)) is permitted


@pytest.mark.parametrize(
    ("rules", "host", "decided"),
    [
        (BY_DEFAULT, "agent.example.com", None),
        (OPEN, "agent.example.com", True),
        (ONLY, "writer.agents.internal", True),
        (ONLY, "other.example.com", None),
        (OutboundRules(allow=HostList.of(["a.example"]), private_networks=True), "b.example", False),
        (DENYING, "build.corp.example", False),
    ],
)
def test_what_a_name_alone_decides(rules: OutboundRules, host: str, decided: bool | None) -> None:
    assert rules.decides_by_name(host) is decided


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5", "0x", "a.0x1"]
)
def test_other_spellings_of_an_address_are_told(host: str) -> None:
    assert is_odd_literal(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "example.com", "1and1.com", "0x7f.example", "localhost", "a.b1"])
def test_plain_addresses_and_names_are_not_odd(host: str) -> None:
    assert not is_odd_literal(host)


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.", "a.*", "*.*.com", "https://a.example", "a.example:80", "10.0.0.1/8", "10.0.0.0/33", "0x7f.1"],
)
def test_an_entry_that_is_nothing_is_told(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        HostList.of([entry])


def test_names_are_compared_in_one_form() -> None:
    assert canonical("Agent.EXAMPLE.com.") == "agent.example.com"
    assert canonical("bücher.example") == canonical("BÜCHER.example") == "xn--bcher-kva.example"
