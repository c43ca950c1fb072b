# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What the roles' argument specifications say, for filters and lookups: on the controller the roles stand beside the plugins."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[2] / "roles"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def _entries(role: str) -> dict[str, Any]:
    text = (ROLES / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    entries: dict[str, Any] = yaml.load(text, LOADER)["argument_specs"]  # noqa: S506 - a safe loader
    return entries


def options(role: str) -> dict[str, dict[str, Any]]:
    """The variables of a role: name -> type, default, ….

    :param role: its name in this collection.
    """
    variables: dict[str, dict[str, Any]] = _entries(role)["main"]["options"]
    return variables


def keys(role: str, variable: str) -> dict[str, dict[str, Any]]:
    """What a value of a variable may have: key -> type, default, ….

    A mapping, and each element of a list of mappings, has its keys in ``options`` of the variable. For the values of a dictionary
    whose keys are an operator's own names Ansible has no such place: the entry point that is called as the variable has them.
    """
    entries = _entries(role)
    found: dict[str, dict[str, Any]] = (entries.get(variable) or entries["main"]["options"][variable])["options"]
    return found


def roles() -> list[str]:
    """The roles of this collection."""
    return sorted(path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml"))
