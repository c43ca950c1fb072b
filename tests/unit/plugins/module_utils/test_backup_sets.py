# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of sets."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_plan as plan
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_sets import PARTIAL, Sets


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
