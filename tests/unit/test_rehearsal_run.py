# SPDX-License-Identifier: GPL-3.0-or-later
"""The run of a rehearsal without servers: which playbooks, in which order, and how each of them can end it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "lab"))

from rehearsal.inventory import RehearsalError  # noqa: E402
from rehearsal.plan import Plan  # noqa: E402
from rehearsal.run import Run  # noqa: E402

SITE = {"changed": ["a: Install"], "shown": [], "failed": [], "hosts": {}}
SAME = {"changed": [], "shown": [{"host": "a", "task": "t", "msg": "said so"}], "failed": [], "hosts": {}}
VERIFIED = {**SAME, "shown": [{"host": "a", "task": "t", "msg": ["a", "  ok    one", "  skip  two"]}]}
SEQUENCE = [
    "lab/images.yml", "lab/create.yml", "lab/rehearsal/prepare.yml", "site.yml", "site.yml", "playbooks/verify.yml", "playbooks/deploy.yml",
    "playbooks/rollback.yml", "playbooks/backup.yml", "playbooks/restore.yml", "playbooks/verify_backup.yml", "molecule/reboot.yml",
    "site.yml", "playbooks/verify.yml", "lab/rehearsal/destroy.yml",
]  # fmt: skip


class Users:
    """In the place of the load generator."""

    lost = 0

    def __init__(self, address: str, **how: Any) -> None:
        self.how = how
        self.records = [
            {"start": float(second), "kind": "h2", "error": "", "release": "v1.0.0", "colour": "blue", "ms": 3.0}
            for second in range(2_000_000_000, 2_000_000_009)
        ]

    def __enter__(self) -> Users:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def stop(self) -> dict[str, Any]:
        """The result."""
        failures = [{"method": "GET", "path": "/", "error": "status 502"}] * self.lost
        return {"total": 9, "failed": self.lost, "p99_ms": 3.0, "max_ms": 3.0, "kinds": {}, "failures": failures}


class Played:
    """The program, with playbooks that end as they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        spec = importlib.util.spec_from_file_location("rehearse", ROOT / "lab/rehearse.py")
        assert spec and spec.loader
        self.program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.program)
        self.playbooks: list[str] = []
        self.fails: dict[str, str] = {}
        self.again: dict[str, Any] = SAME
        self.place = tmp_path / "place"
        monkeypatch.setattr(Plan, "pulled", lambda plan, image: False)
        given = Plan.__init__
        monkeypatch.setattr(Plan, "__init__", lambda plan, chosen, place=None: given(plan, chosen, self.place))
        monkeypatch.setattr(Run, "play", self.play)
        monkeypatch.setattr(
            self.program,
            "docker",
            lambda *words: subprocess.CompletedProcess(words, 0, '{"kind": "heartbeat"}\n' if words[0] == "logs" else "", ""),
        )
        monkeypatch.setattr(self.program, "BEFORE_AND_AFTER", 0)
        monkeypatch.setattr(self.program, "LOCK", tmp_path / "lock")
        monkeypatch.setattr(self.program.signal, "signal", lambda *_: None)
        monkeypatch.setitem(sys.modules, "load", types.SimpleNamespace(Load=Users, SHORT={"slow": 2}))

    def play(self, playbook: str, *_: str, **__: Any) -> dict[str, Any]:
        """In the place of Run.play."""
        self.playbooks.append(playbook)
        if playbook in self.fails:
            raise RehearsalError(self.fails[playbook])
        if playbook == "site.yml":
            return SITE if self.playbooks.count("site.yml") == 1 else self.again
        return VERIFIED if playbook == "playbooks/verify.yml" else SAME

    def run(self, *options: str) -> int:
        """Run it on prod's inventory."""
        return self.program.main([str(ROOT / "inventories/prod"), *options])

    def result(self) -> dict[str, Any]:
        """What the report says."""
        return json.loads((self.place / "report.json").read_text())


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Played:
    """Nothing fails yet."""
    monkeypatch.setattr(Users, "lost", 0)
    monkeypatch.delenv("ANSIBLE_SKIP_TAGS", raising=False)
    return Played(monkeypatch, tmp_path)


