# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The process that owns a run, so that the next run on the same machine knows whether it still lives."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def describe(user: str, host: str, proc: Path = Path("/proc")) -> dict[str, Any]:
    """Name the outermost ansible-playbook that this process belongs to.

    ``started`` and ``boot`` make the number of a process unique: numbers are used again.
    """
    pid = found = os.getpid()
    while pid > 1:
        try:
            command = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")[:2]  # the interpreter and the script
            parent = int(_stat(proc, pid)[1])
        except (OSError, IndexError, ValueError):
            break
        if not any(os.path.basename(word).startswith(b"ansible") for word in command):
            break
        found, pid = pid, parent
    return {
        "user": user,
        "host": host,
        "pid": found,
        "started": _started(proc, found),
        "boot": _boot(proc),
        "namespace": _namespace(proc),
    }


def alive(owner: Mapping[str, Any], here: Mapping[str, Any], proc: Path = Path("/proc")) -> bool | None:
    """Whether an owner's process lives; None when that cannot be seen from here: then only its time counts.

    Another name, another kernel (of a boot, or of a second machine that has the same name) and another namespace of processes are
    somewhere else; and where /proc hides what is not one's own, a process that is not found may be hidden.

    :param here: this run's own owner, which tells what machine this is.
    """
    if not owner or any(not owner.get(key) or owner.get(key) != here.get(key) for key in ("host", "boot", "namespace")):
        return None
    if not owner.get("started"):
        return None  # nobody could see it when it began
    try:
        fields = _stat(proc, int(owner.get("pid", 0)))
    except (FileNotFoundError, ProcessLookupError):
        return None if _hides(proc) else False
    except OSError:
        return None
    return fields[0] not in "ZX" and fields[19] == owner.get("started")


def _hides(proc: Path) -> bool:
    """Whether /proc hides the processes of others (proc(5), hidepid), or does not say."""
    try:
        mounts = (proc / "self/mounts").read_text()
    except OSError:
        return True
    lines = [line.split() for line in mounts.splitlines()]
    options = [fields[3] for fields in lines if len(fields) > 3 and fields[1] == str(proc) and fields[2] == "proc"]
    return bool(re.search(r"(^|,)hidepid=(?!0(,|$)|off(,|$))", options[-1])) if options else True


def _stat(proc: Path, pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) behind the name, which may hold blanks: state, parent, …"""
    return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _started(proc: Path, pid: int) -> str:
    """When a process started, in clock ticks since the boot; empty when there is none, or it is dead and not yet buried."""
    try:
        fields = _stat(proc, pid)
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _boot(proc: Path) -> str:
    """What this boot is called; empty where the kernel does not say."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace(proc: Path) -> str:
    """The namespace in which numbers of processes mean something; empty where the kernel does not say."""
    try:
        return os.readlink(proc / "self/ns/pid")
    except OSError:
        return ""
