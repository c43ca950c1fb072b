# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the edge's variables as filters; the rules stand in module_utils/edge/sites.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import sites as edge_sites
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs


def site_problems(sites: Any, upstreams: Any, colours: Any, limits: Any, needed: bool = False) -> list[str]:
    """Judge sites by the role's own argument specification."""
    return edge_sites.site_problems(sites, upstreams, colours, limits, _argument_specs.keys("nginx", "nginx_sites"), needed)


class FilterModule:
    """The edge's filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "by_colour": edge_sites.by_colour,
            "hsts_problems": edge_sites.hsts_problems,
            "network_problems": edge_sites.network_problems,
            "site_problems": site_problems,
        }
