# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `nginx` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import sites
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import spec


def problems(facts: Mapping[str, Any], options: spec.Options) -> list[str]:
    """Judge the sites of an edge, and whether its ports are free.

    :param facts: ``argument_errors`` and ``cast_problems``, which Ansible and the lookup of that name found; the role's ``sites``,
        ``upstreams``, ``colours``, ``limits``, ``hsts_seconds``, ``hsts_include_subdomains``, ``hsts_preload``, ``networks`` (variable ->
        list of addresses and networks); ``needed``, whether the host is there for sites; ``starts``, whether nginx is to begin to
        serve, with ``status_port``, the ``listening`` ports and the running ``containers`` (as :func:`port_problems` takes them).
    :param options: what a site may have, of the role's argument specification.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    found = [
        *facts["argument_errors"],
        *facts["cast_problems"],
        *sites.site_problems(
            facts["sites"], facts["upstreams"], facts["colours"], facts["limits"], options, needed=facts["needed"]
        ),
        *sites.hsts_problems(facts["hsts_seconds"], facts["hsts_include_subdomains"], facts["hsts_preload"]),
        *sites.network_problems(facts["networks"]),
    ]
    if facts["starts"]:  # once it serves, the ports are its own
        ports = {"nginx (http)": 80, "nginx (https)": 443, "nginx_status_port": facts["status_port"]}
        found += inventory_problems.port_problems(ports, facts["listening"], ["nginx"], facts["containers"])
    return found
