# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the firewall as filters; what they do stands in module_utils/_firewall.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _firewall


class FilterModule:
    """The firewall's filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "firewall_daemon_problems": _firewall.daemon_problems,
            "firewall_normalised": _firewall.normalised,
            "firewall_rule_problems": _firewall.rule_problems,
            "firewall_ssh_problems": _firewall.ssh_problems,
        }
