# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run may change a host, on a real disk and with real processes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import fence as release_fence
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import journal

FIRST, SECOND = "1-aaaa", "2-bbbb"
LOST = "This run lost its lock"


RUN = {"owner": {"user": "yuki", "host": "laptop", "pid": 7}, "action": "release", "to_release": "v2"}


@pytest.fixture
def releases(tmp_path: Path) -> journal.Releases:
    return journal.Releases(tmp_path)


@pytest.fixture
def fence(tmp_path: Path) -> release_fence.Fence:
    return release_fence.Fence(tmp_path / "app")


@pytest.mark.parametrize(
    ("run", "expected"),
    [("17-0af3", 17), ("0-a", 0), ("", 0), ("x", 0), ("3f2e9d", 0), ("123", 0), ("-5", 0), ("a-5", 0), ("unreadable", 0)],
)
def test_the_number_of_a_run(run: str, expected: int) -> None:
    assert release_fence.number(run) == expected


def test_a_host_that_no_run_was_on_lets_nobody_change_it(fence: release_fence.Fence) -> None:
    fence.directory.mkdir()
    assert fence.id() == ""
    for run in (FIRST, "x"):
        with pytest.raises(release_fence.HeldError, match=LOST), fence.only(run):
            raise AssertionError("it may not")


def test_the_run_that_claimed_it_changes_it(fence: release_fence.Fence) -> None:
    assert fence.claim(FIRST) is True
    assert fence.claim(FIRST) is False
    assert fence.id() == FIRST
    with fence.only(FIRST):
        pass


def test_who_was_fenced_off_changes_nothing_more_and_comes_back_by_no_way(fence: release_fence.Fence) -> None:
    fence.claim(FIRST)
    fence.claim(SECOND)
    for late in (FIRST, "2-cccc", "1-bbbb", "old-hex", ""):
        with pytest.raises(release_fence.HeldError, match=LOST):
            fence.claim(late)
        with pytest.raises(release_fence.HeldError, match=LOST), fence.only(late):
            raise AssertionError("it may not")
    assert fence.id() == SECOND


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9, "id": "5-x"}'])
def test_a_fence_that_cannot_be_read_stands_until_the_next_run(fence: release_fence.Fence, text: str) -> None:
    fence.claim(FIRST)
    fence.file.write_text(text)
    with pytest.raises(release_fence.HeldError, match=LOST), fence.only(FIRST):
        raise AssertionError("it may not")
    assert fence.claim(SECOND) is True


def test_the_next_run_waits_for_what_is_under_way(fence: release_fence.Fence) -> None:
    fence.claim(FIRST)
    order: list[str] = []
    other = threading.Thread(target=lambda: (fence.claim(SECOND), order.append("claimed")))
    with fence.only(FIRST):
        other.start()
        other.join(0.3)
        order.append("changed")
    other.join(30)
    assert order == ["changed", "claimed"]


def test_it_does_not_wait_for_ever(fence: release_fence.Fence) -> None:
    fence.claim(FIRST)
    with (
        fence.locked(),
        pytest.raises(release_fence.HeldError, match="has something under way on this host"),
        fence.only(FIRST, wait=0.2),
    ):
        raise AssertionError("it may not")


# --- who takes the lock fences its host -----------------------------------------------------------------


def test_who_takes_the_lock_fences_the_host_with_a_higher_number(releases: journal.Releases) -> None:
    first = releases.begin(RUN, 60)
    assert releases.fence.id() == first["id"]
    second = releases.begin(RUN, 60, first)
    assert releases.fence.id() == second["id"]
    assert [release_fence.number(run["id"]) for run in (first, second)] == [1, 2]
    releases.end(second["id"], "done", "")
    assert release_fence.number(releases.begin(RUN, 60)["id"]) == 3  # an end forgets no number


def test_the_number_is_higher_than_that_of_any_host(releases: journal.Releases) -> None:
    run = releases.begin(RUN, 60, fences=["7-a", "", "no number", "41-b", "9-c"])
    assert release_fence.number(run["id"]) == 42


def test_who_is_refused_fences_nothing(releases: journal.Releases) -> None:
    run = releases.begin(RUN, 60)
    with pytest.raises(release_fence.HeldError):
        releases.begin(RUN, 60)
    assert releases.fence.id() == run["id"]


def test_a_take_over_waits_for_what_is_under_way(releases: journal.Releases) -> None:
    dead, taken = releases.begin(RUN, 60), []
    other = threading.Thread(target=lambda: taken.append(releases.begin(RUN, 60, dead)["id"]))
    with releases.fence.only(dead["id"]):
        other.start()
        other.join(0.3)
        assert other.is_alive() and releases.run() == dead
    other.join(30)
    assert taken == [releases.fence.id()]


# --- Docker's command for releases ----------------------------------------------------------------------


@pytest.fixture
def docker(fence: release_fence.Fence, tmp_path: Path):
    """The guarded command, with a Docker that notes what it is asked; runs it as a run."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\ncase "$1" in wait) sleep 1; echo done >>{tmp_path}/asked;; fail) exit 3;; esac\n'
    )
    program.chmod(0o755)
    fence.claim(FIRST)
    assert release_fence.guard(fence.directory, tmp_path / "guarded") is True

    def run(*words: str, run: str | None = FIRST) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", **({"RELEASE_RUN": run} if run is not None else {})}
        return subprocess.run([tmp_path / "guarded", *words], env=environment, capture_output=True, text=True, check=False)

    run.asked = lambda: (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""  # type: ignore[attr-defined]
    return run


def test_the_run_that_may_gets_docker_as_it_is(docker) -> None:
    assert docker("compose", "up", "a b").returncode == 0
    assert docker("fail").returncode == 3
    assert docker.asked() == "compose up a b\nfail\n"


@pytest.mark.parametrize("late", [FIRST, "", None, "2-", "2-bbb", "bbbb", ".*"])
def test_who_lost_the_lock_asks_docker_nothing(docker, fence: release_fence.Fence, late: str | None) -> None:
    fence.claim(SECOND)
    done = docker("compose", "up", run=late)
    assert done.returncode == (release_fence.LOST if late else 2) and docker.asked() == ""
    if late == FIRST:
        assert LOST in done.stderr
    assert docker("compose", "up", run=SECOND).returncode == 0


def test_without_a_fence_docker_is_asked_nothing(docker, fence: release_fence.Fence) -> None:
    fence.file.unlink()
    assert docker("ps").returncode == release_fence.LOST and docker.asked() == ""


def test_who_takes_over_waits_until_docker_has_done_it(docker, fence: release_fence.Fence) -> None:
    busy = threading.Thread(target=docker, args=("wait",))
    busy.start()
    until = time.monotonic() + 20
    while "wait" not in docker.asked():
        assert time.monotonic() < until
        time.sleep(0.01)
    fence.claim(SECOND)
    assert docker.asked() == "wait\ndone\n"
    busy.join()


def test_the_guard_is_written_once_and_put_right(fence: release_fence.Fence, tmp_path: Path) -> None:
    fence.directory.mkdir()
    path = tmp_path / "guarded"
    assert (release_fence.guard(fence.directory, path), release_fence.guard(fence.directory, path)) == (True, False)
    for damage in (lambda: path.chmod(0o644), lambda: path.write_text("exec docker"), path.unlink):
        damage()
        assert release_fence.guard(fence.directory, path) is True
    assert path.stat().st_mode & 0o777 == 0o755
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["app", "guarded"]
