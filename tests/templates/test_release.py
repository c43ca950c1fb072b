# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of a release make of what its hosts report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

TASKS = Path(__file__).parent.parent.parent / "roles" / "release" / "tasks"


def task_vars(file: str, task: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The variables that a task is given, as they are when it runs."""
    tasks = DataLoader().load_from_file(str(TASKS / file), trusted_as_template=True)
    (own,) = (entry["vars"] for entry in tasks if entry["name"] == task)
    return Templar(DataLoader(), variables={**variables, **own}).template(own)


def details(*hosts: dict[str, Any]) -> dict[str, Any]:
    """What the log of releases is told, with hosts that registered this."""
    names = [f"host{number}" for number, _ in enumerate(hosts)]
    given = {
        "release_plan": {"action": "release"},
        "ansible_play_hosts": names,
        "hostvars": dict(zip(names, hosts, strict=True)),
        "release_reason": "",
    }
    return task_vars("finish.yml", "End the run", given)["release_details"]


SERVED = {
    "app_gated": {"seconds": 2.5},
    "nginx_switched": {"proof_seconds": 0.5, "watch_seconds": 5},
    "nginx_confirmed": {"drain_seconds": 3.0, "leftovers": 1},
}


@pytest.mark.parametrize(
    ("hosts", "gate", "proof", "drain", "leftovers", "watch"),
    [
        ([SERVED], 2.5, 0.5, 3.0, 1, 5),
        ([SERVED, {**SERVED, "nginx_confirmed": {"drain_seconds": 7.0, "leftovers": 2}}], 2.5, 0.5, 7.0, 3, 5),
        # An edge that was not drained, or failed to confirm: the run ends all the same, and gives its lock back.
        ([{**SERVED, "nginx_confirmed": {"changed": True}}], 2.5, 0.5, 0, 0, 5),
        ([{**SERVED, "nginx_confirmed": {"failed": True, "msg": "…"}}, SERVED], 2.5, 0.5, 3.0, 1, 5),
        ([{}], 0, 0, 0, 0, 0),
        ([], 0, 0, 0, 0, 0),
    ],
)
def test_a_run_ends_whatever_its_hosts_report(
    hosts: list[dict[str, Any]], gate: float, proof: float, drain: float, leftovers: int, watch: int
) -> None:
    expected = {
        "gate_seconds": gate,
        "proof_seconds": proof,
        "drain_seconds": drain,
        "leftovers": leftovers,
        "watch_seconds": watch,
    }
    assert details(*hosts) == expected


@pytest.mark.parametrize(
    ("plan", "asked"),
    [
        ({"action": "release", "from_colour": ""}, True),
        ({"action": "release", "from_colour": "blue"}, False),  # it was watched
        ({"action": "none", "from_colour": ""}, False),
        (None, False),  # an application without colours has no plan
    ],
)
def test_a_first_release_alone_is_asked_once_more(plan: dict[str, str] | None, asked: bool) -> None:
    [task] = DataLoader().load_from_file(str(TASKS / "proof.yml"))
    given = {} if plan is None else {"release_plan": plan}
    assert Templar(DataLoader(), variables=given).template(trust_as_template("{{ " + task["when"] + " }}")) is asked
    assert task["vars"]["app_started"] == "{{ app_gated.started }}"  # so that a container that started again is found


def test_site_asks_a_first_release_once_more_after_everything_that_takes_time() -> None:
    plays = DataLoader().load_from_file(str(TASKS.parent.parent.parent / "playbooks" / "site.yml"))
    names = [play["name"] for play in plays]
    [asks] = [index for index, play in enumerate(plays) if '"tasks_from": "proof"' in json.dumps(play)]
    assert asks > max(names.index(name) for name in ("Application", "Backup", "Logging", "Monitoring", "Certificates"))


@pytest.mark.parametrize(
    ("watch_first", "before", "watched"),
    [(True, "", True), (False, "", False), (False, "blue", True), ("false", "", False)],
)
def test_every_release_is_watched_but_a_first_one_that_is_asked_at_the_end(
    watch_first: bool | str, before: str, watched: bool
) -> None:
    rule = DataLoader().load_from_file(str(TASKS.parent / "vars" / "steps.yml"), trusted_as_template=True)["_release_watched"]
    given = {"release_watch_first": watch_first, "release_plan": {"from_colour": before}}
    assert Templar(DataLoader(), variables=given).template(rule) is watched
    # The edge is told so.
    assert 'nginx_watch: "{{ _release_watched }}"' in (TASKS / "step.yml").read_text()
    [switch] = DataLoader().load_from_file(str(TASKS.parents[1] / "nginx/tasks/switch.yml"), trusted_as_template=True)
    told = {"nginx_watch": watched, "nginx_watch_seconds": 15}
    seconds = switch["kasaneha.deploy.blue_green_switch"]["watch_seconds"]
    assert Templar(DataLoader(), variables=told).template(seconds) == (15 if watched else 0)


def test_what_site_does_not_watch_it_asks_at_its_end() -> None:
    """By whatever tags of its own it is started."""
    plays = DataLoader().load_from_file(str(TASKS.parents[2] / "playbooks" / "site.yml"))
    [release] = (play for play in plays if play.get("ansible.builtin.import_playbook") == "release.yml")
    assert release["vars"] == {"release_watch_first": False}
    [proof] = (play for play in plays if play["name"] == "Proof of a first release")
    [tags] = (play["tags"] for play in DataLoader().load_from_file(str(TASKS.parents[2] / "playbooks" / "release.yml")))
    assert set(tags) <= set(proof["tasks"][0]["tags"])
