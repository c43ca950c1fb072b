# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role's tasks say, and what its variables become, without a host."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, generate_ansible_template_vars, trust_as_template
from inventory import inventory
from render import ROLES, evaluate

GROUPS = ("app", "backup", "cache", "db", "edge", "logging", "monitoring")
NAMES = sorted(path.name for path in ROLES.iterdir())
JUDGING = [name for name in NAMES if name != "release"]  # nobody sets its options: the wiring makes them of other roles'


def tasks(listed: Any) -> Iterator[dict[str, Any]]:
    """Every task of a file, those inside blocks too, in order."""
    for task in listed or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part))


def role_tasks(role: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task of a role with the name of its file."""
    for file in sorted((ROLES / role / "tasks").glob("*.yml")):
        for task in tasks(yaml.safe_load(file.read_text())):
            yield file.name, task


def arguments(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parameters of a task's module."""
    yield from (value for key, value in task.items() if "." in key and isinstance(value, dict))


def options(role: str) -> dict[str, Any]:
    """What the role's argument specification says."""
    specs: dict[str, Any] = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return specs["main"]["options"]


def settable(role: str) -> dict[str, Any]:
    """The same with those of other entry points that have a default."""
    specs: dict[str, Any] = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
    others = {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items() if name in defaults}
    return {**others, **options(role)}


@functools.cache
def base(role: str) -> tuple[DataLoader, dict[str, Any]]:
    """What the role's tasks read in production on a host of every group."""
    path = ROLES / role / "defaults/main.yml"
    loader = DataLoader()
    loader.set_basedir(str(ROLES / role))
    values: dict[str, Any] = generate_ansible_template_vars(path.name, fullpath=str(path))
    values |= {"inventory_hostname": "server", "ansible_check_mode": False, "role_path": str(ROLES / role)}
    for file in (path, *sorted((ROLES / role / "vars").glob("*.yml"))):
        values |= loader.load_from_file(str(file), trusted_as_template=True)
    values |= loader.load(trust_as_template(json.dumps(inventory("prod", GROUPS))))
    for _file, task in role_tasks(role):
        values |= loader.load(trust_as_template(json.dumps(task.get("vars") or {})))
    return loader, values


def engine(role: str, **changes: Any) -> Templar:
    """A template engine for the role's own texts, with some variables changed."""
    loader, values = base(role)
    return Templar(loader).copy_with_new_env(available_variables={**values, **changes})


# Role -> what its tasks/problems.yml registers on a sound host that nothing ran on before.
READ: dict[str, dict[str, Any]] = {
    "app": {
        "__app_shown": {"containers": [], "record": {}, "processors": 4},
        "__app_sources": {"results": []},
        "__app_secret_problems": [],
        "__app_helpers": {"results": []},
    },
    "backup": {"__backup_calendar": {"rc": 0}},
    "certbot": {
        "__certbot_own_certificates": {"results": []},
        "__certbot_own_keys": {"results": []},
        "__certbot_introduced": {"skipped": True},
    },
    "docker": {"__docker_room": {"stdout_lines": ["8000", "Avail", "20000"]}},
    "firewall": {
        "__firewall_connection": {"stdout": "10.9.9.9 5000 10.9.9.1 22"},
        "__firewall_look": {"stdout": "port 22\ninterface eth0"},
        "__firewall_daemon": {"settings": {}},
    },
    "logging": {"__logging_room": {"stdout_lines": ["8000", "Size", "20000"]}, "__logging_signer": {"skipped": True}},
    "monitoring": {"__monitoring_host": {"stdout_lines": ["debian 13", "1000000000000", "0"]}},
    "nginx": {"__nginx_served": False},
}


def problems(role: str, variables: Mapping[str, Any]) -> list[str]:
    """What a role refuses on such a host, with the variables of an inventory: what its tasks/problems.yml reports."""
    name = f"{role}_problems"
    [task] = [task for _file, task in role_tasks(role) if name in (task.get("ansible.builtin.set_fact") or {})]
    facts = {"distribution": "Debian", "distribution_major_version": "13"}
    given = {**task["vars"], "ansible_play_hosts": ["server"], "ansible_facts": facts, **READ[role], **variables}
    found: list[str] = evaluate(role, task["ansible.builtin.set_fact"][name][2:-2], given)
    return found


def template(templar: Templar, text: Any) -> Any:
    """What a parameter becomes; "?" where only a run knows."""
    try:
        return templar.template(trust_as_template(text))
    except AnsibleError:
        return "?"
