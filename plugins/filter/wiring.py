# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the parts of an inventory fit together, as filters; the rules stand in module_utils/_description.py and _wiring.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _description, _wiring


class FilterModule:
    """The filters of the wiring."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "complete_services": _description.complete_services,
            "complete_sites": _description.complete_sites,
            "derived_secrets": _description.derived_secrets,
            "site_probes": _description.site_probes,
            "wired": _wiring.wired,
        }
