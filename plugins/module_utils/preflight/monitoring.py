# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `monitoring` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import configuration


def problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge the exporters of a host, and on the monitoring host what Prometheus, Alertmanager and Grafana are to do.

    :param facts: ``argument_errors`` and ``cast_problems``, which Ansible and the lookup of that name found; the role's ``address``,
        ``exporters``, ``postgres_password``, ``server`` (whether this is the monitoring host). There alone: ``settings``, as
        :func:`configuration.problems` takes them, ``alerts`` (names of ours), ``grafana`` (whether there is one), ``grafana_secrets`` (name
        -> value), and ``host``, lines: the system, bytes that are free for Prometheus, bytes that it has, what promtool says.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    found = [
        *facts["argument_errors"],
        *facts["cast_problems"],
        *inventory_problems.address_problems({"monitoring_address": facts["address"]}),
    ]
    if "postgres" in facts["exporters"] and not facts["postgres_password"]:
        found.append("monitoring_postgres_password: is not set. The exporter logs in with it.")
    if not facts["server"]:
        return found
    if facts["grafana"]:
        found += [
            problem.replace("monitoring_grafana.", "monitoring_grafana_", 1)
            for problem in inventory_problems.secret_problems(facts["grafana_secrets"], [], True, "monitoring_grafana")
        ]
    if not facts["argument_errors"]:
        system, free, used, *promtool = facts["host"]
        found += configuration.problems(facts["settings"], facts["alerts"], int(free), int(used), system)
        found += _promtool_problems(promtool)
    return found


def _promtool_problems(lines: Sequence[str]) -> list[str]:
    """What promtool says of the operator's own rules and panels, in the words of the variables."""
    return [
        ("monitoring_extra_panels: " if 'group "panels"' in line else "monitoring_extra_rules: ") + line.strip()
        for line in lines
        if re.search("error|rror:|could not", line)
    ]
