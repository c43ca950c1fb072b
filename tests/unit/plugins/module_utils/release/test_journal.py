# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock, journal, record and log of releases, on a real disk."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide, journal

RUN = {
    "owner": {"user": "yuki", "host": "laptop", "pid": 7}, "action": "release",
    "from_release": "v1", "to_release": "v2", "from_colour": "blue", "to_colour": "green",
}  # fmt: skip
V1 = {"release": "v1", "colour": "blue", "since": "2026-01-01T00:00:00Z", "services": {}, "history": [], "bad": {}}
V2 = {**V1, "release": "v2", "colour": "green"}


@pytest.fixture
def releases(tmp_path: Path) -> journal.Releases:
    return journal.Releases(tmp_path)


def begin(
    releases: journal.Releases,
    limit: float = 60,
    instead_of: dict[str, Any] | None = None,
    since: str | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Take the lock for a run, changed by ``changes``."""
    return releases.begin({**RUN, **changes}, limit, instead_of, since)


def files(releases: journal.Releases) -> list[str]:
    """What stands in the folder, the locks of the kernel and the fence left out."""
    return sorted(entry.name for entry in releases.directory.iterdir() if entry.suffix != ".lock" and entry.name != "fence.json")


# --- the lock -------------------------------------------------------------------------------------------


def test_a_run_that_begins(releases: journal.Releases) -> None:
    before = time.time()
    run = begin(releases, limit=60)
    assert {**run, **RUN} == run
    assert run["phase"] == "prepare"
    assert before + 60 <= run["until"] <= time.time() + 60
    assert releases.run() == run
    assert files(releases) == ["run.json"]


def test_one_run_at_a_time(releases: journal.Releases) -> None:
    run = begin(releases)
    with pytest.raises(journal.HeldError, match=r"^v2 is being released by yuki on laptop \(process 7\), since .* prepare\.$"):
        begin(releases, to_release="v3")
    assert releases.run() == run
    releases.end(run["id"], "done", "")
    assert begin(releases)["id"] != run["id"]


@pytest.mark.parametrize("until", [-10.0, 10.0])
def test_the_lock_does_not_judge_who_is_dead(releases: journal.Releases, until: float) -> None:
    begin(releases, limit=until)
    with pytest.raises(journal.HeldError):
        begin(releases)


def test_a_dead_run_is_taken_over(releases: journal.Releases) -> None:
    dead = begin(releases)
    run = begin(releases, instead_of=dead)
    assert releases.run() == run
    for act in (lambda: releases.enter(dead["id"], "start", 60), lambda: releases.end(dead["id"], "done", "")):
        with pytest.raises(journal.HeldError, match="This run lost its lock"):  # it was not dead, and learns of it
            act()
    assert releases.run() == run


def test_of_two_who_take_over_the_second_is_refused(releases: journal.Releases) -> None:
    dead = begin(releases)
    begin(releases, instead_of=dead)
    with pytest.raises(journal.HeldError):
        begin(releases, instead_of=dead)


@pytest.mark.parametrize("said", ["renewed", "entered"])
def test_a_run_that_said_something_since_it_was_judged_is_not_taken_over(releases: journal.Releases, said: str) -> None:
    slow = begin(releases)
    now = releases.renew(slow["id"], 60) if said == "renewed" else releases.enter(slow["id"], "start", 60)
    with pytest.raises(journal.HeldError, match="is being released by yuki on laptop"):
        begin(releases, instead_of=slow)
    assert releases.run() == now
    assert begin(releases, instead_of=now)["id"] != slow["id"]


@pytest.mark.parametrize("seen", [{}, {"id": "y"}, {"until": 1.0}, {"until": None}])
def test_a_dead_run_is_compared_whole(releases: journal.Releases, seen: dict[str, Any]) -> None:
    dead = begin(releases)
    with pytest.raises(journal.HeldError):
        begin(releases, instead_of={"id": dead["id"], "until": dead["until"], **seen} if seen else {})


def test_a_run_says_that_it_lives(releases: journal.Releases) -> None:
    run = begin(releases, limit=10)
    renewed = releases.renew(run["id"], 500)
    assert renewed["until"] > run["until"] + 400
    assert releases.run() == renewed == {**run, "until": renewed["until"]}  # and nothing else
    begin(releases, instead_of=renewed)
    with pytest.raises(journal.HeldError, match="This run lost its lock"):
        releases.renew(run["id"], 500)


def test_a_dead_run_that_went_meanwhile_is_none_to_take_over(releases: journal.Releases) -> None:
    dead = begin(releases)
    releases.end(dead["id"], "done", "")
    assert begin(releases, instead_of=dead)["phase"] == "prepare"


@pytest.mark.parametrize(
    ("record", "since", "held"),
    [
        (None, None, False),
        (None, "", False),
        (None, "2025-01-01T00:00:00Z", False),  # planned with a copy, or with what runs
        ("{", "2025-01-01T00:00:00Z", False),
        ("{", "", False),
        (V1, None, False),  # who does not ask is not refused
        (V1, V1["since"], False),
        (V1, "2025-01-01T00:00:00Z", True),
        (V1, "", True),  # planned as the first installation: somebody was faster
    ],
)
def test_a_plan_that_others_overtook_is_refused(releases: journal.Releases, record: Any, since: str | None, held: bool) -> None:
    if isinstance(record, dict):
        statefile.write(releases.record_file, record)
    elif record:
        releases.record_file.write_text(record)
    if held:
        with pytest.raises(journal.HeldError, match=r"Another release was completed at 2026-01-01T00:00:00Z, after this one"):
            begin(releases, since=since)
        assert releases.run() is None
    else:
        assert begin(releases, since=since)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 9, "id": "x"}', '{"schema": 1}', '{"schema": 1, "id": "", "until": "x"}']
)
def test_a_run_that_cannot_be_read_is_nobodys_and_can_be_taken_over(releases: journal.Releases, text: str) -> None:
    releases.run_file.write_text(text)
    found = releases.run() or {}
    assert (found["id"], found["owner"], found["until"]) == ("unreadable", {}, 0)
    assert decide.run_verdict(found, time.time(), None)["state"] == "undo"
    with pytest.raises(journal.HeldError):
        begin(releases)
    assert begin(releases, instead_of={"id": "unreadable", "until": 0})["phase"] == "prepare"
    with pytest.raises(journal.HeldError):  # this one can be read
        begin(releases, instead_of={"id": "unreadable", "until": 0})


@pytest.mark.parametrize(
    "record",
    [
        {"release": 1.1, "colour": "blue"},
        {"release": "1.10", "colour": "blue", "history": [{"release": 1.1}]},
        {"release": None, "colour": "blue"},
    ],
)
def test_a_record_whose_release_is_no_string_is_not_believed(releases: journal.Releases, record: dict[str, Any]) -> None:
    statefile.write(releases.record_file, {"schema": 1, **record})
    with pytest.raises(ValueError, match=r"release\.json: .* is no string"):
        releases.record()


def _begin(folder: Path, start: Any, results: Any) -> None:
    start.wait()
    try:
        results.put(journal.Releases(folder).begin(RUN, 60)["id"])
    except journal.HeldError:
        results.put("")


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_of_many_who_begin_at_once_one_wins(releases: journal.Releases, kind: str) -> None:
    fork = multiprocessing.get_context("fork")
    make = fork.Process if kind == "processes" else threading.Thread
    for _round in range(5):
        start, results = fork.Event(), fork.Queue()
        many = [make(target=_begin, args=(releases.directory, start, results)) for _unused in range(8)]
        for one in many:
            one.start()
        start.set()
        winners = [run_id for run_id in (results.get(timeout=30) for _unused in many) if run_id]
        for one in many:
            one.join()
        assert len(winners) == 1
        assert (releases.run() or {})["id"] == winners[0]
        releases.end(winners[0], "done", "")


# --- the journal ----------------------------------------------------------------------------------------


def test_a_phase_begins_and_the_time_anew(releases: journal.Releases) -> None:
    run = begin(releases, limit=10)
    entered = releases.enter(run["id"], "migrate", 500)
    assert (entered["phase"], entered["id"], entered["since"]) == ("migrate", run["id"], run["since"])
    assert entered["until"] > run["until"] + 400
    assert set(entered["phases"]) == {"prepare", "migrate"}
    assert releases.run() == entered
    assert releases.record() is None  # no commit


def test_a_phase_that_is_noted_twice_began_once(releases: journal.Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(journal.time, "time", lambda: clock[0])
    run = begin(releases, limit=10)
    clock[0] = 1050.0
    again = releases.enter(run["id"], "prepare", 10)
    assert (again["phases"], again["until"]) == ({"prepare": 1000.0}, 1060.0)


def test_the_commit_writes_the_record_first(releases: journal.Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    run, written = begin(releases), []
    write = statefile.write
    monkeypatch.setattr(statefile, "write", lambda path, value: (written.append(path.name), write(path, value)))
    releases.enter(run["id"], "commit", 60, V2)
    assert written == ["release.json", "run.json"]
    assert releases.record() == V2


def test_a_commit_that_cannot_write_the_record_did_not_happen(
    releases: journal.Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    statefile.write(releases.record_file, V1)
    run = begin(releases)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(statefile, "write", full)
        with pytest.raises(OSError, match="No space"):
            releases.enter(run["id"], "commit", 60, V2)
    assert (releases.record(), releases.run()) == (V1, run)


@pytest.mark.parametrize("lost", ["x", ""])
def test_who_does_not_hold_the_lock_commits_nothing(releases: journal.Releases, lost: str) -> None:
    if lost:
        begin(releases)
    with pytest.raises(journal.HeldError, match="This run lost its lock"):
        releases.enter("mine", "commit", 60, V2)
    assert releases.record() is None


# --- the end --------------------------------------------------------------------------------------------


def test_a_run_that_ends_gives_the_lock_back_and_leaves_a_line(releases: journal.Releases) -> None:
    run = begin(releases)
    line = releases.end(run["id"], "done", "all is well")
    assert releases.run() is None
    assert releases.last(5) == [line]
    assert {key: line[key] for key in line if key not in ("since", "until", "seconds")} == {
        "who": "yuki@laptop", "action": "release", "from_release": "v1", "to_release": "v2", "from_colour": "blue",
        "to_colour": "green", "outcome": "done", "message": "all is well",
    }  # fmt: skip
    assert list(line["seconds"]) == ["prepare"]
    assert files(releases) == ["releases.log"]


def test_details_stand_in_the_line(releases: journal.Releases) -> None:
    line = releases.end(begin(releases)["id"], "done", "all is well", {"gate_seconds": 3.5, "leftovers": 0})
    assert releases.last(1) == [line]
    assert (line["gate_seconds"], line["leftovers"], line["message"]) == (3.5, 0, "all is well")
    assert not {"gate_seconds", "leftovers"} & set(releases.end(begin(releases)["id"], "done", ""))


def test_each_phase_takes_from_its_beginning_to_that_of_the_next(
    releases: journal.Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(journal.time, "time", lambda: clock[0])
    run = begin(releases)
    for seconds, phase in ((10, "migrate"), (20, "start"), (30, "switch"), (40, "commit")):
        clock[0] += seconds
        releases.enter(run["id"], phase, 60)
    # The file does not keep their order: "commit" stands first in it.
    assert list((releases.run() or {})["phases"])[0] == "commit"
    clock[0] += 50
    found = releases.end(run["id"], "done", "")["seconds"]
    assert found == {"prepare": 10, "migrate": 20, "start": 30, "switch": 40, "commit": 50}
    assert list(found) == list(decide.PHASES)


def test_a_run_ends_once(releases: journal.Releases) -> None:
    run = begin(releases)
    releases.end(run["id"], "done", "")
    with pytest.raises(journal.HeldError):
        releases.end(run["id"], "done", "")
    assert len(releases.last(5)) == 1


@pytest.mark.parametrize(
    ("record", "action", "phase", "outcome", "bad"),
    [
        (V1, "release", "migrate", "failed", ["v2"]),
        (V1, "release", "start", "failed", ["v2"]),
        (V1, "release", "switch", "failed", ["v2"]),
        (V1, "install", "start", "failed", ["v2"]),
        (V1, "release", "prepare", "failed", []),  # a registry that does not answer
        (V1, "release", "commit", "failed", []),  # its image is good: it served
        (V1, "release", "switch", "done", []),
        (V1, "release", "switch", "repaired", []),
        (V1, "reconfigure", "start", "failed", []),  # the release is not what failed
        (V1, "repair", "start", "failed", []),
        (V2, "release", "switch", "failed", []),  # it serves
    ],
)
def test_a_release_is_marked_bad_only_if_it_failed(
    releases: journal.Releases, record: dict[str, Any], action: str, phase: str, outcome: str, bad: list[str]
) -> None:
    statefile.write(releases.record_file, record)
    run = begin(releases, action=action)
    if phase != "prepare":
        releases.enter(run["id"], phase, 60)
    releases.end(run["id"], outcome, "it fell")
    found = releases.record() or {}
    assert sorted(found["bad"]) == bad
    assert {**found, "bad": {}} == record
    if bad:
        assert found["bad"]["v2"]["reason"] == "it fell"


@pytest.mark.parametrize("text", [None, "{"])
def test_without_a_record_nothing_is_marked(releases: journal.Releases, text: str | None) -> None:
    if text is not None:
        releases.record_file.write_text(text)
    run = begin(releases, action="install")
    releases.enter(run["id"], "start", 60)
    releases.end(run["id"], "failed", "it fell")
    assert (releases.record_file.read_text() if releases.record_file.exists() else None) == text
    assert releases.last(1)[0]["message"] == "it fell"


def test_the_newest_lines_come_first_and_broken_ones_are_passed_over(releases: journal.Releases) -> None:
    assert releases.last(3) == []
    for number in range(5):
        releases.log({"number": number})
    assert [line["number"] for line in releases.last(3)] == [4, 3, 2]
    with releases.log_file.open("ab") as log:
        log.write(b'{"number": "\xff"}\n{"cut')
    releases.log({"number": 6})
    assert [line["number"] for line in releases.last(4)] == [6, "\ufffd", 4]  # the line that was cut is one of the four
    with releases.log_file.open("ab") as log:
        log.write(b'5\nnull\n["number"]\n')
    assert [line["number"] for line in releases.last(4)] == [6]


# --- record and freeze ----------------------------------------------------------------------------------


def test_the_record_is_read_without_its_schema(releases: journal.Releases) -> None:
    assert releases.record() is None
    statefile.write(releases.record_file, V1)
    assert json.loads(releases.record_file.read_text())["schema"] == 1
    assert releases.record() == V1
    releases.record_file.write_text("{")
    with pytest.raises(ValueError, match="release.json is no JSON"):
        releases.record()


def test_a_wish_that_cannot_be_read_is_a_wish(releases: journal.Releases) -> None:
    assert releases.freeze() is None
    statefile.write(releases.freeze_file, {"by": "yuki", "since": "now", "message": "fair"})
    assert releases.freeze() == {"by": "yuki", "since": "now", "message": "fair"}
    releases.freeze_file.write_text("")
    assert "freeze.json is no JSON" in (releases.freeze() or {})["message"]


def test_moments_are_of_the_utc() -> None:
    assert journal.iso(0) == "1970-01-01T00:00:00Z"
    assert journal.iso(1_780_000_000.9) == "2026-05-28T20:26:40Z"
