# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitoring as filters; the rules stand in module_utils/_monitoring.py, _live_monitoring.py and _grafana.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _grafana, _live_monitoring, _monitoring


class FilterModule:
    """The filters of the role monitoring."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "alert_lines": _monitoring.alert_lines,
            "alert_rules": _monitoring.alert_rules,
            "alertmanager_config": _monitoring.alertmanager,
            "alertmanager_secrets": _monitoring.secret_files,
            "grafana_dashboards": _grafana.dashboards,
            "monitoring_checks": _live_monitoring.checks,
            "monitoring_problems": _monitoring.problems,
            "panel_rules": _grafana.panel_rules,
            "target_problems": _monitoring.target_problems,
        }
