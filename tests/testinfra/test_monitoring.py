# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything is watched, and nothing fires while nothing is broken."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import grafana

from .playbook import play, said

ROOT = Path(__file__).parent.parent.parent
HUB, FAR = "198.51.100.85", "198.51.100.86"
API = f"http://{HUB}:9090/monitoring/api/v1"
# Metrics that appear with what they are about.
SOMETIMES = {
    "fluentd_output_status_buffer_available_space_ratio",  # without Elasticsearch there is none
    "kasaneha_failed_unit",  # nothing has failed
    "kasaneha_backup_missing_copies",  # there is no remote
}
WORDS = set(
    "and or unless on ignoring by without group_left group_right bool offset scalar vector time sum min max avg count absent rate increase".split()
)
WORDS |= set("group histogram_quantile quantile_over_time last_over_time min_over_time predict_linear sort_desc Inf NaN".split())


def wait(condition: Callable[[], Any], seconds: int, what: str) -> Any:
    """Wait until something is true; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(2)
    raise AssertionError(f"not within {seconds} s: {what}")


def firing(ask: Callable[[str], Any]) -> list[str]:
    """Names of the alerts that fire."""
    return sorted(alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing")


def metrics(expression: str) -> set[str]:
    """The metrics that an expression names."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring|group_left|group_right) *\([^)]*\)", " ", text)
    names = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?! *\()\b", text)
    return {
        name
        for name in names
        if name not in WORDS and not re.search(rf"\b{name} *\(", text) and not re.fullmatch(r"[smhdwy]", name)
    }


def page_expressions() -> Iterator[str]:
    """Every expression of the page, with this host's labels in the place of the page's own."""
    text = (ROOT / "roles/monitoring/files/console/overview.html").read_text()
    for found in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
        if re.search(r"kasaneha[_:]|node_|pg_|redis_|nginx_|http_|\bup\b", found):
            yield found.replace("{%s", "{x").replace("%s", "{x}")


def test_every_target_answers(ask):
    targets = ask("targets?state=active")["activeTargets"]
    down = [(target["labels"]["job"], target["labels"].get("colour", "")) for target in targets if target["health"] != "up"]
    assert down == [("kasaneha-backend", "green")]  # put aside
    assert {target["labels"]["job"] for target in targets} == {
        "prometheus", "alertmanager", "node", "postgres", "redis", "nginx", "kasaneha-backend", "site"}  # fmt: skip
    nodes = {target["labels"]["instance"] for target in targets if target["labels"]["job"] == "node"}
    assert nodes == {"ready", "watched"}


