# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `monitoring` writes, judged by Prometheus' and Alertmanager's own tools."""

from __future__ import annotations

import fnmatch
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from edge import SEEN
from inventory import SECRETS, inventory
from promtool import AMTOOL, PROMTOOL
from render import ROLES, evaluate, render

GROUPS = ("app", "backup", "cache", "db", "edge", "monitoring")
RECEIVERS = [
    {"name": "mail", "email": ["a@b.c"]},
    {"name": "hook", "webhook": "https://x.test/CANARY-hook", "token": "CANARY-token-0123456789"},
]
SMTP = {"host": "mail.test:587", "from": "m@b.c", "username": "m", "password": "CANARY-smtp"}
FILES = ["default.j2", "blackbox.yml.j2", "rules.yml.j2", "extra.yml.j2", "prometheus.yml.j2", "alertmanager.yml.j2"]

needs_tools = pytest.mark.skipif(not (PROMTOOL and AMTOOL), reason="no promtool and amtool here: lab/setup.sh dev brings them")


def written(template: str, environment: str = "prod", **changes: Any) -> str:
    """A file as the monitoring host of an environment gets it."""
    told = {
        "monitoring_receivers": RECEIVERS,
        "monitoring_smtp": SMTP,
        "monitoring_heartbeat_url": "https://x.test/CANARY-heartbeat",
    }
    variables = {**inventory(environment, GROUPS), **told, "arguments": "--x", **changes}
    return render("monitoring", template, variables)


def value(expression: str, role: str = "monitoring", **changes: Any) -> Any:
    """What a variable of the role is in production."""
    return evaluate(role, expression, inventory("prod", **{"group_names": GROUPS, **changes}))


def test_no_secret_outside_its_file() -> None:
    for file in FILES:
        text = written(file)
        assert "CANARY" not in text and not [secret for secret in SECRETS.values() if secret in text], file


@needs_tools
def test_the_tools_take_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/kasaneha.yml").write_text(written("rules.yml.j2"))
    mine = [{"name": "mine", "rules": [{"alert": "Mine", "expr": "up == 0", "labels": {"severity": "info"}}]}]
    (tmp_path / "rules/extra.yml").write_text(written("extra.yml.j2", monitoring_extra_rules=mine))
    for name, text in (("prometheus.yml", written("prometheus.yml.j2")), ("alertmanager.yml", written("alertmanager.yml.j2"))):
        (tmp_path / name).write_text(text.replace("/etc/prometheus/rules", str(tmp_path / "rules")))
    checks: list[list[Any]] = [[PROMTOOL, "check", "config", tmp_path / "prometheus.yml"]]
    if "version 0.25" not in subprocess.run([str(AMTOOL), "--version"], capture_output=True, text=True, check=False).stdout:
        checks.append(
            [AMTOOL, "check-config", tmp_path / "alertmanager.yml"]
        )  # Debian 12's knows no url_file: the role refuses it
    for command in checks:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_tools
