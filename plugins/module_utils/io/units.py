# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Units of systemd and the files that they read: which of them must be restarted or reloaded to run what is on the disk."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
PROPERTIES = (
    "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,CanReload,Type,RemainAfterExit,InactiveExitTimestampMonotonic"
)
RUNNING = ("active", "activating", "reloading", "refreshing")
MARGIN = 0.1  # seconds: time stamps of files are coarser than those of units


class Unit(NamedTuple):
    """A unit as it is to be."""

    name: str
    started: bool | None = True  # None: as it is
    enabled: bool | None = True
    restart: tuple[str, ...] = ()  # patterns of files that it reads at its start, beside its own
    reload: tuple[str, ...] = ()  # and of those for which a reload is enough


class Seen(NamedTuple):
    """A unit as systemd has it."""

    loaded: bool
    state: str  # active, inactive, failed, activating …
    file_state: str  # enabled, disabled, static …
    stale: bool  # what systemd has read of it is not what is on the disk
    can_reload: bool
    oneshot: bool  # its program ends, and the unit is inactive then
    since: float  # seconds since the epoch: when it was started last; 0 if never since boot


class File(NamedTuple):
    """A file as it is on the disk."""

    digest: str
    changed: float  # seconds since the epoch


class Step(NamedTuple):
    """What is to be done to a unit."""

    action: str = ""  # start, restart, reload, stop; empty: nothing
    because: tuple[str, ...] = ()  # files
    enable: bool | None = None  # None: it stays as it is

    def __bool__(self) -> bool:
        return bool(self.action) or self.enable is not None


def full_name(name: str) -> str:
    """The name with its type; without one, it is a service."""
    types = ("service", "socket", "timer", "path", "mount", "automount", "swap", "target", "slice", "scope", "device")
    return name if name.rpartition(".")[2] in types else f"{name}.service"


def file_names(name: str) -> tuple[list[str], list[str]]:
    """Names of a unit's file and of its directories of drop-ins, the most specific first.

    >>> file_names("a-b@c.service")
    (['a-b@c.service', 'a-b@.service'], ['a-b@c.service.d', 'a-@c.service.d', 'a-b@.service.d', 'a-@.service.d', 'service.d'])
    """
    stem, _dot, kind = name.rpartition(".")
    prefix, at, instance = stem.partition("@")
    prefixes = [prefix]
    words = prefix.split("-")
    prefixes += ["-".join(words[:count]) + "-" for count in range(len(words) - 1, 0, -1)]
    rests = [f"@{instance}", "@"] if instance else [at]
    units = [f"{prefix}{rest}.{kind}" for rest in rests]
    return units, [f"{first}{rest}.{kind}.d" for rest in rests for first in prefixes] + [f"{kind}.d"]


def own_files(name: str, directories: Iterable[str] = DIRECTORIES) -> list[str]:
    """Paths of a unit's file and its drop-ins that are on the disk."""
    places, seen = [], set()
    for directory in directories:
        real = os.path.realpath(directory)  # /lib may be /usr/lib
        if real not in seen:
            seen.add(real)
            places.append(directory)
    units, drop_ins = file_names(name)
    found = [path for unit in units for place in places for path in [os.path.join(place, unit)] if os.path.isfile(path)][:1]
    for folder in drop_ins:
        for place in places:
            found += sorted(glob.glob(os.path.join(glob.escape(os.path.join(place, folder)), "*.conf")))
    return found


def has_file(name: str) -> bool:
    """Whether there is a file of the unit on the disk, beside drop-ins."""
    return any(not path.endswith(".conf") for path in own_files(name))


