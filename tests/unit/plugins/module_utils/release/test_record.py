# SPDX-License-Identifier: GPL-3.0-or-later
"""The record: what it keeps, what it forgets, how it is rebuilt, and which images it needs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import record as release_record

WEB = {"web": {"image": "web@sha256:9", "id": "sha256:9"}}


def record(release: str = "v3", *history: str, **changes: Any) -> dict[str, Any]:
    """A record with earlier releases, newest first."""
    return {
        "release": release, "colour": "blue", "since": f"since {release}", "services": {"web": {"id": release}}, "migrations": "none",
        "history": [{"release": name, "since": f"since {name}", "services": {"web": {"id": name}}} for name in history],
        "bad": {}, **changes,
    }  # fmt: skip


def after(before: dict[str, Any], release: str, back: bool = False, **changes: Any) -> dict[str, Any]:
    """The record after a release, or after a rollback to it."""
    return release_record.new_record(before, {"release": release, "colour": "green", "back": back}, WEB, "now", **changes)


def names(entries: list[dict[str, Any]]) -> list[str]:
    """The releases of a history."""
    return [entry["release"] for entry in entries]


# --- after a release ------------------------------------------------------------------------------------


def test_the_first_record() -> None:
    assert after({}, "v1", migrations="compatible") == {
        "release": "v1", "colour": "green", "since": "now", "services": WEB, "migrations": "compatible", "history": [], "bad": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "release", "history"),
    [
        (record("v1"), "v2", ["v1"]),
        (record("v3", "v2", "v1"), "v4", ["v3", "v2", "v1"]),
        (record("v3", "v2", "v1"), "v2", ["v3", "v1"]),  # back: one entry a release
        (record("v2", "v3", "v1"), "v3", ["v2", "v1"]),  # and forth
        (record("v3", "v2", "v1"), "v3", ["v2", "v1"]),  # the same anew
        (record("v3", "v3", "v1"), "v4", ["v3", "v1"]),
    ],
)
def test_history(before: dict[str, Any], release: str, history: list[str]) -> None:
    assert names(after(before, release)["history"]) == history


@pytest.mark.parametrize(("keep", "history"), [(0, []), (1, ["v3"]), (2, ["v3", "v2"]), (9, ["v3", "v2", "v1"])])
def test_history_has_an_end(keep: int, history: list[str]) -> None:
    assert names(after(record("v3", "v2", "v1"), "v4", keep=keep)["history"]) == history


def test_what_served_is_kept_whole() -> None:
    before = record("v1", migrations="needs_restore")
    kept = ("release", "colour", "since", "services", "migrations")
    assert after(before, "v2")["history"] == [{**{key: before[key] for key in kept}, "until": "now"}]


def test_the_record_before_is_not_changed() -> None:
    before = record("v3", "v2", bad={"v4": {"reason": "x"}})
    same = copy.deepcopy(before)
    after(before, "v4")["history"][0]["release"] = "other"
    release_record.marked_bad(before, "v5", "x", "now")
    assert before == same


# --- bad releases ---------------------------------------------------------------------------------------


def test_a_release_that_made_it_is_no_longer_bad() -> None:
    before = record("v1", bad={"v2": {"reason": "x"}, "v3": {"reason": "y"}})
    assert after(before, "v2")["bad"] == {"v3": {"reason": "y"}}


@pytest.mark.parametrize(
    ("before", "release", "bad"),
    [
        (record("v1"), "v2", ["v2"]),
        (record("v1", bad={"v3": {}}), "v2", ["v2", "v3"]),
        (record("v1"), "v1", []),  # it serves: it cannot be that bad
        ({"release": "v1"}, "v2", ["v2"]),
        ({}, "v2", []),  # no record, and none is made of it
    ],
)
def test_marked_bad(before: dict[str, Any], release: str, bad: list[str]) -> None:
    marked = release_record.marked_bad(before, release, "it fell", "now")
    assert sorted(marked.get("bad", {})) == bad
    assert {key: value for key, value in marked.items() if key != "bad"} == {k: v for k, v in before.items() if k != "bad"}
    if release in bad:
        assert marked["bad"][release] == {"since": "now", "reason": "it fell"}


@pytest.mark.parametrize(
    ("before", "named", "target"),
    [
        (record("v3", "v2", "v1"), "", "v2"),
        (record("v3", "v2", "v1"), "v1", "v1"),
        (record("v3", "v2", "v1", bad={"v2": {}}), "", "v1"),
        (record("v3", "v2", bad={"v2": {}}), "", ""),
        (record("v3", "v2", bad={"v2": {}}), "v2", "v2"),  # named: others judge it
        (record("v3", "v3", "v2"), "", "v2"),
        (record("v3"), "", ""),
        ({}, "", ""),
        ({}, "v1", "v1"),
    ],
)
def test_rollback_target(before: dict[str, Any], named: str, target: str) -> None:
    assert release_record.rollback_target(before, named) == target


# --- after going back ------------------------------------------------------------------------------------


def marked(found: dict[str, Any]) -> list[str]:
    """The releases that were left by going back."""
    return [entry["release"] for entry in found["history"] if entry.get("rolled_back")]


@pytest.mark.parametrize(("back", "targets"), [(True, ["v2", "v1", ""]), (False, ["v2", "v3", "v2"])])
def test_who_goes_back_twice_does_not_go_forward(back: bool, targets: list[str]) -> None:
    found, gone = record("v3", "v2", "v1"), []
    for _unused in targets:
        gone.append(release_record.rollback_target(found))
        found = after(found, gone[-1], back=back) if gone[-1] else found
    assert gone == targets


def test_what_was_left_by_going_back_says_so() -> None:
    found = after(record("v3", "v2", "v1"), "v2", back=True)
    assert (names(found["history"]), marked(found)) == (["v3", "v1"], ["v3"])
    assert release_record.rollback_target(found, "v3") == "v3"  # named: others judge it
    assert "rolled_back" not in found
    # The mark stays with the entry, whatever comes next.
    found = after(after(found, "v2"), "v4")
    assert (names(found["history"]), marked(found)) == (["v2", "v3", "v1"], ["v3"])
    assert release_record.rollback_target(found) == "v2"


def test_a_release_that_serves_again_is_one_to_go_back_to() -> None:
    found = after(after(record("v3", "v2", "v1"), "v2", back=True), "v3")  # deployed again
    assert (names(found["history"]), marked(found)) == (["v2", "v1"], [])
    found = after(found, "v4")
    assert (names(found["history"]), marked(found)) == (["v3", "v2", "v1"], [])
    assert release_record.rollback_target(found) == "v3"


@pytest.mark.parametrize(("back", "expected"), [({}, []), ({"back": False}, []), ({"back": True}, ["v3"])])
def test_only_a_way_back_marks(back: dict[str, bool], expected: list[str]) -> None:
    assert (
        marked(release_record.new_record(record("v3", "v2"), {"release": "v2", "colour": "green", **back}, WEB, "now"))
        == expected
    )
    assert marked(release_record.new_record({}, {"release": "v2", "colour": "green", **back}, WEB, "now")) == []


@pytest.mark.parametrize(("release", "expected"), [("v3", "since v3"), ("v1", "since v1"), ("v4", None), ("", None)])
def test_known(release: str, expected: str | None) -> None:
    assert release_record.known(record("v3", "v2", "v1"), release).get("since") == expected
    assert release_record.known({}, release) == {}


# --- rebuilt from what runs -----------------------------------------------------------------------------


def container(service: str = "web", colour: str = "blue", release: str = "v2", running: bool = True) -> dict[str, Any]:
    """One container as `observe` tells of it."""
    return {
        "service": service, "colour": colour, "release": release, "running": running, "image": f"{service}@sha256:2",
        "id": "sha256:2", "started": "2026-02-02" if service == "web" else "2026-02-01", "name": "n", "health": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("containers", "served", "release", "why"),
    [
        ([container(), container("api")], ["blue"], "v2", ""),
        ([container(), container(colour="green", release="v3")], ["blue"], "v2", ""),
        ([container(), container(colour="green", release="v3")], ["green", "green"], "v3", ""),
        ([container()], [], "v2", ""),  # no edge: the only colour that runs
        ([container()], ["", ""], "v2", ""),
        ([container(), container(release="v1", running=False)], ["blue"], "v2", ""),
        ([], ["blue"], "", "no container of the application runs."),
        ([container(running=False)], ["blue"], "", "no container of the application runs."),
        ([container(), container(colour="green")], [], "", "the edges serve blue, green, not one colour."),
        ([container()], ["blue", "green"], "", "the edges serve blue, green, not one colour."),
        ([container(), container("api", release="v3")], ["blue"], "", "the containers of blue name v2, v3, not one release."),
        ([container(colour="green")], ["blue"], "", "the containers of blue name no release, not one release."),
    ],
)
def test_rebuilt_record(containers: list[dict[str, Any]], served: list[str], release: str, why: str) -> None:
    rebuilt, said = release_record.rebuilt_record(containers, served)
    assert (rebuilt.get("release", ""), said) == (release, why)
    assert bool(rebuilt) != bool(said)


def test_what_a_rebuilt_record_holds() -> None:
    rebuilt, _why = release_record.rebuilt_record([container(), container("api")], ["blue"])
    assert rebuilt == {
        "release": "v2", "colour": "blue", "since": "2026-02-01", "history": [], "bad": {},
        "services": {
            name: {"image": f"{name}@sha256:2", "id": "sha256:2", "reference": f"{name}:v2"} for name in ("web", "api")
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image": f"registry:5000/app/web@sha256:{'d' * 64}"}, {"reference": "registry:5000/app/web:v2"}),
        ({"image": "web:v2@sha256:2"}, {"reference": "web:v2"}),
        ({"image": "sha256:2"}, {}),  # an ID names no repository
        ({"image": "web:v2"}, {}),  # no identity: nobody knows what the name stands for now
        # What its image says of itself, if that was looked at.
        ({"entrypoint": ["/bin/sh"], "command": None}, {"reference": "web:v2", "entrypoint": ["/bin/sh"], "command": None}),
        ({"health_log": [], "restarts": 4}, {"reference": "web:v2"}),
    ],
)
def test_what_a_rebuilt_record_knows_of_an_image(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    serving = {**container(), **changes}
    rebuilt, _why = release_record.rebuilt_record([serving], ["blue"])
    assert rebuilt["services"] == {"web": {"image": serving["image"], "id": "sha256:2", **expected}}


# --- images ---------------------------------------------------------------------------------------------

REPO = "registry:5000/app/web"
WANTED = [REPO, "proxy:stable"]


def needs(*releases: int) -> dict[str, Any]:
    """A record of releases that are made of one image each, the newest first."""
    serving, *history = [{"release": f"v{n}", "services": {"web": {"id": f"sha256:{n}"}}} for n in releases]
    return {**serving, "history": history}


def ids(*numbers: int) -> list[str]:
    return [f"sha256:{number}" for number in numbers]


@pytest.mark.parametrize(
    ("kept", "keep", "needed"),
    [
        (needs(5, 4, 3), 9, [3, 4, 5]),
        (needs(5, 4, 3), 2, [3, 4, 5]),
        (needs(5, 4, 3), 1, [4, 5]),
        (needs(5, 4, 3), 0, [5]),
        (needs(5, 4, 5), 9, [4, 5]),
        (needs(5), 9, [5]),
        ({"services": {"web": {"id": "sha256:2"}, "api": {"id": "sha256:1"}}}, 0, [1, 2]),
        ({"services": {"web": {"reference": "web:v1"}}}, 0, []),
        ({"release": "v1"}, 0, []),
        ({}, 9, []),
    ],
)
def test_needed_images(kept: dict[str, Any], keep: int, needed: list[int]) -> None:
    assert release_record.needed_images(kept, keep) == ids(*needed)


ALL = [(f"sha256:{n}", REPO) for n in (5, 4, 3, 2, 1)]


@pytest.mark.parametrize(
    ("present", "needed", "removed"),
    [
        (ALL, [5, 4, 3, 2, 1], []),
        (ALL, [5, 4, 3], [1, 2]),
        (ALL, [5], [1, 2, 3, 4]),
        (ALL, [7], [1, 2, 3, 4, 5]),
        (ALL, [], []),  # nobody said what is needed: no record, no way to know
        ([], [5], []),
        # An image under several names, of which one is ours; one that is needed under any.
        ([("sha256:1", "other"), ("sha256:1", REPO)], [5], [1]),
        ([("sha256:5", REPO), ("sha256:5", "other")], [5], []),
        # Others' images, however alike.
        ([("sha256:1", f"{REPO}-old"), ("sha256:2", f"{REPO}/more"), ("sha256:3", "app/web"), ("sha256:4", "web")], [5], []),
        ([("sha256:1", "registry/app/web"), ("sha256:2", "registry:5001/app/web"), ("sha256:3", "<none>")], [5], []),
        # A service that names its tag itself.
        ([("sha256:1", "proxy"), ("sha256:2", "proxy")], [1], [2]),
    ],
)
def test_images_to_remove(present: list[tuple[str, str]], needed: list[int], removed: list[int]) -> None:
    assert release_record.images_to_remove(iter(present), iter(WANTED), iter(ids(*needed))) == ids(*removed)


@pytest.mark.parametrize("keep", range(7))
def test_an_image_that_serves_or_may_serve_again_is_never_removed(keep: int) -> None:
    for last in range(1, 6):
        kept = needs(*range(5, last - 1, -1))
        removed = release_record.images_to_remove(ALL, WANTED, release_record.needed_images(kept, keep))
        needed = ids(5, *list(range(4, last - 1, -1))[:keep])
        assert not set(needed) & set(removed)
        assert set(needed) | set(removed) == {image for image, _name in ALL}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", "web"),
        ("web:v1", "web"),
        ("web@sha256:1", "web"),
        ("web:v1@sha256:1", "web"),
        ("registry:5000/web", "registry:5000/web"),  # a port is no tag
        ("registry:5000/a/web:v1@sha256:1", "registry:5000/a/web"),
    ],
)
def test_repository(name: str, expected: str) -> None:
    assert release_record.repository(name) == expected


def test_a_rollback_over_several_releases_leaves_all_of_them_behind():
    v3 = {
        "release": "v3",
        "colour": "blue",
        "since": "3",
        "services": {},
        "history": [{"release": "v2"}, {"release": "v1"}],
        "bad": {},
    }
    found = release_record.new_record(v3, {"release": "v1", "colour": "green", "back": True}, {}, "now")
    assert release_record.rollback_target(found) == ""
