# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Secrets that Ansible takes for templates. Pure: how a text is read and what becomes of it are the caller's to know.

A text of an inventory with ``{{``, ``{%`` or ``{#`` is a template unless it says ``!unsafe``. Most secrets that are templates are
meant as such: they refer to a variable of the vault. One that refers to nothing is a secret that happens to look like one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

DELIMITER = re.compile(r"\{[{%#]")
RAW = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}")
# A text that is one expression and nothing else.
EXPRESSION = re.compile(r"\s*\{\{(?:(?!\{\{|\}\}).)*\}\}\s*", re.DOTALL)
ALL = frozenset({"vars", "hostvars"})  # all variables under one name

CHANGED = "holds {{, {% or {#, which Ansible takes for a template, and it would arrive changed. Put !unsafe before it"
NONE = "holds {{, {% or {#, which Ansible takes for a template, and it is none. Put !unsafe before it"
UNDEFINED = (
    "is taken for a template that cannot be evaluated. Set the variable that it names; where {{ belongs to the secret itself, "
    "put !unsafe before it"
)

Read = Callable[[Any], "frozenset[str] | None"]
Value = Callable[[Any], Any]


def template_problems(variable: str, variables: Mapping[str, Any], read: Read, value: Value) -> list[str]:
    """Find texts from which secrets are made and which would not arrive as they stand; none is ever repeated.

    :param variable: name of the variable that holds the secrets.
    :param variables: all variables as they stand in the inventory.
    :param read: the names of variables and functions to which a text refers, None if it is no template;
        raises ValueError if it looks like one and is none.
    :param value: what becomes of a value; raises ValueError if it cannot be told.
    """
    try:
        became = value(variables[variable])
        # `default('')` makes an empty secret of one that cannot be evaluated.
        lacking = isinstance(became, Mapping) and any(item is None or item == "" for item in became.values())
        broken = False
    except ValueError:
        lacking = broken = True
    walk = _Walk(variables, read, value, lacking)
    walk.look(variable, variables[variable], True)
    if broken and not walk.found:
        walk.note(variable, UNDEFINED)
    return list(walk.found.values())


class _Walk:
    """Every text from which a variable is made, each once."""

    def __init__(self, variables: Mapping[str, Any], read: Read, value: Value, lacking: bool) -> None:
        """:param lacking: whether a secret lacks its value; else a text that cannot be evaluated is one that nobody needs."""
        self.variables, self.read, self.value, self.lacking = variables, read, value, lacking
        self.seen: set[tuple[str, bool]] = set()
        self.found: dict[str, str] = {}

    def look(self, where: str, raw: Any, whole: bool) -> None:
        """Look at a value.

        :param whole: it is a secret, and not a part of one.
        """
        if isinstance(raw, dict):
            for key, item in raw.items():
                self.look(f"{where}.{key}", item, whole)
        elif isinstance(raw, list):
            for number, item in enumerate(raw):
                self.look(f"{where}[{number}]", item, whole)
        else:
            self.look_at_text(where, raw, whole)

    def look_at_text(self, where: str, raw: Any, whole: bool) -> None:
        """Look at what a text refers to, and then at itself: where that is wrong, its cause has been named."""
        try:
            names = self.read(raw)
        except ValueError:
            if self.lacking:
                self.note(where, NONE)
            return
        if names is None:
            return
        before = len(self.found)
        for name in sorted(names & self.variables.keys() - ALL):
            step = (name, whole and bool(EXPRESSION.fullmatch(raw)))
            if step not in self.seen:
                self.seen.add(step)
                self.look(name, self.variables[name], step[1])
        if len(self.found) == before:
            self.judge(where, raw, names, whole)

    def judge(self, where: str, raw: str, names: frozenset[str], whole: bool) -> None:
        """Look at a text that refers to nothing that is wrong."""
        try:
            became = str(self.value(raw))
        except ValueError:
            if self.lacking:
                self.note(where, UNDEFINED)
            return
        meant = RAW.search(raw) or DELIMITER.search(became) or (EXPRESSION.fullmatch(raw) and not whole)
        if not names and became != raw and not meant:
            self.note(where, CHANGED)

    def note(self, where: str, what: str) -> None:
        """Keep one sentence for each place."""
        self.found.setdefault(where, f"{where}: {what}: {where.rpartition('.')[2]}: !unsafe '…'.")
