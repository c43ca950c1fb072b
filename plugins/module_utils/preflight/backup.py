# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `backup` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan


def problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge the configuration of the backup before it is written.

    :param facts: ``argument_errors`` and ``cast_problems``, which Ansible and the lookup of that name found; ``config``, as the role
        writes it; ``schedules`` of its timers; ``calendar``, what ``systemd-analyze calendar`` returned for them; ``groups`` of the host.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    found = [*facts["argument_errors"], *facts["cast_problems"]]
    if not facts["argument_errors"]:
        found += plan.role_problems(facts["config"])
    found += [
        f'backup_*schedule: systemd does not understand "{schedule}"; systemd-analyze calendar explains the form.'
        for schedule in refused(facts["schedules"], facts["calendar"])
    ]
    if "backup" in facts["groups"] and "db" not in facts["groups"]:
        found.append(
            "backup: this host is not in the group db. The backup works where PostgreSQL runs; copies elsewhere are backup_remotes."
        )
    return found


def refused(schedules: Iterable[str], calendar: Mapping[str, Any]) -> list[str]:
    """The schedules that systemd does not understand; all of them if it does not say which.

    :param calendar: what ``systemd-analyze calendar`` returned for all of them; without an exit code it was not asked.
    """
    schedules = list(schedules)
    if not calendar.get("rc"):
        return []
    return [schedule for schedule in schedules if f"'{schedule}'" in calendar.get("stderr", "")] or schedules
