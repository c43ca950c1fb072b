# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of certificates and what is there, as filters; the rules stand in module_utils/_certificates.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _certificates


class FilterModule:
    """The filters of certificates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "certbot_error": _certificates.certbot_error,
            "certificate_problems": _certificates.certificate_problems,
            "certificate_status": _certificates.certificate_status,
            "issue_reason": _certificates.issue_reason,
            "own_certificate_problems": _certificates.own_certificate_problems,
            "served_problems": _certificates.served_problems,
        }
