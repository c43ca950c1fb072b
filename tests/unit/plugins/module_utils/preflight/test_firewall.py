# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules, who may come in by SSH, and what else filters on a host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import firewall

RULE = {"name": "https", "port": 443, "from": "any"}
GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "enabled": True, "rules": [RULE], "interfaces": ["eth0"], "ssh_ports": [22],
    "ssh_from": ["any"], "listening": [22], "client": "10.0.0.9", "tag": "shop", "rivals": [], "daemon": {},
}  # fmt: skip
# What is wrong -> whether the rules can be compared with the host before it is judged.
CASES: list[tuple[dict[str, Any], list[str], bool]] = [
    ({}, [], True),
    ({"rules": [{"name": "x"}]}, ["firewall_rules[x].port: is not set.", "firewall_rules[x].from: is not set."], False),
    ({"argument_errors": ["a"], "cast_problems": ["b"], "rules": None}, ["a", "b"], False),
    ({"listening": []}, ["firewall_ssh_ports: nothing answers SSH on port 22", "firewall_ssh_ports: no SSH server"], False),
    ({"client": "10.0.0.9", "ssh_from": ["10.1.0.0/16"]}, ["firewall_ssh_from: you come from 10.0.0.9"], False),
    ({"daemon": {"iptables": False}}, ['/etc/docker/daemon.json or a flag of Docker\'s unit: "iptables": false'], True),
    ({"tag": "-x"}, ["firewall_tag: use letters, digits"], True),
    ({"tag": "x\n"}, ["firewall_tag: use letters, digits"], True),
    ({"tag": "a" * 32}, ["firewall_tag: use letters, digits"], True),
    (
        {"rivals": ["nftables.service", "iptables.service"]},
        [f"{unit}.service: loads rules of its own, and flushes those of UFW, Docker and the container firewall as it does."
         f" systemctl disable --now {unit}.service, or set firewall_enabled: false." for unit in ("nftables", "iptables")],
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected", "comparable"), CASES)
def test_problems(changes: dict[str, Any], expected: list[str], comparable: bool) -> None:
    facts = {**GOOD, **changes}
    found = firewall.problems(facts, plan=iter(()))
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected
    assert firewall.problems(facts) == ([] if comparable else found)
    assert firewall.problems({**facts, "enabled": False}, plan=["dead"]) == []


def test_what_the_host_said_stands_after_the_rules() -> None:
    found = firewall.problems({**GOOD, "ssh_from": [], "tag": ""}, plan=["a dead rule"])
    assert [problem.split(":")[0] for problem in found] == ["firewall_ssh_from", "a dead rule", "firewall_tag"]
