# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may reach what, from the inventory to the rules of the container firewall, in both its kinds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules as firewall_rules
from inventory import inventory
from render import evaluate, render

RULES = firewall_rules.normalised(
    [
        {"name": "db", "port": 5432, "from": ["10.0.0.4", "10.0.1.0/24", "fd00::4"], "container": True},
        {"name": "feed", "port": "7000:7010", "proto": "udp", "from": "any", "interface": "eth1", "container": True},
        {"name": "web", "port": 443, "from": "any"},
    ]
)


def written(template: str, **variables: Any) -> str:
    """One of the files of the container firewall."""
    return render("firewall", template, {"_firewall_normalised": RULES, **variables})


def test_nftables_lets_through_what_containers_are_named_for() -> None:
    lines = [line.strip() for line in written("containers.nft.j2").splitlines()]
    accepted = [line for line in lines if "dnat" in line]
    assert accepted == [
        'ct status dnat ip saddr { 10.0.0.4, 10.0.1.0/24 } meta l4proto tcp ct original proto-dst 5432 accept comment "db"',
        'ct status dnat ip6 saddr { fd00::4 } meta l4proto tcp ct original proto-dst 5432 accept comment "db"',
        'iifname "eth1" ct status dnat ip saddr { 0.0.0.0/0 } meta l4proto udp ct original proto-dst 7000-7010 accept comment "feed"',
        'iifname "eth1" ct status dnat ip6 saddr { ::/0 } meta l4proto udp ct original proto-dst 7000-7010 accept comment "feed"',
    ]
    assert "443" not in " ".join(lines)  # a program's rule says nothing to containers
    # What is not let through is dropped, and nothing comes after that.
    chain = lines[lines.index("chain containers {") :]
    assert chain[-3:] == ["counter drop", "}", "}"]
    assert lines.index(accepted[0]) < lines.index("counter drop")
    # The loopback's ports first of all: no rule may open them to a neighbour.
    assert next(index for index, line in enumerate(lines) if "127.0.0.0/8 drop" in line) < lines.index(accepted[0])


@pytest.mark.parametrize(("template", "family"), [("containers.v4.j2", 4), ("containers.v6.j2", 6)])
def test_iptables_says_the_same(template: str, family: int) -> None:
    text = written(template)
    accepted = re.findall(r"^-A container-firewall-in (.*) --ctdir ORIGINAL -j RETURN$", text, re.MULTILINE)
    match = "-m conntrack --ctstate DNAT --ctorigdstport"
    expected = {
        4: [
            f"-s 10.0.0.4 -p tcp {match} 5432",
            f"-s 10.0.1.0/24 -p tcp {match} 5432",
            f"-i eth1 -s 0.0.0.0/0 -p udp {match} 7000:7010",
        ],
        6: [f"-s fd00::4 -p tcp {match} 5432", f"-i eth1 -s ::/0 -p udp {match} 7000:7010"],
    }
    assert accepted == expected[family]
    assert text.splitlines()[-2:] == ["-A container-firewall-in -j DROP", "COMMIT"]


@pytest.mark.parametrize("template", ["containers.nft.j2", "containers.v4.j2"])
def test_bridges_and_trusted_interfaces(template: str) -> None:
    text = written(template, firewall_container_interfaces=["docker0", "br-*", "mine0"], firewall_trusted_interfaces=["wg0"])
    star = "br-*" if template.endswith("nft.j2") else "br-+"
    to = re.findall(r'(?:oifname "|-o )([^ "]+)', text)
    assert to == ["docker0", star, "mine0"]
    assert re.findall(
        r'^ *(?:-A container-firewall-in )?(?:iifname "|-i )([^ "]+)"? (?:accept|-j RETURN)', text, re.MULTILINE
    ) == [
        *to,
        "wg0",
    ]


@pytest.mark.parametrize(
    ("environment", "groups", "names"),
    [
        ("prod", ("edge",), {"http", "https"}),
        ("prod", ("app",), set()),
        ("staging", ("edge", "app", "db", "cache"), {"http", "https"}),
        ("local", ("edge", "app", "db", "cache"), {"http", "https"}),
    ],
)
def test_one_server_opens_the_web_alone(environment: str, groups: tuple[str, ...], names: set[str]) -> None:
    members = {group: ["server"] for group in ("all", *groups)}
    rules = rules_of(inventory(environment, groups, groups=members, hosts={"server": {"private_address": "server.example"}}))
    assert {rule["name"] for rule in firewall_rules.normalised(rules)} == names
    assert not firewall_rules.rule_problems(rules, ["eth0"])


FLEET = {"edge": ["e1"], "app": ["server", "a2"], "db": ["server"], "cache": ["d2"], "all": ["e1", "server", "a2", "d2"]}
ADDRESSES = {"e1": "10.0.0.1", "server": "10.0.0.2", "a2": "10.0.0.3", "d2": "10.0.0.4"}


def test_a_fleet_opens_its_ports_to_its_own_hosts_alone() -> None:
    hosts = {host: {"private_address": address} for host, address in ADDRESSES.items()}
    rules = firewall_rules.normalised(rules_of(inventory("prod", ("app", "db"), groups=FLEET, hosts=hosts)))
    assert {(rule["name"], rule["port"], tuple(rule["from"]), rule["container"]) for rule in rules} == {
        ("backend blue", "18080", ("10.0.0.1",), True),
        ("backend green", "18180", ("10.0.0.1",), True),
        ("frontend blue", "18081", ("10.0.0.1",), True),
        ("frontend green", "18181", ("10.0.0.1",), True),
        ("postgres", "5432", ("10.0.0.3",), True),
    }


def rules_of(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """``firewall_rules`` as the host named ``server`` has them."""
    found: list[dict[str, Any]] = evaluate("firewall", "firewall_rules", variables)
    return found
