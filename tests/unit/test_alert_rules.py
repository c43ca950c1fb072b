# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert by Prometheus' own engine: quiet while all is well, firing when its reason lasts, and taken back afterwards."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_cases import BACKEND, CASES, IDLE
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import configuration
from inhibition import held_back
from promtool import PROMTOOL

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "roles/monitoring/files/alerts").glob("*.yml"))
PAGES = (ROOT / "docs/alerts.md").read_text()
BEFORE, AFTER = 40, 40  # steps in which all is well

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: lab/setup.sh dev brings it")


@functools.cache
def rules() -> dict[str, Any]:
    """All of our rules, as the role makes them."""
    return configuration.alert_rules([yaml.safe_load(file.read_text()) for file in FILES])


def alerts() -> Iterator[dict[str, Any]]:
    """Every rule that fires."""
    yield from (rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule)


def bare(only: set[str]) -> dict[str, Any]:
    """The alerts that are asked for and what is recorded for them, without words: promtool compares those too, and they are judged elsewhere."""
    return {
        "groups": [
            {
                "name": group["name"],
                "rules": [
                    {key: value for key, value in rule.items() if key != "annotations"}
                    for rule in group["rules"]
                    if rule.get("alert") in only or ("record" in rule and any("ErrorBudget" in name for name in only))
                ],
            }
            for group in rules()["groups"]
        ]
    }


