# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is to do, and what speaks against it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide as release_decide
from decisions import FELL, FREEZE, NOW, V1, V2, bare, container, decide, run, shown, starts

# --- what is to be done ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "arguments", "expected"),
    [
        # action, release, colour, migrate
        (bare(), {"wanted": "v1"}, ("install", "v1", "blue", True)),
        (bare(), {"wanted": "v1", "colours": ["red"]}, ("install", "v1", "red", True)),
        (bare(), {"wanted": "v1", "intent": "deploy"}, ("install", "v1", "blue", True)),
        (bare(containers=[container()]), {"wanted": "v3"}, ("install", "v3", "blue", True)),  # killed before it came to serve
        (shown(), {}, ("none", "v2", "blue", False)),
        (shown(), {"wanted": "v2"}, ("none", "v2", "blue", False)),
        (shown(), {"wanted": "v3"}, ("none", "v2", "blue", False)),  # the record wins over the inventory
        (shown(), {"wanted": "v3", "force": True}, ("none", "v2", "blue", False)),
        (shown(), {"wanted": "v3", "differs": True}, ("reconfigure", "v2", "green", False)),
        (shown(), {"wanted": "v3", "intent": "deploy"}, ("release", "v3", "green", True)),
        (shown(), {"wanted": "v3", "intent": "deploy", "differs": True}, ("release", "v3", "green", True)),
        (shown(), {"wanted": "v2", "intent": "deploy"}, ("none", "v2", "blue", False)),
        (shown(), {"wanted": "v2", "intent": "deploy", "differs": True}, ("reconfigure", "v2", "green", False)),
        (shown(), {"wanted": "v2", "intent": "deploy", "force": True}, ("reconfigure", "v2", "green", False)),
        (shown(), {"intent": "rollback"}, ("release", "v1", "green", False)),
        (shown(), {"intent": "rollback", "wanted": "v1"}, ("release", "v1", "green", False)),
        (shown(), {"intent": "rollback", "wanted": "v2"}, ("none", "v2", "blue", False)),
        # One slot is exchanged in its place.
        (shown(), {"wanted": "v3", "intent": "deploy", "colours": ["blue"]}, ("release", "v3", "blue", True)),
        # A freeze keeps what serves, and hinders no first installation.
        (shown(freeze=FREEZE), {"differs": True}, ("none", "v2", "blue", False)),
        (shown(freeze=FREEZE), {"differs": True, "force": True}, ("reconfigure", "v2", "green", False)),
        (bare(freeze=FREEZE), {"wanted": "v1"}, ("install", "v1", "blue", True)),
    ],
)
def test_decision(host: dict[str, Any], arguments: dict[str, Any], expected: tuple[Any, ...]) -> None:
    plan = decide(host, **arguments)
    assert tuple(plan[key] for key in ("action", "release", "colour", "migrate")) == expected


@pytest.mark.parametrize(
    ("host", "arguments", "problems", "notes"),
    [
        (shown(), {"wanted": "v3"}, [], ["app_release is v3 in the inventory, and v2 was deployed on 2026-02-01"]),
        (shown(), {"wanted": "v2"}, [], []),
        (shown(), {"wanted": "v3", "intent": "deploy"}, [], []),
        (shown(record=FELL), {"wanted": "v3", "intent": "deploy"}, [], ["v3 failed on yesterday; it is tried again."]),
        (shown(record=FELL), {"wanted": "v4", "intent": "deploy"}, [], []),
        (shown(), {"intent": "deploy"}, ["app_release: is not set"], []),
        (shown(), {"intent": "deploy", "wanted": "v1"}, ["app_release: v1 was replaced by v2 on 2026-02-01"], []),
        (shown(), {"intent": "deploy", "wanted": "v1", "force": True}, [], []),
        (shown(record={**V2, "history": [{**V1, "release": "v2"}]}), {"intent": "deploy", "wanted": "v2"}, [], []),  # it serves
        (shown(freeze=FREEZE), {}, [], []),
        (shown(freeze=FREEZE), {"differs": True}, [], ["What serves differs from the inventory, and stays"]),
        (shown(freeze=FREEZE), {"intent": "deploy", "wanted": "v3"}, ["Releases are frozen since 2026-03-01T00:00:00Z by"], []),
        (shown(freeze=FREEZE), {"intent": "deploy", "wanted": "v3", "force": True}, [], []),
        (shown(freeze=FREEZE), {"intent": "rollback"}, ["Releases are frozen since"], []),
        (shown(freeze=FREEZE), {"intent": "rollback", "force": True}, [], []),
        (bare(), {"intent": "rollback"}, ["Nothing was deployed here yet"], []),
        (shown(run=run()), {"wanted": "v2", "owner_alive": True}, ["v3 is being released by yuki on laptop (process 7)"], []),
        (shown(run=run()), {"wanted": "v2", "owner_alive": False}, [], ["The release of v3 by yuki on laptop"]),
    ],
)
def test_what_is_said(host: dict[str, Any], arguments: dict[str, Any], problems: list[str], notes: list[str]) -> None:
    plan = decide(host, **arguments)
    starts(plan["problems"], problems)
    starts(plan["notes"], notes)


