# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Which known name is meant by one that nobody knows. Pure functions."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any

# What playbooks read and no role declares. Of an order on the command line, of hosts, and of the shipped inventories.
PLAYBOOK_VARIABLES = frozenset(
    "force release freeze message maintenance reason keep backup files fetch foreign identity undo allow_empty level"
    " adopt_files adopt_prefix adopt_services"
    " absent_hosts app_record_host docker_enabled monitoring_enabled private_address".split()
)
NOT_JUDGED = ("_", "ansible_", "fleet_")
SHORT = 8  # letters; below that, two letters make another word


def nearest(name: Any, known: Iterable[Any]) -> str:
    """The known name that is most like another one, capitals aside; empty if none is like it (by difflib's own measure)."""
    by_lower = {str(other).lower(): str(other) for other in known}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return by_lower[found[0]] if found else ""


def meant(name: Any, known: Iterable[Any]) -> str:
    """What to add to a sentence about a name that nobody knows; empty if no known one is near."""
    near = nearest(name, known)
    return f" Did you mean {near}?" if near else ""


def unknown_keys(where: str, value: Mapping[Any, Any], known: Iterable[str], kind: str) -> list[str]:
    """One sentence for each key that nobody reads.

    :param kind: what has such keys, such as ``a service``.
    """
    known = sorted(known)
    listed = f" Known are: {', '.join(known)}."
    return [
        f"{where}.{key}: is not a key of {kind}.{meant(key, known) or listed}"
        for key in sorted(value, key=str)
        if key not in known
    ]


def undeclared_problems(names: Iterable[Any], declared: Iterable[str], facts: Iterable[str] = ()) -> list[str]:
    """Refuse a variable that nobody reads and that is one or two letters from one that is read: its value would count for nothing.

    Private names, Ansible's own and those of the fleet are not judged. A name of less than eight letters may differ by one only.

    :param names: of the variables of a host.
    :param declared: what roles and playbooks read; ``facts`` what a run sets by itself.
    """
    declared, facts = list(declared), set(facts)
    mine = facts.union(declared)
    judged = sorted(name for name in map(str, names) if name not in mine and not name.startswith(NOT_JUDGED))
    return [
        f"{name}: is no variable of this collection. Did you mean {near}?" for name in judged if (near := slip(name, declared))
    ]


def slip(name: Any, known: Iterable[str]) -> str:
    """The known name that one differs from by a slip of the pen: the same, or one or two letters, of a short name one; empty if none does."""
    name, known = str(name), sorted(known)
    for edits in (0, 1, 2):
        for other in known:
            if (edits < 2 or min(len(name), len(other)) >= SHORT) and _within(name, other, edits):
                return other
    return ""


def _within(one: str, other: str, edits: int) -> bool:
    """Whether so many letters added, taken away, changed or swapped with the next one make one name the other."""
    if abs(len(one) - len(other)) > edits:
        return False
    same = len(os.path.commonprefix([one, other]))
    one, other = one[same:], other[same:]
    if not one or not other or not edits:
        return len(one) + len(other) <= edits
    return (
        _within(one[1:], other, edits - 1)
        or _within(one, other[1:], edits - 1)
        or _within(one[1:], other[1:], edits - 1)
        or (one[:2] == other[1::-1] and _within(one[2:], other[2:], edits - 1))
    )
