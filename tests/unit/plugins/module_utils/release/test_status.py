# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator reads: what serves where, what will be done, and why it failed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide

IMAGE = {"reference": "web:v2", "image": "web@sha256:2", "id": "sha256:2"}
V2 = {"release": "v2", "colour": "blue", "since": "2026-02-01T00:00:00Z", "services": {"web": IMAGE}, "history": [], "bad": {}}
WEB = {
    "name": "app-web-blue", "service": "web", "colour": "blue", "release": "v2", "id": "sha256:2", "running": True, "state": "running", "health": "healthy",
}  # fmt: skip
EDGE = {"colour": "blue", "maintenance": False, "state": "states/1", "uncommitted": "", "previous": ""}
LINE = {
    "since": "2026-02-01T00:00:00Z", "until": "2026-02-01T00:01:00Z", "who": "yuki@laptop", "action": "release", "from_release": "v1",
    "to_release": "v2", "outcome": "done", "message": "", "seconds": {"prepare": 20.4, "switch": 21.0},
}  # fmt: skip


def lines(**changes: Any) -> list[str]:
    """The screen of one host, changed by ``changes``."""
    host = {"record": V2, "record_problem": "", "run": {}, "freeze": {}, "containers": [WEB], "edge": EDGE, "now": 1000.0}
    return decide.status({"one": {**host, "log": [], **changes}}, "one", ["one"])


def test_all_is_well() -> None:
    assert lines() == [
        "v2 serves as blue since 2026-02-01T00:00:00Z",
        "  web: web@sha256:2 (web:v2)",
        "one: the edge serves blue",
        "one: app-web-blue v2 running, healthy",
        "lock: free",
    ]


def test_nothing_is_there() -> None:
    bare = {"colour": "", "maintenance": True, "state": "states/1", "uncommitted": "", "previous": ""}
    assert lines(record={}, containers=[], edge=bare) == [
        "Nothing was deployed here yet.",
        "one: the edge serves nothing (maintenance)",
        "lock: free",
    ]
    assert lines(record={}, containers=[], edge={}) == ["Nothing was deployed here yet.", "lock: free"]


OWNER = {"user": "yuki", "host": "laptop", "pid": 7}
RUN = {"owner": OWNER, "since": "then", "phase": "start", "until": 1010, "to_release": "v3"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"edge": {**EDGE, "maintenance": True}}, "one: the edge serves blue, closed for maintenance"),
        ({"edge": {**EDGE, "colour": "green"}}, "one: NOT AS RECORDED: its edge serves green, not blue (the next site.yml"),
        ({"containers": []}, "one: NOT AS RECORDED: web of blue does not run"),
        ({"containers": [{**WEB, "running": False, "state": "exited"}]}, "one: app-web-blue v2 exited"),
        ({"containers": [{**WEB, "health": ""}]}, "one: app-web-blue v2 running"),
        ({"run": RUN}, "lock: v3 is being released by yuki on laptop (process 7), since then, phase start;"),
        ({"run": {**RUN, "until": 1}}, "lock: The release of v3 by yuki on laptop (process 7), since then, phase"),
        ({"freeze": {"by": "yuki", "since": "then", "message": "fair"}}, "Releases are frozen since then by yuki: fair"),
        ({"record": {**V2, "bad": {"v3": {"since": "then", "reason": "It fell.\nDeep."}}}}, "bad: v3 since then: It fell."),
        ({"record": {**V2, "bad": {"v3": {"since": "then", "reason": ""}}}}, "bad: v3 since then: "),
        ({"record": {**V2, "services": {"web": {"image": "sha256:2"}}}}, "  web: sha256:2 (its name is lost)"),
        ({"log": [LINE]}, "2026-02-01T00:01:00Z release v1 -> v2 done, 41 s, yuki@laptop"),
        ({"log": [{**LINE, "from_release": ""}]}, "2026-02-01T00:01:00Z release - -> v2 done, 41 s, yuki@laptop"),
        (
            {"log": [{**LINE, "message": "It fell.\nDeep."}]},
            f"{LINE['until']} release v1 -> v2 done, 41 s, yuki@laptop: It fell.",
        ),
    ],
)
def test_what_is_special_has_a_line(changes: dict[str, Any], line: str) -> None:
    before, found = lines(), lines(**changes)
    assert sum(text.startswith(line) for text in found) == 1
    assert line not in before


GREEN = {**EDGE, "colour": "green"}


@pytest.mark.parametrize(
    ("changes", "fixed"),
    [
        ({}, "the next site.yml or deploy.yml fixes it"),
        ({"freeze": {"since": "then", "by": "yuki", "message": "no"}}, "the next site.yml fixes it"),
        ({"containers": [], "engine": False}, "the next site.yml fixes it"),
        ({"run": {**RUN, "until": 990}}, "the next site.yml or deploy.yml fixes it"),
        ({"run": RUN}, "no run before this: "),
    ],
)
def test_what_is_promised_of_a_run_is_what_it_would_do(changes: dict[str, Any], fixed: str) -> None:
    host = {
        "record": V2,
        "record_problem": "",
        "run": {},
        "freeze": {},
        "containers": [WEB],
        "edge": GREEN,
        "now": 1000.0,
        **changes,
    }
    [said] = [line for line in decide.status({"one": host}, "one", ["one"]) if "NOT AS RECORDED" in line]
    assert f"({fixed}" in said
    for intent in ("site", "deploy"):
        plan = decide.decide({"one": host}, "one", ["one"], "v2", intent)
        assert (f"{intent}.yml" in said) is (not plan["problems"] and "one" in plan["repair"])


