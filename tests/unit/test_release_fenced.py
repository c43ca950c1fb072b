# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever changes a host in a release is told which run it belongs to, so that a run that lost its lock is refused."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import metadata
import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
COLLECTION = "kasaneha.deploy."
# What the roles do in a release: the table of steps names them.
STEPS = [
    "roles/app/tasks/configure.yml",
    "roles/app/tasks/service.yml",
    "roles/app/tasks/migrate.yml",
    "roles/app/tasks/prune.yml",
    "roles/nginx/tasks/assets.yml",
    "roles/nginx/tasks/switch.yml",
    "roles/nginx/tasks/confirm.yml",
]


@functools.cache
def asks_for_a_run() -> set[str]:
    """The modules that refuse a run that lost its lock, by their own documentation."""
    found = set()
    for path in sorted((ROOT / "plugins/modules").glob("*.py")):
        text = path.read_text().partition('DOCUMENTATION = r"""')[2].partition('"""')[0]
        if (yaml.safe_load(text).get("options") or {}).get("run", {}).get("type") == "str":
            found.add(COLLECTION + path.stem)
    return found


def untold(tasks: Any, told: set[str]) -> Iterator[str]:
    """Tasks that change a host and do not say for which run."""
    for task in metadata.walk(tasks):
        for module, options in task.items():
            silent = (
                (module in asks_for_a_run() - told and "run" not in options)
                or (str(module).startswith("community.docker.docker_compose_v2") and "docker_cli" not in options)
                or (module == "ansible.builtin.command" and options.get("argv", [])[:2] == ["docker", "rm"])
                or (
                    module == f"{COLLECTION}blue_green_run" and options["state"] not in ("begun", "shown") and "id" not in options
                )
            )
            if silent:
                yield f"{task.get('name')}: {module}"


def release() -> dict[str, Any]:
    (block,) = [task for task in yaml.safe_load((ROOT / "roles/release/tasks/main.yml").read_text()) if "module_defaults" in task]
    return block


def test_every_step_of_a_release_says_for_which_run() -> None:
    told = {module for module, options in release()["module_defaults"].items() if options["run"] == "{{ _release_run }}"}
    names = ("blue_green_prune", "blue_green_switch", "edge_assets", "secret_files")
    assert told == asks_for_a_run() == {COLLECTION + name for name in names}
    steps = [ROOT / step for step in STEPS]
    steps += sorted((ROOT / "roles/release/tasks").glob("*.yml"))
    assert [what for step in steps for what in untold(yaml.safe_load(step.read_text()), told)] == []


@pytest.mark.parametrize(
    "task",
    [
        {"kasaneha.deploy.blue_green_prune": {"app": "x", "keep": ""}},
        {"community.docker.docker_compose_v2": {"project_src": "/x"}},
        {"block": [{"community.docker.docker_compose_v2_run": {"project_src": "/x"}}]},
        {"ansible.builtin.command": {"argv": ["docker", "rm", "--force", "x"]}},
        {"kasaneha.deploy.blue_green_run": {"app": "x", "state": "copied"}},
    ],
)
def test_one_that_does_not_is_noticed(task: dict[str, Any]) -> None:
    assert len(list(untold([task], set()))) == 1