def values(good: Any, bad: Any, minutes: int, step: int) -> str:
    """The samples of a series: good, bad, good. A number stays, ("rate", r) grows by r a minute, "now" is the time, None is none."""
    samples, last = [], 0.0
    for index in range(BEFORE + minutes // step + AFTER):
        value = bad if BEFORE <= index < BEFORE + minutes // step else good
        if isinstance(value, tuple):
            last += value[1] * step
        elif value == "now":
            last = index * step * 60
        elif value is not None:
            last = value
        samples.append("_" if value is None else f"{last:g}" if abs(last) < 1e5 else f"{last:.0f}")
    return " ".join(samples)


def promtool_case(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """One case as promtool reads it."""
    minutes, step = case["minutes"], case.get("step", 1)
    end = (BEFORE + minutes // step) * step
    severity = next(rule["labels"] for rule in alerts() if rule["alert"] == name)
    firing = [{"exp_labels": {**severity, **labels}} for labels in case["fires"]]
    series = [
        {"series": series, "values": values(*(both if isinstance(both, list) else [both, both]), minutes, step)}
        for series, both in case["series"].items()
    ]
    moments = [(BEFORE * step - step, []), (end - step, firing), (end + AFTER * step - step, [])]
    return {
        "interval": f"{step}m",
        "input_series": series,
        "alert_rule_test": [{"eval_time": f"{at}m", "alertname": name, "exp_alerts": expected} for at, expected in moments],
    }


def run(cases: dict[str, list[dict[str, Any]]], folder: Path) -> subprocess.CompletedProcess[str]:
    """Let promtool judge cases of alerts: all in one process, each with no more rules than it needs."""
    for name, tests in cases.items():
        only = {check["alertname"] for test in tests for check in test["alert_rule_test"]}
        (folder / f"{name}.rules.yml").write_text(yaml.safe_dump(bare(only)))
        content = {"rule_files": [f"{name}.rules.yml"], "evaluation_interval": tests[0]["interval"], "tests": tests}
        content["group_eval_order"] = [group["name"] for group in bare(only)["groups"]]
        (folder / f"{name}.yml").write_text(yaml.safe_dump(content))
    command = [str(PROMTOOL), "test", "rules", *(f"{name}.yml" for name in cases)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_alert_has_a_case_and_a_page() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    assert set(names) == set(CASES)
    assert re.findall(r"^## (\S+)$", PAGES, re.MULTILINE) == sorted(names)


def test_every_alert_says_what_and_how_bad() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in (*configuration.SEVERITIES, "none"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["annotations"]["summary"][-1] != ".", rule["alert"]


def test_a_metric_that_can_vanish_is_missed() -> None:
    """An age cannot grow once its metric is gone."""
    text = " ".join(rule["expr"] for rule in alerts())
    for metric in re.findall(r"time\(\) - (kasaneha_\w+)", text):
        assert f"absent({metric})" in text, metric


def test_nothing_that_means_something_else_in_prometheus_3() -> None:
    """`le` is a number with a fraction there, and a few functions have other names."""
    for group in rules()["groups"]:
        for rule in group["rules"]:
            assert not re.search(r'le="\d+"|holt_winters|\[(\d+\w):\1\]', rule["expr"]), rule["expr"]


@needs_promtool
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump(configuration.alert_rules([yaml.safe_load(f.read_text()) for f in FILES], runbook="https://x"))
    )
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_fire_when_they_should_and_stop(tmp_path: Path) -> None:
    done = run({name: [promtool_case(name, case)] for name, case in CASES.items() if name != "Watchdog"}, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def job(name: str, *hosts: str, **labels: str) -> dict[str, Any]:
    """A job as monitoring_jobs has it."""
    return {"name": name, "targets": [{"address": f"{host}:1", "labels": {"instance": host, **labels}} for host in hosts]}


def alert(name: str, host: str = "a") -> dict[str, str]:
    """An alert with the labels that promtool saw, of another host."""
    [rule] = [rule for rule in alerts() if rule["alert"] == name]
    labels = {"alertname": name, **rule["labels"], **CASES[name]["fires"][0]}
    return {**labels, **({"instance": host} if labels.get("instance") == "a" else {})}


def silent(jobs: list[dict[str, Any]], *firing: dict[str, str]) -> set[tuple[str, str]]:
    """Which of these alerts nobody hears of: name and host."""
    rules = configuration.alertmanager([], {}, "", jobs)["inhibit_rules"]
    return {(one["alertname"], one.get("instance", "")) for one in held_back(rules, firing)}


# b has nothing of the site, c watches.
ONE_OF_EACH = [
    job("node", "a", "b", "c"),
    job("postgres", "a"),
    job("redis", "a"),
    job("nginx", "a"),
    job("shop-backend", "a", service="backend"),
]
TWO_OF_EACH = [job("node", "a", "b", "c"), job("shop-backend", "a", "b", service="backend")]
TWO_OF_EACH += [job(name, "a", "b") for name in ("postgres", "redis", "nginx")]
SITE = {"SiteDown", "ServiceSlow", "ErrorBudgetFastBurn", "ErrorBudgetSlowBurn"}
NAMES = sorted(set(CASES) - {"Watchdog"})


@pytest.mark.parametrize("jobs", [ONE_OF_EACH, TWO_OF_EACH])
def test_a_dead_host_holds_back_its_own_alerts_alone(jobs: list[dict[str, Any]]) -> None:
    """Everything fires on two hosts at once; the dead one, which nothing depends on, is the third."""
    calm = [alert(name, host) for name in NAMES for host in ("a", "b") if name not in configuration.CAUSES.split("|")]
    calm = [
        one for one in calm if one["alertname"] not in {"SiteDown", "ErrorBudgetFastBurn", "DiskFull"}
    ]  # those explain others
    assert silent(jobs, alert("HostDown", "c"), *calm) == set()
    own = silent(
        jobs,
        alert("HostDown", "c"),
        *calm,
        alert("DiskAlmostFull", "c"),
        alert("SystemdUnitFailed", "c"),
        alert("DockerDown", "c"),
    )
    assert own == {("DiskAlmostFull", "c"), ("SystemdUnitFailed", "c"), ("DockerDown", "c")}
    assert len(calm) > 80


@pytest.mark.parametrize("cause", sorted(configuration.CAUSES.split("|")))
def test_the_site_hangs_on_the_only_host_of_a_part(cause: str) -> None:
    hosts = [(name, "a" if "instance" in alert(name) else "") for name in sorted(SITE - {"SiteDown"})] + [
        ("SiteDown", "https://shop.test/")
    ]
    consequences = [alert(name) for name in sorted(SITE)]
    explained = set(hosts)
    assert silent(ONE_OF_EACH, alert(cause, "a"), *consequences) >= explained
    # Of two hosts, one explains nothing: what is left should have served. Among themselves the consequences go on explaining one another.
    among = silent(TWO_OF_EACH, *consequences)
    assert ("SiteDown", "https://shop.test/") not in among
    assert silent(TWO_OF_EACH, alert(cause, "a"), *consequences) == among
    assert silent(ONE_OF_EACH, alert(cause, "c"), *consequences) == among


def test_a_cause_holds_back_what_follows_on_its_host() -> None:
    for cause in ("PostgresDown", "RedisDown", "NginxDown", "ServiceDown", "EdgeServesNothing", "DockerDown"):
        both = [alert(name, host) for name in ("ContainerDown", "TargetDown", "SystemdUnitFailed") for host in ("a", "b")]
        assert {host for _name, host in silent(TWO_OF_EACH, alert(cause, "a"), *both)} == {"a"}, cause
    down = [alert(name) for name in ("PostgresDown", "RedisDown", "ServiceDown", "NginxDown", "DiskFull")]
    assert {name for name, _host in silent(TWO_OF_EACH, alert("DockerDown"), *down)} == {
        "PostgresDown",
        "RedisDown",
        "ServiceDown",
    }


def test_a_service_hangs_on_the_only_database() -> None:
    """Its health is the database's, wherever it runs; the health of another database is not."""
    backend = {**alert("ContainerUnhealthy", "b"), "container": "shop-backend-blue", "service": "backend", "colour": "blue"}
    redis = alert("ContainerUnhealthy", "b")
    for cause in ("PostgresDown", "RedisDown", "HostDown"):
        assert silent(ONE_OF_EACH, alert(cause, "a"), backend, redis) == {("ContainerUnhealthy", "b")}, cause
        assert silent(ONE_OF_EACH, alert(cause, "a"), redis) == set(), cause
        assert silent(ONE_OF_EACH, alert(cause, "c"), backend) == set(), cause


def test_one_service_does_not_explain_another() -> None:
    """What burns fast in one service is no reason to keep quiet about another one; nor is its fall."""
    others = [{**alert(name), "job": "shop-mailer", "service": "mailer"} for name in ("ErrorBudgetSlowBurn", "ServiceSlow")]
    slow, fast = alert("ErrorBudgetSlowBurn"), alert("ErrorBudgetFastBurn")
    jobs = [job("shop-backend", "a", service="backend"), job("shop-mailer", "b", service="mailer")]

    def heard(*causes: dict[str, str]) -> set[tuple[str, str]]:
        firing = [slow, *others]
        rules = configuration.alertmanager([], {}, "", jobs)["inhibit_rules"]
        back = held_back(rules, [*causes, *firing])
        return {(one["alertname"], one["service"]) for one in firing if one not in back}

    everything = {("ErrorBudgetSlowBurn", "backend"), ("ErrorBudgetSlowBurn", "mailer"), ("ServiceSlow", "mailer")}
    assert heard() == everything
    assert (
        heard(fast)
        == heard(alert("ServiceDown", "a"))
        == heard(alert("HostDown", "a"))
        == everything - {("ErrorBudgetSlowBurn", "backend")}
    )
    assert heard(alert("HostDown", "b")) == {("ErrorBudgetSlowBurn", "backend")}


@needs_promtool
def test_services_nobody_asks_are_missed(tmp_path: Path) -> None:
    """Without any target there is no name of a service; without a record, each that has colours is meant."""
    blue = 'up{job="shop-backend",service="backend",instance="a",colour="blue"}'
    record = 'kasaneha_release_info{instance="a",job="node",colour="blue",release="v1"}'
    none = {"series": {blue: [1, None], record: 1}, "minutes": 20, "fires": [{}]}
    unknown = {"series": {blue: 1, record: [1, None]}, "minutes": 20, "fires": [BACKEND]}
    done = run({name: [promtool_case("ServiceAbsent", case)] for name, case in (("none", none), ("unknown", unknown))}, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_colour_before_is_not_missed_by_a_prometheus_that_started_again(tmp_path: Path) -> None:
    """It has no sample that ends the series of the release before, which stays as it was for five minutes."""
    target = 'up{job="shop-backend",service="backend",instance="a",colour="%s"}'
    record = 'kasaneha_release_info{instance="a",job="node",colour="%s",release="v1"}'
    container = 'kasaneha_container_expected{instance="a",job="node",colour="%s",container="shop-backend-%s",service="backend"}'
    series = {
        target % "green": "1x9 0x20", record % "green": "1x9 _x20", container % ("green", "green"): "1x9 0x20",
        target % "blue": "0x9 1x20", record % "blue": "_x9 1x20", container % ("blue", "blue"): "0x9 1x20",
    }  # fmt: skip
    unread = {name: samples for name, samples in series.items() if not name.startswith("kasaneha_container")}

    def case(series: dict[str, str]) -> dict[str, Any]:
        checks = [{"eval_time": f"{at}m", "alertname": "ServiceDown", "exp_alerts": []} for at in (5, 11, 13, 14, 25)]
        given = [{"series": name, "values": samples} for name, samples in series.items()]
        return {"interval": "1m", "input_series": given, "alert_rule_test": checks}

    done = run({"read": [case(series)]}, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run({"unread": [case(unread)]}, tmp_path).returncode != 0  # what would be told without the collector's word


@needs_promtool
def test_a_service_without_the_usual_metrics_fires_nothing(tmp_path: Path) -> None:
    """It has metrics of its own, and nothing of requests."""
    [services] = [yaml.safe_load(file.read_text()) for file in FILES if file.stem == "services"]
    names = [rule["alert"] for group in services["groups"] for rule in group["rules"] if "alert" in rule]
    assert {"ServiceDown", "ServiceSlow", "ErrorBudgetFastBurn"} <= set(names)
    series = {'up{job="worker",service="worker",instance="a"}': 1, 'go_goroutines{job="worker",service="worker",instance="a"}': 9}
    done = run({"own": [
        {
            "interval": "5m",
            "input_series": [{"series": name, "values": values(good, good, 600, 5)} for name, good in series.items()],
            "alert_rule_test": [{"eval_time": f"{at}m", "alertname": name, "exp_alerts": []} for name in names for at in (60, 900)],
        }
    ]}, tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_case_that_expects_nonsense_fails(tmp_path: Path) -> None:
    """The negative control: an alert that does not fire is noticed, and one that nobody expects."""
    case = CASES["RedisDown"]
    silent = promtool_case("RedisDown", {**case, "series": dict.fromkeys(case["series"], 1)})
    assert run({"silent": [silent]}, tmp_path).returncode != 0
    assert run({"loud": [promtool_case("RedisDown", {**case, "fires": []})]}, tmp_path).returncode != 0


@needs_promtool
def test_an_idle_site_is_silent(tmp_path: Path) -> None:
    """All is well and nobody comes: only Watchdog fires, for hours."""
    series = [{"series": name, "values": values(good, good, 600, 5)} for name, good in IDLE.items()]
    checks = [
        {"eval_time": f"{at}m", "alertname": rule["alert"], "exp_alerts": [{"exp_labels": rule["labels"]}] if rule["alert"] == "Watchdog" else []}
        for rule in alerts()
        for at in (60, 300, 900)
    ]  # fmt: skip
    done = run({"idle": [{"interval": "5m", "input_series": series, "alert_rule_test": checks}]}, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
