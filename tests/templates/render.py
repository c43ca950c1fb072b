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


def render(role: str | Path, template: str, variables: Mapping[str, Any] | None = None) -> str:
    """Return what ``roles/<role>/templates/<template>`` becomes.

    Variables come from the role's defaults, then its vars, then ``variables``. Their strings are templates, as in an
    inventory. Facts go under ``ansible_facts``; what tasks register is part of ``variables``.

    :param role: name of a role of this collection, or the path of another one.
    """
    role_path = ROLES / role
    source = role_path / "templates" / template
    loader = DataLoader()
    loader.set_basedir(str(role_path))
    merged: dict[str, Any] = generate_ansible_template_vars(template, fullpath=str(source))
    merged |= {"inventory_hostname": "server", "ansible_check_mode": False, "role_path": str(role_path)}
    for file in (role_path / "defaults" / "main.yml", role_path / "vars" / "main.yml"):
        if file.exists():
            merged |= loader.load_from_file(str(file), trusted_as_template=True) or {}
    merged |= loader.load(trust_as_template(json.dumps(dict(variables or {}))))

    templar = Templar(loader).copy_with_new_env(searchpath=[str(source.parent)], available_variables=merged)
    # The same as the action `template` sets, so that white space is the same too.
    overrides = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}
    result = templar.template(trust_as_template(source.read_text()), escape_backslashes=False, overrides=overrides)
    return "" if result is None else str(result)
