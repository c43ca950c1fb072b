# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of live servers: each passes on what is well, and fails on what is broken in its way."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import app, firewall
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules as firewall_rules

RULES = firewall_rules.normalised(
    [
        {"name": "https", "port": 443, "from": "any"},
        {"name": "metrics", "port": 9100, "from": "10.0.0.9"},
        {"name": "inner", "port": 8443, "from": "any", "interface": "eth1"},
        {"name": "db", "port": 5432, "from": "10.0.0.0/24", "container": True},
        {"name": "quic", "port": 444, "proto": "udp", "from": "any"},
    ]
)


def publisher(name: str, address: str, port: int, proto: str = "tcp") -> dict[str, Any]:
    """A container with a published port, and one that is not."""
    own = {"PrivatePort": 80, "Type": "tcp"}
    return {"Names": [f"/{name}"], "Ports": [own, {**own, "IP": address, "PublicPort": port, "Type": proto}]}


MINE = {"Name": "mine", "Driver": "bridge", "Id": "f" * 64, "Options": {"com.docker.network.bridge.name": "mine0"}}
OPEN_HERE = {"22": "open", "443": "open", "9100": "silent", "8080": "refused"}
GOOD: dict[str, Any] = {
    "problems": [],
    "actions": [],
    "unconfirmed": False,
    "container_firewall": "",
    "lines": [
        "unit ufw enabled", "unit container-firewall enabled", "unit firewall-rollback enabled",
        "requires docker.socket container-firewall.service sysinit.target", "listening *:443", "listening 0.0.0.0:22", "listening [::]:22",
    ],
    "networks": [
        {"Name": "bridge", "Driver": "bridge", "Id": "0" * 64, "Options": {"com.docker.network.bridge.name": "docker0"}},
        {"Name": "app", "Driver": "bridge", "Id": "f" * 64, "Options": {}},
        {"Name": "host", "Driver": "host", "Id": "e" * 64},
    ],
    "containers": [publisher("db", "10.0.0.4", 5432)],
    "interfaces": ["docker0", "br-*"],
    "scans": [{"address": "192.0.2.7", "error": "", "ports": OPEN_HERE}],
    "rules": RULES,
    "ssh_ports": [22],
    "ssh_from": ["any"],
    "client": "203.0.113.5",
}  # fmt: skip


def failed(seen: dict[str, Any]) -> dict[str, str]:
    """Check -> problem, of those that failed."""
    return {entry["check"]: entry["problem"] for entry in firewall.firewall_checks(seen) if entry["problem"]}


def test_a_good_firewall_passes() -> None:
    checks = firewall.firewall_checks(GOOD)
    assert len(checks) == 8 and not failed(GOOD) and not any(entry["skipped"] for entry in checks)


@pytest.mark.parametrize(
    ("broken", "check", "words"),
    [
        ({"problems": ["x: is wrong."]}, "rules of the inventory can be applied", "x: is wrong."),
        ({"actions": ["add a", "reload"]}, "UFW's rules", "add a; reload"),
        ({"unconfirmed": True}, "no change of the firewall waits", "run site.yml again"),
        ({"container_firewall": "is not loaded"}, "the container firewall", "is not loaded"),
        ({"lines": ["unit ufw disabled", "unit container-firewall "]}, "come back", "ufw is disabled; container-firewall is not there"),
        ({"lines": ["requires docker.socket"]}, "come back at boot", "docker.service starts without the container firewall"),
        ({"networks": [MINE]}, "every network", "mine (mine0) is not"),
        ({"interfaces": ["docker0"]}, "every network", "app (br-ffffffffffff) is not"),
        ({"containers": [publisher("web", "0.0.0.0", 8080, "tcp")]}, "containers publish nothing", "web publishes 0.0.0.0 port 8080/tcp"),
        ({"containers": [publisher("web", "::", 8080, "tcp")]}, "containers publish nothing", "web publishes :: port 8080/tcp"),
        # A rule for a program of the host says nothing about containers, nor one for UDP about TCP.
        ({"containers": [publisher("web", "0.0.0.0", 443, "tcp")]}, "containers publish nothing", "port 443/tcp"),
        ({"containers": [publisher("db", "10.0.0.4", 5432, "udp")]}, "containers publish nothing", "port 5432/udp"),
        ({"scans": [{"address": "192.0.2.7", "error": "no route", "ports": {}}]}, "IPv4, 0 ports", "192.0.2.7: no route"),
    ],
)  # fmt: skip
def test_each_check_can_fail(broken: dict[str, Any], check: str, words: str) -> None:
    problems = failed({**GOOD, **broken})
    (name,) = problems
    assert check in name and words in problems[name]


