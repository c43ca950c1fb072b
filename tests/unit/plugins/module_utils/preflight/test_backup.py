# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the backup, in the words of the role's variables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import backup

GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "groups": ["backup", "db"], "calendar": [{"rc": 0, "item": {"schedule": "daily"}}],
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
            {"calendar": [{"rc": 1, "item": {"schedule": "hurly"}}, *GOOD["calendar"]]},
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
