# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that Ansible itself puts together for a host in a role, in its own order of precedence, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play import Play
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from render import ROLES

PLAYBOOKS = ROLES.parent / "playbooks"


class Scope:
    """An inventory, and the playbooks that are run with it."""

    def __init__(self, inventory: Path, playbooks: Path = PLAYBOOKS) -> None:
        self.loader = DataLoader()
        self.loader.set_basedir(str(playbooks))
        self.hosts = InventoryManager(self.loader, sources=[str(inventory)])
        self.manager = VariableManager(self.loader, self.hosts)
        HostVars(self.hosts, self.manager, self.loader)  # the manager keeps it

    def engine(self, host: str, role: str = "") -> Templar:
        """A template engine with what a host has in the tasks of a role, or outside of any. What is undefined is an error."""
        roles = [f"kasaneha.deploy.{role}"] if role else []
        order = {"name": "-", "hosts": "all", "gather_facts": False, "roles": roles}
        play = Play.load(order, variable_manager=self.manager, loader=self.loader)
        task = play.roles[0].compile(play=play)[0].block[0] if role else None
        variables = self.manager.get_vars(play=play, host=self.hosts.get_host(host), task=task)
        return Templar(self.loader, variables=variables)

    def values(self, names: list[str], host: str, role: str = "") -> dict[str, Any]:
        """What variables are."""
        engine = self.engine(host, role)
        return {name: engine.template(trust_as_template(f"{{{{ {name} }}}}")) for name in names}
