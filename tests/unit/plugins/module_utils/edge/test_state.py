# SPDX-License-Identifier: GPL-3.0-or-later
"""What an edge serves, and that it always serves something."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import state as edge_state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "states").mkdir()
    return tmp_path


def seen(folder: Path) -> tuple[str, bool, str, str, str]:
    """What is observed, in short."""
    found = edge_state.observe(folder)
    return found["colour"], found["maintenance"], found["state"], found["uncommitted"], found["previous"]


def states(folder: Path) -> list[str]:
    """The states that are there, the oldest first."""
    return sorted((state.name for state in (folder / "states").iterdir()), key=lambda name: (len(name), name))


def test_an_edge_that_was_never_set_up(tmp_path: Path) -> None:
    assert seen(tmp_path) == ("", False, "", "", "")


@pytest.mark.parametrize(
    ("colour", "maintenance", "names"),
    [
        ("blue", False, ["blue", "open-blue"]),
        ("blue", True, ["blue", "maintenance"]),
        ("", False, ["maintenance"]),  # with no colour there is nothing to show
        ("", True, ["maintenance"]),
    ],
)
def test_switch(folder: Path, colour: str, maintenance: bool, names: list[str]) -> None:
    before = time.time()
    at = edge_state.switch(folder, colour, maintenance)
    assert before <= at <= time.time()
    assert sorted(path.name for path in (folder / "live").iterdir()) == names
    assert seen(folder) == (colour, "maintenance" in names, "states/1", "", "")


def test_each_switch_is_one_rename_of_a_state_that_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renames: list[tuple[str, list[str]]] = []
    replace = os.replace

    def spy(source: Path, target: Path) -> None:
        state = folder / os.readlink(source)
        renames.append((Path(target).name, sorted(path.name for path in state.iterdir())))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    edge_state.switch(folder, "blue")
    edge_state.switch(folder, "green", maintenance=True)
    assert renames == [("live", ["blue", "open-blue"]), ("live", ["green", "maintenance"])]


def test_a_state_is_readable_for_nginx_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        edge_state.switch(folder, "blue")
    finally:
        os.umask(before)
    assert (folder / "states/1").stat().st_mode & 0o777 == 0o755
    assert (folder / "states/1/blue").stat().st_mode & 0o777 == 0o644


def switch_often(folder: Path, times: int) -> None:
    """Switch to and fro, to green last."""
    for number in reversed(range(times)):
        edge_state.switch(folder, ("green", "blue")[number % 2])


def test_old_states_go_and_the_last_ones_stay(folder: Path) -> None:
    switch_often(folder, 4)
    assert states(folder) == ["1", "2", "3", "4"]  # nginx may be on its way through each of them
    switch_often(folder, 2)
    assert states(folder) == ["3", "4", "5", "6"]
    assert seen(folder) == ("green", False, "states/6", "", "")


def test_a_state_that_is_linked_stays_however_old(folder: Path) -> None:
    switch_often(folder, 2)
    edge_state.arm(folder)
    switch_often(folder, 5)
    assert states(folder) == ["2", "4", "5", "6", "7"]
    assert seen(folder) == ("green", False, "states/7", "states/2", "green")
    edge_state.commit(folder)
    switch_often(folder, 1)
    assert states(folder) == ["5", "6", "7", "8"]


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_who_goes_back_while_old_states_are_cleared_away_finds_a_state(
    folder: Path, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    edge_state.switch(folder, "blue")
    edge_state.arm(folder)
    switch_often(folder, 4)
    look, looked = edge_state._target, []

    def target(link: Path) -> str:
        if len(looked) == looks:
            os.replace(folder / "uncommitted", folder / "live")  # a timer, the boot, a hand
        looked.append(link.name)
        found = look(link)
        if len(looked) == looks == 2:
            os.replace(folder / "uncommitted", folder / "live")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(edge_state, "_target", target)
        edge_state.switch(folder, "blue")
    assert len(looked) == 2
    assert states(folder) == ["1", "3", "4", "5", "6"]  # the second one is younger, and went
    assert seen(folder) == ("blue", False, "states/1", "", "")


def test_what_is_no_number_is_no_state_to_count_from(folder: Path) -> None:
    for name in ("left", "6", "7", "9"):
        (folder / "states" / name).mkdir()
    edge_state.switch(folder, "blue")
    assert seen(folder)[2] == "states/10"
    assert states(folder) == ["7", "9", "10"]  # what is no number is none of the last ones either


def names_of(folder: Path, *names: str) -> None:
    """Serve a state that holds these names."""
    (folder / "states/1").mkdir()
    for name in names:
        (folder / "states/1" / name).touch()
    (folder / "live").symlink_to("states/1")


@pytest.mark.parametrize(
    ("names", "colour", "maintenance"),
    [
        (["blue", "open-blue"], "blue", False),
        (["blue", "maintenance"], "blue", True),
        (["maintenance"], "", True),
        ([], "", False),
        (["blue", "green", "open-blue"], "", False),  # never a guess
        (["blue", "green", "maintenance"], "", True),
    ],
)
def test_observe(folder: Path, names: list[str], colour: str, maintenance: bool) -> None:
    names_of(folder, *names)
    assert seen(folder) == (colour, maintenance, "states/1", "", "")


def test_a_link_to_nothing_serves_nothing(folder: Path) -> None:
    (folder / "live").symlink_to("states/7")
    assert seen(folder) == ("", False, "states/7", "", "")
    edge_state.switch(folder, "blue")
    assert seen(folder)[0] == "blue"


# --- on trial -------------------------------------------------------------------------------------------


@pytest.fixture
def trial(folder: Path) -> Path:
    """Green on trial after blue."""
    edge_state.switch(folder, "blue")
    edge_state.arm(folder)
    edge_state.switch(folder, "green")
    return folder


def test_a_trial_knows_the_way_back(trial: Path) -> None:
    assert seen(trial) == ("green", False, "states/2", "states/1", "blue")


def test_revert(trial: Path) -> None:
    assert edge_state.revert(trial) is True
    assert seen(trial) == ("blue", False, "states/1", "", "")
    assert edge_state.revert(trial) is False  # once
    assert seen(trial) == ("blue", False, "states/1", "", "")


def test_revert_by_hand_is_the_same(trial: Path) -> None:
    os.system(f"mv -T {trial}/uncommitted {trial}/live")
    assert seen(trial) == ("blue", False, "states/1", "", "")


def test_commit(trial: Path) -> None:
    assert edge_state.commit(trial) is True
    assert seen(trial) == ("green", False, "states/2", "", "")
    assert edge_state.commit(trial) is False
    assert edge_state.revert(trial) is False  # no way back
    assert seen(trial)[0] == "green"


def test_the_first_state_that_is_remembered_is_the_one_to_go_back_to(trial: Path) -> None:
    edge_state.arm(trial)  # a second try after one that died
    edge_state.switch(trial, "red")
    assert seen(trial) == ("red", False, "states/3", "states/1", "blue")


def test_going_back_brings_maintenance_back_as_it_was(folder: Path) -> None:
    edge_state.switch(folder, "blue", maintenance=True)
    edge_state.arm(folder)
    edge_state.switch(folder, "green")
    edge_state.revert(folder)
    assert seen(folder)[:2] == ("blue", True)


def test_where_nothing_was_served_there_is_nothing_to_remember(folder: Path) -> None:
    with pytest.raises(OSError, match="live|uncommitted"):
        edge_state.arm(folder)
    assert seen(folder) == ("", False, "", "", "")


# --- users do not notice --------------------------------------------------------------------------------


def watched(folder: Path, act: Any) -> list[list[str]]:
    """Ask as nginx does, all the time while ``act`` runs: the states that were seen; empty if `live` named none."""
    found: list[list[str]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            colours = [colour for colour in ("blue", "green") if (folder / "live" / colour).exists()]
            # Two questions may fall on two sides of a switch: `live` itself must be there.
            found.append(colours if os.path.isdir(folder / "live") else ["gone"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        act()
    finally:
        over.set()
        thread.join()
    return found


def test_live_is_there_at_every_moment(folder: Path) -> None:
    edge_state.switch(folder, "blue")

    def switch() -> None:
        for number in range(200):
            edge_state.switch(folder, ("green", "blue")[number % 2])

    found = watched(folder, switch)
    assert len(found) > 200
    assert ["gone"] not in found
    assert seen(folder) == ("blue", False, "states/201", "", "")


def test_a_moment_without_live_would_be_noticed(folder: Path) -> None:
    edge_state.switch(folder, "blue")

    def unlink_and_link() -> None:
        for _unused in range(200):
            (folder / "live").unlink()
            time.sleep(0.001)
            (folder / "live").symlink_to("states/1")

    assert ["gone"] in watched(folder, unlink_and_link)
