# SPDX-License-Identifier: GPL-3.0-or-later
"""What is watched, who is told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import configuration

GROUPS = {"app": ["a1", "a2"], "db": ["d1"], "edge": ["a1"], "cache": []}
ADDRESSES = {"a1": "10.0.0.1", "a2": "fd00::2", "d1": "10.0.0.3"}
SECRET = "https://hooks.example.org/CANARY"
GOOD: dict[str, Any] = {
    "jobs": [{"name": "node", "targets": [{"address": "127.0.0.1:9100", "labels": {"instance": "a"}}]}],
    "probes": ["https://shop.test/"],
    "extra_rules": [],
    "extra_panels": [],
    "alerts_off": [],
    "receivers": [],
    "smtp": {},
    "heartbeat_url": "",
    "retention_time": "30d",
    "retention_size": "2GB",
    "page_users": {},
    "slo_objective": 0.995,
}


def problems(**changes: Any) -> list[str]:
    """The problems of good settings, changed."""
    return configuration.problems({**GOOD, **changes}, known=["RedisDown"], free=10**12)


def test_jobs_from_groups() -> None:
    table = [
        {"name": "node", "at": ["app", "db", "edge"], "port": 9100},
        {"name": "redis", "at": "cache", "port": 9121},
        {
            "name": "shop",
            "at": "app",
            "port": 1,
            "labels": {"colour": "blue"},
            "addresses": {"a1": "127.0.0.1", "a2": "10.9.9.9"},
        },
        {
            "name": "shop",
            "at": "app",
            "port": 2,
            "labels": {"colour": "green"},
            "path": "/m",
            "addresses": {"a1": "127.0.0.1", "a2": "10.9.9.9"},
        },
    ]
    jobs = {job["name"]: job for job in configuration.scrape_jobs(table, GROUPS, ADDRESSES)}
    assert set(jobs) == {"node", "shop"}
    assert [target["address"] for target in jobs["node"]["targets"]] == ["10.0.0.1:9100", "[fd00::2]:9100", "10.0.0.3:9100"]
    assert jobs["node"]["targets"][2]["labels"] == {"instance": "d1"}
    assert [(target["address"], target["labels"]["colour"]) for target in jobs["shop"]["targets"]] == [
        ("127.0.0.1:1", "blue"), ("10.9.9.9:1", "blue"), ("127.0.0.1:2", "green"), ("10.9.9.9:2", "green")]  # fmt: skip
    assert configuration.job_problems(list(jobs.values())) == []


def test_rules() -> None:
    file = {"groups": [{"name": "x", "rules": [
        {"alert": "One", "expr": "a", "labels": {"severity": "info"}, "annotations": {"summary": "s"}},
        {"alert": "Two", "expr": "b", "labels": {"severity": "info"}, "annotations": {"summary": "s"}}]},
        {"name": "empty", "rules": [{"alert": "Two", "expr": "b", "annotations": {}}]}]}  # fmt: skip
    groups = configuration.alert_rules([file], ["Two"], "https://docs.example.org/alerts", 0.99)["groups"]
    assert [group["name"] for group in groups] == ["settings", "x"]
    assert groups[0]["rules"][0]["expr"] == "vector(0.99)"
    assert [rule["alert"] for rule in groups[1]["rules"]] == ["One"]
    assert groups[1]["rules"][0]["annotations"] == {"summary": "s", "runbook": "https://docs.example.org/alerts#one"}


def test_a_cause_outlasts_what_follows_from_it() -> None:
    rules = [{"alert": name, "expr": "a", "annotations": {}} for name in ("ServiceDown", "ContainerDown", "HostDown")]
    [_settings, group] = configuration.alert_rules([{"groups": [{"name": "x", "rules": rules}]}])["groups"]
    assert [rule.get("keep_firing_for") for rule in group["rules"]] == ["90s", None, "90s"]


def test_the_only_host_of_a_service() -> None:
    def job(name: str, *hosts: str, **labels: str) -> dict[str, Any]:
        return {"name": name, "targets": [{"address": f"{host}:1", "labels": {"instance": host, **labels}} for host in hosts]}

    jobs = [
        job("node", "a", "b"),
        job("redis", "a"),
        job("shop-web", "a", "a", service="web"),
        job("shop-api", "a", "b", service="api"),
        job("other", "a"),
    ]
    assert configuration.only_hosts(jobs) == [("redis", "a", False), ("shop-web", "a", True)]


RECEIVERS = [
    {"name": "mail", "email": ["a@b.c", "d@e.f"], "severities": ["critical"]},
    {"name": "chat", "slack": SECRET, "channel": "#ops"},
    {"name": "hook", "webhook": SECRET, "token": "CANARY-0123456789abcdef", "severities": ["info"]},
]
SMTP = {"host": "mail.example.org:587", "from": "m@b.c", "username": "m", "password": "CANARY-smtp"}


def test_who_is_told_and_no_secret_in_the_configuration() -> None:
    config = configuration.alertmanager(RECEIVERS, SMTP, SECRET)
    assert "CANARY" not in str(config)
    routes = config["route"]["routes"]
    assert routes[0]["receiver"] == "heartbeat" and routes[0]["matchers"] == ['alertname="Watchdog"']
    assert [(route["receiver"], route["matchers"]) for route in routes[1:]] == [
        ("mail", ['severity=~"critical"']), ("chat", ['severity=~"critical|warning"']), ("hook", ['severity=~"info"'])]  # fmt: skip
    assert {receiver["name"] for receiver in config["receivers"]} == {"nobody", "heartbeat", "mail", "chat", "hook"}
    assert config["receivers"][2]["email_configs"][0]["to"] == "a@b.c, d@e.f"
    assert configuration.secret_files(RECEIVERS, SMTP, SECRET) == {
        "smtp": "CANARY-smtp", "heartbeat": SECRET, "chat": SECRET, "hook": SECRET, "hook-token": "CANARY-0123456789abcdef"}  # fmt: skip
    assert configuration.secret_files([], {}, "") == {}
    assert problems(receivers=RECEIVERS, smtp=SMTP, heartbeat_url=SECRET) == []


def test_nobody_is_told_without_receivers() -> None:
    config = configuration.alertmanager([], {}, "")
    assert config["route"]["receiver"] == "nobody" and [receiver["name"] for receiver in config["receivers"]] == ["nobody"]
    assert problems() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"receivers": [{"name": "hook", "webhook": ""}]}, "monitoring_receivers[hook].webhook: is not set. Put the address into the vault."),
        ({"receivers": [{"name": "hook", "webhook": "CANARY"}]}, "monitoring_receivers[hook].webhook: is no http(s) address."),
        ({"receivers": [{"name": "hook", "webhook": SECRET, "token": ""}]}, "monitoring_receivers[hook].token: is not set"),
        ({"receivers": [{"name": "x", "webhook": SECRET, "severities": ["fatal"]}]}, "monitoring_receivers[x].severities: 'fatal' is none of critical"),
        ({"receivers": [{"name": "x", "webhook": SECRET, "email": ["a@b.c"]}]}, "monitoring_receivers[x]: needs exactly one of email, slack, webhook"),
        ({"receivers": [{"name": "x", "webhook": SECRET, "sevrities": []}]}, "monitoring_receivers[x]: does not know 'sevrities'"),
        ({"receivers": [{"name": "nobody", "webhook": SECRET}]}, "monitoring_receivers[nobody]: needs a name of its own"),
        ({"receivers": [{"name": "mail", "email": ["a"]}], "smtp": SMTP}, "monitoring_receivers[mail].email: is no list of addresses"),
        ({"receivers": [{"name": "mail", "email": ["a@b.c"]}]}, "monitoring_smtp: `host` (name:port) and `from` are needed"),
        ({"smtp": {"host": "x:25", "from": "a@b.c", "username": "x"}}, "monitoring_smtp.password: is not set"),
        ({"heartbeat_url": "your_heartbeat_here"}, "monitoring_heartbeat_url: is no http(s) address"),
        ({"jobs": GOOD["jobs"] * 2}, "monitoring_jobs[node]: there is another job of this name"),
        ({"jobs": [{**GOOD["jobs"][0], "name": "site"}]}, "monitoring_jobs[site]: there is another job of this name"),
        ({"jobs": [*GOOD["jobs"], {**GOOD["jobs"][0], "name": "more"}]}, "monitoring_jobs[more]: 127.0.0.1:9100 is asked by node already"),
        ({"jobs": [{"name": "x", "targets": []}]}, "monitoring_jobs[x]: has no targets"),
        ({"jobs": [{"name": "No Name"}]}, "monitoring_jobs[No Name]: a job needs a name"),
        ({"alerts_off": ["Nothing"]}, "monitoring_alerts_off: there is no alert 'Nothing'"),
        ({"extra_rules": [{"rules": []}]}, "monitoring_extra_rules[0]: is no group"),
        ({"extra_rules": [{"name": "m", "rules": [{"alert": "A"}]}]}, "monitoring_extra_rules[m]: a rule needs"),
        ({"extra_rules": [{"name": "m", "rules": [{"alert": "A", "expr": "up", "labels": {"severity": "page"}}]}]},
         "monitoring_extra_rules[m].A: severity 'page' is none of"),
        ({"extra_rules": [{"name": "m", "rules": [{"alert": "RedisDown", "expr": "up", "labels": {"severity": "info"}}]}]},
         "monitoring_extra_rules[m].RedisDown: there is an alert of this name"),
        ({"extra_panels": [{"title": "x", "expr": "up", "unit": "pieces", "description": "d"}]}, "monitoring_extra_panels[x].unit: 'pieces' is none of"),
        ({"retention_time": "a month"}, "monitoring_retention_time: 'a month' is no time"),
        ({"retention_size": "much"}, "monitoring_retention_size: 'much' is no size"),
        ({"retention_size": "900GB"}, "monitoring_retention_size: 900GB and a fifth more do not fit"),
        ({"probes": ["shop.test"]}, "monitoring_probes: 'shop.test' is no address"),
        ({"slo_objective": 1.0}, "monitoring_slo_objective: 1.0 is no share"),
        ({"page_users": {"op": "CANARY"}}, "monitoring_page_users[op]: is no hash of a password. Make one: openssl passwd -6"),
        ({"page_users": {"o:p": "$6$salt$" + "x" * 80}}, "monitoring_page_users: 'o:p' is no name"),
    ],
)  # fmt: skip
def test_what_is_refused(changes: dict[str, Any], expected: str) -> None:
    found = problems(**changes)
    assert len(found) == 1 and expected in found[0], found
    assert "CANARY" not in found[0]


def test_debian_12_cannot_read_addresses_from_files() -> None:
    assert "Use a host with Debian 13" in configuration.problems(GOOD, system="debian 12")[0]


def target(job: str, health: str, instance: str = "a", **labels: str) -> dict[str, Any]:
    """A target as Prometheus shows it."""
    return {
        "health": health,
        "labels": {"job": job, "instance": instance, **labels},
        "scrapeUrl": "http://x/probe?target=y",
        "lastError": "refused",
    }


def test_targets() -> None:
    blue, green = target("shop", "up", colour="blue"), target("shop", "down", colour="green")
    assert configuration.target_problems([target("node", "up"), blue, green]) == []
    assert configuration.target_problems([target("node", "down"), blue]) == ["node of a (http://x/probe): refused"]
    # The colour of another host does not count for this one.
    assert configuration.target_problems([blue, target("shop", "down", "b", colour="blue")]) == [
        "shop of b (http://x/probe): refused"
    ]
    assert configuration.target_problems([]) == ["there are no targets"]


def test_alerts_the_worst_first() -> None:
    def alert(name: str, severity: str, state: str = "firing") -> dict[str, Any]:
        return {
            "state": state,
            "labels": {"alertname": name, "severity": severity},
            "annotations": {"summary": "s"},
            "activeAt": "2026-11-25T09:00:00.1Z",
        }

    lines = configuration.alert_lines(
        [alert("B", "info"), alert("Watchdog", "none"), alert("A", "critical"), alert("C", "warning", "pending")]
    )
    assert lines == ["critical A: s (since 2026-11-25T09:00:00Z)", "info B: s (since 2026-11-25T09:00:00Z)"]
