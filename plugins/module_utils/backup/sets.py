# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The directory that holds the sets: who may use it, how a set appears in it whole, and how one is removed from it.

A set is a directory that `manifest.json` lies in; it appears by one rename. Beside that, which never changes, `state.json` says what was
found out later: checks, copies elsewhere, whether somebody wants it kept. Everything else in the directory is somebody else's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.file import digest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import (
    BAD_INPUT,
    LOCKED,
    NOT_CHECKED,
    VERIFY_FAILED,
    BackupError,
    Damaged,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile

MARKER = ".backup-root"
PARTIAL, WORK, GONE = ".partial-", ".work-", ".gone-"
# A file of a set that is missing, is something else, or that the disk does not give back.
GONE_BAD = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO, errno.EBADMSG, errno.EUCLEAN)


def configuration(path: str, **changes: Any) -> plan.Config:
    """Read the configuration, with some values of its own for this once.

    :raises BackupError: it is not there, or not sound; the message has every problem.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BackupError(f"{path} is not there. The role backup writes it (hosts of the group backup).", BAD_INPUT) from error
    except (OSError, ValueError) as error:
        raise BackupError(f"{path} cannot be read: {error}", BAD_INPUT) from error
    raw = {**raw, **changes} if isinstance(raw, dict) else raw
    problems = plan.config_problems(raw)
    if problems:
        raise BackupError(f"{path}: {' '.join(problems)}", BAD_INPUT)
    return plan.Config(**raw)


@dataclass(frozen=True)
class Set:
    """One set on the disk."""

    path: Path
    manifest: dict[str, Any]
    state: dict[str, Any]
    problem: str = ""  # why it cannot be used

    @property
    def id(self) -> str:
        """Its name."""
        return self.path.name

    @property
    def verified(self) -> bool:
        """Whether it is proven."""
        return not self.problem and manifests.verified(self.state)

    @property
    def empty(self) -> bool:
        """Whether no table of it has a row: as a new machine's first one, it is nothing that a restore or a copy would be for."""
        return not self.problem and not any(manifests.rows(self.manifest).values())

    @property
    def cluster(self) -> str:
        """The identifier of the PostgreSQL cluster that it is of."""
        return str(self.manifest.get("server", {}).get("system_identifier", ""))

    def missing(self, remotes: Sequence[str]) -> list[str]:
        """Remotes that it is not copied to yet, and has to be."""
        return [] if self.empty else [remote for remote in remotes if remote not in self.state.get("offsite", {})]

    def summary(self) -> dict[str, Any]:
        """What a list shows."""
        checks = {entry["level"]: entry["at"] for entry in self.state.get("verification", []) if entry["ok"]}
        return {
            "id": self.id,
            "started_at": self.manifest.get("started_at", ""),
            "reason": self.manifest.get("reason", ""),
            "bytes": manifests.size(self.manifest) if self.manifest else 0,
            "rows": sum(manifests.rows(self.manifest).values()) if self.manifest else 0,
            "encrypted": bool(self.manifest.get("recipients")),
            "verified": self.verified,
            "drilled": checks.get("drill", ""),
            "offsite": sorted(self.state.get("offsite", {})),
            "keep": bool(self.state.get("keep")),
            "release": self.manifest.get("release", ""),
            "cluster": self.cluster,
            "fetched": self.state.get("fetched", ""),
            "warnings": self.manifest.get("warnings", []),
            "problem": self.problem,
        }


