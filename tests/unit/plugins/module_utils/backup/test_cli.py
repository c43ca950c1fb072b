# SPDX-License-Identifier: GPL-3.0-or-later
"""The command on the server: what it shows people, and what it prints for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import cli

ENTRY = {"id": "20261125T031801Z-9893ba", "bytes": 48_123_456, "rows": 120_000, "verified": True, "drilled": "", "encrypted": True,
         "keep": False, "offsite": ["s3:bucket"], "reason": "timer", "warnings": ["/uploads is not there"], "problem": ""}  # fmt: skip


def test_a_bar_tells_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = cli.Bar({"dump": 100_000_000})
    progress.tell("dump", 0)
    progress.shown = 0.0
    progress.tell("dump", 50_000_000)
    shown = capsys.readouterr().err.split("\r\033[K")[-1]
    assert shown.startswith("dump         [##########          ]     50.0 MB  50 % of the last one's")
    progress.tell("dump", 60_000_000)  # too soon after the last one to be read
    assert capsys.readouterr().err == ""
    progress.shown = 0.0
    progress.tell("dump", 300_000_000)  # more than last time is not more than all
    assert " 99 % " in capsys.readouterr().err
    progress.shown = 0.0
    progress.tell("uploads", 1_000_000)  # nobody knows how many there will be
    assert "%" not in capsys.readouterr().err


def test_a_table_names_what_people_look_for() -> None:
    text = cli.table({"sets": [ENTRY, {**ENTRY, "verified": False, "problem": "broken"}], "removed": ["20250101T000000Z-000000"]})
    assert text.splitlines() == [
        "20261125T031801Z-9893ba       48.1 MB     120000 rows  verified, encrypted, s3:bucket  timer",
        "  /uploads is not there",
        "20261125T031801Z-9893ba       48.1 MB     120000 rows  NOT VERIFIED, encrypted, s3:bucket  timer",
        "  /uploads is not there",
        "  broken",
        "remove  20250101T000000Z-000000",
    ]
    assert cli.table({}) == "nothing"


def test_bad_input_has_its_exit_code_and_is_json_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "backup.json")
    assert cli.main(["list", "--config", missing, "--json"], "shop-backup") == 2
    out, said = capsys.readouterr()
    assert json.loads(out) == {
        "failed": True,
        "code": 2,
        "msg": f"{missing} is not there. The role backup writes it (hosts of the group backup).",
    }
    assert said.startswith("list: ") and "\r" not in said
    (tmp_path / "backup.json").write_text('{"instance": "shop", "root": "/"}')
    assert cli.main(["list", "--config", missing], "shop-backup") == 2
    assert "container: is not set." in capsys.readouterr().err
