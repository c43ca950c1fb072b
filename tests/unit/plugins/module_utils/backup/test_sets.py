# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of sets."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.context import Context
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.engine import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.remote import Remote
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.restore import Restore
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import PARTIAL, Sets


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    made = Sets(plan.Config(instance="shop", root=str(tmp_path / "sets"), container="c", database="d", user="u"))
    made.ready()
    return made


def test_sets_that_are_made_at_once_have_an_order(sets: Sets) -> None:
    names = []
    for _attempt in range(2):
        partial = sets.partial()
        names.append(partial.name[len(PARTIAL) :])
        partial.rename(sets.root / names[-1])
    assert plan.id_time(names[0]) < plan.id_time(names[1]) <= time.time()
    # A set of the future, made before somebody set the clock right, holds up nobody.
    (sets.root / plan.set_id(time.time() + 3600, "abcdef")).mkdir()
    began = time.monotonic()
    sets.partial()
    assert time.monotonic() - began < 0.5


def test_whoever_is_refused_learns_who_is_at_work(sets: Sets) -> None:
    with (
        sets.alone("a drill"),
        pytest.raises(plan.BackupError, match=f"at work: a drill, process {os.getpid()}, since "),
        sets.alone("x"),
    ):
        pass
    assert (sets.root / ".lock").read_text() == ""  # nobody is met under the name of one who has gone


def test_one_who_has_the_lock_and_has_not_said_so_yet_is_waited_for(sets: Sets) -> None:
    with (sets.root / ".lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.3, lambda: (file.write("a backup, process 7"), file.flush())).start()
        with pytest.raises(plan.BackupError, match="at work: a backup, process 7."), sets.alone("x"):
            pass
        file.truncate(0)
        with pytest.raises(plan.BackupError, match="at work: unknown."), sets.alone("x"):  # not for ever
            pass


def made(sets: Sets, name: str, rows: int = 1, cluster: str = "1", **state: Any) -> str:
    """A set as it lies on the disk."""
    entry = {"name": "database.dump.zst", "bytes": 1, "sha256": "0" * 64, "role": "database"}
    table = {"schema": "public", "name": "t", "kind": "r", "rows": rows}
    manifest = {"schema": 1, "id": name, "instance": "shop", "artefacts": [entry], "recipients": [],
                "database": {"tables": [table]}, "server": {"system_identifier": cluster}}  # fmt: skip
    (sets.root / name).mkdir()
    (sets.root / name / "manifest.json").write_text(json.dumps(manifest))
    checks = [{"level": "decode", "at": "2026-11-29T13:00:00Z", "ok": True, "problem": ""}]
    (sets.root / name / "state.json").write_text(json.dumps({"schema": 1, "verification": checks, **state}))
    return name


OLD, NEW, NEWEST = "20261101T000000Z-000000", "20261102T000000Z-000000", "20261103T000000Z-000000"


def test_an_empty_set_is_the_latest_only_where_there_is_no_other(sets: Sets) -> None:
    empty = made(sets, NEW, rows=0)
    sets.point_latest()
    assert sets.find("latest").id == empty and os.readlink(sets.root / "latest") == empty
    full = made(sets, OLD)
    sets.point_latest()
    assert sets.find("latest").id == full and os.readlink(sets.root / "latest") == full
    assert sets.find("latest").missing(["s3:b"]) == ["s3:b"]
    assert sets.find(empty).missing(["s3:b"]) == []  # nothing that a copy would be for
    assert [entry.offsite_missing for entry in sets.entries(["s3:b"])] == [False, True]
    made(sets, NEWEST)
    assert sets.find("latest").id == NEWEST  # the negative control


def test_a_set_of_another_cluster_is_nobodys_until_it_was_restored(sets: Sets) -> None:
    made(sets, NEW)
    fetched = made(sets, OLD, cluster="2", fetched="s3:b", offsite={"s3:b": "2026-11-29T13:00:00Z"})
    assert sets.ours() == {"1"}
    assert [(entry.id, entry.keep) for entry in sets.entries()] == [(NEW, False), (fetched, True)]  # retention leaves it alone
    sets.goes_on("2")
    assert sets.ours() == {"1", "2"} and not any(entry.keep for entry in sets.entries())
    sets.ready()  # the mark is still ours


def test_latest_is_asked_for_where_it_could_be_of_two_clusters(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Restore(Context(sets.config))
    monkeypatch.setattr(Context, "cluster", lambda _self: "1")
    made(sets, NEWEST)
    assert restore.choose("latest", foreign=False).id == NEWEST
    with pytest.raises(plan.BackupError, match="no verified set of another cluster"):
        restore.choose("latest", foreign=True)
    made(sets, OLD, cluster="2", fetched="s3:b")
    with pytest.raises(plan.BackupError, match=f"latest could be {NEWEST}, made here, or {OLD}, which came from s3:b"):
        restore.choose("latest", foreign=False)
    assert restore.choose("latest", foreign=True).id == OLD and restore.choose(NEWEST, foreign=False).id == NEWEST
    sets.goes_on("2")  # once it was restored
    made(sets, "20261104T000000Z-000000", rows=0)  # newer, and passed over on purpose
    assert restore.choose("latest", foreign=False).id == NEWEST


class There(Remote):
    """A remote that is a dictionary."""

    def __init__(self, config: plan.Config, manifests: dict[str, dict[str, Any]]) -> None:
        super().__init__(config, "s3:b")
        self.manifests = manifests

    def list(self) -> list[str]:
        return sorted(self.manifests, reverse=True)

    def manifest(self, name: str) -> dict[str, Any]:
        return self.manifests[name]


def describe(rows: int, cluster: str) -> dict[str, Any]:
    tables = [{"schema": "public", "name": "t", "kind": "r", "rows": rows}]
    return {"database": {"tables": tables}, "server": {"system_identifier": cluster}}


def test_the_newest_elsewhere_is_not_what_a_new_machine_put_there(sets: Sets) -> None:
    there = There(sets.config, {OLD: describe(7, "1"), NEW: describe(1, "2"), NEWEST: describe(0, "2")})
    assert there.newest() == NEW and there.newest(unlike="2") == OLD
    del there.manifests[NEW]
    with pytest.raises(plan.BackupError, match="s3:b has no set of shop of another cluster than this server's that has any rows"):
        there.newest(unlike="1")


def test_a_new_machine_copies_nothing_over_what_it_lost(sets: Sets) -> None:
    engine = Engine(sets.config)
    made(sets, NEWEST, cluster="2")
    assert engine._goes_on(There(sets.config, {}))  # the first machine of all
    lost = There(sets.config, {OLD: describe(7, "1")})
    assert not engine._goes_on(lost) and "of another cluster (1)" in engine.notes[0] and "a path of its own" in engine.notes[0]
    assert engine._goes_on(There(sets.config, {OLD: describe(7, "2")}))  # this machine, whose sets somebody removed
    sets.goes_on("1")
    assert engine._goes_on(lost)
