# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of a playbook by itself: no phase of a role reads what another one registered, and each tag names something."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml
from render import ROLES
from role import NAMES

MAINS = [(role, "main.yml") for role in NAMES if role != "release"] + [("app", "data.yml")]
INCLUDES = ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks")
PARTS = ("block", "rescue", "always")


def read(role: str, file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROLES / role / "tasks" / file).read_text())
    return found


def included(role: str, task: Mapping[str, Any]) -> Iterator[str]:
    """The files of the role that a task names; where their name is made by a template, all that it may be."""
    for module in INCLUDES:
        named = task.get(module)
        name = str(named.get("file") if isinstance(named, dict) else named or "")
        words = re.findall(r"\w+\.yml", name) if name.startswith("{{") else []
        pattern = re.sub(r"\{\{.*?\}\}", "*", name) or "none"
        yield from words or (path.name for path in sorted((ROLES / role / "tasks").glob(pattern)))


def flat(
    role: str, tasks: Sequence[dict[str, Any]], around: str = "", seen: frozenset[str] = frozenset()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task with the conditions and variables of what it stands in, those of files that it includes, too."""
    for task in tasks:
        own = {key: value for key, value in task.items() if key not in PARTS}
        text = around + "\n" + strings({key: own[key] for key in ("when", "vars") if key in own})
        yield text + "\n" + strings(own), own
        for part in PARTS:
            yield from flat(role, task.get(part) or [], text, seen)
        for file in included(role, task):
            if file not in seen:
                yield from flat(role, read(role, file), text, seen | {file})


def strings(value: Any) -> str:
    """All texts of a task but its name."""
    if isinstance(value, dict):
        return "\n".join(strings(entry) for key, entry in value.items() if key != "name" or isinstance(entry, dict))
    if isinstance(value, list):
        return "\n".join(strings(entry) for entry in value)
    return str(value)


def sets(task: Mapping[str, Any]) -> set[str]:
    """What a task leaves behind."""
    facts = task.get("ansible.builtin.set_fact") or {}
    return {*([task["register"]] if "register" in task else []), *facts} - {"cacheable"}


@functools.cache
def variables(role: str) -> dict[str, str]:
    """The role's own variables, as they are written."""
    found: dict[str, str] = {}
    for file in (ROLES / role / "defaults/main.yml", *sorted((ROLES / role / "vars").glob("*.yml"))):
        found |= {name: strings(value) for name, value in (yaml.safe_load(file.read_text()) or {}).items()}
    return found


def spelled_out(role: str, text: str) -> str:
    """A text with those of the variables and templates that it names."""
    texts, known = [text], {**variables(role), **templates(role)}
    seen: set[str] = set()
    for found in texts:
        new = {word for word in re.findall(r"[\w./-]+", found) if word in known} - seen
        seen |= new
        texts += [known[word] for word in new]
    return "\n".join(texts)


@functools.cache
def templates(role: str) -> dict[str, str]:
    """The role's templates, by their names."""
    folder = ROLES / role / "templates"
    return {str(path.relative_to(folder)): path.read_text() for path in folder.glob("**/*.j2")}


def unguarded(name: str, text: str) -> bool:
    """Whether a text needs a name to be there."""
    attributes = r"(?:\.\w+|\[[^\]]*\])*"
    if re.search(rf"\b{name}{attributes}\s+is\s+(?:not\s+)?defined", text):
        return False
    uses = re.finditer(rf"(hostvars\[[^\]]*\]\.)?\b{name}\b{attributes}(\s*\|\s*default\b)?", text)
    return any(not (use[1] or use[2]) for use in uses)


@functools.cache
def phases(role: str, main: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Phase, by its file, and all that it does."""
    return {task[INCLUDES[0]]: list(flat(role, [task])) for task in read(role, main)}


def needs(phases: Mapping[str, Sequence[tuple[str, dict[str, Any]]]], alone: str, role: str = "app") -> list[str]:
    """What the phase of a file reads of others that a run of this phase alone leaves out."""
    every = [(phase, task) for phase, tasks in phases.items() for _text, task in tasks]
    there = {
        name
        for phase, task in every
        if phase in ("preflight.yml", alone) or "always" in (task.get("tags") or [])
        for name in sets(task)
    }
    elsewhere = {name for _phase, task in every for name in sets(task)} - there
    found = []
    for text, task in phases[alone] if elsewhere else []:
        whole = spelled_out(role, text)
        found += [f"{task.get('name')}: {name}" for name in sorted(elsewhere) if name in whole and unguarded(name, whole)]
    return found


@pytest.mark.parametrize(
    ("role", "main", "phase"), [(role, main, task[INCLUDES[0]]) for role, main in MAINS for task in read(role, main)]
)
def test_a_phase_reads_nothing_that_another_one_registered(role: str, main: str, phase: str) -> None:
    assert needs(phases(role, main), phase, role) == []


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ({"when": "not (ansible_check_mode and __app_x is changed)"}, ["Read it: __app_x"]),
        ({"when": "not (ansible_check_mode and __app_x | default({}) is changed)"}, []),
        ({"when": "__app_x is defined and __app_x.rc == 0"}, []),
        ({"x.y.z": {"text": "{{ __app_x.stdout | default('') }}"}}, []),
        ({"x.y.z": {"text": "{{ hostvars[item].__app_x.stdout }}"}}, []),
        ({"x.y.z": {"text": "{{ __app_x.stdout | length }}"}}, ["Read it: __app_x"]),
        ({"x.y.z": {"src": "with-secrets.sh.j2"}}, []),
        ({"x.y.z": {"text": "{{ _app_start_interval }}"}}, []),  # a variable that reads a register has a default of its own
    ],
)
def test_what_is_read_is_seen(written: dict[str, Any], found: list[str]) -> None:
    """The negative control."""
    one = {
        "preflight.yml": flat("app", [{"register": "__app_y"}]),
        "install.yml": flat("app", [{"block": [{"register": "__app_x"}]}]),
        "configure.yml": flat("app", [{"name": "Read it", **written}, {"when": "__app_y is changed"}]),
    }
    assert needs({phase: list(tasks) for phase, tasks in one.items()}, "configure.yml") == found


def test_each_phase_has_its_tag() -> None:
    for role, main in MAINS:
        for task in read(role, main):
            phase = task[INCLUDES[0]].removesuffix(".yml").removeprefix("data_")
            assert task["tags"] == [role, f"{role}_{phase}", *(["always"] if phase == "preflight" else [])]


def test_what_monitoring_leaves_to_a_later_play_is_the_last_one() -> None:
    plays = yaml.safe_load((ROLES.parent / "playbooks/site.yml").read_text())
    left = [task for play in plays for task in play.get("tasks", []) if task.get("vars") == {"monitoring_wait": False}]
    [last] = plays[-1]["tasks"]
    assert len(left) == 1 and "vars" not in last
    assert last["ansible.builtin.import_role"] == {"name": "kasaneha.deploy.monitoring", "tasks_from": "verify"}


def test_monitoring_is_there_before_what_it_has_to_tell_of_can_fail() -> None:
    names = [play["name"] for play in yaml.safe_load((ROLES.parent / "playbooks/site.yml").read_text())]
    assert (
        names.index("Application")
        < names.index("Monitoring")
        < min(names.index(name) for name in ("Backup", "Logging", "Certificates"))
    )


# These do nothing in check mode, as their documentation says.
SILENT = (
    "ansible.builtin.command",
    "ansible.builtin.shell",
    "ansible.builtin.uri",
    "ansible.builtin.wait_for",
    "community.crypto.get_certificate",
)


def test_what_looks_at_live_servers_looks_in_check_mode_as_well() -> None:
    found = []
    for file in [
        *ROLES.glob("*/tasks/verify_live.yml"),
        *ROLES.glob("*/tasks/ask_server.yml"),
        *ROLES.glob("*/tasks/observe.yml"),
    ]:
        tasks = [task for entry in yaml.safe_load(file.read_text()) for task in [entry, *entry.get("block", [])]]
        found += [
            (task.get("check_mode"), f"{file}: {task['name']}") for task in tasks if any(module in task for module in SILENT)
        ]
    assert len(found) > 5 and [task for looks, task in found if looks is not False] == []
