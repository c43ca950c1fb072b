# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the parts of an inventory fit together, as filters; the rules stand in module_utils/inventory/description.py and inventory/wiring.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import description, wiring


class FilterModule:
    """The filters of the wiring."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "complete_services": description.complete_services,
            "complete_sites": description.complete_sites,
            "derived_secrets": description.derived_secrets,
            "site_probes": description.site_probes,
            "wired": wiring.wired,
        }