def test_containers_on_loopback_are_nobodys_business() -> None:
    for address in ("127.0.0.1", "::1"):
        assert not failed({**GOOD, "containers": [publisher("web", address, 8080)]})


def test_no_way_by_ipv6_is_no_failure() -> None:
    seen = {**GOOD, "scans": [*GOOD["scans"], {"address": "2001:db8::7", "error": "Network is unreachable", "ports": {}}]}
    last = firewall.firewall_checks(seen)[-1]
    assert not last["problem"] and "Network is unreachable" in last["skipped"]


@pytest.mark.parametrize(
    ("ports", "client", "expected"),
    [
        ({"443": "open", "22": "open"}, "203.0.113.5", []),
        ({"443": "open", "8080": "open"}, "203.0.113.5", ["8080 is open, and no rule allows it"]),
        ({"443": "silent", "22": "open"}, "203.0.113.5", ["443 should be open, and is silent"]),
        ({"443": "open", "444": "open"}, "203.0.113.5", ["444 is open, and no rule allows it"]),  # its rule is for UDP
        # Nothing listens: what is allowed need not be open.
        ({"443": "open", "5432": "refused"}, "10.0.0.4", []),
        # Rules for single sources: what they say depends on who asks.
        ({"443": "open", "9100": "open"}, "10.0.0.9", []),
        ({"443": "open", "9100": "open"}, "203.0.113.5", ["9100 is open, and no rule allows it"]),
        ({"443": "open", "9100": "open"}, "2001:db8::5", []),  # asked by IPv4, from an address that nobody knows
        ({"443": "open", "8443": "open"}, "203.0.113.5", ["8443 is open, and no rule allows it"]),  # on another interface only
        # A blind scanner must not pass.
        ({"443": "silent", "8080": "silent"}, "203.0.113.5", ["443 should be open, and is silent", "nothing answers at all"]),
        ({}, "203.0.113.5", ["nothing answers at all"]),
    ],
)
def test_scan_against_rules(ports: dict[str, str], client: str, expected: list[str]) -> None:
    rules = [*RULES, *firewall_rules.normalised([{"name": "ssh", "port": 22, "from": "any"}])]
    scan = {"address": "192.0.2.7", "ports": ports}
    problems = firewall.scan_problems(scan, rules, ["*:443", "0.0.0.0:22", "127.0.0.1:5432", "[::1]:9100"], client)
    assert len(problems) == len(expected)
    assert all(problem.startswith(words) for problem, words in zip(problems, expected, strict=True))


@pytest.mark.parametrize(
    ("listener", "v4", "v6"),
    [
        ("0.0.0.0:80", True, False), ("[::]:80", False, True), ("*:80", True, True), ("127.0.0.1:80", False, False),
        ("[::1]:80", False, False), ("192.0.2.7:80", True, False), ("[2001:db8::7]:80", False, True), ("0.0.0.0%eth0:80", True, False),
    ],
)  # fmt: skip
def test_what_a_listener_can_be_reached_at(listener: str, v4: bool, v6: bool) -> None:
    assert firewall._reaches(listener, "192.0.2.7") == v4
    assert firewall._reaches(listener, "2001:db8::7") == v6