def test_all_of_it_in_order(played, capsys):
    assert played.run() == 0
    assert played.playbooks == SEQUENCE
    found = played.result()
    assert found["reason"] == "" and found["told"] == {"heartbeat": 1} and found["releases"] == ["v1.0.0", "v1.1.0"]
    assert [step["result"] for step in found["steps"]] == ["ok"] * len(found["steps"])
    assert [step["note"] for step in found["steps"] if step["name"].startswith("release")] == ["0 of 9 requests failed"]
    assert "report.html" in capsys.readouterr().out and (played.place / "report.html").exists()
    assert not list(played.place.glob("work-*"))


@pytest.mark.parametrize("playbook", sorted(set(SEQUENCE) - {"lab/rehearsal/destroy.yml", "site.yml", "playbooks/verify.yml"}))
def test_whatever_fails_ends_it_with_one_sentence_and_everything_is_removed(playbook, played, capsys):
    played.fails[playbook] = "kasaneha-prod: it broke."
    assert played.run() == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert (
        len(lines) == 1
        and lines[0].startswith("rehearsal: ")
        and lines[0].endswith(": kasaneha-prod: it broke. No server is left.")
    )
    assert played.playbooks[-2:] == [playbook, "lab/rehearsal/destroy.yml"]
    assert played.result()["steps"][-1]["result"] == "failed" and not list(played.place.glob("work-*"))


def test_a_second_run_that_changes_something(played, capsys):
    played.again = SITE
    assert played.run() == 1
    assert (
        "site.yml again: the second run of site.yml changed 1 thing(s), the first of them `a: Install`."
        in capsys.readouterr().err
    )


def test_a_lost_request(played, capsys, monkeypatch):
    monkeypatch.setattr(Users, "lost", 1)
    assert played.run() == 1
    assert "1 of 9 requests failed; the first was GET /: status 502." in capsys.readouterr().err


def test_a_command_after_verify_gets_the_servers_and_may_fail(played, capsys):
    assert played.run("--after-verify", 'test -d "$LAB_SECRETS" && echo "$REHEARSAL_SERVER $SITE"') == 0
    said = [step["note"] for step in played.result()["steps"] if step["name"] == "checks of yours"]
    assert said == ["kasaneha-lab-rehearsal-kasaneha-prod kasaneha.app"]
    capsys.readouterr()
    assert played.run("--after-verify", "echo the reason; echo nothing is right; exit 3") == 1
    told = capsys.readouterr()
    assert "failed: nothing is right" in told.err and "The end of " in told.out and "\nthe reason\nnothing is right\n" in told.out


def test_a_command_after_the_reboot_comes_last(played):
    ran = played.place / "ran"
    assert played.run("--after-verify", f"echo first >>{ran}", "--after-reboot", f"echo last >>{ran}") == 0
    assert ran.read_text().split() == ["first", "last"]
    names = [step["name"] for step in played.result()["steps"]]
    assert names.index("checks of yours") == names.index("verify.yml") + 1
    assert names[-2:] == ["verify.yml after the reboot", "checks of yours after the reboot"]


def test_servers_that_are_kept_stay_until_they_are_removed(played, capsys):
    assert played.run("--keep") == 0
    assert "lab/rehearsal/destroy.yml" not in played.playbooks and list(played.place.glob("work-*"))
    assert "make rehearse-down INVENTORY=" in capsys.readouterr().out


def test_another_release(played):
    assert played.run("--release", "v3.0.0") == 0
    assert played.result()["releases"] == ["v1.0.0", "v3.0.0"]


def test_real_data_take_the_place_of_the_empty_ones_before_anything_is_checked(played, tmp_path):
    data = tmp_path / "20261125T031801Z-9893ba"
    data.mkdir()
    (data / "manifest.json").write_text(json.dumps({"instance": "kasaneha"}))
    assert played.run("--data", str(data)) == 0
    assert played.playbooks[5:8] == ["lab/rehearsal/data.yml", "playbooks/restore.yml", "playbooks/verify.yml"]
    assert f"data: the set {data.name}" in played.result()["real"]
