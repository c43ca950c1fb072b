# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of releases share: users who may lose nothing, short waits, and what has to be true afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .load import Load
from .playbook import play

QUICK = {"nginx_watch_seconds": 3, "app_start_timeout": 15}
RELEASE = "playbooks/release.yml"  # what site.yml ends with; the rest of it has tests of its own


@contextmanager
def unharmed(users: Load, but: Callable[[dict[str, Any]], bool] = lambda failure: False) -> Iterator[None]:
    """None of the users may lose a request meanwhile, `but` those that no proxy can save."""
    began = time.time()
    yield
    time.sleep(1)  # for the answers to what began last
    lost = [failure for failure in users.failures_since(began) if not but(failure)]
    assert not lost, json.dumps(lost[:5], indent=1)


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What a run said, as one line."""
    return " ".join(done.stdout.split())


def deploy(release: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Deploy with short waits."""
    return play("playbooks/deploy.yml", *options, app_release=release, **{**QUICK, **variables})


def settled(root, colour: str) -> None:
    """One release, and nothing left over: no lock, no way back that waits, one colour that runs."""
    root("cd /var/lib/kasaneha && test ! -e run.json && test ! -L edge/uncommitted")
    assert root("ls /var/lib/kasaneha/edge/live/").split() == [colour, f"open-{colour}"]
    running = root("docker ps --filter label=kasaneha.deploy.colour --format '{{.Label \"kasaneha.deploy.colour\"}}'").split()
    assert running and set(running) == {colour}
    assert "nginx-edge-revert.timer" not in root("systemctl list-timers --all --no-legend")
