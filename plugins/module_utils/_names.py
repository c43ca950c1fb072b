# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Which known name is meant by one that nobody knows. Pure functions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


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
