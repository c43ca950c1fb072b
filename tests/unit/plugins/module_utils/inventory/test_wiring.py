# SPDX-License-Identifier: GPL-3.0-or-later
"""How the hosts that carry an application fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import description, wiring
from wiring_cases import ADDRESSES, ONE, SHOP, SPREAD, WRONG, shop, wired

FLEET = Path(__file__).parents[5] / "playbooks/group_vars/all/fleet.yml"

# --- values that are not what they should be ------------------------------------------------------------

READ = sorted(
    {name for module in (description, wiring) for name in re.findall(r'said\.get\("(\w+)"', Path(module.__file__).read_text())}
    - {"app_name"}  # nothing is without a name
)
OF_A_SERVICE = ("image", "port", "publish", "health", "metrics", "assets", "volumes", "secrets", "environment", "release_label")
OF_A_SITE = ("names", "redirect_names", "upstream", "certificate", "assets", "probes", "locations", "hsts")
PARTS = sorted(set(re.findall(r"wired\('(\w+)'", FLEET.read_text())))


def every_part(**changes: Any) -> None:
    """Everything that is derived, on one host and on several."""
    said = shop(**changes)
    for groups, some in ((ONE, ["s1"]), (SPREAD, ["e1", "m1"])):
        hosts = {host: {"private_address": ADDRESSES.get(host), **said} for host in groups["all"]}
        for host in some:
            for part in PARTS:
                wiring.wired(hosts, part, host, groups)


@pytest.mark.parametrize("variable", READ)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_variable_of_the_wrong_type_is_passed_over(variable: str, wrong: Any) -> None:
    every_part(**{variable: wrong, "logging_backend": "elasticsearch"} if variable != "logging_backend" else {variable: wrong})


@pytest.mark.parametrize("key", OF_A_SERVICE)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_key_of_a_service_of_the_wrong_type_is_passed_over(key: str, wrong: Any) -> None:
    every_part(app_services={name: {**service, key: wrong} for name, service in SHOP["app_services"].items()})


@pytest.mark.parametrize("key", OF_A_SITE)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_key_of_a_site_of_the_wrong_type_is_passed_over(key: str, wrong: Any) -> None:
    every_part(nginx_sites=[{**SHOP["nginx_sites"][0], key: wrong}])


def test_what_is_read_is_known_to_these_tests() -> None:
    assert {"app_services", "app_secrets", "nginx_sites", "app_colours", "certbot_staging", "private_address"} <= set(READ)
    assert len(PARTS) > 20


# --- groups -------------------------------------------------------------------------------------------------

STATIC = {"app_name": "s", "app_services": {"web": {"image": "w", "port": 80}}, "nginx_sites": [{"names": ["s.test"]}]}
ALWAYS = ["edge", "app", "monitoring", "logging"]


def with_secret(name: str) -> dict[str, Any]:
    return {**STATIC, "app_services": {"web": {"image": "w", "port": 80, "secrets": {"X": name}}}}


@pytest.mark.parametrize(
    ("said", "more"),
    [
        (STATIC, []),
        (with_secret("postgres_url"), ["db", "backup"]),
        (with_secret("postgres_password"), ["db", "backup"]),
        (with_secret("redis_url"), ["cache"]),
        (with_secret("redis_password"), ["cache"]),
        (with_secret("key"), []),
        (SHOP, ["db", "cache", "backup"]),
        ({**STATIC, "app_postgres_enabled": True}, ["db", "backup"]),
        ({**STATIC, "app_postgres_enabled": "false", "app_redis_enabled": "yes"}, ["cache"]),
    ],
)
def test_a_description_needs_groups(said: dict[str, Any], more: list[str]) -> None:
    assert wiring.needed_groups(said) == [group for group in wiring.GROUPS if group in {*ALWAYS, *more}]


def test_what_is_not_described_needs_no_group() -> None:
    assert wiring.needed_groups({**STATIC, "monitoring_enabled": "no"}) == ["edge", "app", "logging"]
    assert wiring.needed_groups({"nginx_sites": STATIC["nginx_sites"]}) == ["edge", "monitoring", "logging"]
    assert wiring.needed_groups({"app_services": STATIC["app_services"], "nginx_sites": []}) == ["app", "monitoring", "logging"]


def test_each_host_has_its_own_groups() -> None:
    hosts = {"a": STATIC, "b": {**STATIC, "nginx_sites": []}}
    assert wiring.wired(hosts, "groups", "b", {"all": ["a", "b"]}) == {"a": ALWAYS, "b": ALWAYS[1:]}


# --- hosts --------------------------------------------------------------------------------------------------


def test_members_are_each_named_once() -> None:
    assert wiring.members(SPREAD, "app", "db", "app", "nowhere") == ["a1", "a2", "d1"]
    assert wiring.members({"app": None, "db": ["d"]}, "app", "db") == ["d"]  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, "s1"),
        ({"ansible_host": "203.0.113.5"}, "203.0.113.5"),
        ({"ansible_host": "203.0.113.5", "private_address": "10.0.0.5"}, "10.0.0.5"),
        ({"private_address": ""}, "s1"),
    ],
)
def test_where_others_reach_a_host(own: dict[str, Any], expected: str) -> None:
    assert wired("address", own={"s1": own}) == expected
    assert wired("addresses", own={"s1": own}) == {"s1": expected}


@pytest.mark.parametrize(
    ("part", "one", "spread"),
    [
        ("app_address", "127.0.0.1", {"a1": ADDRESSES["a1"], "a2": ADDRESSES["a2"]}),
        ("data_address", "", {"d1": ADDRESSES["d1"], "c1": ADDRESSES["c1"]}),
        ("monitoring_address", "127.0.0.1", {host: ADDRESSES[host] for host in ("e1", "a1", "m1")}),
        ("log_page_address", "127.0.0.1", {"l1": ADDRESSES["l1"], "e1": ADDRESSES["l1"]}),
    ],
)
def test_what_listens_where(part: str, one: str, spread: dict[str, str]) -> None:
    assert wired(part, own={"s1": {"private_address": "10.9.9.9"}}) == one  # nobody else asks
    assert {host: wired(part, host, SPREAD) for host in spread} == spread


def test_the_inventory_says_where_it_listens() -> None:
    own = {"a1": {"app_bind_address": "192.0.2.1"}, "m1": {"monitoring_address": "192.0.2.2"}}
    assert (
        wired("app_address", "a1", SPREAD, own) == "192.0.2.1" and wired("monitoring_address", "m1", SPREAD, own) == "192.0.2.2"
    )
    assert wired("app_addresses", "e1", SPREAD, own) == {"a1": "192.0.2.1", "a2": ADDRESSES["a2"]}


@pytest.mark.parametrize(
    ("groups", "listens", "data"),
    [
        ({"all": ["s1", "d1"], "edge": ["s1"], "app": ["s1"], "db": ["d1"]}, True, False),  # the backup on d1 proves a restore
        ({"all": ["s1", "d1"], "edge": ["s1"], "app": ["s1"], "db": ["s1"], "cache": ["d1"]}, False, False),
        ({"all": ["s1", "d1"], "edge": ["d1"], "app": ["s1"], "db": ["s1"]}, True, False),
        ({"all": ["s1", "d1"], "edge": ["s1"], "app": ["s1", "d1"], "db": ["s1"]}, False, True),
        ({"all": ["s1", "d1"], "edge": ["s1"], "app": ["s1"], "monitoring": ["d1"]}, True, False),
    ],
)
def test_services_and_databases_listen_for_those_who_ask(groups: Any, listens: bool, data: bool) -> None:
    said = {"s1": {**SHOP, "private_address": "10.0.0.9"}, "d1": {**SHOP, "private_address": "10.0.0.4"}}
    assert wiring.wired(said, "app_address", "s1", groups) == ("10.0.0.9" if listens else "127.0.0.1")
    assert wiring.wired(said, "data_address", "s1", groups) == ("10.0.0.9" if data else "")


@pytest.mark.parametrize(
    ("host", "own", "expected"),
    [
        ("a1", {}, {"postgres": ADDRESSES["d1"], "redis": ADDRESSES["c1"]}),
        ("d1", {}, {"redis": ADDRESSES["c1"]}),  # a database of this host is on the containers' network
        ("a1", {"d1": {"private_address": "fd00::4"}}, {"postgres": "fd00::4", "redis": ADDRESSES["c1"]}),
        ("a1", {"d1": {"private_address": "db.example"}}, {"redis": ADDRESSES["c1"]}),  # a container takes no name for an address
    ],
)
def test_extra_hosts(host: str, own: dict[str, Any], expected: dict[str, str]) -> None:
    assert wired("extra_hosts", host, SPREAD, own) == expected


def test_one_host_and_one_without_databases_need_no_extra_hosts() -> None:
    assert wired("extra_hosts") == {}
    two = {**SPREAD, "db": ["d1", "c1"]}
    assert wired("extra_hosts", "a1", two)["postgres"] == ADDRESSES["d1"]  # there is one database; it is the first one's
    assert wired("extra_hosts", "a1", {**SPREAD, "db": [], "cache": []}) == {}


@pytest.mark.parametrize(
    ("text", "good"),
    [("10.0.0.1", True), ("fd00::1", True), ("a.example", False), ("", False), (None, False), ("10.0.0.1/24", False)],
)
def test_is_address(text: Any, good: bool) -> None:
    assert wiring.is_address(text) is good


def test_upstreams() -> None:
    assert wired("upstreams", "e1", SPREAD, {"a2": {"private_address": "fd00::2"}}) == {
        "web": {
            "blue": [f"{ADDRESSES['a1']}:18080", "[fd00::2]:18080"],
            "green": [f"{ADDRESSES['a1']}:18180", "[fd00::2]:18180"],
        },
        "api": {
            "blue": [f"{ADDRESSES['a1']}:18081", "[fd00::2]:18081"],
            "green": [f"{ADDRESSES['a1']}:18181", "[fd00::2]:18181"],
        },
    }
    assert wired("upstreams")["web"] == {"blue": ["127.0.0.1:18080"], "green": ["127.0.0.1:18180"]}
    assert wired("upstreams", app_colours=[]) == {}


# --- who asks whom ----------------------------------------------------------------------------------------------


def opened(host: str, groups: Any = None, **changes: Any) -> dict[str, list[str]]:
    """Rule of the firewall -> who may come in, without those that let nobody in."""
    return {rule["name"]: rule["from"] for rule in wired("access", host, groups, **changes) if rule["from"]}


def test_one_host_opens_the_web_alone() -> None:
    assert opened("s1") == {"http": ["any"], "https": ["any"]}


def test_several_hosts_open_what_others_ask() -> None:
    at = {host: [address] for host, address in ADDRESSES.items()}
    everybody = [ADDRESSES[host] for host in ("a1", "a2", "d1", "c1", "e1")]
    assert opened("e1", SPREAD) == {"http": ["any"], "https": ["any"], "metrics of hosts": at["m1"], "metrics of nginx": at["m1"]}
    assert opened("a1", SPREAD) == {
        "web blue": at["e1"], "web green": at["e1"],
        "api blue": at["e1"] + at["m1"] + at["d1"], "api green": at["e1"] + at["m1"] + at["d1"], "metrics of hosts": at["m1"],
    }  # fmt: skip
    assert opened("d1", SPREAD) == {
        "postgres": at["a1"] + at["a2"],
        "metrics of hosts": at["m1"],
        "metrics of postgres": at["m1"],
    }
    assert opened("c1", SPREAD) == {"redis": at["a1"] + at["a2"], "metrics of hosts": at["m1"], "metrics of redis": at["m1"]}
    assert opened("m1", SPREAD) == {"monitoring page": at["e1"]}
    assert opened("l1", SPREAD) == {"journals": everybody, "journal page": at["e1"], "metrics of hosts": at["m1"]}
    assert opened("m1", SPREAD, monitoring_grafana_enabled="yes")["grafana"] == at["e1"]
    assert opened("l1", SPREAD, logging_backend="elasticsearch")["metrics of fluentd"] == at["m1"]
    assert opened("l1", SPREAD, logging_backend="elasticsearch")["kibana"] == at["e1"]


def test_ports_that_the_inventory_names_are_opened() -> None:
    usual = {rule["name"]: rule["port"] for host in SPREAD["all"] for rule in wired("access", host, SPREAD)}
    assert [usual[name] for name in ("postgres", "redis", "journals", "journal page")] == [5432, 6379, 19532, 19531]
    ports = {"app_postgres_port": 15432, "app_redis_port": 16379, "logging_server_port": 29532, "logging_page_port": 29531}
    rules = {rule["name"]: rule for host in SPREAD["all"] for rule in wired("access", host, SPREAD, **ports)}
    assert [rules[name]["port"] for name in ("postgres", "redis", "journals", "journal page")] == list(ports.values())
    containers = {name for name, rule in rules.items() if rule.get("container")}
    assert containers == {
        "web blue", "web green", "api blue", "api green", "postgres", "redis", "metrics of fluentd", "kibana",
    }  # fmt: skip


def jobs(host: str, groups: Any = None, own: Any = None, **changes: Any) -> dict[str, list[str]]:
    """Job of Prometheus -> whom it asks."""
    return {job["name"]: [target["address"] for target in job["targets"]] for job in wired("jobs", host, groups, own, **changes)}


def test_jobs_with_metrics_of_services_and_without() -> None:
    found = jobs("s1")
    assert found == {
        "node": ["127.0.0.1:9100"], "postgres": ["127.0.0.1:9187"], "redis": ["127.0.0.1:9121"], "nginx": ["127.0.0.1:9113"],
        "shop-x-api": ["127.0.0.1:18081", "127.0.0.1:18181"],
    }  # fmt: skip
    without = {
        name: {key: value for key, value in service.items() if key != "metrics"} for name, service in SHOP["app_services"].items()
    }
    assert jobs("s1", app_services=without) == {name: addresses for name, addresses in found.items() if name != "shop-x-api"}
    [job] = [job for job in wired("jobs", app_services={"api": {"port": 1, "metrics": "/m"}}) if job["name"] == "shop-x-api"]
    assert job["path"] == "/m"
    assert [target["labels"] for target in job["targets"]] == [
        {"instance": "s1", "service": "api", "colour": "blue"}, {"instance": "s1", "service": "api", "colour": "green"},
    ]  # fmt: skip


def test_jobs_of_several_hosts() -> None:
    found = jobs("m1", SPREAD, {"d1": {"monitoring_address": "fd00::4"}})
    at = ADDRESSES
    assert found["node"] == [f"{at[host]}:9100" for host in ("e1", "a1", "a2")] + ["[fd00::4]:9100"] + [
        f"{at[host]}:9100" for host in ("c1", "l1", "m1")
    ]
    assert found["postgres"] == ["[fd00::4]:9187"] and found["redis"] == [f"{at['c1']}:9121"] and "fluentd" not in found
    assert found["shop-x-api"] == [f"{at[host]}:{port}" for port in (18081, 18181) for host in ("a1", "a2")]
    assert jobs("m1", SPREAD, logging_backend="elasticsearch")["fluentd"] == [f"{at['l1']}:24231"]
    assert "fluentd" not in jobs("m1", {**SPREAD, "logging": []}, logging_backend="elasticsearch")
    assert set(jobs("s1", {"all": ["s1"], "app": ["s1"]})) == {"node", "shop-x-api"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"logging_page_users": {"me": "x"}}, {"logs": "{logs}:19531"}),
        ({"logging_page_users": {"me": "x"}, "logging_page_port": 1}, {"logs": "{logs}:1"}),
        ({"logging_backend": "elasticsearch"}, {"kibana": "{logs}:5601"}),
        ({"logging_backend": "elasticsearch", "logging_kibana_port": 2}, {"kibana": "{logs}:2"}),
        ({"logging_backend": "journald"}, {}),
        ({"monitoring_page_users": {"me": "x"}}, {"monitoring": "{watcher}:9090"}),
        ({"monitoring_grafana_enabled": "yes"}, {"grafana": "{watcher}:3000"}),
        ({"monitoring_page_users": {"me": "x"}, "monitoring_grafana_enabled": True, "monitoring_enabled": "no"}, {}),
    ],
)
def test_pages(changes: dict[str, Any], expected: dict[str, str]) -> None:
    def at(logs: str, watcher: str) -> dict[str, str]:
        return {page: where.format(logs=logs, watcher=watcher) for page, where in expected.items()}

    assert wired("pages", **changes) == at("127.0.0.1", "127.0.0.1")
    assert wired("pages", "e1", SPREAD, **changes) == at(ADDRESSES["l1"], ADDRESSES["m1"])
    own = {"l1": {"private_address": "fd00::7"}, "m1": {"private_address": "fd00::8"}}
    assert wired("pages", "e1", SPREAD, own, **changes) == at("[fd00::7]", "[fd00::8]")
    assert wired("pages", "e1", {**SPREAD, "logging": [], "monitoring": []}, **changes) == {}


def test_a_page_is_where_the_inventory_says_that_it_listens() -> None:
    users = {"logging_page_users": {"me": "x"}, "monitoring_page_users": {"me": "x"}}
    own = {host: {"logging_page_address": "192.0.2.1", "monitoring_address": "192.0.2.2"} for host in ("l1", "m1")}
    assert wired("pages", "e1", SPREAD, own, **users) == {"logs": "192.0.2.1:19531", "monitoring": "192.0.2.2:9090"}


def test_who_watches_and_collects() -> None:
    assert wired("monitored") is True and wired("monitored", monitoring_enabled="no") is False
    assert wired("monitored", "e1", {**SPREAD, "monitoring": []}) is False
    assert wired("log_server", "e1", SPREAD) == "l1" and wired("log_server", "e1", {**SPREAD, "logging": []}) == ""
    assert wired("log_server", "e1", {**SPREAD, "logging": ["a2", "l1"]}) == "a2"


def test_what_proves_restored_data() -> None:
    assert wired("backup_probes") == ["http://127.0.0.1:18081/health", "http://127.0.0.1:18181/health"]
    assert wired("backup_probes", "d1", SPREAD, {"a2": {"private_address": "fd00::2"}}) == [
        f"http://{address}:{port}/health" for address in (ADDRESSES["a1"], "[fd00::2]") for port in (18081, 18181)
    ]
    assert wired("backup_probes", app_services={"web": {"port": 80}}) == []  # nothing uses a database
    assert wired("backup_probes", app_colours=[]) == ["http://127.0.0.1:8080/health"]
    one = {"api": {"port": 1, "health": {"path": "/ok", "status": 200}, "secrets": {"X": "key"}}}
    assert wired("backup_probes", app_services=one) == [
        {"url": f"http://127.0.0.1:{port}/ok", "status": 200} for port in (18080, 18180)
    ]


def test_secrets_that_are_made_of_the_database_s() -> None:
    metrics, key = wired("metrics_password"), wired("grafana_key")
    assert re.fullmatch("[0-9a-f]{64}", metrics) and re.fullmatch("[0-9a-f]{64}", key) and metrics != key
    assert wired("metrics_password", app_secrets={"postgres_password": "other"}) != metrics
    assert (
        wired("metrics_password", app_secrets={"redis_password": "p"}) == metrics
    )  # of the other database, where there is no PostgreSQL
    assert wired("metrics_password", app_secrets={"postgres_password": "p", "redis_password": "x"}) == metrics
    for none in ({}, {"key": "k"}, None):
        assert wired("metrics_password", app_secrets=none) == wired("grafana_key", app_secrets=none) == ""


# --- by name ----------------------------------------------------------------------------------------------------------


def test_every_part_that_is_shipped_exists_and_no_other() -> None:
    fleet = yaml.safe_load(FLEET.read_text())
    assert all(name.startswith("fleet_") for name in fleet)
    with pytest.raises(ValueError, match="no part 'nothing'") as refused:
        wired("nothing")
    known = str(refused.value).rpartition("only ")[2].rstrip(".").split(", ")
    assert sorted(known) == PARTS
