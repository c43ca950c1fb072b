# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What Prometheus is told, by a textfile of node_exporter."""

from __future__ import annotations

import calendar
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Set

PREFIX = "kasaneha_backup_"
DRILL = "kasaneha_restore_test_"


def write(path: Path, instance: str, sets: Sequence[Set] | None, remotes: Sequence[str], code: int | None, seconds: float) -> str:
    """Replace the textfile; why it could not be, empty when it could.

    :param sets: None: they cannot be read now, and what the file says of them stays.
    :param code: exit code of a backup that has just ended after so many seconds; None: none has, and what the file says of it stays.
    """
    before = read(path)
    run: dict[str, float] = {
        "last_exit_code": code or 0,
        "last_duration_seconds": seconds,
        "last_run_timestamp_seconds": time.time(),
    }
    values = {PREFIX + name: value for name, value in run.items()} if code is not None else {}
    told = before if sets is None else {PREFIX + name: before[PREFIX + name] for name in run if PREFIX + name in before}
    values = {**told, **values, **(of_sets(sets, remotes) if sets is not None else {})}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text(instance, values))
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        return f"metrics: {path} cannot be written: {error.strerror}."
    return ""


def of_sets(sets: Sequence[Set], remotes: Sequence[str]) -> dict[str, float]:
    """What is told of the sets there are."""
    good = [entry for entry in sets if entry.verified]
    values = {PREFIX + "sets": float(len(good)), PREFIX + "damaged_sets": float(len(sets) - len(good))}
    if good:
        values[PREFIX + "last_success_timestamp_seconds"] = plan.id_time(good[0].id) or 0
        values[PREFIX + "last_size_bytes"] = manifests.size(good[0].manifest)
        values[PREFIX + "last_rows"] = sum(manifests.rows(good[0].manifest).values())
        values[PREFIX + "missing_copies"] = sum(len(entry.missing(remotes)) for entry in good)
    drills = [check for entry in good for check in entry.state["verification"] if check["level"] == "drill" and check["ok"]]
    if drills:
        newest = max(drills, key=lambda check: str(check["at"]))
        values[DRILL + "last_success_timestamp_seconds"] = calendar.timegm(time.strptime(newest["at"], "%Y-%m-%dT%H:%M:%SZ"))
        values[DRILL + "last_duration_seconds"] = newest["seconds"]
    return values


def text(instance: str, values: dict[str, float]) -> str:
    """Metric -> value in Prometheus' own form."""
    lines = []
    for name, value in sorted(values.items()):
        lines += [f"# TYPE {name} gauge", f'{name}{{app="{instance}"}} {round(value, 3):.15g}']
    return "\n".join(lines) + "\n"


def read(path: Path) -> dict[str, float]:
    """What the file says now; nothing when it cannot be read, because it is written again."""
    try:
        lines = path.read_text().splitlines()
        return {line.split("{")[0]: float(line.split()[-1]) for line in lines if line and not line.startswith("#")}
    except (OSError, ValueError, IndexError):
        return {}
