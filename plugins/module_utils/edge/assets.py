# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Hashed assets of releases on an edge. ``assets`` is what nginx serves, for a year; ``releases/<release>`` says of which image they
are and which files it brought, with the SHA-256 of each; ``staging`` is there while files are unpacked.

A file comes under its name by one rename when its bytes are on the disk, and a release counts as published when all its
files are. Whatever an interrupted run leaves is therefore whole or no release's, and the next run replaces it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import shutil
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile

EMPTY = hashlib.sha256().hexdigest()
END = 1024  # bytes of zeros behind the last file of an archive


# --- decisions ------------------------------------------------------------------------------------
def conflicts(new: Mapping[str, str], lists: Mapping[str, Mapping[str, str]], there: Mapping[str, str]) -> list[str]:
    """Names under which a published release has other bytes than a new one.

    :param new: name -> SHA-256 of what a release brings.
    :param lists: release -> name -> SHA-256 of what it brought; empty where an earlier version did not write it down.
    :param there: name -> SHA-256 of what is on the disk now.
    :returns: one entry for each: ``name (releases)``.
    """
    found = []
    for name, digest in new.items():
        other = []
        for release, files in lists.items():
            # Of an earlier version only the disk tells what it brought; an empty file is one that a loss of power emptied.
            brought = files.get(name, digest) or there.get(name, digest)
            if brought not in (digest, EMPTY):
                other.append(release)
        if other:
            found.append(f"{name} ({', '.join(sorted(other))})")
    return sorted(found)


def leftovers(lists: Mapping[str, Iterable[str]], keep: Collection[str]) -> list[str]:
    """Files that only releases brought which are not kept."""
    kept = {name for release, names in lists.items() if release in keep for name in names}
    return sorted({name for release, names in lists.items() if release not in keep for name in names} - kept)


def safe_name(name: str) -> str:
    """A name below the directory; empty for the directory itself.

    :raises ValueError: it leads out of the directory.
    """
    path = posixpath.normpath(name)
    if path.startswith("/") or path.split("/")[0] == "..":
        raise ValueError(f"{name}: leads out of the directory of assets.")
    return "" if path == "." else path


# --- what is published ----------------------------------------------------------------------------
def published(directory: Path) -> dict[str, str]:
    """Release -> ID of the image whose assets an edge serves for it; empty where an earlier version did not write it down."""
    return {release: str(entry["image"]) for release, entry in _lists(directory).items()}


def publish(directory: Path, archive: Path, release: str, image: str, keep: Collection[str]) -> dict[str, list[str]]:
    """Publish the assets of a release, and remove files that no kept release brought.

    :param archive: a tar archive with the files, as ``docker cp`` makes it.
    :param image: ID of the image that they are of.
    :param keep: releases whose files stay, the new one among them.
    :returns: names that were ``written`` and ``removed``.
    :raises ValueError: the archive cannot be published; nothing was changed.
    :raises OSError: the disk failed, or is full; the next run goes on.
    """
    lists, staging = _lists(directory), directory / "staging"
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was cut off
    for path in (directory / "releases").glob(".*"):
        path.unlink()
    staging.mkdir(mode=0o700)
    try:
        with _opened(archive) as source:
            members = dict(_members(source))
            new = {name: _digest(_content(source, member)) for name, member in members.items()}
            there = {name: _digest(path.open("rb")) for name in new if (path := directory / "assets" / name).is_file()}
            other = conflicts(new, {name: entry["files"] for name, entry in lists.items()}, there)
            if other:
                raise ValueError(
                    f"{'; '.join(other)}: a release that is served has other bytes under this name, which hashed assets must not "
                    f"have (assets of the service). If the file in {directory}/assets is damaged, remove it."
                )
            written = {name: member for name, member in members.items() if there.get(name) != new[name]}
            staged = {name: staging / str(number) for number, name in enumerate(sorted(written))}
            for name, path in staged.items():
                _write(path, _content(source, written[name]))
        for path in staged.values():  # when all are written: the first one brings most of the others to the disk
            _sync(path)
        _place(directory / "assets", new, staged)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    # A release that was pushed again keeps what it brought before: pages of it are still open.
    lists[release] = {"image": image, "files": {**lists.get(release, {}).get("files", {}), **new}}
    statefile.write(directory / "releases" / release, lists[release])
    removed = leftovers({name: entry["files"] for name, entry in lists.items()}, keep)
    for name in removed:
        (directory / "assets" / name).unlink(missing_ok=True)
    for old in set(lists) - set(keep):
        (directory / "releases" / old).unlink()
    return {"written": sorted(written), "removed": removed}


def _lists(directory: Path) -> dict[str, dict[str, Any]]:
    """Release -> ``image`` and ``files`` (name -> SHA-256)."""
    found: dict[str, dict[str, Any]] = {}
    lists = directory / "releases"
    for path in sorted(lists.iterdir()) if lists.is_dir() else []:
        if path.name.startswith("."):
            continue  # is being written
        text = path.read_text(encoding="utf-8", errors="replace")
        if text.startswith("{"):
            with contextlib.suppress(ValueError):  # one that cannot be read is written again with the next release of this name
                found[path.name] = {"image": "", "files": {}}
                found[path.name] = statefile.read(path) or found[path.name]
        else:  # of an earlier version: what tar lists
            names = [name for name in text.splitlines() if name and not name.endswith("/")]
            found[path.name] = {"image": "", "files": {name: "" for name in names if not name.startswith(("/", ".."))}}
    return found


# --- the archive ----------------------------------------------------------------------------------
def _opened(archive: Path) -> tarfile.TarFile:
    """Open an archive that is whole."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END))
        whole = size >= END and file.read() == b"\0" * END
    try:
        if whole:
            return tarfile.open(archive, "r:")
    except tarfile.TarError:
        whole = False
    raise ValueError(f"{archive}: is cut short, or no archive.")


def _members(source: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Name and entry of every file."""
    for member in source:
        name = safe_name(member.name)
        if member.isdir():
            continue
        if not (member.isreg() or member.issym() or member.islnk()):
            raise ValueError(f"{name}: is no file.")
        yield name, member


def _content(source: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The bytes of a file; of a link, those of the file that it names."""
    try:
        content = source.extractfile(member)
    except (KeyError, RecursionError):
        content = None
    if not content:
        raise ValueError(f"{member.name}: is a link to {member.linkname}, which is no file among the assets.")
    return content


# --- the disk -------------------------------------------------------------------------------------
def _digest(content: IO[bytes]) -> str:
    """SHA-256 of all that can be read."""
    digest = hashlib.sha256()
    with content:
        for part in iter(lambda: content.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def _write(path: Path, content: IO[bytes]) -> None:
    """Write a file that all may read, whatever the image and the umask say."""
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
        os.fchmod(file.fileno(), 0o644)


def _sync(path: Path) -> None:
    """Bring a file or a directory to the disk."""
    statefile.sync_directory(path)


def _place(assets: Path, names: Iterable[str], staged: Mapping[str, Path]) -> None:
    """Give staged files their names; nginx can reach and read all of them afterwards, those that were there before, too."""
    directories = sorted({parent for name in names for parent in Path(name).parents if parent != Path(".")})
    for directory in directories:
        (assets / directory).mkdir(exist_ok=True)
        (assets / directory).chmod(0o755)
    for name in names:
        if name in staged:
            os.replace(staged[name], assets / name)
        else:
            (assets / name).chmod(0o644)
    for directory in [Path("."), *directories]:
        _sync(assets / directory)
