# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The backup engine: what the modules and the command on the server do, under one lock, with the same exit codes."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_import as imports
from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_metrics as metrics
from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_plan as plan
from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_postgres as postgres
from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_restore as restores
from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_sql as sql
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_drill import StreamJudge, decode, restore_elsewhere
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_dump import Tell, dump
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_plan import (
    BAD_INPUT,
    LOCKED,
    RESTORE_FAILED,
    RESTORE_UNDONE,
    UPLOAD_FAILED,
    VERIFY_FAILED,
    BackupError,
    Config,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_remote import Remote
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_sets import WORK, Set, Sets, iso


class Engine:
    """Everything that can be done to the backups of one instance."""

    def __init__(self, config: Config, tell: Tell | None = None) -> None:
        self.config, self.sets = config, Sets(config)
        self.tell: Tell = tell or (lambda phase, done: None)
        self.notes: list[str] = []  # what the operator should know, though it worked

    @contextmanager
    def _alone(self, doing: str, wait: float = 0) -> Iterator[None]:
        """Under the lock, after whatever a dead run left was put right."""
        self.sets.ready()
        with self.sets.alone(doing, wait):
            postgres.sweep(self.config)
            self.sets.sweep()
            self._recover()
            yield

    # --- backup ----------------------------------------------------------------------------------------

    def run(self, reason: str = "", keep: bool = False, max_age: float = 0, wait: float = 0, drill: bool = False, prune: bool = True
            ) -> dict[str, Any]:  # fmt: skip
        """Back up, copy elsewhere, prune.

        :param max_age: do nothing if a verified set is younger than so many seconds.
        :param drill: restore the dump into a throw-away server while it is made.
        :raises BackupError: it failed; with UPLOAD_FAILED the set is good, but not elsewhere yet.
        """
        began = time.time()
        try:
            with self._alone("a backup", wait):
                fresh = plan.fresh(self.sets.entries(), time.time(), max_age) if max_age else ""
                found = self.sets.find(fresh) if fresh else self._dump(reason, keep, drill)
                copied, failed = self._copy_all()
                removed: list[str] = []
                if prune and not fresh and not failed and not found.manifest.get("shrunk"):
                    removed = self._prune()
                result = {"changed": not fresh, "set": self.sets.find(found.id).summary(), "copied": copied, "removed": removed}
                if failed:
                    raise BackupError(f"The set {found.id} is good, but not everywhere yet: {' '.join(failed)}", UPLOAD_FAILED)
        except BackupError as error:
            self._metrics(error.code, time.time() - began)
            raise
        self._metrics(plan.OK, time.time() - began)
        return result

    def _dump(self, reason: str, keep: bool, drill: bool) -> Set:
        warnings: list[str] = []
        for attempt in (1, 2):
            server = postgres.server(self.config.container)
            try:
                if drill:
                    with self._work() as work, StreamJudge(self.config, server, work) as judge:
                        return dump(self.sets, reason, keep, self.tell, warnings, judge)
                return dump(self.sets, reason, keep, self.tell, warnings)
            except BackupError as error:
                if attempt == 2 or not self._restarted(server):
                    raise
                warnings.append(f"PostgreSQL was started again during the first attempt ({error}); this is the second")
        raise AssertionError("unreachable")

    def _restarted(self, before: dict[str, Any], seconds: float = 60) -> bool:
        """Whether the server is another one than before, and answers; it is given some time for both."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                now = postgres.server(self.config.container)
                if now["started_at"] == before["started_at"]:
                    return False
                with postgres.client(self.config, now) as programs:
                    programs.sql("SELECT 1")
                return True
            except BackupError:
                time.sleep(1)
        return False

    def _copy_all(self) -> tuple[list[str], list[str]]:
        """Copy every verified set to every remote that lacks it, newest first; what was copied, and what went wrong."""
        copied, failed = [], []
        for name in self.config.remotes:
            remote = Remote(self.config, name)
            for found in self.sets.all():
                if not found.verified or name in found.state.get("offsite", {}):
                    continue
                try:
                    self.tell(f"copy {found.id}", 0)
                    remote.copy(found)
                    self.sets.note(self.sets.find(found.id), offsite={**found.state.get("offsite", {}), name: iso(time.time())})
                    copied.append(f"{name}: {found.id}")
                except BackupError as error:
                    failed.append(str(error))
                    break  # an unreachable remote is not asked again for every set
        return copied, failed

    # --- retention ---------------------------------------------------------------------------------------

    def plan(self) -> plan.Plan:
        """What retention would do now."""
        return plan.retention(
            self.sets.entries(self.config.remotes),
            time.time(),
            self.config.retention,
            self.config.min_keep,
            self.config.stale_hours,
        )

    def prune(self, dry_run: bool = False, wait: float = 0) -> dict[str, Any]:
        """Remove what retention does not keep, here and elsewhere, and databases that restores replaced long ago."""
        if dry_run:
            self.sets.ready(create=False)
            decided = self.plan()
            return {"changed": bool(decided.remove), "keep": decided.keep, "removed": decided.remove, "note": decided.note}
        with self._alone("pruning", wait):
            decided = self.plan()
            removed = self._prune()
        self._metrics()
        return {"changed": bool(removed), "keep": decided.keep, "removed": removed, "note": decided.note}

    def _prune(self) -> list[str]:
        removed = []
        for name in self.plan().remove:
            found = self.sets.find(name)
            try:
                for remote in found.state.get("offsite", {}):
                    if remote in self.config.remotes:
                        Remote(self.config, remote).remove(name)
            except BackupError as error:
                self.notes.append(f"{name} stays until its copy can be removed: {error}")
                continue
            self.sets.remove(found)
            removed.append(name)
        self.sets.point_latest()
        journal = restores.read_journal(self.config)
        if journal.get("phase") == "done":
            old = plan.kept_databases([journal["going"]], self.config.database, time.time(), self.config.keep_old_days)
            if old:
                with self._exchange(journal) as exchange:
                    exchange.drop(journal["going"])
                    exchange.forget()
                removed.append(journal["going"])
        return removed

    # --- checks --------------------------------------------------------------------------------------------

    def verify(self, name: str = "latest", identity: str = "", wait: float = 0, level: str = "decode") -> dict[str, Any]:
        """Compare every byte of a set with what it says of itself, and decode it if it can be read here; `all` for all sets.

        :raises BackupError: something is wrong; it is written down.
        """
        with self._alone("a check", wait):
            chosen = self.sets.all() if name == "all" else [self.sets.find(name)]
            problems = []
            for found in chosen:
                self.tell(f"verify {found.id}", 0)
                try:
                    self.sets.check_bytes(found)
                    self.sets.note_check(found, "checksum", "")
                    if level != "checksum" and (identity or not found.manifest["recipients"]):
                        decode(self.config, found, identity)
                        self.sets.note_check(self.sets.find(found.id), "decode", "")
                except BackupError as error:
                    problems.append(str(error))
                    if not found.problem:
                        self.sets.note_check(self.sets.find(found.id), "checksum", str(error))
        self._metrics()
        if problems:
            raise BackupError(" ".join(problems), VERIFY_FAILED)
        return {
            "changed": False,
            "sets": [entry.summary() for entry in self.sets.all() if entry.id in {each.id for each in chosen}],
        }

    def drill(self, name: str = "latest", identity: str = "", wait: float = 0) -> dict[str, Any]:
        """Restore a set into a throw-away server and compare; how long it took is how long a restore takes.

        An encrypted set that nobody gave the key for cannot be read: then a new one is made and restored while it is made.
        """
        self.sets.ready()
        if self.config.recipients and not identity and name == "latest":
            result = self.run("drill", drill=True, wait=wait)
            return {
                "changed": True,
                "set": result["set"],
                "seconds": self.sets.find(result["set"]["id"]).state["verification"][-1]["seconds"],
            }
        with self._alone("a drill", wait):
            found = self.sets.find(name)
            try:
                self.sets.check_bytes(found)
                with self._work() as work:
                    seconds = restore_elsewhere(self.config, found, work, identity, self.tell)
            except BackupError as error:
                if not found.problem and error.code == VERIFY_FAILED:
                    self.sets.note_check(found, "drill", str(error))
                self._metrics()
                raise
            noted = self.sets.note_check(found, "drill", "", {"seconds": seconds})
        self._metrics()
        return {"changed": True, "set": noted.summary(), "seconds": seconds}

    @contextmanager
    def _work(self) -> Iterator[Path]:
        """A folder for what must be unpacked, gone afterwards."""
        folder = Path(self.config.root) / f"{WORK}{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # --- restore -------------------------------------------------------------------------------------------

    def restore(self, name: str, identity: str = "", foreign: bool = False, safety: bool = True, probe: bool = True,
                files: str = "", wait: float = 0) -> dict[str, Any]:  # fmt: skip
        """Restore a set, or a dump of the old kind, and let it take the place of the live database and files.

        :param name: a set, `latest`, or the path of a .sql or .sql.gz.
        :param safety: back up what is there first.
        :param files: for a dump of the old kind, the archive of files that belongs to it.
        :raises BackupError: RESTORE_FAILED: the live database was not touched; RESTORE_UNDONE: everything is as it was.
        """
        with self._alone("a restore", wait):
            found = self._import(name, files) if name.endswith((".sql", ".sql.gz")) else self.sets.find(name)
            self.tell("check", 0)
            self.sets.check_bytes(found)
            server = postgres.server(self.config.container)
            with postgres.client(self.config, server) as programs:
                about = programs.sql(sql.SERVER)[0]
            restores.preflight(self.config, found.manifest, about, foreign)
            saved = ""
            if safety and self.config.database in about["databases"]:
                saved = dump(self.sets, f"before the restore of {found.id}", False, self.tell, []).id
            with self._work() as work:
                result = self._restore(found, server, work, identity, probe)
        return {"changed": True, "set": found.summary(), "saved": saved, **result}

    def _import(self, name: str, files: str) -> Set:
        with self._work() as work:
            return imports.legacy(self.sets, Path(name), files, work, self.tell)

    def _restore(self, found: Set, server: dict[str, Any], work: Path, identity: str, probe: bool) -> dict[str, Any]:
        mark = plan.set_id(time.time(), secrets.token_hex(3))
        old = restores.read_journal(self.config)
        coming, going = (plan.beside(self.config.database, purpose, mark) for purpose in ("restore", "before"))
        roles = restores.unpack(found, work, identity)
        with postgres.client(self.config, server, work) as programs:
            exchange = restores.Exchange(self.config, programs, {"set": found.id, "moves": []})
            if old:  # one way back is kept, the last one
                exchange.drop(old["going"])
                restores.Exchange(self.config, programs, old).forget()
            exchange.write(phase="preparing", step="", coming=coming, going=going)
            try:
                self.tell("restore", 0)
                restores.into(programs, found.manifest, roles, coming, self.config.jobs, RESTORE_FAILED)
                moves = restores.unpack_files(self.config, found, identity, f"new-{mark}")
                exchange.journal["moves"] = moves
                programs.run("vacuumdb", "--analyze-only", "--quiet", f"--jobs={self.config.jobs or os.cpu_count() or 1}",
                             f"--dbname={coming}", code=RESTORE_FAILED)  # fmt: skip
                self.tell("exchange", 0)
                exchange.run("exchanging", coming, going, moves)
            except BaseException as error:
                try:
                    exchange.put_back()
                except BackupError as second:
                    message = f"{error} What was begun could not be put back yet ({second}); the next run of any command does."
                    raise BackupError(message, RESTORE_FAILED) from error
                raise
            seconds = exchange.journal["closed_seconds"]
            self.tell("probe", 0)
            exchange.write(phase="probing")
            said = restores.healthy(self.config) if probe else ""
            if said and exchange.journal["existed"]:
                exchange.put_back()
                raise BackupError(
                    f"The application does not answer on the restored data ({said}). Everything is as it was.", RESTORE_UNDONE
                )
            exchange.write(phase="done", probe=said)
        return {"closed_seconds": seconds, "kept": going if exchange.journal["existed"] else ""}

    def undo(self, wait: float = 0) -> dict[str, Any]:
        """Return to the database and the files that the last restore replaced. What is there now is kept in their place."""
        with self._alone("the undoing of a restore", wait):
            journal = restores.read_journal(self.config)
            if journal.get("phase") != "done":
                raise BackupError("There is no restore to return from.", BAD_INPUT)
            with self._exchange(journal) as exchange:
                if journal["going"] not in exchange.names():
                    raise BackupError(f"{journal['going']} is not there any more.", BAD_INPUT)
                going = plan.beside(self.config.database, "before", plan.set_id(time.time(), secrets.token_hex(3)))
                exchange.run("undoing", journal["going"], going, exchange.return_moves())
                exchange.write(phase="done")
        return {"changed": True, "closed_seconds": exchange.journal["closed_seconds"], "kept": going}

    @contextmanager
    def _exchange(self, journal: dict[str, Any]) -> Iterator[restores.Exchange]:
        with postgres.client(self.config, postgres.server(self.config.container)) as programs:
            yield restores.Exchange(self.config, programs, journal)

    def _recover(self) -> None:
        """Undo a restore that died, or finish what undid it."""
        journal = restores.read_journal(self.config)
        if journal and journal["phase"] != "done":
            with self._exchange(journal) as exchange:
                exchange.recover()
            self.notes.append(f"A restore of {journal.get('set')} that died was undone.")

    def recover(self) -> dict[str, Any]:
        """Put right what a dead run left; at boot, and by hand."""
        with self._alone("a recovery", wait=60):
            return {"changed": bool(self.notes), "notes": self.notes}

    # --- what there is -------------------------------------------------------------------------------------

    def fetch(self, name: str = "latest", remote: str = "", wait: float = 0) -> dict[str, Any]:
        """Bring a set back from elsewhere."""
        names = [remote] if remote else self.config.remotes
        if not names:
            raise BackupError("remotes: there are none in the configuration.", BAD_INPUT)
        with self._alone("a fetch", wait):
            return {"changed": True, "set": Remote(self.config, names[0]).fetch(self.sets, name).summary()}

    def info(self) -> dict[str, Any]:
        """Everything that is known, without touching anything."""
        sets = []
        if self.sets.root.is_dir():
            self.sets.ready(create=False)
            sets = [entry.summary() for entry in self.sets.all()]
        good = [entry for entry in sets if entry["verified"]]
        return {"sets": sets, "latest": (good or [{}])[0], "restore": restores.read_journal(self.config) if sets else {}}

    def remote_info(self) -> dict[str, Any]:
        """The sets elsewhere, by remote."""
        return {"sets": [], "remotes": {name: Remote(self.config, name).list() for name in self.config.remotes}}

    def sizes(self) -> dict[str, int]:
        """How many bytes each phase of a backup had the last time."""
        good = [entry for entry in self.sets.all() if entry.verified]
        artefacts = good[0].manifest["artefacts"] if good else []
        return {{"database": "dump"}.get(entry["role"], entry["role"].rpartition(":")[2]): entry["bytes"] for entry in artefacts}

    def _metrics(self, code: int | None = None, seconds: float = 0) -> None:
        if self.config.metrics and code != LOCKED:  # whoever holds the lock tells how that one ends
            problem = metrics.write(
                Path(self.config.metrics), self.config.instance, self.sets.all(), self.config.remotes, code, seconds
            )
            self.notes += [problem] if problem else []  # no reason to call a backup bad
