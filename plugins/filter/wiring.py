# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the parts of an inventory fit together, as filters; the rules stand in module_utils/inventory/description.py and inventory/wiring.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import description, wiring
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs


def settings(hosts: Mapping[str, Mapping[str, Any]], host: str, names: Iterable[str]) -> dict[str, Any]:
    """Variables of roles as one host has them: what the inventory says, or else the default that the role declares.

    :param hosts: host -> what the inventory says of it.
    :param names: of the variables; each begins with the name of its role.
    :raises KeyError: for a variable that its role does not declare.
    """
    said = hosts[host]
    return {
        name: said[name] if name in said else _argument_specs.options(name.partition("_")[0])[name]["default"] for name in names
    }


class FilterModule:
    """The filters of the wiring."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "complete_services": description.complete_services,
            "complete_sites": description.complete_sites,
            "derived_secrets": description.derived_secrets,
            "settings": settings,
            "site_probes": description.site_probes,
            "wired": wiring.wired,
        }
