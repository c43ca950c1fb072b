# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories as they are shipped, where nobody filled in what may stay empty, and hosts that nothing ran on before."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Iterator
from typing import Any

import pytest
from role import NAMES, arguments, engine, options, role_tasks, template

# What Ansible itself takes for absent is no value of a parameter: these say what a file or a program gets.
SAID = ("content", "stdin")


@functools.cache
def rendered(role: str, text: str) -> Any:
    """What a parameter becomes where everything that may be empty is."""
    return template(empty(role), text)


@functools.cache
def empty(role: str) -> Any:
    """The role with nothing in what may stay empty."""
    return engine(
        role, **{name: option["default"] for name, option in options(role).items() if option.get("default") in ("", [], {})}
    )


@pytest.mark.parametrize("role", NAMES)
def test_what_is_empty_is_written_as_empty(role: str) -> None:
    said = [(file, task["name"], given[name]) for file, task in role_tasks(role) for given in arguments(task)
            for name in SAID if isinstance(given.get(name), str)]  # fmt: skip
    assert [(file, name) for file, name, text in said if rendered(role, text) is None] == []


def test_a_loop_over_nothing_is_noticed() -> None:
    """The negative control."""
    assert rendered("monitoring", "{% for name in monitoring_page_users %}{{ name }}{% endfor %}") is None
    assert rendered("monitoring", "{{ monitoring_page_users | join }}") == ""


def made(role: str) -> Iterator[tuple[str, str, bool]]:
    """File of tasks, path under /run, and whether it is a directory that is made there; in the order of a run."""
    for file, task in role_tasks(role):
        for given in arguments(task):
            for path in (str(rendered(role, given[key])) for key in ("path", "dest") if key in given):
                if path.startswith(("/run/", "/var/run/")):
                    yield file, path, given.get("state") == "directory"


@pytest.mark.parametrize("role", NAMES)
def test_a_directory_that_is_lost_at_a_reboot_is_made_before_it_is_used(role: str) -> None:
    made_so_far: set[tuple[str, str]] = set()
    missing = []
    for file, path, directory in made(role):
        made_so_far |= {(file, path)} if directory else set()
        if (
            not directory
            and posixpath.dirname(path) not in ("/run", "/var/run")
            and (file, posixpath.dirname(path)) not in made_so_far
        ):
            missing.append((file, path))
    assert missing == []


def test_such_a_directory_is_seen() -> None:
    """The negative control."""
    assert [path for _file, path, directory in made("monitoring") if not directory]