def connects(address: str, port: int) -> bool:
    """Whether a stranger on the servers' network gets in."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), 3):
        return True
    return False


def test_nobody_else_gets_in(root):
    ports = ("9090", "9093", "9094", "9100", "9113", "9115", "9121", "9187")
    listening = [line.split()[4] for line in root("ss -Hltun").splitlines()]
    addresses = [address for address in listening if address.rsplit(":", 1)[-1] in ports]
    assert len(addresses) == 7 and all(address.startswith(("127.0.0.1:", f"{HUB}:")) for address in addresses), addresses
    doors = [(address, int(port)) for address in (HUB, FAR) for port in ports]
    with ThreadPoolExecutor(len(doors)) as pool:
        assert not [door for door, opens in zip(doors, pool.map(connects, *zip(*doors, strict=True)), strict=True) if opens]
    assert connects(HUB, 443)  # the negative control


def test_every_metric_of_a_rule_and_of_the_page_exists(root, ask):
    root("systemctl start kasaneha-backup-drill kasaneha-metrics")
    wait(
        lambda: ask(f"query?query={quote('kasaneha_restore_test_last_success_timestamp_seconds')}")["result"],
        60,
        "the drill is known",
    )
    known = set(ask("label/__name__/values"))
    wanted: dict[str, str] = {}
    for file in sorted((ROOT / "roles/monitoring/files/alerts").glob("*.yml")):
        for rule in (rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]):
            wanted |= dict.fromkeys(metrics(rule["expr"]), rule.get("alert", rule.get("record")))
    assert len(wanted) > 50 and "redis_up" in wanted and "kasaneha:errors:ratio_rate1h" in wanted
    wanted |= {name: "the page" for expression in page_expressions() for name in metrics(expression)}
    recorded = {name for name in wanted if ":errors:" in name}  # without an error there is no number of them
    missing = {name: where for name, where in wanted.items() if name not in known | SOMETIMES | recorded}
    assert missing == {}
    assert "redis_upp" not in known  # the negative control


def test_every_panel_of_every_dashboard_shows_something(ask, browse):
    for _ in range(5):
        assert browse("/api/v1/info")[0] == 200
    short = yaml.safe_load((ROOT / "roles/monitoring/files/dashboards.yml").read_text())
    dashboards = grafana.dashboards(short, panels=said("monitoring_extra_panels"))
    assert [panel["title"] for panel in dashboards[0]["panels"]][-1] == "Gemini API Usage"

    def only_errors_is_empty() -> bool:  # there were none
        empty = []
        for panel in (panel for dashboard in dashboards for panel in dashboard["panels"]):
            expression = panel["targets"][0]["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            if not ask(f"query?query={quote(expression, safe='')}")["result"]:
                empty.append(panel["title"])
        print("empty:", empty)
        return empty == ["Errors"]

    wait(only_errors_is_empty, 180, "every panel but that of errors shows something")  # after some scrapes
    for dashboard in dashboards:
        assert ask(f"query?query={quote(dashboard['annotations']['list'][0]['expr'], safe='')}")["result"]


def test_every_rule_can_be_evaluated(ask):
    groups = ask("rules")["groups"]
    assert [rule for group in groups for rule in group["rules"] if rule["health"] == "err"] == []
    assert len([rule for group in groups for rule in group["rules"] if rule["type"] == "alerting"]) == 61


def test_who_would_be_told(root):
    route = "amtool config routes test --config.file=/etc/prometheus/alertmanager.yml alertname={} severity={}"
    for alert, severity, told in (("RedisDown", "critical", "hook,mail"), ("DiskAlmostFull", "warning", "hook"),
                                  ("RebootRequired", "info", "nobody"), ("Watchdog", "none", "heartbeat")):  # fmt: skip
        assert root(route.format(alert, severity)).strip() == told


def test_only_watchdog_fires_and_the_outside_hears_it(ask, received):
    time.sleep(15 * 60 if os.environ.get("LONG") else 0)
    assert firing(ask) == ["Watchdog"]
    beats = wait(lambda: [entry for entry in received() if entry["kind"] == "heartbeat"], 90, "a heartbeat")
    assert beats[0]["alerts"][0]["alertname"] == "Watchdog"
    assert [entry for entry in received() if entry["kind"] != "heartbeat"] == []


def test_secrets_are_their_owners(root, lab_secrets):
    assert root("stat -c '%a %U %G' /etc/prometheus/secrets/* | sort -u").strip() == "640 root prometheus"
    assert (
        root("stat -c '%a %U' /etc/default/prometheus-postgres-exporter /etc/default/prometheus-redis-exporter | sort -u").strip()
        == "600 root"
    )
    token = lab_secrets["monitoring_token"]
    password = root("sed -n 's/^DATA_SOURCE_PASS=//p' /etc/default/prometheus-postgres-exporter").strip()
    assert len(password) == 64
    seen = root(
        "ps axww -o args; journalctl --no-pager; systemctl show 'prometheus*'; find /etc/prometheus -perm -o=r -type f -exec cat {} +"
    )
    seen += root("docker inspect kasaneha-redis kasaneha-postgres; docker exec kasaneha-redis cat /etc/redis/redis.conf")
    assert token not in seen and password not in seen
    assert token in root("cat /etc/prometheus/secrets/*")  # the negative control


def test_the_exporters_may_look_at_statistics_alone(root):
    login = "PGPASSWORD=$(sed -n s/^DATA_SOURCE_PASS=//p /etc/default/prometheus-postgres-exporter)"
    psql = "docker exec -e PGPASSWORD kasaneha-postgres psql -h 127.0.0.1 -U metrics -XqAt -d kasaneha_db -c"
    assert root(f"export {login}; {psql} 'SELECT count(*) > 0 FROM pg_stat_activity'").strip() == "t"
    assert "permission denied" in root(f"export {login}; {psql} 'SELECT * FROM users' 2>&1 || true")
    assert "permission denied" in root(f"export {login}; {psql} 'CREATE TABLE public.x (y int)' 2>&1 || true")
    redis = ("export REDISCLI_AUTH=$(sed -n s/^REDIS_PASSWORD=//p /etc/default/prometheus-redis-exporter);"
             " docker exec -e REDISCLI_AUTH kasaneha-redis redis-cli --user metrics")  # fmt: skip
    assert "redis_version" in root(f"{redis} INFO server")
    for command in ("GET kasaneha:visits", "SET x y", "FLUSHALL", "CONFIG SET maxmemory 1", "KEYS '*'"):
        assert "NOPERM" in root(f"{redis} {command} 2>&1"), command


def test_the_page(browse, lab_secrets):
    path = "/monitoring/consoles/overview.html"
    assert browse(path)[0] == 401 and browse("/monitoring/api/v1/query?query=up")[0] == 401
    assert browse(path, "--user", "operator:wrong")[0] == 401
    login = ("--user", f"operator:{lab_secrets['monitoring_page']}")
    status, headers, body = browse(path, *login)
    assert status == 200 and "All is well" in body and "<b>v1.0.0</b> (blue)" in body, body[:800]
    assert headers["content-security-policy"].count("default-src 'self'") == 1 and "<script" not in body and "style=" not in body
    for words in (
        "kasaneha-postgres",
        "newest proven backup of kasaneha",
        "last restore on trial",
        "a placeholder",
        "does not answer",
    ):
        assert words in body, words
    # Bars come with time; a quick machine is here before the second one of each.
    wait(lambda: browse(path, *login)[2].count("<rect") > 10, 300, "bars of the last minutes")
    numbers = re.findall(r'<h3>(.+?)</h3>\s*<p class="number">(.+?)</p>', body)
    assert len(numbers) == 10 and not [
        title for title, number in numbers if number == "–" and title not in ("Errors", "Slowest of twenty")
    ], numbers
    assert browse("/monitoring/user/page.css", *login)[1]["content-type"].startswith("text/css")
    assert browse("/monitoring/", *login)[1]["location"].endswith(path)
    assert browse("/metrics")[0] == 404


@pytest.mark.long
def test_a_host_that_does_not_answer_is_named():
    exporter = ["docker", "exec", "kasaneha-lab-watched", "systemctl", "{}", "prometheus-node-exporter"]
    subprocess.run([word.format("stop") for word in exporter], check=True)
    try:
        done = play("site.yml", "--limit", "ready", "--tags", "monitoring_verify")
    finally:
        subprocess.run([word.format("start") for word in exporter], check=True)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and "ready: Prometheus cannot ask: node of watched (http://198.51.100.86:9100" in said, said[
        -2000:
    ]
    assert play("site.yml", "--limit", "ready", "--tags", "monitoring_verify").returncode == 0  # the negative control
