# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command asks the journal for, and what it makes of the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import command
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.redact import Redactor


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ("", "KASANEHA_DEPLOY_APP=shop"),
        ("--all", ""),
        ("--all --host a", "_HOSTNAME=a"),
        ("--release v1 --colour blue", "KASANEHA_DEPLOY_APP=shop KASANEHA_DEPLOY_RELEASE=v1 KASANEHA_DEPLOY_COLOUR=blue"),
        ("--service ssh", "KASANEHA_DEPLOY_APP=shop KASANEHA_DEPLOY_SERVICE=ssh + _SYSTEMD_UNIT=ssh.service"),
        ("--service backend --release v1", "KASANEHA_DEPLOY_APP=shop KASANEHA_DEPLOY_RELEASE=v1 KASANEHA_DEPLOY_SERVICE=backend"),
        ("--service a --service b.timer", "KASANEHA_DEPLOY_APP=shop KASANEHA_DEPLOY_SERVICE=a KASANEHA_DEPLOY_SERVICE=b.timer"
         " + _SYSTEMD_UNIT=a.service _SYSTEMD_UNIT=b.timer"),
    ],
)  # fmt: skip
def test_what_is_asked(arguments: str, asked: str) -> None:
    options = command.parser("shop-logs").parse_args(arguments.split())
    assert options.config == "/etc/shop/logs.json"
    assert command.matches("shop", options) == asked.split()


def test_an_entry_that_the_journal_stored_twice_is_shown_once() -> None:
    cursor = "s=f0;i={};b=0b;m=98;t=66;x={}"
    entries = [
        {"MESSAGE": str(n), "__CURSOR": cursor.format(*ids)}
        for n, ids in enumerate([("1", "a"), ("2", "b"), ("3", "a"), ("4", "c")])
    ]
    assert [entry["MESSAGE"] for entry in command.once(entries)] == ["0", "1", "3"]
    assert len(list(command.once([{"MESSAGE": "x"}, {"MESSAGE": "x"}]))) == 2  # without a cursor nothing is known


def shown(**entry: Any) -> dict[str, str]:
    return command.described({"__REALTIME_TIMESTAMP": "1795597200250000", "_HOSTNAME": "h", **entry}, Redactor())


def test_an_entry_of_the_collector() -> None:
    entry = shown(MESSAGE="x", PRIORITY="4", LOG_STREAM="stderr", LOG_TIME="2026-11-25T08:59:59.123456789Z", KASANEHA_DEPLOY_SERVICE="backend",
                  KASANEHA_DEPLOY_COLOUR="blue", KASANEHA_DEPLOY_RELEASE="v1", CONTAINER_NAME="shop-backend-blue")  # fmt: skip
    assert command.line(entry) == "2026-11-25T08:59:59.123Z h backend/blue/v1 warning: x"


def test_an_entry_of_a_unit_is_shown_without_secrets() -> None:
    entry = shown(MESSAGE="password=hunter22", PRIORITY="6", _SYSTEMD_UNIT="ssh.service")
    assert command.line(entry) == "2026-11-25T09:00:00.250Z h ssh info: password=[redacted]"


def test_an_entry_of_dockers_own_driver_says_its_level_itself() -> None:
    assert shown(MESSAGE='{"level":"debug"}', PRIORITY="3", CONTAINER_NAME="c")["level"] == "debug"
    assert shown(MESSAGE="plain", PRIORITY="3", CONTAINER_NAME="c")["level"] == "err"
    assert shown(MESSAGE=[98, 255, 27], PRIORITY="6", CONTAINER_NAME="c")["message"] == "b\\xff\\x1b"


def test_the_parts_of_a_long_line_are_one() -> None:
    parts = [
        {"MESSAGE": text, "CONTAINER_PARTIAL_ID": "1", "CONTAINER_PARTIAL_LAST": last}
        for text, last in (("a", "false"), ("b", "true"))
    ]
    assert [entry["MESSAGE"] for entry in command.whole([parts[0], {"MESSAGE": "x"}, parts[1]])] == ["x", "ab"]


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answers with three entries, whatever it is asked; what it was asked stands in `asked`."""
    entries = [
        {"MESSAGE": f"line {n} token=abcdefgh", "PRIORITY": str(n), "LOG_STREAM": "stdout", "__REALTIME_TIMESTAMP": "1"}
        for n in (3, 6, 7)
    ]
    (tmp_path / "answer").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + "no json\n")
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat {tmp_path}/answer\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "logs.json").write_text(json.dumps({"app": "shop", "secret_dirs": [], "redact": []}))
    return tmp_path


def run(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = command.main(["--config", str(folder / "logs.json"), *arguments], "shop-logs")
    return code, "".join(capsys.readouterr())


def test_search(journalctl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(journalctl, capsys, "--level", "info", "--since", "1 min ago", "--grep", "LINE [36]")
    assert code == 0 and out == ""  # capitals mean capitals
    code, out = run(journalctl, capsys, "--level", "info", "--since", "1 min ago", "--grep", "line [37]")
    assert (code, out.count("\n")) == (0, 1) and "err: line 3 token=[redacted]" in out
    assert "--since=1 min ago KASANEHA_DEPLOY_APP=shop" in (journalctl / "asked").read_text()
    code, out = run(journalctl, capsys, "--json", "--lines", "1")
    assert json.loads(out)["level"] == "debug"


def test_bad_input(journalctl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(journalctl, capsys, "--level", "loud") == (
        2,
        "--level: 'loud' is none of emerg, alert, crit, err, warning, notice, info, debug\n",
    )
    assert run(journalctl, capsys, "--grep", "[")[0] == 2
    code = command.main(["--config", "/nowhere/logs.json"], "shop-logs")
    assert code == 2 and "/nowhere/logs.json cannot be read" in "".join(capsys.readouterr())