@pytest.mark.parametrize(
    ("host", "arguments", "expected"),
    [
        (bare(), {"wanted": "v1"}, True),
        (shown(), {"wanted": "v3", "intent": "deploy"}, False),  # nothing but its Compose file is another
        (shown(), {"wanted": "v3", "intent": "deploy", "differs": True}, True),
        (shown(), {"differs": True}, True),
        (shown(), {"intent": "rollback"}, False),
        (shown(), {}, False),
    ],
)
def test_what_is_to_be_written(host: dict[str, Any], arguments: dict[str, Any], expected: bool) -> None:
    assert decide(host, **arguments)["configure"] is expected


def test_a_plan_knows_where_it_starts_from() -> None:
    plan = decide(wanted="v3", intent="deploy")
    assert (plan["from_release"], plan["from_colour"], plan["record"]) == ("v2", "blue", V2)
    plan = decide(bare(), wanted="v1")
    assert (plan["from_release"], plan["from_colour"], plan["record"]) == ("", "", {})


@pytest.mark.parametrize(
    ("arguments", "images"),
    [
        ({}, V2["services"]),  # known by identity
        ({"wanted": "v3", "intent": "deploy"}, {}),
        ({"wanted": "v2", "intent": "deploy"}, V2["services"]),
        ({"wanted": "v2", "intent": "deploy", "force": True}, {}),  # what the registry has now
        ({"intent": "rollback"}, {"web": {"image": "web@sha256:1"}}),
        ({"intent": "rollback", "force": True}, {"web": {"image": "web@sha256:1"}}),
    ],
)
def test_images_that_are_known_stay_what_they_are(arguments: dict[str, Any], images: dict[str, Any]) -> None:
    record = {**V2, "history": [{**V1, "services": {"web": {"image": "web@sha256:1"}}}]}
    assert decide(shown(record=record), **arguments)["services"] == images


SCHEMA = {**V2, "migrations": "needs_restore", "history": [{**V1, "migrations": "compatible"}]}


@pytest.mark.parametrize(
    ("host", "arguments", "back", "migrations"),
    [
        (bare(), {"wanted": "v1"}, False, "none"),
        (shown(record=SCHEMA), {}, False, "needs_restore"),
        (shown(record=SCHEMA), {"differs": True}, False, "needs_restore"),  # started anew: the schema is what it was
        (shown(record=SCHEMA), {"wanted": "v3", "intent": "deploy"}, False, "none"),  # nobody knows yet
        (shown(record=SCHEMA), {"intent": "rollback"}, True, "compatible"),  # of the release that serves again
    ],
)
def test_what_a_plan_knows_of_a_schema(host: dict[str, Any], arguments: dict[str, Any], back: bool, migrations: str) -> None:
    plan = decide(host, **arguments)
    assert (plan["back"], plan["migrations"]) == (back, migrations)


# --- a record that is lost ------------------------------------------------------------------------------

LOST = "The record of releases on one is missing."
CORRUPT = "release.json is no JSON."
SERVED = shown(record={})


@pytest.mark.parametrize(
    ("hosts", "release", "notes", "problems"),
    [
        ({"one": shown()}, "v2", [], []),
        ({"one": bare()}, "", [], []),
        ({"one": bare(), "two": shown(edge={})}, "v2", [f"{LOST} The copy on two takes its place."], []),
        ({"one": bare(record_problem=CORRUPT), "two": shown()}, "v2", [f"{CORRUPT} The copy on two takes its place."], []),
        # The newest of several; one beside the host's own: test_fleet.py.
        ({"one": bare(), "two": shown(record=V1), "three": shown()}, "v2", [f"{LOST} The copy on three"], []),
        ({"one": SERVED}, "v2", [f"{LOST} It is rebuilt from what runs: release v2, colour blue."], []),
        ({"one": {**SERVED, "record_problem": CORRUPT}}, "v2", [f"{CORRUPT} It is rebuilt"], []),
        ({"one": bare(record_problem=CORRUPT)}, "", [CORRUPT], []),
        # Leftovers of an installation that nobody ever saw.
        ({"one": bare(containers=[container(running=False)])}, "", [], []),
        ({"one": bare(containers=[container()])}, "", [], []),
        # … but not where there was a record, no edge to tell, or one that serves.
        ({"one": bare(containers=[container()], record_problem=CORRUPT)}, "v2", [f"{CORRUPT} It is rebuilt"], []),
        ({"one": bare(containers=[container()], edge={})}, "v2", [f"{LOST} It is rebuilt"], []),
        ({"one": bare(containers=[container()]), "two": SERVED}, "v2", [f"{LOST} It is rebuilt"], []),
        # Somebody saw something, and nobody knows what.
        (
            {"one": {**SERVED, "containers": [container(running=False)]}},
            "",
            [],
            [f"{LOST} It cannot be rebuilt: no container of the application runs. Start the release that is to serve"],
        ),
        (
            {"one": {**SERVED, "containers": [container(), container(service="api", release="v1")]}},
            "",
            [],
            [f"{LOST} It cannot be rebuilt: the containers of blue name v1, v2, not one release."],
        ),
        (
            {"one": SERVED, "two": {**SERVED, "edge": {"colour": "green"}}},
            "",
            [],
            [f"{LOST} It cannot be rebuilt: the edges serve blue, green, not one colour."],
        ),
    ],
)
def test_a_lost_record(hosts: dict[str, Any], release: str, notes: list[str], problems: list[str]) -> None:
    plan = release_decide.decide(hosts, "one", list(hosts), wanted="")
    assert plan["record"].get("release", "") == release
    starts(plan["notes"], notes)
    starts(plan["problems"], problems)


