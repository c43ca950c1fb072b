# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Which colour an edge serves, and whether users are let in.

``live -> states/<n>`` is a directory that holds one file named after the colour, ``blue``, and a second one: ``open-blue``, which all
may see, or ``maintenance`` while the operator keeps users out. nginx looks for ``open-blue``, and for ``blue`` when somebody asks who
looks after the site: one look tells it both things. With neither it answers 503.

A switch writes a new state beside the old one and moves the link by one rename; nginx looks per request. Until a
release is committed, ``uncommitted`` links to the state before it: whoever puts things back (this code, a timer, the
boot, a hand) does it by ``mv -T uncommitted live``, one rename again.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile

MAINTENANCE = "maintenance"
OPEN = "open-"  # before the name of a colour that all may see
KEPT = 3  # states before the one that is served


def observe(directory: Path) -> dict[str, Any]:
    """Look at an edge.

    :returns: ``colour`` that is served (empty: none), ``maintenance``, ``state`` (target of ``live``; empty: nothing was
        ever set up), ``uncommitted`` and ``previous`` (target and colour of the state to go back to; empty: all is committed).
    """
    return {
        "colour": _colour(directory / "live"),
        "maintenance": MAINTENANCE in _names(directory / "live"),
        "state": _target(directory / "live"),
        "uncommitted": _target(directory / "uncommitted"),
        "previous": _colour(directory / "uncommitted"),
    }


def switch(directory: Path, colour: str, maintenance: bool = False) -> float:
    """Serve a colour (empty: none) from now on: one rename.

    Older states go, but not those that are linked, and not the last ones: nginx may be on its way through them.

    :returns: when the rename happened, in seconds since the epoch.
    """
    names = [name for name in (colour, MAINTENANCE if maintenance or not colour else OPEN + colour) if name]
    state = _new_state(directory / "states", names)
    statefile.point(directory / "live", f"states/{state.name}")
    switched = time.time()
    # In this order: should somebody go back in between, the state is linked by one of them when it is looked at.
    linked = {_target(directory / "uncommitted"), _target(directory / "live")}
    for other in (directory / "states").iterdir():
        old = not re.fullmatch("[0-9]+", other.name) or int(other.name) < int(state.name) - KEPT
        if old and f"states/{other.name}" not in linked:
            shutil.rmtree(other, ignore_errors=True)  # litter must not fail a switch; the next one tries again
    return switched


def arm(directory: Path) -> None:
    """Remember what is served now as the state to go back to. A state that is remembered already stays."""
    if not _target(directory / "uncommitted"):
        statefile.point(directory / "uncommitted", _target(directory / "live"))


def revert(directory: Path) -> bool:
    """Go back to the state before an uncommitted release; False when there is none."""
    try:
        os.replace(directory / "uncommitted", directory / "live")
    except FileNotFoundError:
        return False
    return True


def commit(directory: Path) -> bool:
    """Forget the way back; False when there was none."""
    if not _target(directory / "uncommitted"):
        return False
    statefile.remove(directory / "uncommitted")
    return True


def _new_state(states: Path, names: Sequence[str]) -> Path:
    """Write a state nobody looks at yet, on the disk when this returns."""
    taken = [int(entry.name) for entry in states.iterdir() if re.fullmatch("[0-9]+", entry.name)]
    state = states / str(max(taken, default=0) + 1)
    state.mkdir(mode=0o755)
    state.chmod(0o755)  # whatever the umask: nginx must look inside
    for name in names:
        (state / name).touch(mode=0o644)
        (state / name).chmod(0o644)
    for path in (*(state / name for name in names), state, states):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return state


def _target(link: Path) -> str:
    """What a link names; empty when it is none."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _names(link: Path) -> list[str]:
    """The names in a state; none when there is no state."""
    try:
        return sorted(entry.name for entry in link.iterdir())
    except OSError:
        return []


def _colour(link: Path) -> str:
    """The one colour in a state; empty when there is none, or several: that is never guessed."""
    names = [name for name in _names(link) if name != MAINTENANCE and not name.startswith(OPEN)]
    return names[0] if len(names) == 1 else ""
