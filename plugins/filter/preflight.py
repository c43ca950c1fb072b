# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight checks as filters; the rules stand in module_utils/_preflight.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _preflight, _spec


class FilterModule:
    """The preflight filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "host_problems": _preflight.host_problems,
            "secret_problems": _preflight.secret_problems,
            "port_problems": _preflight.port_problems,
            "address_problems": _preflight.address_problems,
            "flat_options": _spec.flat,
            "bracketed": _preflight.bracketed,
            "problem_report": _preflight.report,
        }