def is_own(name: str, path: str) -> bool:
    """Whether a path is that of a unit's file or of one of its drop-ins, be there such a file or not."""
    units, drop_ins = file_names(name)
    folder, base = os.path.split(path)
    if folder in DIRECTORIES:
        return base in units
    return os.path.dirname(folder) in DIRECTORIES and os.path.basename(folder) in drop_ins and base.endswith(".conf")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path is one of those, or matches one of them as a shell would have it."""
    return any(
        path == pattern or fnmatch.fnmatch(path, pattern) and path.count("/") == pattern.count("/") for pattern in patterns
    )


def observed(name: str, patterns: Iterable[str], recorded: Iterable[str]) -> dict[str, File]:
    """All files of a unit that are on the disk: its own, those that it reads, those that it has read."""
    paths = [*own_files(name), *recorded]
    for pattern in patterns:
        paths += glob.glob(pattern)
    found = {}
    for path in paths:
        if path not in found and os.path.isfile(path):
            with open(path, "rb") as file:
                found[path] = File(hashlib.sha256(file.read()).hexdigest(), os.stat(path).st_ctime)
    return found


def parse(text: str, now: float, monotonic: float) -> list[Seen]:
    """What ``systemctl show`` says of units, in their order.

    :param now: seconds since the epoch.
    :param monotonic: seconds of the clock that systemd stamps with.
    """
    seen = []
    for block in text.strip("\n").split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        stamp = int(said.get("InactiveExitTimestampMonotonic") or 0) / 1e6
        seen.append(
            Seen(
                loaded=said.get("LoadState") == "loaded",
                state=said.get("ActiveState", "inactive"),
                file_state=said.get("UnitFileState", ""),
                stale=said.get("NeedDaemonReload") == "yes",
                can_reload=said.get("CanReload") == "yes",
                oneshot=said.get("Type") == "oneshot" and said.get("RemainAfterExit") != "yes",
                since=now - monotonic + stamp if stamp else 0,
            )
        )
    return seen


def unread(files: Mapping[str, File], record: Mapping[str, str] | None, since: float) -> list[str]:
    """Files that a unit has not read as they are: changed, new, or gone.

    :param record: path -> hash of what it has read. None: nobody knows, and what is younger than the unit is unread.
    :param since: seconds since the epoch, when the unit was started.
    """
    if record is None:
        return sorted(path for path, file in files.items() if file.changed + MARGIN >= since)
    now = {path: file.digest for path, file in files.items()}
    return sorted(path for path in {*now, *record} if now.get(path) != record.get(path))


def decide(
    unit: Unit, seen: Seen, files: Mapping[str, File], record: Mapping[str, str] | None, pending: Iterable[str] = ()
) -> Step:
    """What is to be done to a unit, so that it is as declared and runs what is on the disk.

    :param pending: files that are about to be changed, in check mode.
    """
    enable = None
    if unit.enabled is True and seen.file_state in ("disabled", ""):
        enable = True
    if unit.enabled is False and seen.file_state in ("enabled", "enabled-runtime"):
        enable = False
    if not unit.started:
        return Step("stop" if unit.started is False and seen.state in RUNNING else "", enable=enable)
    runs = seen.state in RUNNING or (seen.oneshot and seen.since > 0)
    if not runs:
        return Step("start", enable=enable)
    of_it = {path for path in pending if is_own(unit.name, path) or matches(path, (*unit.restart, *unit.reload))}
    because = tuple(sorted({*unread(files, record, seen.since), *of_it}))
    if not because:
        return Step(enable=enable)
    light = seen.can_reload and all(matches(path, unit.reload) for path in because)
    return Step("reload" if light else "restart", because, enable)


def sentence(name: str, step: Step) -> str:
    """A step in words, for the result and the difference."""
    done = {True: ["enable"], False: ["disable"], None: []}[step.enable] + ([step.action] if step.action else [])
    return f"{name}: {' and '.join(done)}" + (f" ({', '.join(step.because)})" if step.because else "")


def declared(entry: Mapping[str, Any]) -> Unit:
    """A unit as a task says it."""
    started = {"started": True, "stopped": False, "any": None}[entry["state"]]
    enabled = entry.get("enabled")
    return Unit(
        full_name(entry["name"]),
        started,
        started if enabled is None else enabled,
        tuple(entry.get("files") or ()),
        tuple(entry.get("reload_files") or ()),
    )
