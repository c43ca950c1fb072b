# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a live server as filters; what they judge by stands in module_utils/_live*.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _live, _live_app, _live_edge


class FilterModule:
    """The filters of playbooks/verify.yml."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "app_checks": _live_app.checks,
            "live_certificate_problems": _live_edge.certificate_problems,
            "edge_log_problems": _live_edge.log_problems,
            "firewall_checks": _live.firewall_checks,
            "live_report": _live.report,
        }
