# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Files, directories and links as they are and as they are to be, and what to do about the difference."""

from __future__ import annotations

import contextlib
import fnmatch
import grp
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

# What a task may say of a file. `content` is taken out of it on the controller, so that no log of the module has it.
SPEC: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
    "template": {"type": "str"},
    "src": {"type": "str"},
    "content": {"type": "str", "no_log": True},
    "vars": {"type": "dict"},
    "target": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "raw"},
    "validate": {"type": "str"},
    "purge": {"type": "str"},
    "secret": {"type": "bool", "default": False, "no_log": False},
    "when": {"type": "bool", "default": True},
}
SOURCES = ("template", "src", "content")
MODES = {"file": 0o644, "directory": 0o755}
SHOWN = 100_000  # bytes: of a larger file no difference is shown


class Entry(NamedTuple):
    """Something at a path, as it is or as it is to be."""

    state: str  # file, directory, link, absent; other: a device, a socket
    content: bytes | None = None
    target: str = ""
    mode: int | None = None  # None: of a link, which has none
    owner: Any = None  # number; of what is to be a name that nobody has yet: that name
    group: Any = None


class Change(NamedTuple):
    """A path that is not as it is to be."""

    path: str
    before: Entry
    after: Entry
    secret: bool
    validate: str


def problems(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sentences about entries that say too little, too much, or the same path twice."""
    found, seen = [], set()
    for entry in entries:
        path, state = entry["path"], entry["state"]
        sources = [name for name in SOURCES if entry.get(name) is not None]
        if not os.path.isabs(path):
            found.append(f"{path}: is not absolute. Begin it with a slash.")
        if path in seen:
            found.append(f"{path}: is there twice. Remove one of the two entries.")
        seen.add(path)
        if state == "file" and len(sources) != 1:
            found.append(f"{path}: has {' and '.join(sources) or 'no source'}. Give one of {', '.join(SOURCES)}.")
        if state != "file" and sources:
            found.append(f"{path}: {sources[0]} is for files, not for state {state}. Remove it.")
        if (state == "link") != bool(entry.get("target")):
            found.append(f"{path}: target and state link belong together. Give both, or neither.")
        if entry.get("purge") and state != "directory":
            found.append(f"{path}: purge is for directories. Remove it.")
        if entry.get("validate") and (state != "file" or "%s" not in entry["validate"]):
            found.append(f"{path}: validate is for files and has %s where the path of the new file belongs. Correct it.")
        mode = entry.get("mode")
        if mode is not None and not (isinstance(mode, str) and re.fullmatch("[0-7]{3,5}", mode)):
            found.append(f"{path}: mode {mode!r} is no octal number in quotes. Write it as '0644'.")
    return found


def wanted(entry: Mapping[str, Any], content: bytes | None, owner: Any, group: Any) -> Entry:
    """What an entry asks for.

    :param owner: number of the user, or a name that the host does not know.
    """
    state = entry["state"]
    if state == "absent":
        return Entry("absent")
    if state == "link":
        return Entry("link", target=entry["target"], owner=owner, group=group)
    mode = int(entry["mode"], 8) if entry.get("mode") else MODES[state]
    return Entry(state, content if state == "file" else None, mode=mode, owner=owner, group=group)


def observe(path: str, content: bool = True, follow: bool = False) -> Entry:
    """What is at a path.

    :param content: whether to read a file, too.
    :param follow: whether a link to a directory is that directory.
    """
    try:
        found = os.stat(path) if follow and os.path.isdir(path) else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Entry("absent")
    entry = Entry("other", mode=stat.S_IMODE(found.st_mode), owner=found.st_uid, group=found.st_gid)
    if stat.S_ISLNK(found.st_mode):
        return entry._replace(state="link", mode=None, target=os.readlink(path))
    if stat.S_ISDIR(found.st_mode):
        return entry._replace(state="directory")
    if not stat.S_ISREG(found.st_mode):
        return entry
    with open(path, "rb") as file:
        return entry._replace(state="file", content=file.read() if content else None)


def refused(change: Change) -> str:
    """Why a change cannot be made whatever is tried; empty if it can."""
    before, after = change.before.state, change.after.state
    if after == "directory" and before not in ("directory", "absent"):
        return f"{change.path}: is no directory. Remove it."
    if before == "directory" and after in ("file", "link"):
        return f"{change.path}: is a directory. Remove it."
    return ""


def attributes(change: Change) -> tuple[dict[str, Any], dict[str, Any]]:
    """State, owner, group, mode, target where they differ, before and after."""
    before, after = change.before._asdict(), change.after._asdict()
    names = [name for name in ("state", "owner", "group", "mode", "target") if before[name] != after[name]]
    shown = {name: (f"{value:04o}" if name == "mode" and isinstance(value, int) else value) for name, value in before.items()}
    then = {name: (f"{value:04o}" if name == "mode" and isinstance(value, int) else value) for name, value in after.items()}
    return {name: shown[name] for name in names if shown[name]}, {name: then[name] for name in names if then[name]}


def difference(change: Change) -> list[dict[str, Any]]:
    """A change as Ansible's callbacks show it; of a secret, that there is one."""
    texts = [entry.content or b"" for entry in (change.before, change.after)]
    rows: list[dict[str, Any]] = []
    if texts[0] != texts[1]:
        if change.secret:
            rows.append({"prepared": f"{change.path}: the content differs. It is secret and not shown.\n"})
        elif any(b"\0" in text or len(text) > SHOWN for text in texts):
            rows.append({"prepared": f"{change.path}: the content differs. It is too large or no text, and not shown.\n"})
        else:
            before, after = (text.decode("utf-8", "replace") for text in texts)
            rows.append({"before": before, "after": after, "before_header": change.path, "after_header": change.path})
    before_row, after_row = attributes(change)
    if (before_row or after_row) and not (rows and change.before.state == "absent"):
        rows.append({"before": {"path": change.path, **before_row}, "after": {"path": change.path, **after_row}})
    return rows


def purged(directory: str, pattern: str, present: Iterable[str], kept: Iterable[str]) -> list[str]:
    """Paths in a directory that match the pattern and are in no entry.

    :param present: names in the directory.
    :param kept: paths of all entries.
    """
    paths = [os.path.join(directory, name) for name in sorted(present) if fnmatch.fnmatch(name, pattern)]
    return [path for path in paths if path not in set(kept)]


def account(kind: str, name: str | None) -> Any:
    """Number of a user or a group; the name itself if there is none of that name; without a name, who runs this.

    :param kind: owner or group.
    """
    if name is None:
        return os.geteuid() if kind == "owner" else os.getegid()
    try:
        return pwd.getpwnam(name).pw_uid if kind == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isdigit() else name


def plan(entries: Iterable[Mapping[str, Any]], contents: Mapping[str, bytes]) -> list[Change]:
    """Compare all entries with what is there, without changing anything.

    :param contents: path of each file -> what it is to contain.
    """
    changes = []
    entries = list(entries)
    for entry in entries:
        path = entry["path"]
        after = wanted(entry, contents.get(path), account("owner", entry.get("owner")), account("group", entry.get("group")))
        before = observe(path, content=after.state == "file", follow=after.state == "directory")
        differs = before != after if after.state != "absent" else before.state != "absent"
        if differs:
            changes.append(Change(path, before, after, bool(entry.get("secret")), entry.get("validate") or ""))
        if entry.get("purge") and before.state == "directory":
            for other in purged(path, entry["purge"], os.listdir(path), [each["path"] for each in entries]):
                changes.append(Change(other, observe(other, content=False), Entry("absent"), bool(entry.get("secret")), ""))
    return changes


def impossible(changes: Iterable[Change]) -> list[str]:
    """Sentences about changes that would fail in the middle: kinds, and accounts that there are not."""
    changes = list(changes)
    found = [sentence for sentence in map(refused, changes) if sentence]
    for change in changes:
        for kind, value in (("owner", change.after.owner), ("group", change.after.group)):
            if isinstance(value, str):
                found.append(f"{change.path}: there is no {kind} {value} on this host. Create it first, or correct the name.")
    return found


def invalid(changes: Iterable[Change], scratch: str) -> list[str]:
    """What the validating commands say against new contents; nothing is replaced meanwhile.

    :param scratch: a directory that only this user reads.
    """
    found = []
    for number, change in enumerate(changes):
        if not change.validate or change.before.content == change.after.content:
            continue
        directory = os.path.join(scratch, f"validate-{number}")
        os.mkdir(directory, 0o700)
        copy = os.path.join(directory, os.path.basename(change.path))  # some programs look at the name
        try:
            _write(copy, change.after)
            command = [word.replace("%s", copy) for word in shlex.split(change.validate)]
            with open(os.devnull, "rb") as nothing:
                done = subprocess.run(command, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            said = done.stdout.decode("utf-8", "replace").replace(copy, change.path).strip()
            if done.returncode:
                said = "It is secret, so what was said of it is not shown." if change.secret else said
                found.append(f"{change.path}: {command[0]} refuses it (exit code {done.returncode}). {said}")
        except FileNotFoundError as error:
            found.append(f"{change.path}: cannot be validated, there is no {error.filename}. Install it first.")
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return found


def apply(changes: Iterable[Change]) -> None:
    """Make the changes: directories, then all new files beside the old ones, then one rename after the other.

    :raises OSError: a disk that is full, for example. No file is replaced unless all could be written.
    """
    changes = list(changes)
    for change in changes:
        if change.after.state == "directory":
            _directory(change)
    with _staged([change for change in changes if change.after.state in ("file", "link")]) as staged:
        for change, temporary in staged:
            os.replace(temporary, change.path)
    for change in reversed(changes):  # what is in a directory before it
        if change.after.state == "absent":
            _remove(change.path)
    for directory in sorted({os.path.dirname(change.path) for change in changes}):
        _sync(directory)


@contextlib.contextmanager
def _staged(changes: list[Change]) -> Iterator[list[tuple[Change, str]]]:
    """Write all of it beside its place, with owner and mode; gone after the body, unless renamed."""
    staged: list[tuple[Change, str]] = []
    try:
        for change in changes:
            directory, name = os.path.split(change.path)
            _parents(directory)
            temporary = os.path.join(directory, f".{name}.{os.getpid()}.new")
            staged.append((change, temporary))
            _remove(temporary)
            if change.after.state == "link":
                os.symlink(change.after.target, temporary)
                os.lchown(temporary, change.after.owner, change.after.group)
            else:
                _write(temporary, change.after)
        yield staged
    finally:
        for _change, temporary in staged:
            _remove(temporary)


def _write(path: str, entry: Entry) -> None:
    """Create a file that nobody else reads before it has its owner and mode; its bytes are on the disk at the end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(entry.content or b"")
        file.flush()
        os.fchown(descriptor, entry.owner, entry.group)
        os.fchmod(descriptor, entry.mode or 0)
        os.fsync(descriptor)


def _directory(change: Change) -> None:
    """Create a directory, or give the one that is there its owner and mode."""
    if change.before.state == "absent":
        _parents(os.path.dirname(change.path))
        os.mkdir(change.path, 0o700)
    os.chown(change.path, change.after.owner, change.after.group)
    os.chmod(change.path, change.after.mode or 0)


def _parents(directory: str) -> None:
    """Create a directory that no entry names and what is missing above it, as directories of the system are."""
    if directory and not os.path.isdir(directory):
        _parents(os.path.dirname(directory))
        os.mkdir(directory)
        os.chmod(directory, MODES["directory"])


def _remove(path: str) -> None:
    """Remove whatever is there, with all that is in it; a link, not what it leads to."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _sync(directory: str) -> None:
    """Bring what was renamed in a directory to the disk."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
