# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says, read by Ansible itself: groups, variables as they are written, and what their templates become."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).parent.parent.parent
# What the wiring of the collection makes of an inventory (playbooks/group_vars/all/fleet.yml).
WIRED = "groups services sites probes certificates volumes".split()


@dataclass
class Reading:
    """An inventory.

    Attributes:
        groups: group -> hosts, those among it that the description puts hosts into.
        written: host -> variable -> value, templates unrendered.
        said: host -> variable -> value; a variable that cannot be rendered is not there.
        errors: host -> variable -> why it cannot be rendered.
        wired: host -> what the collection derives, by the names of `WIRED`.
    """

    groups: dict[str, list[str]]
    written: dict[str, dict[str, Any]]
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    wired: dict[str, dict[str, Any]] = field(default_factory=dict)


@functools.cache
def load_plugins() -> None:
    """Let Ansible find the collection; once in a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a process that has found collections before says so
        init_plugin_loader([str(ROOT / "collections")])


def plain(value: Any) -> Any:
    """A value without Ansible's own types."""
    return json.loads(json.dumps(value, default=str))


def roots() -> set[str]:
    """The variables that roles and playbooks read: options of every role, and what is not a role's."""
    names = {"site_domains", "private_address", "absent_hosts", "server_managed"}
    for file in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        names |= set(yaml.safe_load(file.read_text())["argument_specs"]["main"].get("options", {}))
    return names


def defined_elsewhere() -> set[str]:
    """Names that templates of an inventory may use although it does not define them."""
    names = {"fleet_", "ansible_"}
    for file in (*(ROOT / "roles").glob("*/defaults/main.yml"), *(ROOT / "playbooks/group_vars/all").glob("*.yml")):
        names |= set(yaml.safe_load(file.read_text()) or {})
    return names


def read(sources: Iterable[Path], extra: Mapping[str, Any] | None = None, render: Iterable[str] | None = None) -> Reading:
    """Read an inventory.

    Args:
        sources: its directories and files, of which the last one wins.
        extra: variables that win over all of it.
        render: variables to render; all that are written if it is not given.

    Raises:
        ValueError: if Ansible cannot read it.
    """
    load_plugins()
    loader = DataLoader()
    try:
        inventory = InventoryManager(loader=loader, sources=[str(source) for source in sources])
        manager = VariableManager(loader=loader, inventory=inventory)
        manager._extra_vars = loader.load(trust_as_template(json.dumps(dict(extra or {}))))
        hosts = {str(host.name): host for host in inventory.get_hosts("all")}
        groups = {str(name): [str(host.name) for host in group.get_hosts()] for name, group in inventory.groups.items()}
        own = {name: {**manager.get_vars(host=host, include_hostvars=False)} for name, host in hosts.items()}
    except AnsibleError as error:
        raise ValueError(" ".join(str(error).split())) from error
    magic = {
        "ansible_version",
        "ansible_playbook_python",
        "playbook_dir",
        "groups",
        "group_names",
        "omit",
        "inventory_hostname",
        "inventory_hostname_short",
        "inventory_dir",
        "inventory_file",
        "ansible_facts",
        "ansible_run_tags",
        "ansible_skip_tags",
        "ansible_check_mode",
        "ansible_diff_mode",
        "ansible_forks",
        "ansible_inventory_sources",
        "ansible_verbosity",
        "ansible_config_file",
        "ansible_limit",
        "ansible_search_path",
        "ansible_dependent_role_names",
        "ansible_play_role_names",
        "ansible_role_names",
    }  # noqa: E501 - one list
    found = Reading(
        groups, {name: {key: value for key, value in variables.items() if key not in magic} for name, variables in own.items()}
    )
    everything = HostVars(inventory=inventory, variable_manager=manager, loader=loader)
    wanted = None if render is None else set(render)
    for host, variables in own.items():
        templar = Templar(loader=loader, variables={**variables, "hostvars": everything, "groups": groups})
        found.said[host], found.errors[host], found.wired[host] = {}, {}, {}
        for name in found.written[host]:
            if wanted is not None and name not in wanted:
                continue
            try:
                found.said[host][name] = plain(templar.template(variables[name]))
            except (AnsibleError, TypeError, ValueError) as error:
                found.errors[host][name] = " ".join(str(error).split())
        for name in WIRED:
            text = trust_as_template("{{ hostvars | kasaneha.deploy.wired('%s', inventory_hostname, groups) }}" % name)  # noqa: UP031 - braces
            try:
                found.wired[host][name] = plain(templar.template(text))
            except (AnsibleError, TypeError, ValueError) as error:
                found.errors[host][f"fleet_{name}"] = " ".join(str(error).split())
    return found
