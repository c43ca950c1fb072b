# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of decisions share: hosts as they are found, and runs."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide as release_decide

V1 = {"release": "v1", "colour": "green", "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z", "services": {}}
V2: dict[str, Any] = {
    "release": "v2", "colour": "blue", "since": "2026-02-01T00:00:00Z", "migrations": "compatible",
    "services": {"web": {"reference": "web:v2", "image": "web@sha256:2", "id": "sha256:2"}}, "history": [V1], "bad": {},
}  # fmt: skip
FELL = {**V2, "bad": {"v3": {"since": "yesterday", "reason": ""}}}
FREEZE = {"by": "yuki@laptop", "since": "2026-03-01T00:00:00Z", "message": "fair week"}
NOW = 1_000_000.0


def container(colour: str = "blue", release: str = "v2", service: str = "web", running: bool = True) -> dict[str, Any]:
    """One container as `observe` tells of it."""
    return {
        "name": f"app-{service}-{colour}", "service": service, "colour": colour, "release": release, "image": "web@sha256:2",
        "id": "sha256:2", "running": running, "state": "running" if running else "exited", "started": "2026-02-01T00:00:00Z",
        "health": "healthy" if running else "",
    }  # fmt: skip


def shown(**changes: Any) -> dict[str, Any]:
    """A host that serves what the record says, changed by ``changes``."""
    edge = {"colour": "blue", "maintenance": False, "state": "states/1", "uncommitted": "", "previous": ""}
    host = {"record": V2, "record_problem": "", "run": {}, "freeze": {}, "containers": [container()], "edge": edge, "now": NOW}
    return {**host, **changes}


def bare(**changes: Any) -> dict[str, Any]:
    """A host on which nothing ever was."""
    edge = {"colour": "", "maintenance": True, "state": "states/1", "uncommitted": "", "previous": ""}
    return shown(**{"record": {}, "containers": [], "edge": edge, **changes})


def decide(host: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """A decision about one host."""
    return release_decide.decide({"one": shown() if host is None else host}, "one", ["one"], **arguments)


def run(phase: str = "switch", until: float = NOW + 10) -> dict[str, Any]:
    """A run that is found."""
    owner = {"user": "yuki", "host": "laptop", "pid": 7}
    return {"id": "x", "owner": owner, "since": "then", "phase": phase, "until": until, "to_release": "v3"}


def starts(found: list[str], expected: list[str]) -> None:
    """Each sentence begins as expected, and there is no other one."""
    assert [text[: len(start)] for text, start in zip_longest(found, expected, fillvalue="")] == expected
