# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of certificates and what is there, as filters; the rules stand in module_utils/edge/certificates.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import certificates


class FilterModule:
    """The filters of certificates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "certbot_error": certificates.certbot_error,
            "certificate_status": certificates.certificate_status,
            "issue_reason": certificates.issue_reason,
            "only_names_wait": certificates.only_names_wait,
            "served_problems": certificates.served_problems,
        }
