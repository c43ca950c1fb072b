# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is refused for because of its options."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import options

ROLES = ("app", "nginx", "logging")
TAGS = ["release", *ROLES, *(f"{role}_{phase}" for role in ROLES for phase in ("install", "configure"))]
FLEET = {
    "app": ["app1", "app2"],
    "edge": ["edge1", "edge2"],
    "db": ["db1"],
    "backup": ["db1"],
    "all": ["app1", "app2", "edge1", "edge2", "db1"],
}
SITE = {"tags": TAGS, "groups": ["edge", "app", "db", "backup", "logging"]}
BACKUP: dict[str, Any] = {"tags": [], "groups": ["backup"]}
RESTORE = {**BACKUP, "record": True}


def given(**changes: Any) -> dict[str, Any]:
    """The options of a run without any."""
    return {"playbook": "x.yml", "start_at_task": "", "tags": ["all"], "skip_tags": [], "strategy": "linear", **changes}


def problems(takes: dict[str, Any], hosts: list[str] | None = None, **changes: Any) -> list[str]:
    """What is refused of a run on some hosts of the fleet."""
    return options.problems(given(**changes), takes, FLEET, FLEET["all"] if hosts is None else hosts, "app1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        (
            {"start_at_task": "Write it"},
            "--start-at-task: leaves out the checks that everything after them relies on. Run x.yml from",
        ),
        ({"start_at_task": "Write it", "playbook": ""}, ""),  # a task of somebody else's playbook, which is around ours
        ({"skip_tags": ["nginx", "always"]}, "--skip-tags: always leaves out the checks"),
        ({"skip_tags": ["tagged"], "playbook": ""}, "--skip-tags: tagged leaves out the checks"),
        ({"skip_tags": ["nginx"]}, ""),
    ],
)
def test_what_leaves_out_the_checks(changes: dict[str, Any], expected: str) -> None:
    found = options.refused(given(**changes))
    assert found.startswith(expected) and bool(found) is bool(expected)


@pytest.mark.parametrize("takes", [{}, SITE, BACKUP])
def test_a_run_without_options(takes: dict[str, Any]) -> None:
    assert problems(takes) == []


@pytest.mark.parametrize(
    ("takes", "changes", "expected"),
    [
        (SITE, {"tags": ["nginx"]}, []),
        (SITE, {"tags": ["nginx_configure", "release"], "skip_tags": ["app"]}, []),
        *[(SITE, {"tags": [tag]}, []) for tag in ("all", "always", "tagged", "untagged")],
        (SITE, {"tags": ["ngnix"]}, ["--tags: x.yml has no tag ngnix. Did you mean nginx?"]),
        (
            SITE,
            {"tags": ["verify"]},
            ["--tags: x.yml has no tag verify. It has release, app, nginx, logging, and phases such as nginx_configure."],
        ),
        (SITE, {"skip_tags": ["relase"]}, ["--skip-tags: x.yml has no tag relase. Did you mean release?"]),
        (SITE, {"skip_tags": ["molecule-notest", "notest", "lab_images"]}, []),  # of what wraps Ansible
        (SITE, {"skip_tags": ["all"]}, ["--skip-tags: x.yml has no tag all."]),
        (
            {"tags": ["app", "release"], "groups": []},
            {"tags": ["monitoring"]},
            ["--tags: x.yml has no tag monitoring. It has app, release."],
        ),
        (BACKUP, {"tags": ["backup"]}, ["--tags: x.yml has no tag backup. It has none: run it without --tags."]),
        (BACKUP, {"tags": ["tagged"]}, ["--tags: x.yml has no tag tagged."]),  # nothing would be done
        (BACKUP, {"tags": ["all"]}, []),
        ({}, {"tags": ["backup"]}, []),
        (SITE, {"tags": ["theirs"], "playbook": ""}, []),
    ],
)
def test_tags(takes: dict[str, Any], changes: dict[str, Any], expected: list[str]) -> None:
    found = problems(takes, **changes)
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("takes", "hosts", "expected"),
    [
        (BACKUP, ["db1"], []),
        (BACKUP, ["app1"], ["--limit: leaves out db1 (group backup), where x.yml does its work."]),
        ({"tags": [], "groups": ["db", "backup"]}, ["app1"], ["--limit: leaves out db1 (groups db, backup), where"]),
        ({"tags": [], "groups": ["cache"]}, FLEET["all"], ["groups: no host of the inventory is in the group cache, so x.yml has nothing"]),
        ({"tags": [], "groups": ["edge"]}, ["edge2"], []),
        (RESTORE, ["db1", "app1"], []),
        (RESTORE, ["db1"], ["--limit: leaves out app1, which keeps the record of releases"]),
        (RESTORE, ["app2"], ["--limit: leaves out db1 (group backup)"]),
        ({"tags": [], "groups": ["app"], "record": True}, ["app2"], ["--limit: leaves out app1, which keeps the record"]),
        ({"tags": ["app"], "groups": []}, ["db1"], []),  # the role release says which hosts it needs
        (SITE, ["builder"], ["--limit: leaves out edge1, edge2, app1, app2, db1 (groups edge, app, db, backup, logging), where"]),
    ],
)  # fmt: skip
def test_limits(takes: dict[str, Any], hosts: list[str], expected: list[str]) -> None:
    found = problems(takes, hosts)
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


