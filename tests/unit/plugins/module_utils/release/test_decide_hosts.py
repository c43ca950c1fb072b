# SPDX-License-Identifier: GPL-3.0-or-later
"""On which hosts a release may run, and what one that failed may still do to them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide

# --- what may still be done after a failure -------------------------------------------------------------

V2: dict[str, Any] = {"release": "v2", "colour": "blue", "since": "2026-02-01T00:00:00Z", "services": {}}
MINE = {"id": "7-a", "phase": "switch"}
V3 = {"release": "v3", "colour": "green", "since": "2026-03-01T00:00:00Z", "services": {}}


@pytest.mark.parametrize(
    ("answer", "record", "way"),
    [
        ({"run": MINE, "record": V2}, {}, "undo"),
        ({"run": MINE, "record": V2}, V3, "undo"),  # the commit did not come there
        ({"run": MINE, "record": {}}, V3, "undo"),  # a first installation
        ({"run": MINE, "record": {}}, {}, "undo"),
        ({"run": MINE, "record": {**V3, "bad": {}}}, V3, "finish"),  # it came, and its answer was lost
        ({"run": MINE, "record": {**V3, "since": "2026-02-01T00:00:00Z"}}, V3, "undo"),  # v3 served before, too
        ({"run": MINE, "record": {**V3, "colour": "blue"}}, V3, "undo"),
        # Who lost the lock changes nothing more, not even back, whatever the record says.
        ({"run": {**MINE, "id": "8-b"}, "record": V2}, {}, "leave"),
        ({"run": {**MINE, "id": "8-b"}, "record": V3}, V3, "leave"),
        ({"run": {}, "record": V2}, {}, "leave"),  # the other one is done already
        ({"run": {}, "record": V3}, V3, "leave"),
        # Nobody answers: before the commit nothing else can be recorded, after it that is not known.
        ({}, {}, "undo"),
        (None, {}, "undo"),
        ({}, V3, "leave"),
    ],
)
def test_the_way_back(answer: dict[str, Any] | None, record: dict[str, Any], way: str) -> None:
    verdict = decide.way_back(answer, "7-a", record)
    assert verdict["way"] == way
    assert bool(verdict["why"]) is (way != "undo")


# --- on which hosts -------------------------------------------------------------------------------------

FLEET = ["app1", "app2", "edge1", "app1"]  # a host of both groups stands there twice


@pytest.mark.parametrize(
    ("play", "arguments", "missing"),
    [
        (["app1", "app2", "edge1"], {}, ""),
        (["db1", "edge1", "app2", "app1"], {}, ""),
        (["app1", "edge1"], {}, "app2"),
        (["app1"], {}, "app2, edge1"),
        (["edge1", "db1"], {}, "app1, app2"),
        (["db1", "monitoring1"], {}, ""),  # other layers of site.yml
        ([], {}, ""),
        (["db1", "monitoring1"], {"intent": "deploy"}, "app1, app2, edge1"),  # nothing would be released
        (["app1", "edge1"], {"intent": "rollback"}, "app2"),
        (["app1", "edge1"], {"absent": ["app2"]}, ""),
        (["app1"], {"absent": ["app2"]}, "edge1"),
        (["app1", "app2", "edge1"], {"absent": ["app2"]}, ""),
    ],
)
def test_a_release_needs_all_of_its_hosts(play: list[str], arguments: dict[str, Any], missing: str) -> None:
    found = decide.scope_problems(FLEET, play, "linear", **arguments)
    assert len(found) == bool(missing)
    if missing:
        assert (
            found[0].startswith("--limit: a release is one step on all hosts") and f"and {missing} would be left out" in found[0]
        )


@pytest.mark.parametrize(
    ("strategy", "refused"),
    [
        ("linear", False),
        ("ansible.builtin.linear", False),
        ("mitogen_linear", False),
        ("free", True),
        ("ansible.builtin.free", True),
        ("host_pinned", True),
        ("mitogen_free", True),
        ("mitogen_host_pinned", True),
        ("debug", True),
        ("nonlinear", True),
        ("", True),
    ],
)
def test_hosts_of_a_release_wait_for_each_other(strategy: str, refused: bool) -> None:
    found = decide.scope_problems(FLEET, FLEET, strategy, intent="deploy")
    assert [text.startswith(f"strategy: is {strategy}, with which hosts do not wait") for text in found] == [True] * refused
    assert decide.scope_problems(FLEET, ["db1"], strategy) == []  # no release, no matter


def test_a_plan_knows_the_fences_of_all_hosts() -> None:
    known = {"one": "3-a", "two": "", "three": "9-c", "four": "3-a"}
    hosts = {name: {"record": V2, "containers": [], "fence": fence} for name, fence in known.items()}
    plan = decide.decide({**hosts, "older": {"record": V2}}, "one")
    assert plan["fences"] == ["3-a", "9-c"]