class Sets:
    """All sets of one instance."""

    def __init__(self, config: plan.Config) -> None:
        self.config, self.root = config, Path(config.root)

    def ready(self, create: bool = True) -> None:
        """Make sure that the directory is the one for these sets.

        :param create: make it, and mark an empty one as ours.
        :raises BackupError: it is somebody else's, or no directory.
        """
        os.umask(0o077)
        if create and not self.root.exists() and not self.root.is_symlink():
            self.root.mkdir(mode=0o700, parents=True)
        if self.root.is_symlink() or not self.root.is_dir() or str(self.root.resolve()) in plan.NO_ROOTS:
            raise BackupError(f"root: {self.root} is no directory of its own (a link, a file, or not there).", BAD_INPUT)
        marker = self.root / MARKER
        try:
            found = statefile.read(marker)
        except ValueError as error:
            raise BackupError(f"root: {error}", BAD_INPUT) from error
        if found is None and any(entry.name != ".lock" for entry in self.root.iterdir()):
            raise BackupError(
                f"root: {self.root} holds files and no {MARKER}: it is not known to be a place for backups. Name an empty directory.",
                BAD_INPUT,
            )
        if found is not None and found.get("instance") != self.config.instance:
            raise BackupError(
                f"root: {self.root} holds the backups of {found.get('instance')}, not of {self.config.instance}.", BAD_INPUT
            )
        if found is None and create:
            statefile.write(marker, {"instance": self.config.instance}, 0o600)
        if create and stat.S_IMODE(self.root.stat().st_mode) != 0o700:
            self.root.chmod(0o700)

    @contextlib.contextmanager
    def alone(self, doing: str, wait: float = 0) -> Iterator[None]:
        """Hold the lock, which the kernel takes back from the dead.

        :param wait: seconds to wait for somebody else.
        :raises BackupError: somebody else holds it; the message says who.
        """
        deadline = time.monotonic() + wait
        with (self.root / ".lock").open("a+") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    file.seek(0)
                    who = file.read().strip()
                    # Between taking the lock and writing who it is there is a moment.
                    if time.monotonic() >= deadline + (0 if who else 2):
                        raise BackupError(f"Another one is at work: {who or 'unknown'}.", LOCKED) from error
                    time.sleep(0.2)
            file.truncate(0)
            file.write(f"{doing}, process {os.getpid()}, since {iso(time.time())}")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)  # or the next one would be met under this name

    def all(self) -> list[Set]:
        """Every set, newest first, damaged ones as well."""
        if not self.root.is_dir():
            return []
        names = [entry.name for entry in self.root.iterdir() if plan.id_time(entry.name) is not None]
        return [self._load(name) for name in sorted(names, reverse=True)]

    def find(self, name: str) -> Set:
        """A set by its name, or the newest verified one that is not empty as `latest`; an empty one if there is no other.

        :raises BackupError: there is none.
        """
        if name == "latest":
            found = newest(self.all())
            if not found:
                raise BackupError(f"There is no verified set in {self.root}.", BAD_INPUT)
            return found
        if plan.id_time(name) is None or not (self.root / name).is_dir():
            raise BackupError(f"There is no set {name} in {self.root}. `list` shows what there is.", BAD_INPUT)
        return self._load(name)

    @staticmethod
    def overlooked(found: Set, sets: Sequence[Set]) -> str:
        """That a set newer than the one found as `latest` is passed over since it is not verified; empty if there is none.

        :param sets: those among which it was found, newest first.
        """
        passed = next(
            (entry for entry in itertools.takewhile(lambda entry: entry.id != found.id, sets) if not entry.verified), None
        )
        if not passed:
            return ""
        bad = [entry["problem"] for entry in passed.state.get("verification", []) if not entry["ok"]]
        why = passed.problem or "; ".join(bad) or "it was never checked"
        return f"The newest set {passed.id} is not verified ({why}); the newest verified one is {found.id}."

    def _load(self, name: str) -> Set:
        return self._read(self.root / name, name)

    def _read(self, path: Path, name: str) -> Set:
        manifest, state = {}, {}
        try:
            manifest = json.loads((path / "manifest.json").read_text())
            wrong = manifests.problems(manifest, name, self.config.instance)
            state = statefile.read(path / "state.json") or {}
        except (OSError, ValueError) as error:
            wrong = [f"{getattr(error, 'strerror', None) or error}: {path / 'manifest.json'}"]
        return Set(path, manifest if isinstance(manifest, dict) and not wrong else {}, state, " ".join(wrong))

    def partial(self) -> Path:
        """A new directory for a set under way. No two sets begin in the same second: their names say which one is newer."""
        newest = max((plan.id_time(entry.name) or 0 for entry in self.root.iterdir()), default=0)
        while newest <= time.time() < newest + 1:
            time.sleep(0.05)
        path = self.root / f"{PARTIAL}{plan.set_id(time.time(), secrets.token_hex(3))}"
        path.mkdir(mode=0o700)
        return path

    def sweep(self) -> list[str]:
        """Remove what killed runs left, under the lock: nobody else can be at work on it."""
        left = [entry for entry in self.root.iterdir() if entry.name.startswith((PARTIAL, WORK, GONE))]
        for entry in left:
            if entry.name.startswith(GONE):
                self._empty(entry)
            else:
                shutil.rmtree(entry, ignore_errors=True)
        return [entry.name for entry in left]

    def publish(self, partial: Path, manifest: Mapping[str, Any], state: Mapping[str, Any]) -> Set:
        """Let a set appear, whole and on the disk, by one rename."""
        name = partial.name[len(PARTIAL) :]
        write(partial / "RESTORE.txt", manifests.restore_text(manifest))
        write(partial / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        sums = {entry["name"]: entry["sha256"] for entry in manifest["artefacts"]}
        sums.update({own: digest(partial / own) for own in ("manifest.json", "RESTORE.txt")})
        write(partial / "SHA256SUMS", "".join(f"{value}  {file}\n" for file, value in sorted(sums.items())))
        self._write_state(partial, state)
        self.appear(partial, name)
        return self.find(name)

    def appear(self, partial: Path, name: str) -> None:
        """The rename itself."""
        statefile.sync_directory(partial)
        os.rename(partial, self.root / name)
        statefile.sync_directory(self.root)
        self.point_latest()

    def adopt(self, partial: Path, name: str, remote: str) -> Set:
        """Let a set that came from elsewhere appear, once every byte is proven. It was decoded when it was made."""
        manifest = self._read(partial, name)
        self.check_bytes(manifest)
        now = iso(time.time())
        checks = [{"level": level, "at": now, "ok": True, "problem": ""} for level in ("decode", "checksum")]
        self._write_state(partial, {"verification": checks, "keep": False, "offsite": {remote: now}, "fetched": remote})
        self.appear(partial, name)
        return self.find(name)

    def ours(self) -> set[str]:
        """The clusters whose data this machine goes on with: those of sets made here, and those that were restored here."""
        marker = statefile.read(self.root / MARKER) or {}
        return {*marker.get("predecessors", []), *(entry.cluster for entry in self.all() if not entry.state.get("fetched"))}

    def goes_on(self, cluster: str) -> None:
        """From now on this machine goes on with the data of that cluster."""
        marker = {**(statefile.read(self.root / MARKER) or {}), "instance": self.config.instance}
        marker.pop("schema", None)
        statefile.write(self.root / MARKER, {**marker, "predecessors": sorted({*marker.get("predecessors", []), cluster})}, 0o600)

    def point_latest(self) -> None:
        """Let `latest` name the newest verified set, for people."""
        found = newest(self.all())
        if found:
            statefile.point(self.root / "latest", found.id)
        else:
            (self.root / "latest").unlink(missing_ok=True)

    def note(self, found: Set, **changes: Any) -> Set:
        """Add to what is known about a set."""
        self._write_state(found.path, {**found.state, **changes})
        return self._load(found.id)

    def note_check(self, found: Set, level: str, problem: str, detail: Mapping[str, Any] | None = None) -> Set:
        """Write down the result of a check; the last one of each level counts."""
        checks = [entry for entry in found.state.get("verification", []) if entry["level"] != level]
        entry = {"level": level, "at": iso(time.time()), "ok": not problem, "problem": problem, **(detail or {})}
        noted = self.note(found, verification=[*checks, entry])
        self.point_latest()
        return noted

    def _write_state(self, directory: Path, state: Mapping[str, Any]) -> None:
        statefile.write(directory / "state.json", dict(state), 0o600)

    def check_bytes(self, found: Set) -> None:
        """Compare every byte with what the set says of itself.

        :raises Damaged: they differ, or something is missing. BackupError: they cannot be read now.
        """
        if found.problem:
            raise Damaged(f"{found.id}: {found.problem}", VERIFY_FAILED)
        try:
            lines = (found.path / "SHA256SUMS").read_text().splitlines()
            sums = {line[66:]: line[:64] for line in lines}
            expected = {entry["name"]: entry["sha256"] for entry in found.manifest["artefacts"]}
            if not {*expected, "manifest.json", "RESTORE.txt"} <= sums.keys() or any(
                sums[name] != value for name, value in expected.items()
            ):
                raise Damaged(f"{found.id}: SHA256SUMS and manifest.json do not say the same.", VERIFY_FAILED)
            for name, value in sums.items():
                if not manifests.ARTEFACT.fullmatch(name.lower()):
                    raise Damaged(f"{found.id}: SHA256SUMS names a file {name!r}.", VERIFY_FAILED)
                if digest(found.path / name) != value:
                    raise Damaged(f"{found.id}: {name} is not what was written.", VERIFY_FAILED)
        except OSError as error:
            message = f"{found.id}: {error.filename}: {error.strerror}"
            if error.errno in GONE_BAD:
                raise Damaged(message, VERIFY_FAILED) from error
            raise BackupError(message, NOT_CHECKED) from error

    def remove(self, found: Set) -> None:
        """Remove a set: first it stops being one, then its own files go; what is not its own stays."""
        gone = self.root / f"{GONE}{found.id}"
        os.rename(found.path, gone)
        statefile.sync_directory(self.root)
        self._empty(gone)

    def _empty(self, gone: Path) -> None:
        names: list[str] = []
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            manifest = json.loads((gone / "manifest.json").read_text())
            names = [] if manifests.problems(manifest) else [entry["name"] for entry in manifest["artefacts"]]
        for name in [*names, *(own for own in manifests.OWN_FILES if own != "manifest.json"), "manifest.json"]:
            (gone / name).unlink(missing_ok=True)
        try:
            gone.rmdir()
        except OSError:  # somebody keeps something in there
            os.rename(gone, self.root / f"left-over-{gone.name[len(GONE) :]}")

    def entries(self, remotes: Sequence[str] = ()) -> list[plan.Entry]:
        """All sets as retention sees them."""
        ours = self.ours()
        return [
            plan.Entry(
                entry.id,
                plan.id_time(entry.id) or 0,
                entry.verified,
                bool(entry.state.get("keep")) or entry.cluster not in ours,  # it was brought here, and not restored yet
                bool(entry.missing(remotes)),
            )
            for entry in self.all()
            if not entry.problem  # what cannot be read is nobody's to remove but a person's
        ]


def newest(sets: Sequence[Set]) -> Set | None:
    """The first verified one of sets that are newest first; an empty one only where there is no other."""
    good = [entry for entry in sets if entry.verified]
    return next((entry for entry in good if not entry.empty), good[0] if good else None)


def write(path: Path, text: str) -> None:
    """Write a small file that root alone can read, and bring it to the disk."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors="surrogateescape"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def iso(seconds: float) -> str:
    """A moment as ISO 8601 in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
