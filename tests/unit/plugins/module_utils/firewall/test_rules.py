# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may reach what: every rule that is judged, and the table that becomes rules."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules as firewall_rules

INTERFACES = ["eth0", "eth1"]
GROUPS = {"edge": ["e1", "e2"], "app": ["a1", "a2"], "db": ["a1"], "all": ["a1", "a2", "e1", "e2"]}
ADDRESSES = {"e1": "10.0.0.1", "e2": ["10.0.0.2", "fd00::2"], "a1": "10.0.0.11", "a2": "10.0.0.12"}


def rule(**changes: Any) -> dict[str, Any]:
    """A good rule, changed; None takes a key out."""
    given = {"name": "web", "port": 443, "from": "any", **changes}
    return {key: value for key, value in given.items() if value is not None}


def source(**changes: Any) -> dict[str, Any]:
    """The same with ``from`` by another name, which is no word of Python's."""
    return rule(**{"from": changes.pop("source"), **changes})


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], []),
        ([rule()], []),
        ([rule(port="443", proto="tcp", interface="eth1", container=True)], []),
        ([rule(port="8000:8010", proto="udp")], []),
        ([source(source=["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])], []),
        ([source(source=[])], []),  # nobody
        # Keys.
        ([rule(prot="tcp")], ["firewall_rules[web].prot: is not a key of a rule. Did you mean proto?"]),
        ([rule(at="edge")], ["firewall_rules[web].at: is not a key of a rule. Known are: container"]),  # the table's, not the role's
        ([rule(name=None)], ["firewall_rules[0].name: is not set"]),
        ([rule(port=None)], ["firewall_rules[web].port: is not set"]),
        ([source(source=None)], ["firewall_rules[web].from: is not set"]),
        ([443], ["firewall_rules[0]: is not a mapping"]),
        # Names: they stand in comments of three programs.
        ([rule(name="it's")], ["firewall_rules[it's].name: use letters"]),
        ([rule(name='a"; drop')], ['firewall_rules[a"; drop].name: use letters']),
        ([rule(name="x" * 80)], [f"firewall_rules[{'x' * 80}].name: use letters"]),
        ([rule(), rule(port=80)], ["firewall_rules[web]: there is a rule of this name already"]),
        # Ports.
        ([rule(port=0)], ["firewall_rules[web].port: 0 is neither"]),
        ([rule(port=65535)], []),
        ([rule(port=65536)], ["firewall_rules[web].port: 65536 is neither"]),
        ([rule(port=-1)], ["firewall_rules[web].port: -1 is neither"]),
        ([rule(port="http")], ["firewall_rules[web].port: 'http' is neither"]),
        ([rule(port="90:80")], ["firewall_rules[web].port: '90:80' is neither"]),
        ([rule(port="80,443")], ["firewall_rules[web].port: '80,443' is neither"]),
        ([rule(port=True)], ["firewall_rules[web].port: True is neither"]),
        ([rule(proto="icmp")], ["firewall_rules[web].proto: 'icmp' is not one of tcp, udp"]),
        ([rule(container="yes")], ["firewall_rules[web].container: is neither true nor false"]),
        # Sources.
        ([source(source="10.0.0.5/8")], ["firewall_rules[web].from: '10.0.0.5/8' is no address, network or group"]),
        ([source(source="egde")], ["firewall_rules[web].from: 'egde' is no address, network or group"]),
        ([source(source="app1.example")], ["firewall_rules[web].from: 'app1.example' is no address"]),
        ([source(source="300.0.0.1")], ["firewall_rules[web].from: '300.0.0.1' is no address"]),
        ([source(source="127.0.0.1")], ["firewall_rules[web].from: nobody can come from 127.0.0.1"]),
        ([source(source="224.0.0.0/4")], ["firewall_rules[web].from: nobody can come from 224.0.0.0/4"]),
        ([source(source="0.0.0.0")], ["firewall_rules[web].from: nobody can come from 0.0.0.0"]),
        ([source(source="0.0.0.0/0")], ["firewall_rules[web].from: 0.0.0.0/0 is everything. Write any"]),
        ([source(source=["10.0.0.1", "::/0"])], ["firewall_rules[web].from: ::/0 is everything"]),
        # Interfaces.
        ([rule(interface="eth2")], ["firewall_rules[web].interface: this host has no 'eth2'. It has eth0, eth1."]),
        ([rule(interface="lo")], ["firewall_rules[web].interface: lo is never closed"]),
        # Overlaps, in whichever order they come.
        ([rule(name="a"), source(name="b", source="10.0.0.1")], ["firewall_rules[b]: 443/tcp from 10.0.0.1 is allowed by firewall_rules[a]"]),
        ([source(name="b", source="10.0.0.1"), rule(name="a")], ["firewall_rules[b]: 443/tcp from 10.0.0.1 is allowed by firewall_rules[a]"]),
        ([source(name="a", source="10.0.0.0/8"), source(name="b", source="10.1.0.0/16")], ["firewall_rules[b]: 443/tcp from 10.1.0.0/16"]),
        ([rule(name="a", port="400:500"), rule(name="b")], ["firewall_rules[b]: 443/tcp from anywhere"]),
        ([rule(name="a"), rule(name="b", interface="eth1")], ["firewall_rules[b]: 443/tcp from anywhere on eth1"]),
        ([rule(name="a", container=True), rule(name="b")], ["firewall_rules[b]: 443/tcp"]),
        ([rule(name="a"), rule(name="b")], ["firewall_rules[b]: 443/tcp"]),
        # What only looks like one.
        ([rule(name="a"), rule(name="b", proto="udp")], []),
        ([rule(name="a", interface="eth0"), rule(name="b", interface="eth1")], []),
        ([source(name="a", source="10.0.0.0/8"), source(name="b", source="fd00::1")], []),
        ([source(name="a", source=["10.0.0.0/8"]), source(name="b", source=["10.0.0.1", "192.0.2.1"])], []),
        ([rule(name="a"), rule(name="b", container=True)], ["firewall_rules[a]: 443/tcp"]),  # to a container is to the host too
        ([rule(name="a"), source(name="b", source="10.0.0.1", container=True)], []),
        ([rule(name="a"), source(name="b", source=[])], []),
    ],
)  # fmt: skip
def test_rules(rules: list[Any], expected: list[str]) -> None:
    problems = firewall_rules.rule_problems(rules, INTERFACES)
    assert [problem[: len(start)] for problem, start in zip_longest(problems, expected, fillvalue="")] == expected


def test_the_message_says_what_to_write() -> None:
    (problem,) = firewall_rules.rule_problems([source(source="10.0.0.5/8")], INTERFACES)
    assert problem.endswith("the network is 10.0.0.0/8.")
    (problem,) = firewall_rules.rule_problems([rule(name="a"), source(name="b", source="10.0.0.1")], INTERFACES)
    assert "firewall_rules[a] (443/tcp from anywhere)" in problem


def test_rules_of_the_wrong_type_are_passed_over() -> None:
    assert firewall_rules.rule_problems("web", INTERFACES) == []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["10.0.0.5", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.1"], ["10.0.0.0/8", "192.0.2.1"]),
        (["10.0.0.5", "10.0.0.5"], ["10.0.0.5"]),
        (["0.0.0.0/0", "::/0", "10.0.0.5", "fd00::1"], ["0.0.0.0/0", "::/0"]),
        (["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_sources_within_others_say_nothing(sources: list[str], expected: list[str]) -> None:
    assert firewall_rules.widest(sources) == expected


def test_a_rule_in_one_shape() -> None:
    given = [
        rule(),
        source(name="db", port="5432:5433", source=["10.0.0.5/32", "10.0.0.5"], container=True),
        source(name="x", source=[]),
    ]
    assert firewall_rules.normalised(given) == [
        {"name": "web", "port": "443", "proto": "tcp", "from": ["0.0.0.0/0", "::/0"], "interface": "", "container": False},
        {"name": "db", "port": "5432:5433", "proto": "tcp", "from": ["10.0.0.5"], "interface": "", "container": True},
    ]


@pytest.mark.parametrize(
    ("entry", "host", "expected"),
    [
        ({"at": "edge", "from": "any"}, "e1", [{"from": ["any"]}]),
        ({"at": "edge", "from": "any"}, "a1", []),
        ({"at": ["edge", "app"], "from": "any"}, "a1", [{"from": ["any"]}]),
        ({"from": "any"}, "a1", [{"from": ["any"]}]),  # every host
        ({"at": "app", "from": "edge"}, "a1", [{"from": ["10.0.0.1", "10.0.0.2", "fd00::2"]}]),
        # A host needs no rule for itself; nobody else is nobody, never everybody.
        ({"at": "db", "from": "app"}, "a1", [{"from": ["10.0.0.12"]}]),
        ({"at": "app", "from": "db"}, "a1", [{"from": []}]),
        ({"at": "app", "from": "monitoring"}, "a1", [{"from": []}]),  # a group that the inventory leaves out
        ({"at": "app", "from": ["edge", "app"]}, "a2", [{"from": ["10.0.0.1", "10.0.0.2", "fd00::2", "10.0.0.11"]}]),
        ({"at": "app", "from": ["192.0.2.7", "egde"]}, "a1", [{"from": ["192.0.2.7", "egde"]}]),  # a typo stays, to be reported
        ({"at": "nowhere", "from": "any"}, "a1", []),
        ({"at": "app"}, "a1", [{}]),
    ],
)
def test_access(entry: dict[str, Any], host: str, expected: list[dict[str, Any]]) -> None:
    assert firewall_rules.access_rules([entry], host, GROUPS, ADDRESSES) == expected


def test_access_leaves_what_is_no_rule() -> None:
    assert firewall_rules.access_rules(["x"], "a1", GROUPS, ADDRESSES) == ["x"]


@pytest.mark.parametrize(
    ("wanted", "listening", "sources", "client", "expected"),
    [
        ([], [22], ["any"], "203.0.113.5", []),
        ([22], ["22", 2222], ["any"], "", []),
        # A wrong port in the inventory.
        ([2222], [22], ["any"], "", ["firewall_ssh_ports: nothing answers SSH on port 2222 of this host (it does on 22)"]),
        (["ssh"], [22], ["any"], "", ["firewall_ssh_ports: nothing answers SSH on port ssh"]),
        # No rule for SSH at all.
        ([], [], ["any"], "", ["firewall_ssh_ports: no SSH server was found"]),
        ([], [22], [], "203.0.113.5", ["firewall_ssh_from: lets nobody in"]),
        # Whoever runs it must be among those who may come in.
        ([], [22], ["203.0.113.0/24"], "203.0.113.5", []),
        ([], [22], ["203.0.113.5"], "203.0.113.5", []),
        ([], [22], ["203.0.113.6"], "203.0.113.5", ["firewall_ssh_from: you come from 203.0.113.5, which is not among them"]),
        ([], [22], ["203.0.113.0/24"], "2001:db8::5", ["firewall_ssh_from: you come from 2001:db8::5"]),
        ([], [22], ["any"], "2001:db8::5", []),
        ([], [22], ["fe80::/10"], "fe80::1%eth0", []),
        ([], [22], ["203.0.113.5/24"], "203.0.113.5", ["firewall_ssh_from: '203.0.113.5/24' is no address"]),
        ([], [22], ["203.0.113.6"], "", []),  # not by SSH: nothing to lose
        ("22", [22], ["any"], "", []),  # the argument specification reports it
    ],
)
def test_ssh(wanted: Any, listening: list[Any], sources: list[str], client: str, expected: list[str]) -> None:
    problems = firewall_rules.ssh_problems(wanted, listening, sources, client)
    assert [problem[: len(start)] for problem, start in zip_longest(problems, expected, fillvalue="")] == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"iptables": True, "firewall-backend": "iptables"}, []),
        ({"iptables": False}, ['"iptables": false']),
        ({"iptables": False, "ip6tables": False}, ['"iptables": false', '"ip6tables": false']),
        ({"firewall-backend": "nftables"}, ["must be iptables beside UFW"]),
    ],
)
def test_settings_of_docker(options: dict[str, Any], expected: list[str]) -> None:
    problems = firewall_rules.daemon_problems(options)
    assert len(problems) == len(expected)
    assert all(
        words in problem and "/etc/docker/daemon.json" in problem for problem, words in zip(problems, expected, strict=True)
    )
