# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight checks as filters; the rules stand in module_utils/inventory/problems.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems, spec


class FilterModule:
    """The preflight filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "host_problems": problems.host_problems,
            "secret_problems": problems.secret_problems,
            "port_problems": problems.port_problems,
            "address_problems": problems.address_problems,
            "flat_options": spec.flat,
            "bracketed": problems.bracketed,
            "problem_report": problems.report,
        }
