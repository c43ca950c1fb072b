# SPDX-License-Identifier: GPL-3.0-or-later
"""However the hosts of an inventory share the work: what one asks of another listens there, lets it in, and has Docker if it needs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import wiring
from wiring_cases import ADDRESSES, ONE, SPREAD, wired

EVERYTHING: dict[str, Any] = {
    "logging_backend": "elasticsearch", "monitoring_grafana_enabled": True, "logging_page_users": {"me": "x"}, "monitoring_page_users": {"me": "x"},
}  # fmt: skip
PAIR = {**SPREAD, "all": [*SPREAD["all"], "e2"], "edge": ["e1", "e2"]}
LAYOUTS = {
    "one host": ONE,
    "a host for each": SPREAD,
    "two edges": PAIR,
    "logs and monitoring on one of two edges": {**PAIR, "logging": ["e1"], "monitoring": ["e1"]},
    "all but one edge on the other": {group: ["e1", "e2"] if group in ("all", "edge") else ["e1"] for group in ONE},
    "logs and monitoring beside the database": {**PAIR, "logging": ["d1"], "monitoring": ["d1"]},
    "an app host that is the edge": {**SPREAD, "edge": ["a1"]},
    "two app hosts that are edges": {**SPREAD, "edge": ["a1", "a2"], "logging": ["a2"]},
}


def asked(host: str, groups: Any) -> Iterator[tuple[str, str]]:
    """What a host asks of others: a word on it, and address:port."""

    def part(name: str) -> Any:
        return wired(name, host, groups, **EVERYTHING)

    if host in groups["edge"]:
        yield from part("pages").items()
        yield from ((name, at) for name, colours in part("upstreams").items() for entries in colours.values() for at in entries)
    if host in groups["monitoring"]:
        yield from ((job["name"], target["address"]) for job in part("jobs") for target in job["targets"])
    if host in groups["backup"]:
        yield from (("a restore", url.removeprefix("http://").removesuffix("/health")) for url in part("backup_probes"))
    if host in groups["app"]:
        ports = {"postgres": 5432, "redis": 6379}
        yield from ((name, f"{address}:{ports[name]}") for name, address in part("extra_hosts").items())
    if host in wiring.members(groups, "app", "db", "cache", "edge") and host != part("log_server"):
        yield "journals", f"{ADDRESSES[part('log_server')]}:19532"


@pytest.mark.parametrize("name", LAYOUTS)
def test_whatever_is_asked_listens_there_and_lets_the_asker_in(name: str) -> None:
    groups = LAYOUTS[name]
    owners = {ADDRESSES.get(host, ""): host for host in groups["all"]}
    for host in groups["all"]:
        for what, at in asked(host, groups):
            address, _colon, port = at.rpartition(":")
            owner = host if address == wiring.LOOPBACK else owners[address]
            if what in ("logs", "kibana"):
                assert owner == groups["logging"][0], f"{host} looks for {what} at its own loopback"
            if what in ("monitoring", "grafana"):
                assert owner == groups["monitoring"][0], f"{host} looks for {what} at its own loopback"
            rules = [rule for rule in wired("access", owner, groups, **EVERYTHING) if str(rule["port"]) == port]
            assert owner == host or any(ADDRESSES[host] in rule["from"] for rule in rules), (
                f"{owner} keeps {host} out: {what}, {at}"
            )


@pytest.mark.parametrize(
    ("changes", "docker"),
    [
        ({}, ["a1", "a2", "d1", "c1"]),
        ({"logging_backend": "elasticsearch"}, ["a1", "a2", "d1", "c1", "l1"]),
        ({"monitoring_grafana_enabled": "yes"}, ["a1", "a2", "d1", "c1", "m1"]),
        ({"monitoring_grafana_enabled": True, "monitoring_enabled": False}, ["a1", "a2", "d1", "c1"]),
    ],
)
def test_which_hosts_run_containers(changes: dict[str, Any], docker: list[str]) -> None:
    assert [host for host in SPREAD["all"] if wired("runs_containers", host, SPREAD, **changes)] == docker
    assert wired("runs_containers") is True
    other = {**SPREAD, "logging": ["e1", "l1"]}
    assert not wired("runs_containers", "l1", other, logging_backend="elasticsearch")  # the first one has the lines of all