def test_a_record_that_is_rebuilt_can_be_shown() -> None:
    seen = {**WEB, "image": "web@sha256:2", "id": "sha256:2", "started": "2026-02-01T00:00:00Z"}
    assert lines(record={}, containers=[seen])[:3] == [
        "The record of releases on one is missing. It is rebuilt from what runs: release v2, colour blue.",
        "v2 serves as blue since 2026-02-01T00:00:00Z",
        "  web: web@sha256:2 (web:v2)",
    ]


def test_each_host_has_its_lines() -> None:
    app, edge = {"record": V2, "containers": [WEB], "edge": {}}, {"record": V2, "containers": [], "edge": EDGE}
    found = decide.status({"app1": app, "edge1": edge}, "app1", ["app1"])
    assert [text for text in found if text.startswith(("app1", "edge1"))] == [
        "app1: app-web-blue v2 running, healthy",
        "edge1: the edge serves blue",
    ]


def test_a_host_that_is_absent_is_named() -> None:
    app = {"record": V2, "containers": [WEB], "edge": {}}
    found = decide.status({"app1": app}, "app1", ["app1", "app2"], absent=["app2"])
    assert [text for text in found if text.startswith("app2")] == [
        "app2: absent (absent_hosts): no release reaches it, and no request"
    ]


def test_without_the_host_of_the_record_the_others_are_shown() -> None:
    """It is dead, or --limit left it out."""
    edge = {"record": V2, "containers": [], "edge": EDGE}
    found = decide.status({"edge1": edge}, "app1", ["app1"])
    assert found[0].startswith("app1 keeps the record, and did not answer or was not asked")
    assert found[1:] == ["edge1: the edge serves blue"]
    assert decide.status({"edge1": edge}, "", [])[0].startswith("No host keeps the record")


# --- what will be done ----------------------------------------------------------------------------------

PLAN = {
    "notes": [], "repair": {}, "action": "none", "release": "v2", "colour": "blue", "from_release": "v2", "from_colour": "blue",
    "services": {}, "migrate": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"notes": ["Mind."], "repair": {"one": "it is odd"}}, ["Mind.", "one: it is odd; it is put right."]),
        ({"action": "release", "release": "", "colour": "green", "notes": ["Mind."]}, ["Mind."]),  # there is none to go back to
        (
            {"action": "install", "migrate": True},
            [
                "Install v2 as blue.",
                "Images: of this release, from app_image_source.",
                "Its migrations run first, in the new image.",
            ],
        ),
        (
            {
                "action": "release",
                "release": "v3",
                "colour": "green",
                "services": {"web": IMAGE, "api": {"image": "api@sha256:3"}},
            },
            [
                "Release v3 as green, in place of v2 (blue), which stays for a way back.",
                "Images: web web@sha256:2, api api@sha256:3.",
                "No migration runs.",
            ],
        ),
        (
            {"action": "reconfigure", "colour": "green", "services": {"web": IMAGE}, "notes": ["Mind."]},
            [
                "Mind.",
                "What serves differs from the inventory: v2 is started again as green, in place of v2 (blue).",
                "Images: web web@sha256:2.",
                "Its migrations run first if an image turns out to be another one than serves.",
            ],
        ),
    ],
)
def test_summary(changes: dict[str, Any], expected: list[str]) -> None:
    assert decide.summary({**PLAN, **changes}) == expected


def test_a_decision_can_be_summed_up() -> None:
    plan = decide.decide({"one": {"record": V2, "containers": [WEB], "edge": EDGE}}, "one", ["one"], "v3", "deploy")
    assert decide.summary(plan)[0].startswith("Release v3 as green, in place of v2 (blue)")


NO_ITEM = {"results": [{"failed": False, "msg": "fine"}]}


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "no"}, "no"),
        ({"msg": "non-zero return code", "stderr": "disk full\n", "stdout": "a"}, "non-zero return code\ndisk full\na"),
        ({"msg": "same", "stderr": "same", "stdout": ""}, "same"),
        ({"msg": {"why": 1}}, "{'why': 1}"),
        ({"results": [{"failed": True, "msg": "one"}, {"msg": "fine"}, {"failed": True, "stderr": "two"}]}, "one; two"),
        ({"msg": "One or more items failed", "results": [{"failed": True, "msg": "one"}]}, "one"),
        ({**NO_ITEM, "msg": "whole"}, "whole"),
        ({"results": ["odd"], "msg": "whole"}, "whole"),
        (NO_ITEM, "it failed without a word"),
        ({}, "it failed without a word"),
        ({"msg": " ", "stdout": "\n"}, "it failed without a word"),
    ],
)
def test_failure_text(result: dict[str, Any], text: str) -> None:
    assert decide.failure_text(result) == text