def test_promtool_refuses_a_rule_of_the_operator_that_is_none(tmp_path: Path) -> None:
    bad = [{"name": "mine", "rules": [{"alert": "Mine", "expr": "up ==", "labels": {"severity": "info"}}]}]
    (tmp_path / "extra.yml").write_text(written("extra.yml.j2", monitoring_extra_rules=bad))
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(tmp_path / "extra.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "parse error" in done.stdout + done.stderr


@pytest.mark.parametrize("environment", ["prod", "staging", "local"])
def test_every_part_is_asked_on_loopback(environment: str) -> None:
    config = yaml.safe_load(written("prometheus.yml.j2", environment))
    targets = {
        job["job_name"]: [target for entry in job["static_configs"] for target in entry["targets"]]
        for job in config["scrape_configs"]
    }
    base = inventory(environment).get("app_port_base", 18080)
    assert targets[f"{inventory(environment)['app_name']}-backend"] == [f"127.0.0.1:{base}", f"127.0.0.1:{base + 100}"]
    assert (targets["node"], targets["postgres"]) == (["127.0.0.1:9100"], ["127.0.0.1:9187"])
    assert (targets["redis"], targets["nginx"]) == (["127.0.0.1:9121"], ["127.0.0.1:9113"])
    site = "localhost" if environment == "nowhere" else inventory(environment)["site_domains"][0]
    api = [f"https://{name}/api/v1/info" for name in inventory(environment).get("site_api_domains", [])]
    assert targets["site"] == [f"https://{site}/", f"https://{site}/api/v1/info", *api]
    assert bool(api) is (environment == "prod")
    assert config["global"]["scrape_interval"] == "15s"  # as in the first design
    [prometheus] = [job for job in config["scrape_configs"] if job["job_name"] == "prometheus"]
    assert prometheus["metrics_path"] == "/monitoring/metrics"


def test_nothing_listens_for_everybody() -> None:
    for name in ("_monitoring_prometheus", "_monitoring_alertmanager", "_monitoring_blackbox"):
        arguments = value(name).split()
        assert [word for word in arguments if word.startswith("--web.listen-address=127.0.0.1:")], arguments
    assert "--cluster.listen-address=" in value("_monitoring_alertmanager").split()  # no gossip on every address
    for row in value("_monitoring_exporter_files"):
        assert row["vars"]["arguments"].startswith("--web.listen-address=127.0.0.1:"), row
    private = value("_monitoring_exporter_files", monitoring_address="10.0.0.4")
    assert private[0]["vars"]["arguments"].startswith("--web.listen-address=10.0.0.4:9100 ")


def test_the_files_of_rules_follow_what_there_is() -> None:
    every = {"host", "monitoring", "containers", "postgres", "redis", "edge", "site", "services", "backup", "logs", "fluentd"}
    jobs = [{"name": name, "targets": [{"labels": {"service": "x"}}]} for name in ("postgres", "redis", "nginx", "fluentd")]
    assert set(value("_monitoring_rule_files", monitoring_rules_logs=True, monitoring_jobs=jobs)) == every
    assert set(value("_monitoring_rule_files")) == every - {"logs", "fluentd"}  # nobody collects any there
    assert {path.stem for path in (ROLES / "monitoring/files/alerts").iterdir()} == every
    few = value("_monitoring_rule_files", monitoring_jobs=[], monitoring_probes=[], monitoring_rules_backups=False,
                monitoring_rules_containers=False)  # fmt: skip
    assert set(few) == {"host", "monitoring"}
    assert "RedisDown" in value("_monitoring_all_alerts")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([{}], False), ([{"service": "web"}], True), ([{}, {"service": "web", "colour": "blue"}], True), ([], False)],
)
def test_alerts_on_services_come_with_a_service_that_has_metrics(labels: list[dict[str, str]], expected: bool) -> None:
    jobs = [{"name": f"job{number}", "targets": [{"address": "a:1", "labels": each}]} for number, each in enumerate(labels)]
    for told, wanted in (
        ({}, expected),
        ({"monitoring_rules_services": True}, True),
        ({"monitoring_rules_services": False}, False),
    ):
        files = value("_monitoring_rule_files", monitoring_jobs=jobs, **told)
        assert ("services" in files) == wanted, told


def kinds(**changes: Any) -> dict[str, str]:
    """How paths of a service become kinds of requests: kind -> regular expression."""
    jobs = yaml.safe_load(written("prometheus.yml.j2", **changes))["scrape_configs"]
    [rules] = [job["metric_relabel_configs"] for job in jobs if "metric_relabel_configs" in job]
    return {rule["replacement"]: rule["regex"] for rule in rules if rule["target_label"] == "kind"}


def test_nothing_is_a_stream_or_a_probe_unless_the_inventory_says_so() -> None:
    """An empty expression would match each sample that has no path."""
    assert kinds() == {"stream": ".*/sessions/.*", "probe": "/health|/metrics"}
    assert kinds(monitoring_stream_paths="") == {"probe": "/health|/metrics"}
    text = written("prometheus.yml.j2", monitoring_stream_paths="", monitoring_probe_paths="")
    assert "target_label: kind" not in text and len(yaml.safe_load(text)["scrape_configs"]) > 5


PANEL = {"title": "Mails", "expr": "sum(rate(mails_total{instance}[$__rate_interval]))", "unit": "ops", "description": "Sent"}


