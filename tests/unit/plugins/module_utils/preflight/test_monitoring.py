# SPDX-License-Identifier: GPL-3.0-or-later
"""Exporters of a host; Prometheus, Alertmanager and Grafana of the monitoring host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import monitoring

SETTINGS: dict[str, Any] = {
    "jobs": [], "extra_rules": [], "alerts_off": [], "extra_panels": [], "receivers": [], "smtp": {}, "heartbeat_url": "",
    "retention_time": "30d", "retention_size": "2GB", "page_users": {}, "probes": [], "slo_objective": 0.995,
}  # fmt: skip
GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "address": "127.0.0.1", "exporters": ["node", "postgres"],
    "postgres_password": "x", "server": True, "settings": SETTINGS, "alerts": [], "grafana": True,
    "grafana_secrets": {"password": "3f9a7c1e5b8d2046af13", "secret_key": "3f9a7c1e5b8d2046af14"},
    "host": ["debian 13", "10000000000", "0", "Checking /dev/stdin", "  SUCCESS: 2 rules found"],
}  # fmt: skip
EMPTY = {"password": "", "secret_key": "short"}
NO_PASSWORD = "monitoring_grafana_password: is not set."
SHORT_KEY = "monitoring_grafana_secret_key: is shorter than 16 characters."
PROMTOOL = [
    "  FAILED:", '/dev/stdin: group "panels", rule 1, "x": could not parse expression: 1:5: parse error',
    ' /dev/stdin: group "mine", rule 2: parse error: no such function ',
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"address": "0.0.0.0"}, ["monitoring_address: '0.0.0.0' is not a loopback or private address"]),
        ({"postgres_password": ""}, ["monitoring_postgres_password: is not set. The exporter logs in with it."]),
        ({"postgres_password": "", "exporters": ["node"]}, []),
        ({"grafana_secrets": EMPTY}, [NO_PASSWORD, SHORT_KEY]),
        ({"grafana_secrets": EMPTY, "grafana": False}, []),
        ({"grafana_secrets": EMPTY, "server": False, "host": [], "settings": None}, []),
        ({"argument_errors": ["a"], "settings": None, "host": []}, ["a"]),  # what cannot be read is not judged
        ({"cast_problems": ["b"], "host": ["debian 12", "10000000000", "0"]}, ["b", "operating system: Alertmanager of Debian 12"]),
        ({"host": ["debian 13", "1000000", "1000"]}, ["monitoring_retention_size: 2GB and a fifth more do not fit"]),
        ({"host": [*GOOD["host"][:3], *PROMTOOL]}, [
            f"monitoring_extra_panels: {PROMTOOL[1]}", f"monitoring_extra_rules: {PROMTOOL[2].strip()}",
        ]),
    ],
)  # fmt: skip
def test_problems(changes: dict[str, Any], expected: list[str]) -> None:
    found = monitoring.problems({**GOOD, **changes})
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected
