# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that join, are replaced, are absent and come back."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide as release_decide
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import hosts as release_hosts

SINCE = "2026-02-01T00:00:00Z"
RECORD: dict[str, Any] = {
    "release": "v2", "colour": "blue", "since": SINCE, "migrations": "compatible", "bad": {}, "history": [],
    "services": {"web": {"reference": "web:v2", "image": "web@sha256:2", "id": "sha256:2"}},
}  # fmt: skip
OLD = {**RECORD, "release": "v1", "since": "2026-01-01T00:00:00Z"}
EDGE = {"colour": "blue", "maintenance": False, "state": "states/1", "uncommitted": "", "previous": ""}


def web(colour: str = "blue", image: str = "sha256:2", running: bool = True) -> dict[str, Any]:
    """A container as `observe` tells of it."""
    return {
        "name": f"app-web-{colour}", "service": "web", "colour": colour, "release": "v2", "image": image, "id": image,
        "running": running, "started": SINCE,
    }  # fmt: skip


def host(*containers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An app host with these containers, changed by ``changes``."""
    return {"record": RECORD, "run": {}, "containers": list(containers), "edge": {}, "engine": True, "now": 0.0, **changes}


GOOD, BARE = host(web()), host(record={})
STOPPED, RETURNED = host(web(running=False)), host(web(image="sha256:1"), record=OLD)
RECONFIGURED = host(web(), record=OLD)  # the same images; what else it missed its copy of the record tells
LOST = host(web(), record={})


NOT_RUNNING, OTHER = "web of blue does not run", "web of blue runs from another image than recorded"
NO_COPY, OLD_COPY = "its record of releases is lost", "it missed the last release"


@pytest.mark.parametrize(
    ("shown", "tell", "expected", "behind"),
    [
        (GOOD, True, [], False),
        (BARE, True, [NOT_RUNNING, NO_COPY], True),
        (BARE, False, [NOT_RUNNING], True),
        (host(web("green"), record={}), True, [NOT_RUNNING, NO_COPY], True),
        (STOPPED, True, [NOT_RUNNING], False),  # started again from its own files
        (RETURNED, True, [OTHER, OLD_COPY], True),
        (RETURNED, False, [OTHER], True),
        (RECONFIGURED, True, [OLD_COPY], True),
        (LOST, True, [NO_COPY], False),  # it joined, and the run was killed before it was proven
        # Only copies are missing: the run was cut off behind its commit, or all are lost.
        (RECONFIGURED, False, [], False),
        (LOST, False, [], False),
        (host(web(image="sha256:1")), True, [OTHER], True),
    ],
)
def test_what_a_host_lacks(shown: dict[str, Any], tell: bool, expected: list[str], behind: bool) -> None:
    assert release_hosts.lacking(shown, RECORD, tell) == expected
    assert release_hosts.behind(shown, RECORD, tell) is behind


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({"app1": GOOD, "app2": BARE}, True),
        ({"app1": LOST, "app2": GOOD}, True),
        ({"app1": LOST, "app2": LOST}, False),
        ({"app1": {**GOOD, "run": {"phase": "switch"}}}, True),
        ({"app1": {**GOOD, "run": {"phase": "commit"}}}, False),
        ({"app1": {**GOOD, "run": None}}, True),
    ],
)
def test_when_copies_of_the_record_tell(hosts: dict[str, Any], expected: bool) -> None:
    assert release_hosts.copies_tell(hosts, "app1") is expected


def test_where_nothing_was_released_nothing_is_lacking() -> None:
    assert release_hosts.lacking(BARE, {}) == []
    assert release_hosts.behind(BARE, {}) is False


@pytest.mark.parametrize(
    ("hosts", "absent", "expected"),
    [
        ({"app1": GOOD, "app2": GOOD}, [], []),
        ({"app1": GOOD, "app2": BARE}, [], ["app2"]),
        ({"app1": GOOD, "app2": RETURNED}, [], ["app2"]),
        ({"app1": GOOD, "app2": STOPPED}, [], ["app2"]),
        ({"app1": GOOD}, ["app2"], ["app2"]),
        ({"app1": BARE, "app2": GOOD}, [], ["app1"]),  # the record is that of a copy
        ({"app1": BARE, "app2": BARE}, [], []),  # the first installation
        ({"app1": STOPPED, "app2": STOPPED}, [], []),  # nobody else could be asked
        ({"app1": STOPPED}, ["app2"], ["app2"]),
        ({"app1": GOOD, "app2": LOST}, [], ["app2"]),  # it may never have been proven
        ({"app1": LOST, "app2": LOST}, [], []),
        ({"edge1": GOOD}, ["app2"], ["app2"]),  # the play is limited to edges
        ({"app1": host(web(), run={"phase": "commit"}), "app2": RECONFIGURED}, [], []),
        ({"app1": host(web(), run={"phase": "switch"}), "app2": RECONFIGURED}, [], ["app2"]),
    ],
)
def test_whom_edges_are_not_told_of(hosts: dict[str, Any], absent: list[str], expected: list[str]) -> None:
    assert release_hosts.untold(hosts, "app1", ["app1", "app2"], absent) == expected


GROUPS = {"app": ["app1", "app2", "app3"], "edge": ["edge1", "edge2"], "db": ["app3"], "logging": ["log1"]}


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ([], []),
        (["app2"], []),
        (["app2", "edge1"], []),
        ("app2", ["absent_hosts: is not a list of hosts. Write absent_hosts: [app2]"]),
        (None, ["absent_hosts: is not a list of hosts."]),
        (["app9"], ["absent_hosts: app9 is no host of the groups app and edge."]),
        (["log1"], ["absent_hosts: log1 is no host of the groups app and edge."]),
        (["app3"], ["absent_hosts: app3 is in db, too, without which nothing can be released."]),
        (["app1"], ["absent_hosts: app1 keeps the record of releases."]),
        (["edge1", "edge2"], ["absent_hosts: leaves no host of the group edge."]),
        (
            ["app1", "app2", "app3"],
            ["absent_hosts: app1 keeps", "absent_hosts: app3 is in db", "absent_hosts: leaves no host of the group app."],
        ),
    ],
)
def test_who_may_be_absent(absent: Any, expected: list[str]) -> None:
    problems = release_hosts.absent_problems(absent, GROUPS, "app1")
    assert [problem[: len(start)] for problem, start in zip_longest(problems, expected, fillvalue="")] == expected


UPSTREAMS = {"web": {"blue": ["10.0.0.1:80", "10.0.0.11:80", "[fd00::1]:80"], "green": ["10.0.0.1:81"]}}


@pytest.mark.parametrize(
    ("addresses", "blue", "green"),
    [
        ([], UPSTREAMS["web"]["blue"], ["10.0.0.1:81"]),
        (["10.0.0.11"], ["10.0.0.1:80", "[fd00::1]:80"], ["10.0.0.1:81"]),
        (["fd00::1"], ["10.0.0.1:80", "10.0.0.11:80"], ["10.0.0.1:81"]),
        (["10.0.0.1"], ["10.0.0.11:80", "[fd00::1]:80"], ["10.0.0.1:81"]),  # nginx needs one in each
    ],
)
def test_upstreams_without_a_host(addresses: list[str], blue: list[str], green: list[str]) -> None:
    assert release_hosts.without(UPSTREAMS, addresses) == {"web": {"blue": blue, "green": green}}


CONFIGURATION = """
upstream web_blue {
    server 10.0.0.1:80 max_fails=0;
    server 10.0.0.2:80;
    server 10.0.0.1:81 backup;
}
server { listen 80; proxy_pass http://10.0.0.3:80; }
"""
ALL = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.1:81"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:81"], True),
        (["10.0.0.1:80", "10.0.0.1:81"], False),  # it knows one too many
        (ALL, False),  # and here one too few
    ],
)
def test_whether_nginx_was_told(wanted: list[str], expected: bool) -> None:
    assert release_hosts.told(CONFIGURATION, ALL, wanted) is expected


# --- what a decision makes of it ------------------------------------------------------------------------


def decide(app2: dict[str, Any], intent: str = "site", edge: dict[str, Any] | None = None) -> dict[str, Any]:
    """A decision about a fleet whose second app host (and edge) may be astray."""
    edge = host(edge=EDGE) if edge is None else edge
    return release_decide.decide(
        {"app1": GOOD, "app2": app2, "edge1": edge}, "app1", ["app1", "app2"], wanted="v2", intent=intent
    )


@pytest.mark.parametrize(
    ("app2", "lacking", "behind", "repair"),
    [
        (GOOD, [], [], {}),
        (BARE, ["app2"], ["app2"], {"app2": f"{NOT_RUNNING}; {NO_COPY}"}),
        (STOPPED, ["app2"], [], {"app2": NOT_RUNNING}),
        (
            RETURNED,
            ["app2"],
            ["app2"],
            {"app2": f"{OTHER}; {OLD_COPY}"},
        ),
        (LOST, ["app2"], [], {"app2": NO_COPY}),
    ],
)
def test_a_host_catches_up(app2: dict[str, Any], lacking: list[str], behind: list[str], repair: dict[str, str]) -> None:
    plan = decide(app2)
    assert (plan["action"], plan["lacking"], plan["behind"], plan["repair"]) == ("none", lacking, behind, repair)
    assert plan["problems"] == []


def test_an_edge_catches_up() -> None:
    assert decide(GOOD, edge=host(edge=EDGE, record={}))["repair"] == {"edge1": NO_COPY}
    assert decide(GOOD, edge=host(edge=EDGE, record=OLD))["repair"] == {"edge1": OLD_COPY}


@pytest.mark.parametrize(
    ("app2", "intent", "problems"),
    [
        (host(record={}, engine=False), "site", 0),  # it has installed Docker by then, but for check mode
        (host(record={}, engine=False), "deploy", 1),
        (host(record={}, engine=False), "rollback", 1),
        (host(record={}), "deploy", 0),
        (RETURNED, "deploy", 0),
    ],
)
def test_a_release_is_no_installation(app2: dict[str, Any], intent: str, problems: int) -> None:
    found = [problem for problem in decide(app2, intent)["problems"] if problem.startswith("app2 has no Docker")]
    assert len(found) == problems
    assert not found or ("site.yml" in found[0] and "absent_hosts: [app2]" in found[0])


# --- which record counts --------------------------------------------------------------------------------

NEW = {**RECORD, "release": "v3", "since": "2026-03-01T00:00:00Z", "history": [{**RECORD, "until": "2026-03-01T00:00:00Z"}]}
SLOW = {**RECORD, "history": [{**NEW, "history": []}]}  # written later, by a controller whose clock is behind


@pytest.mark.parametrize(
    ("main", "copy", "refused"),
    [
        (RECORD, RECORD, False),
        (RECORD, OLD, False),
        (OLD, RECORD, True),  # the host that keeps it was away, or came back from an old disk
        (SLOW, NEW, False),
    ],
)
def test_a_record_that_was_away_moves_nobody(main: dict[str, Any], copy: dict[str, Any], refused: bool) -> None:
    hosts = {"app1": host(web(), record=main), "app2": host(web(), record=copy)}
    plan = release_decide.decide(hosts, "app1", ["app1", "app2"])
    assert [problem[:76] for problem in plan["problems"]] == (
        ["The record of releases on app1 is of v1, and the copy on app2 is newer (v2):"] if refused else []
    )
    # With the other one's record, the first host is the one that catches up.
    assert release_decide.decide(hosts, "app2", ["app1", "app2"])["behind"] == (["app1"] if main != copy else [])