def test_panels_of_the_operator_are_in_grafana_and_on_the_page() -> None:
    dashboards = value("_monitoring_dashboards", monitoring_extra_panels=[PANEL])
    assert dashboards[0]["title"] == "Kasaneha Metrics" and dashboards[0]["panels"][-1]["title"] == "Mails"
    [group] = yaml.safe_load(written("extra.yml.j2", monitoring_extra_panels=[PANEL]))["groups"]
    assert [rule["expr"] for rule in group["rules"]] == ["sum(rate(mails_total{}[5m]))"]
    assert yaml.safe_load(written("extra.yml.j2", monitoring_extra_panels=[])) == {"groups": []}


def test_kasaneha_has_the_dashboard_of_the_first_design() -> None:
    metrics = value("_monitoring_dashboards")[0]
    assert (metrics["uid"], metrics["title"]) == ("kasaneha-metrics", "Kasaneha Metrics")
    assert {"API Request Rate", "Database Connections", "Gemini API Usage"} <= {panel["title"] for panel in metrics["panels"]}


def test_an_alert_that_is_off_is_not_written() -> None:
    assert "alert: RebootRequired" in written("rules.yml.j2")
    assert "alert: RebootRequired" not in written("rules.yml.j2", monitoring_alerts_off=["RebootRequired"])


def test_the_login_stands_in_the_environment_alone() -> None:
    rows = {row["path"].split("-")[1]: row for row in value("_monitoring_exporter_files")}
    for name in ("postgres", "redis"):
        text = render("monitoring", "default.j2", rows[name]["vars"])
        arguments, rest = text.split("\n", 2)[2].split("\n", 1)
        assert rows[name]["vars"]["login"] and "PASS" not in arguments and "PASS" in rest
        assert (rows[name]["mode"], rows[name]["secret"]) == ("0600", True)
    assert rows["node"]["vars"]["login"] == {} and (rows["node"]["mode"], rows["node"]["secret"]) == ("0644", False)


def test_what_alertmanager_tells_others_with_is_secret() -> None:
    rows = {row["path"]: row for row in value("_monitoring_receiver_files", monitoring_receivers=RECEIVERS, monitoring_smtp=SMTP)}
    assert {"CANARY-smtp", "CANARY-token-0123456789"} <= {row["content"] for row in rows.values()}
    assert all((row["secret"], row["group"], row["mode"]) == (True, "prometheus", "0640") for row in rows.values())


def test_every_unit_reads_a_file_that_is_written() -> None:
    written_files = [row["path"] for name in ("host", "exporter", "server") for row in value(f"_monitoring_{name}_files")]
    for unit in value("_monitoring_host_units + _monitoring_server_units"):
        for pattern in unit.get("files", []) + unit.get("reload_files", []):
            assert fnmatch.filter(written_files, pattern), (unit["name"], pattern)


def test_redis_lets_the_exporter_ask_and_nothing_else() -> None:
    text = render("app", "redis.conf.j2", inventory("prod", GROUPS))
    [line] = [line for line in text.splitlines() if line.startswith("user metrics ")]
    assert "resetkeys" in line and "-@all" in line and "+@" not in line and " ~" not in line
    assert "user metrics" not in render("app", "redis.conf.j2", inventory("prod", GROUPS, monitoring_enabled=False))


def test_the_page_is_behind_a_password_or_nowhere() -> None:
    hashed = {"operator": "$6$x$" + "y" * 86}
    shown = render("nginx", "nginx.conf.j2", {**inventory("prod", GROUPS, monitoring_page_users=hashed), "__nginx_seen": SEEN})
    assert "location ^~ /monitoring/ {" in shown and "auth_basic_user_file /etc/nginx/monitoring.htpasswd;" in shown
    assert "proxy_pass http://127.0.0.1:9090;" in shown
    hidden = render("nginx", "nginx.conf.j2", {**inventory("prod", GROUPS), "__nginx_seen": SEEN})
    assert "/monitoring" not in hidden


HOSTS = {"e1": "10.0.0.1", "a1": "10.0.0.2", "a2": "10.0.0.3", "d1": "10.0.0.4", "m1": "10.0.0.5"}
SPREAD = {
    "edge": ["e1"],
    "app": ["a1", "a2"],
    "db": ["d1"],
    "cache": ["d1"],
    "backup": ["d1"],
    "monitoring": ["m1"],
    "all": [*HOSTS],
}


