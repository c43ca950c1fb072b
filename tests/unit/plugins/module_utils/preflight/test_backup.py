# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the backup, in the words of the role's variables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import backup

GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "groups": ["backup", "db"], "schedules": ["daily", "hurly"],
    "calendar": {"rc": 0, "stderr": ""},
    "config": {"instance": "shop", "root": "/var/backups/shop", "container": "shop-postgres", "database": "shop", "user": "shop",
               "retention": {"keep_daily": 14}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"config": {**GOOD["config"], "root": "/"}}, ["backup_dir: '/' is no place for backups"]),
        ({"argument_errors": ["a"], "config": None}, ["a"]),  # what cannot be read is not judged
        (
            {"calendar": {"rc": 1, "stderr": "Failed to parse calendar specification 'hurly': Invalid argument"}},
            ['backup_*schedule: systemd does not understand "hurly"; systemd-analyze calendar explains the form.'],
        ),
        ({"groups": ["backup"]}, ["backup: this host is not in the group db."]),
        ({"groups": []}, []),
        ({"cast_problems": ["b"], "config": {}, "groups": ["backup"]}, [
            "b", *(f"backup_{name}: is not set." for name in ("app", "dir", "container", "database", "user")), "backup: this host",
        ]),
    ],
)  # fmt: skip
def test_problems(changes: dict[str, Any], expected: list[str]) -> None:
    found = backup.problems({**GOOD, **changes})
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ({"rc": 0, "stderr": "a word about 'daily'"}, []),
        ({"skipped": True}, []),  # no timer has a schedule
        ({"rc": 1, "stderr": "Failed to parse calendar specification 'it's': Invalid argument"}, ["it's"]),
        ({"rc": 1, "stderr": "Failed to parse 'daily': x\nFailed to parse 'it's': x"}, ["daily", "it's"]),
        ({"rc": 2, "stderr": ""}, ["daily", "it's"]),  # there is no such command
        ({"rc": 2}, ["daily", "it's"]),
    ],
)
def test_schedules_that_systemd_refuses(calendar: dict[str, Any], expected: list[str]) -> None:
    assert backup.refused(["daily", "it's"], calendar) == expected