def test_a_copy_is_written_back_and_not_guessed_again() -> None:
    plan = release_decide.decide({"one": bare(containers=[container()]), "two": shown()}, "one", ["one", "two"])
    assert "its record of releases is lost" in plan["repair"]["one"]
    assert "two" not in plan["repair"]


# --- lock and journal -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "alive", "state", "why"),
    [
        (None, None, "none", ""),
        ({}, True, "none", ""),
        (run(until=NOW + 10), True, "held", "its process is at work."),
        (run(until=NOW - 10), True, "held", "its process is at work."),  # slow, and alive
        (run(until=NOW + 10), None, "held", "it counts as dead in 11 s."),
        (run(until=NOW), None, "undo", "it said nothing within its time); it is undone."),
        (run(until=NOW - 10), None, "undo", "it said nothing within its time); it is undone."),
        (run(until=NOW + 10), False, "undo", "its process is gone); it is undone."),
        (run("prepare"), False, "undo", "it is undone."),
        (run("migrate"), False, "undo", "it is undone."),
        (run("start"), False, "undo", "it is undone."),
        (run("commit"), False, "finish", "it is finished."),
        (run("commit"), True, "held", "its process is at work."),
        (run("commit", NOW - 1), None, "finish", "it is finished."),
        (run("canary"), False, "undo", "it is undone."),  # a phase of a later version
        # What Releases.run() makes of a file that cannot be read: nobody's, and dead.
        ({"id": "unreadable", "owner": {}, "phase": "prepare", "until": 0}, None, "undo", "it is undone."),
    ],
)
def test_verdict_on_a_run(found: Any, alive: bool | None, state: str, why: str) -> None:
    verdict = release_decide.run_verdict(found, NOW, alive)
    assert verdict["state"] == state
    assert verdict["why"].endswith(why)
    assert bool(verdict["why"]) == (state != "none")


# --- what does not show what the record says ------------------------------------------------------------


def edge(**changes: Any) -> dict[str, Any]:
    """What an edge serves, changed by ``changes``."""
    return {**shown()["edge"], **changes}


@pytest.mark.parametrize(
    ("host", "runs_app", "expected"),
    [
        (shown(), True, ""),
        (shown(edge={}), True, ""),  # no edge
        (shown(edge=edge(state="", colour="")), True, ""),  # one that was never set up: its role does that
        (shown(edge=edge(maintenance=True)), True, ""),  # an operator's wish is none of ours
        (shown(edge=edge(colour="green")), True, "its edge serves green, not blue"),
        (shown(edge=edge(colour="")), True, "its edge serves nothing, not blue"),
        (shown(edge=edge(uncommitted="states/1", previous="blue")), True, "its edge waits for a commit that did not come"),
        (shown(containers=[container(), container("green", running=False)]), True, ""),
        (shown(containers=[container(), container("green")]), True, "containers of green run"),
        (shown(containers=[container(running=False)]), True, "web of blue does not run"),
        (shown(containers=[]), True, "web of blue does not run"),
        (shown(containers=[]), False, ""),  # an edge only
        (shown(record={}), True, "its record of releases is lost"),
        (shown(record={}), False, "its record of releases is lost"),  # an edge that joins
        (
            shown(edge=edge(colour="green"), containers=[container("green")]),
            True,
            "its edge serves green, not blue; containers of green run; web of blue does not run",
        ),
    ],
)
def test_astray(host: dict[str, Any], runs_app: bool, expected: str) -> None:
    assert release_decide.astray(host, V2, runs_app) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (bare(), ""),
        (bare(containers=[container()]), "containers of blue run"),
        (bare(edge=edge(colour="green")), "its edge serves green, not nothing"),
    ],
)
def test_astray_where_nothing_was_released(host: dict[str, Any], expected: str) -> None:
    assert release_decide.astray(host, {}, True) == expected


def test_each_host_is_judged_by_what_it_runs() -> None:
    hosts = {"app1": shown(edge={}), "app2": shown(edge={}, containers=[]), "edge1": shown(containers=[])}
    assert release_decide.decide(hosts, "app1", ["app1", "app2"])["repair"] == {"app2": "web of blue does not run"}
