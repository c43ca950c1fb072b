# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What no role can judge: variables that count for all of them. Pure: variables in, sentences out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.release import services


def problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge what the playbooks read themselves.

    :param facts: ``app_name``; ``monitoring_enabled`` of the host; ``watcher``, the host with the Prometheus that reads every host (empty
        if there is none), and ``watcher_enabled``, its ``monitoring_enabled``.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    found = services.app_name_problems(facts["app_name"])
    here, there = json.dumps(facts["monitoring_enabled"]), json.dumps(facts["watcher_enabled"])
    if facts["watcher"] and here != there:
        found.append(
            f"monitoring_enabled: is {here} here and {there} on {facts['watcher']}, whose Prometheus asks every host."
            " Set it for all hosts at once, in group_vars/all."
        )
    return found