def container(**changes: Any) -> dict[str, Any]:
    """A container as it should be; keys of HostConfig, Config and State may be changed."""
    entry: dict[str, Any] = {
        "Name": "/web",
        "State": {"Running": True, "Health": {"Status": "healthy"}},
        "Config": {"User": "101:101"},
        "HostConfig": {
            "ReadonlyRootfs": True, "CapDrop": ["ALL"], "CapAdd": None, "Privileged": False, "SecurityOpt": ["no-new-privileges:true"],
            "Memory": 1, "PidsLimit": 1, "NetworkMode": "app", "RestartPolicy": {"Name": "unless-stopped"},
        },
        "Mounts": [],
    }  # fmt: skip
    for key, value in changes.items():
        part = next((part for part in ("State", "Config", "HostConfig") if key in entry[part]), None)
        (entry[part] if part else entry)[key] = value
    return entry


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"ReadonlyRootfs": False}, ["may change its own files"]),
        ({"CapDrop": ["NET_RAW"]}, ["keeps capabilities"]),
        ({"CapAdd": ["NET_ADMIN"]}, ["keeps capabilities"]),
        ({"Privileged": True}, ["is privileged"]),
        ({"SecurityOpt": None}, ["may gain privileges"]),
        ({"Memory": 0}, ["has no limit of memory"]),
        ({"PidsLimit": None}, ["has no limit of processes"]),
        ({"PidsLimit": -1}, ["has no limit of processes"]),
        ({"User": ""}, ["runs as root"]),
        ({"User": "0:101"}, ["runs as root"]),
        ({"NetworkMode": "host"}, ["sees the host's network"]),
        ({"Mounts": [{"Source": "/var/run/docker.sock"}]}, ["can command Docker"]),
        ({"RestartPolicy": {"Name": "no"}}, ["does not come back"]),
    ],
)
def test_confinement(changes: dict[str, Any], words: list[str]) -> None:
    problems = app.confinement_problems(container(**changes))
    assert len(problems) == len(words) and all(word in problem for problem, word in zip(problems, words, strict=True))


@pytest.mark.parametrize(
    ("containers", "leaks", "readable", "expected"),
    [
        ([container()], ["docker inspect 0"], [], ["", "", "", ""]),
        ([container(Health={"Status": "unhealthy"})], ["docker inspect 0"], [], ["web is unhealthy", "", "", ""]),
        ([container(Running=False)], ["docker inspect 0"], [], ["none runs", "", "", ""]),
        ([], ["docker inspect 0"], [], ["none runs", "", "", ""]),
        ([container(), {**container(Running=False), "State": {"Running": False, "Restarting": True}}],
         ["docker inspect 0"], [], ["web ends again and again", "", "", ""]),
        ([container(Privileged=True)], ["docker inspect 0"], [], ["", "web is privileged", "", ""]),
        ([container()], ["docker inspect 0", "the journal 3"], [], ["", "", "found in the journal (3 times)", ""]),
        ([container()], [], [], ["", "", "there is no secret to search for, and services name some", ""]),
        ([container()], ["docker inspect 0"], ["/etc/x/secrets/a"], ["", "", "", "/etc/x/secrets/a can be read by others"]),
    ],
)  # fmt: skip
def test_application(containers: list[dict[str, Any]], leaks: list[str], readable: list[str], expected: list[str]) -> None:
    assert [entry["problem"] for entry in app.checks(containers, leaks, readable)] == expected


def test_an_application_without_secrets_has_none_to_search_for() -> None:
    [entry] = [entry for entry in app.checks([container()], [], [], secrets=False) if "secret where" in entry["check"]]
    assert entry["problem"] == "" and entry["skipped"] == "there is none on this host"


def test_report() -> None:
    hosts = {
        "web1": [firewall.check("it answers"), firewall.check("it is shut", ["8080 is open", "", "8080 is open", "22 is shut"])],
        "web2": [firewall.check("IPv6", skipped="no\n  way")],
    }
    assert firewall.report(hosts).splitlines() == [
        "web1", "  ok    it answers", "  FAIL  it is shut: 8080 is open; 22 is shut", "web2", "  skip  IPv6: no way", "1 passed, 1 FAILED, 1 skipped",
    ]  # fmt: skip
