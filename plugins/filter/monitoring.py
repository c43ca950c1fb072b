# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitoring as filters; the rules stand in module_utils/monitoring and checks/monitoring.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import monitoring
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import configuration, grafana


class FilterModule:
    """The filters of the role monitoring."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "alert_lines": configuration.alert_lines,
            "alert_rules": configuration.alert_rules,
            "alertmanager_config": configuration.alertmanager,
            "alertmanager_secrets": configuration.secret_files,
            "grafana_dashboards": grafana.dashboards,
            "monitoring_checks": monitoring.checks,
            "panel_rules": grafana.panel_rules,
            "target_problems": configuration.target_problems,
        }