def test_a_playbook_around_ours_may_leave_all_of_it_out() -> None:
    assert problems(RESTORE, ["web1"], playbook="") == []
    assert len(problems(RESTORE, ["db1"], playbook="")) == 1  # but not a half of it


def test_absent_hosts_do_no_work() -> None:
    groups = {"edge": ["edge1", "edge2"]}
    takes = {"tags": [], "groups": ["edge"]}
    [found] = options.problems(given(), takes, groups, ["edge2"], "", ["edge2"])
    assert found.startswith("--limit: leaves out edge1 (group edge)")
    assert options.problems(given(), takes, groups, ["edge1"], "", ["edge2"]) == []


@pytest.mark.parametrize(
    ("changes", "hosts", "named"),
    [
        ({}, ["edge1"], ""),  # the release is part of it, and says the same
        ({"skip_tags": ["release"]}, ["edge1"], "app1, app2"),
        ({"skip_tags": ["app"]}, ["edge1", "app1"], "app2"),
        ({"skip_tags": ["release"]}, ["edge1", "app1", "app2"], ""),
        ({"skip_tags": ["release", "nginx"]}, ["edge1"], ""),
        ({"tags": ["nginx"]}, ["edge2"], "app1, app2"),
        ({"tags": ["nginx_configure"]}, ["edge2"], "app1, app2"),
        ({"tags": ["logging"]}, ["edge2"], ""),
        ({"skip_tags": ["release"]}, ["app1"], ""),
    ],
)
def test_an_edge_needs_the_hosts_that_it_asks(changes: dict[str, Any], hosts: list[str], named: str) -> None:
    found = problems(SITE, hosts, **changes)
    assert [text.startswith(f"--limit: {named} would be left out, and nginx on edge") for text in found] == [True] * bool(named)


@pytest.mark.parametrize("strategy", ["free", "host_pinned", "mitogen_free", "ansible.builtin.free"])
def test_hosts_that_do_not_wait(strategy: str) -> None:
    [found] = problems({}, strategy=strategy)
    assert found.startswith(f"strategy: is {strategy}, with which hosts do not wait for each other. Use linear")


@pytest.mark.parametrize(
    ("changes", "tag", "expected"),
    [
        ({}, "logging_configure", True),
        ({"tags": ["logging"]}, "logging_configure", True),
        ({"tags": ["logging_configure"]}, "logging_configure", True),
        ({"tags": ["logging_verify"]}, "logging_configure", False),
        ({"tags": ["nginx"]}, "logging_configure", False),
        ({"skip_tags": ["logging"]}, "logging_configure", False),
        ({"skip_tags": ["logging_configure"]}, "logging_configure", False),
        ({"tags": ["release"]}, "app", False),
        ({"tags": ["app"]}, "app", True),
    ],
)
def test_whether_a_phase_is_run(changes: dict[str, Any], tag: str, expected: bool) -> None:
    assert options.has(given(**changes), tag) is expected
