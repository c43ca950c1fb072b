# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a role's template as Ansible would, without a host: an undefined variable is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, generate_ansible_template_vars, trust_as_template

ROLES = Path(__file__).parent.parent.parent / "roles"


def available(role: str | Path, variables: Mapping[str, Any] | None = None, source: Path | None = None) -> dict[str, Any]:
    """The variables that a role's tasks and templates read, as ``render`` has them."""
    role_path = ROLES / role
    loader = DataLoader()
    loader.set_basedir(str(role_path))
    merged: dict[str, Any] = generate_ansible_template_vars(source.name, fullpath=str(source)) if source else {}
    merged |= {"inventory_hostname": "server", "ansible_check_mode": False, "role_path": str(role_path)}
    merged |= {"groups": {}, "group_names": []}
    for file in (role_path / "defaults" / "main.yml", role_path / "vars" / "main.yml"):
        if file.exists():
            merged |= loader.load_from_file(str(file), trusted_as_template=True) or {}
    return merged | loader.load(trust_as_template(json.dumps(dict(variables or {}))))


def render(role: str | Path, template: str, variables: Mapping[str, Any] | None = None) -> str:
    """Return what ``roles/<role>/templates/<template>`` becomes.

    Variables come from the role's defaults, then its vars, then ``variables``. Their strings are templates, as in an
    inventory. Facts go under ``ansible_facts``; what tasks register is part of ``variables``. A host is in no group but those that
    ``variables`` names.

    :param role: name of a role of this collection, or the path of another one.
    """
    source = ROLES / role / "templates" / template
    loader = DataLoader()
    loader.set_basedir(str(ROLES / role))
    templar = Templar(loader).copy_with_new_env(
        searchpath=[str(source.parent)], available_variables=available(role, variables, source)
    )
    # The same as the action `template` sets, so that white space is the same too.
    overrides = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}
    result = templar.template(trust_as_template(source.read_text()), escape_backslashes=False, overrides=overrides)
    return "" if result is None else str(result)


def evaluate(role: str | Path, expression: str, variables: Mapping[str, Any] | None = None) -> Any:
    """Return what an expression is in a role's tasks, with the variables that ``render`` has."""
    loader = DataLoader()
    loader.set_basedir(str(ROLES / role))
    templar = Templar(loader).copy_with_new_env(available_variables=available(role, variables))
    return json.loads(templar.template(trust_as_template(f"{{{{ ({expression}) | to_json }}}}")))
