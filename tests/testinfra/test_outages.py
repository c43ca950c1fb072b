# SPDX-License-Identifier: GPL-3.0-or-later
"""Real services stop, and real receivers hear of it and of its end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .playbook import play
from .test_monitoring import firing, wait

# Container -> the one alert of which people hear; what follows from it is held back.
OUTAGES = {"kasaneha-redis": "RedisDown", "kasaneha-backend-blue": "ServiceDown", "kasaneha-postgres": "PostgresDown"}


def squat(root: Callable[[str], str], container: str) -> str:
    """Take the address of a container that has stopped, so that it comes back with another one; the address."""
    show = f"docker inspect -f '{{{{(index .NetworkSettings.Networks \"kasaneha-data\").IPAddress}}}}' {container}"
    address = root(show).strip()
    root(f"docker stop {container}")
    image = root(f"docker inspect -f '{{{{.Config.Image}}}}' {container}").strip()
    for _ in range(20):  # Docker gives the next free one
        name = root(f"docker run -d --network kasaneha-data --label squatter --entrypoint sleep {image} 900").strip()
        if root(show.replace(container, name)).strip() == address:
            return address
    raise AssertionError(f"nobody got {address}")


@pytest.fixture(scope="module")
def redis_down(root) -> tuple[float, str]:
    """When the first outage began, and the address that is taken: people hear of it after a while."""
    return time.time(), squat(root, "kasaneha-redis")


# Of all roles at once: variable -> what is wrong with it.
WRONG: dict[str, Any] = {
    "monitoring_extra_rules": [{"name": "mine", "rules": [{"alert": "Mine", "expr": "up ==", "labels": {"severity": "info"}}]}],
    "monitoring_receivers": [{"name": "hook", "webhook": "", "severities": ["loud"]}],
    "monitoring_retention_size": "900TB",
    "backup_dir": "/",
    "backup_retention": {"keep_daily": 0},
    "backup_schedule": "every night",
    "backup_recipients": ["me"],
    "backup_files": [{"name": "x", "path": "here"}],
    "logging_max_mb": 90_000_000,
    "logging_backend": "elasticsearch",
    "logging_page_users": {"me": "plain"},
    "logging_elasticsearch_min_memory_mb": 9_000_000,
    "app_log_options": {"fluentd-read-timeout": "5s"},
}
SENTENCES = (
    "watched: monitoring_enabled: is false here and true on ready, whose Prometheus asks every host.",
    "monitoring_extra_rules: /dev/stdin",
    "parse error",
    "monitoring_receivers[hook].webhook: is not set",
    "'loud' is none of critical, warning, info",
    "900TB and a fifth more do not fit",
    "backup_dir: '/'",
    "backup_retention: keeps nothing",
    '"every night"',
    "backup_recipients: not every entry",
    "backup_files.x: 'here'",
    "the disk under /var/log has",
    "logging_page_users.me: is no hash",
    "logging_backend: Elasticsearch and Kibana need 9000000 MB of memory",
    "logging_elasticsearch_secrets.elastic_password: is not 32 letters",
    "app_log_options.fluentd-read-timeout: needs the driver fluentd and Docker 29.0",
)


# What a role's argument spec refuses keeps it from looking any further.
STRANGE = {"backup_guard": "maybe", "logging_backend": "loki"}


def watched(folder: Path, far: bool) -> tuple[str, str]:
    """Options for an inventory that says of the second server whether it is watched."""
    file = folder / "watched.yml"
    file.write_text(json.dumps({"all": {"hosts": {"watched": {"monitoring_enabled": far}}}}))
    return "-i", str(file)


def test_bad_input_is_refused_in_one_message(root, tmp_path, redis_down):
    """While people have yet to hear of the outage, which is no matter of the inventory."""
    files = "md5sum /etc/prometheus/rules/* /etc/prometheus/*.yml /etc/kasaneha/backup.json"
    before = root(files)
    done = play("playbooks/preflight.yml", *watched(tmp_path, far=False), **WRONG)
    said = " ".join(done.stdout.split())
    assert [sentence for sentence in SENTENCES if sentence not in said] == [], said
    assert done.returncode != 0 and " changed=0 " in done.stdout
    done = play("playbooks/preflight.yml", **STRANGE)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and " changed=0 " in done.stdout and root(files) == before
    assert "value of backup_guard must be one of: warn, fail, got: maybe" in said
    assert "value of logging_backend must be one of: journald, elasticsearch" in said
    done = play("playbooks/preflight.yml", *watched(tmp_path, far=True))  # the negative control
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    "container", [name if name == "kasaneha-redis" else pytest.param(name, marks=pytest.mark.long) for name in OUTAGES]
)
def test_people_hear_of_an_outage_and_of_its_end(container, root, received, request):
    alert = OUTAGES[container]
    began, address = (
        request.getfixturevalue("redis_down") if container == "kasaneha-redis" else (time.time(), squat(root, container))
    )

    def told(kind: str, status: str) -> list[dict[str, Any]]:
        def matches(entry: dict[str, Any]) -> bool:
            if entry["kind"] == "mail":
                return f"[{status.upper()}" in entry["subject"] and alert in entry["subject"]
            return entry["status"] == status and [one["alertname"] for one in entry.get("alerts", [])] == [alert]

        return [entry for entry in received() if entry["kind"] == kind and entry["at"] > began and matches(entry)]

    for kind in ("webhook", "mail"):
        [message] = wait(lambda kind=kind: told(kind, "firing"), 180, f"{alert} by {kind}")
        assert message["at"] - began < 180
    assert "#" + alert.lower() in told("webhook", "firing")[0]["annotations"][0]["runbook"]
    assert f"alert: critical {alert}" in play("playbooks/status.yml").stdout
    root(f"docker start {container}")
    for kind in ("webhook", "mail"):
        wait(lambda kind=kind: told(kind, "resolved"), 240, f"its end by {kind}")
    heard = {
        one["alertname"] for entry in received() if entry["kind"] == "webhook" and entry["at"] > began for one in entry["alerts"]
    }
    assert heard == {alert}
    assert len(told("webhook", "firing")) == len(told("mail", "firing")) == 1  # one message each
    show = f"docker inspect -f '{{{{(index .NetworkSettings.Networks \"kasaneha-data\").IPAddress}}}}' {container}"
    assert root(show).strip() != address  # and the exporter has followed it
    root("docker ps --quiet --filter label=squatter | xargs docker rm --force")


SLOW = {"BackupStale", "CertificateExpiresSoon", "ServedCertificateExpiresSoon", "DiskFull"}


def test_what_comes_slowly_is_noticed(root, ask, received):
    """An old backup, a certificate of 30 days with 5 left, a full file system. They fire after up to 30 minutes (make proof)."""
    began, day = time.time(), "%Y%m%d%H%M%SZ"
    since, until = (time.strftime(day, time.gmtime(began + days * 86400)) for days in (-25, 5))
    tls, reread = "/etc/kasaneha/tls/kasaneha", "systemctl reload nginx; systemctl start kasaneha-metrics"
    root(
        "mkdir -p /srv/small; mount -t tmpfs -o size=20M small /srv/small; head -c 20M /dev/zero >/srv/small/full 2>/dev/null || true"
    )
    root(f"mkdir /root/tls; cp -p {tls}/* /root/tls; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kasaneha.test "
         f"-not_before {since} -not_after {until} -keyout {tls}/privkey.pem -out {tls}/fullchain.pem 2>&1; {reread}")  # fmt: skip
    metric = "kasaneha_backup_last_success_timestamp_seconds"
    root(
        f"cd /var/lib/prometheus/node-exporter; cp -a backup.prom /root; sed -Ei 's/^({metric}.*) .*/\\1 {began - 31 * 3600}/' backup.prom"
    )
    try:
        wait(
            lambda: {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"]} >= SLOW,
            120,
            "all of them are on their way",
        )
        if os.environ.get("LONG"):

            def told() -> set[str]:
                entries = [entry for entry in received() if entry["kind"] == "webhook" and entry["at"] > began]
                return {alert["alertname"] for entry in entries for alert in entry["alerts"]}

            wait(lambda: told() >= SLOW, 35 * 60, "people have heard of them")
            assert told() == SLOW
    finally:
        root(
            f"umount /srv/small; cp -p /root/tls/* {tls}/; mv /root/backup.prom /var/lib/prometheus/node-exporter; rm -r /root/tls; {reread}"
        )
    wait(lambda: [alert["labels"]["alertname"] for alert in ask("alerts")["alerts"]] == ["Watchdog"], 120, "all is well again")


@pytest.mark.long  # the rehearsal starts its server again
def test_after_a_reboot_all_of_it_is_back_and_nothing_is_stale(root, ask, received, variables):
    began = time.time()
    subprocess.run(["docker", "restart", "--timeout", "30", "kasaneha-lab-molecule-operations"], check=True, capture_output=True)

    def answers() -> bool:
        try:
            targets = ask("targets?state=active")["activeTargets"]
        except Exception:
            return False
        return len(targets) == 11 and [target["labels"].get("colour") for target in targets if target["health"] != "up"] == [
            "green"
        ]

    wait(answers, 150, "every target answers")
    assert root("systemctl --failed --no-legend --plain").strip() == ""
    wait(lambda: [entry for entry in received() if entry["kind"] == "heartbeat" and entry["at"] > began], 120, "a heartbeat")
    assert firing(ask) == ["Watchdog"]
