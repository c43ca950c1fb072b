# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a live server as filters; what they judge by stands in module_utils/checks."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import app, edge, firewall, logs


class FilterModule:
    """The filters of playbooks/verify.yml."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "app_checks": app.checks,
            "live_certificate_problems": edge.certificate_problems,
            "edge_log_problems": edge.log_problems,
            "firewall_checks": firewall.firewall_checks,
            "logging_checks": logs.checks,
            "live_report": firewall.report,
        }
