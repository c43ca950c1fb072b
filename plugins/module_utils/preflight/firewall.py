# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `firewall` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules

TAG = re.compile("[A-Za-z0-9][A-Za-z0-9 ._-]{0,30}")


def problems(facts: Mapping[str, Any], plan: Iterable[str] | None = None) -> list[str]:
    """Judge the rules, who may come in by SSH, and what else filters on the host.

    :param facts: ``argument_errors`` and ``cast_problems``, which Ansible and the lookup of that name found; the role's ``enabled``,
        ``rules``, ``ssh_ports``, ``ssh_from`` and ``tag``; of the host ``interfaces``, ``listening`` (ports that answer SSH), ``client`` (the
        address from which this run comes, empty if it does not come by SSH), ``rivals`` (units that load rules of their own) and
        ``daemon`` (Docker's settings).
    :param plan: problems that a comparison with the rules of the host found; None: it is still to come, and only what must be right
        before it is judged.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    if not facts["enabled"]:
        return []
    found = [*facts["argument_errors"], *facts["cast_problems"]] or rules.rule_problems(facts["rules"], facts["interfaces"])
    found += rules.ssh_problems(facts["ssh_ports"], facts["listening"], facts["ssh_from"], facts["client"])
    if plan is None:
        return found
    found += [*plan, *rules.daemon_problems(facts["daemon"])]
    if not TAG.fullmatch(str(facts["tag"])):
        found.append("firewall_tag: use letters, digits, blanks, dots, underscores and dashes.")
    return found + [
        f"{unit}: loads rules of its own, and flushes those of UFW, Docker and the container firewall as it does. systemctl disable --now {unit},"
        " or set firewall_enabled: false."
        for unit in facts["rivals"]
    ]
