# SPDX-License-Identifier: GPL-3.0-or-later
"""What no role can judge."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import inventory

GOOD: dict[str, Any] = {"app_name": "shop", "monitoring_enabled": True, "watcher": "mon1", "watcher_enabled": True}
MONITORING = "monitoring_enabled: is {} here and {} on mon1, whose Prometheus asks every host. Set it for all hosts at once, in group_vars/all."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"monitoring_enabled": False}, [MONITORING.format("false", "true")]),
        ({"watcher_enabled": False}, [MONITORING.format("true", "false")]),
        ({"watcher_enabled": False, "monitoring_enabled": False}, []),
        ({"monitoring_enabled": False, "watcher": ""}, []),  # nobody watches
        ({"app_name": "Shop"}, ["app_name: 'Shop' is no name for an application."]),
    ],
)
def test_problems(changes: dict[str, Any], expected: list[str]) -> None:
    found = inventory.problems({**GOOD, **changes})
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected
