# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run of a playbook shows of monitoring, logging and backups together, on a server where nothing is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .playbook import play

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


def test_bad_input_is_refused_in_one_message(root, tmp_path):
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


def test_verify_and_status_ask_all_of_them():
    roles = [{"role": role, "needed": True} for role in ("monitoring", "logging")]
    done = play("playbooks/verify.yml", "--limit", "ready", verify_roles=roles)
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and " 0 FAILED, 0 skipped" in said, done.stdout
    for check in (
        "every target answers Prometheus",
        "no alert fires",
        "the page asks for a password",
        "logs: a line is found within 10 s",
    ):
        assert f"ok {check}" in said, check
    done = play("playbooks/status.yml")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout
    for part in ("alerts: none", "logs: collector active", "backup: 2"):
        assert part in said, part
