# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check of a monitoring host passes on a good one, and fails for its own reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import monitoring

WATCHDOG = {"state": "firing", "labels": {"alertname": "Watchdog"}, "annotations": {}, "activeAt": "2026-11-25T09:00:00Z"}
TARGET = {"health": "up", "labels": {"job": "node", "instance": "a"}, "scrapeUrl": "http://a"}
GOOD: dict[str, Any] = {
    "targets": {"activeTargets": [TARGET]},
    "rules": {"groups": [{"name": "host", "rules": [{"name": "HostDown", "health": "ok"}]}]},
    "alertmanagers": {"activeAlertmanagers": [{"url": "x"}]},
    "alerts": {"alerts": [WATCHDOG]},
    "files": ["host"],
    "receivers": True,
    "heartbeat": True,
    "page": 401,
}
FIRING = {**WATCHDOG, "labels": {"alertname": "RedisDown", "severity": "critical"}, "annotations": {"summary": "Redis is down"}}


def test_a_good_host() -> None:
    assert [check for check in monitoring.checks(GOOD) if check["problem"] or check["skipped"]] == []
    assert len(monitoring.checks(GOOD)) == 8
    assert len(monitoring.checks({**GOOD, "page": None})) == 7


@pytest.mark.parametrize(
    ("changes", "check", "problem"),
    [
        ({"rules": None}, "Prometheus answers", "no answer about rules"),
        ({"targets": {"activeTargets": [{**TARGET, "health": "down", "lastError": "refused"}]}}, "every target", "node of a (http://a): refused"),
        ({"files": ["host", "edge"]}, "every rule", "the group edge is not loaded"),
        ({"rules": {"groups": [{"name": "host", "rules": [{"name": "X", "lastError": "many-to-many"}]}]}}, "every rule", "X: many-to-many"),
        ({"alertmanagers": {"activeAlertmanagers": []}}, "alerts go from", "Alertmanager is not there"),
        ({"alerts": {"alerts": []}}, "alerts go from", "Watchdog does not fire"),
        ({"alerts": {"alerts": [WATCHDOG, FIRING]}}, "no alert fires", "critical RedisDown: Redis is down"),
        ({"page": 200}, "the page", "without one it answers 200"),
    ],
)  # fmt: skip
def test_what_is_wrong(changes: dict[str, Any], check: str, problem: str) -> None:
    [found] = [entry for entry in monitoring.checks({**GOOD, **changes}) if entry["problem"]]
    assert found["check"].startswith(check) and problem in found["problem"]


@pytest.mark.parametrize("missing", ["receivers", "heartbeat"])
def test_what_is_missing_is_said(missing: str) -> None:
    [found] = [entry for entry in monitoring.checks({**GOOD, missing: False}) if entry["skipped"]]
    assert "monitoring_" in found["skipped"]