def spread(host: str, expression: str, role: str = "monitoring", **more: Any) -> Any:
    """What a variable is on one host of five."""
    mine = [group for group, hosts in SPREAD.items() if host in hosts and group != "all"]
    hosts = {name: {"private_address": address} for name, address in HOSTS.items()}
    return value(expression, role, **{"groups": SPREAD, "hosts": hosts, "inventory_hostname": host, "group_names": mine, **more})


def test_every_host_is_watched_and_lets_the_monitoring_host_in_alone() -> None:
    jobs = {job["name"]: [target["address"] for target in job["targets"]] for job in spread("m1", "monitoring_jobs")}
    assert jobs["node"] == [f"{HOSTS[host]}:9100" for host in ("e1", "a1", "a2", "d1", "m1")]
    assert (jobs["postgres"], jobs["redis"], jobs["nginx"]) == (["10.0.0.4:9187"], ["10.0.0.4:9121"], ["10.0.0.1:9113"])
    assert jobs["kasaneha-backend"] == ["10.0.0.2:18080", "10.0.0.3:18080", "10.0.0.2:18180", "10.0.0.3:18180"]
    opened = {host: {rule["port"]: rule["from"] for rule in spread(host, "firewall_rules", "firewall")} for host in HOSTS}
    monitor, edge = [HOSTS["m1"]], [HOSTS["e1"]]
    assert opened["d1"] == {
        5432: ["10.0.0.2", "10.0.0.3"],
        6379: ["10.0.0.2", "10.0.0.3"],
        9100: monitor,
        9187: monitor,
        9121: monitor,
    }
    backend = [*edge, *monitor, HOSTS["d1"]]  # the backup asks it whether it works on restored data
    assert opened["a1"] == {18080: backend, 18180: backend, 18081: edge, 18181: edge, 9100: monitor}
    assert opened["e1"] == {80: ["any"], 443: ["any"], 9100: monitor, 9113: monitor}
    assert opened["m1"] == {9090: edge, 3000: []}  # nobody asks for Grafana where there is none


def test_fluentd_is_watched_where_it_runs() -> None:
    tier = {"logging_backend": "elasticsearch"}
    both = {**tier, "groups": {**SPREAD, "logging": ["a2", "m1"]}}
    for host in ("m1", "a2"):
        jobs = {job["name"]: job["targets"] for job in spread(host, "monitoring_jobs", **both)}
        assert jobs["fluentd"] == [{"address": "10.0.0.3:24231", "labels": {"instance": "a2"}}]
    [rule] = [rule for rule in spread("a2", "firewall_rules", "firewall", **both) if rule["port"] == 24231]
    assert rule["from"] == [HOSTS["m1"]] and rule["container"]
    assert "fluentd" not in [job["name"] for job in spread("m1", "monitoring_jobs")]


def test_grafana_is_confined_and_knows_no_secret() -> None:
    text = written("grafana.yml.j2", monitoring_grafana_password="CANARY-grafana-0123456789")
    [service] = yaml.safe_load(text)["services"].values()
    assert "CANARY" not in text and "ports" not in service and service["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["image"] == "grafana/grafana:13.2.2"
    shown = render("nginx", "nginx.conf.j2", {**inventory("prod", GROUPS, monitoring_grafana_enabled=True), "__nginx_seen": SEEN})
    assert "location ^~ /grafana/ {" in shown and "location ^~ /monitoring/" not in shown


@needs_tools
def test_prometheus_can_read_the_panels(tmp_path: Path) -> None:
    def check(expressions: list[str]) -> int:
        rules = [
            {"record": f"panel{number}", "expr": text.replace("$__rate_interval", "5m")}
            for number, text in enumerate(expressions)
        ]
        (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
        return subprocess.run(
            [str(PROMTOOL), "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, check=False
        ).returncode

    panels = [panel for dashboard in value("_monitoring_dashboards") for panel in dashboard["panels"]]
    expressions = [panel["targets"][0]["expr"] for panel in panels]
    assert len(expressions) > 20 and check(expressions) == 0
    assert check([*expressions, "rate(x)"]) != 0  # the negative control
