# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What every operation on backups needs (lock, recovery, metrics), and those that change live data: restore, and the way back."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import import_dumps as imports
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import metrics, plan, postgres, sql
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import restore as restores
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import Tell, dump
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import (
    BAD_INPUT,
    LOCKED,
    OK,
    RESTORE_FAILED,
    RESTORE_UNDONE,
    UNEXPECTED,
    BackupError,
    Config,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import WORK, Set, Sets, newest


class Restorer:
    """Restores sets of one instance."""

    def __init__(self, config: Config, tell: Tell | None = None) -> None:
        self.config, self.sets = config, Sets(config)
        self.tell: Tell = tell or (lambda phase, done: None)
        self.notes: list[str] = []  # what the operator should know, though it worked
        self.phases: dict[str, float] = {}  # of a restore, and the seconds of each
        self._phase_now, self._phase_since = "", 0.0

    @contextmanager
    def _alone(self, doing: str, wait: float = 0) -> Iterator[None]:
        """Under the lock, after whatever a dead run left was put right."""
        self.sets.ready()
        with self.sets.alone(doing, wait):
            postgres.sweep(self.config)
            self.sets.sweep()
            self._recover()
            yield

    @contextmanager
    def _told(self, run: bool = False) -> Iterator[None]:
        """Tell Prometheus how the body ended, however it does: well, with an error that nobody expected, or asked to end by a signal.

        :param run: it is a backup; of anything else only what it leaves is told.
        """
        began, code = time.time(), UNEXPECTED
        try:
            yield
            code = OK
        except BackupError as error:
            code = error.code
            raise
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else UNEXPECTED
            raise
        finally:
            if code != LOCKED:  # whoever holds the lock tells how that one ends
                self._metrics(code if run else None, time.time() - began)

    def _metrics(self, code: int | None, seconds: float) -> None:
        if not self.config.metrics:
            return
        try:
            known = self.sets.all()
        except OSError:
            known = None
        problem = metrics.write(Path(self.config.metrics), self.config.instance, known, self.config.remotes, code, seconds)
        self.notes += [problem] if problem else []  # no reason to call a backup bad

    def _latest(self, name: str) -> Set:
        """A set to look at; told if `latest` is not the newest there is."""
        found = self.sets.find(name)
        overlooked = self.sets.overlooked(found, self.sets.all()) if name == "latest" else ""
        self.notes += [overlooked] if overlooked else []
        return found

    def _chosen(self, name: str, foreign: bool) -> Set:
        """The set to restore. On a machine that has sets of two clusters nobody but the operator knows which one `latest` is of.

        :raises BackupError: there is none; which one is meant is not certain; or as `latest` it would be an older one than the newest
            there is, and what was written since would be lost.
        """
        if name != "latest":
            return self.sets.find(name)
        sets = self.sets.all()
        if foreign:
            own = self._cluster()
            sets = [entry for entry in sets if entry.cluster != own]
            chosen = newest(sets)
            if not chosen:
                raise BackupError(f"There is no verified set of another cluster in {self.config.root}.", BAD_INPUT)
            found = chosen
        else:
            found, ours = self.sets.find(name), self.sets.ours()
            other = newest([entry for entry in sets if entry.cluster not in ours])
            if other and found.cluster in ours:
                raise BackupError(
                    f"latest could be {found.id}, made here, or {other.id}, which came from {other.state['fetched']} and is of another "
                    "cluster. Name the one that is meant, or say --foreign (foreign: true) for the newest of another cluster.",
                    BAD_INPUT,
                )
        overlooked = self.sets.overlooked(found, sets)
        if overlooked:
            raise BackupError(f"{overlooked} Nothing was restored: name the one that you want, such as {found.id}.", BAD_INPUT)
        return found

    def _phase(self, name: str, done: int = 0) -> None:
        """Tell of a phase, and note how long the one before it took."""
        now = time.monotonic()
        if self._phase_now:
            self.phases[self._phase_now] = round(now - self._phase_since, 2)
        self._phase_now, self._phase_since = name, now
        if name:
            self.tell(name, done)

    @contextmanager
    def _work(self) -> Iterator[Path]:
        """A folder for what must be unpacked, gone afterwards."""
        folder = Path(self.config.root) / f"{WORK}{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def restore(self, name: str, identity: str = "", foreign: bool = False, safety: bool = True, probe: bool = True,
                files: str = "", wait: float = 0, allow_empty: bool = False) -> dict[str, Any]:  # fmt: skip
        """Restore a set, or a dump of the old kind, and let it take the place of the live database and files.

        :param name: a set, `latest`, or the path of a .sql or .sql.gz.
        :param safety: back up what is there first.
        :param files: for a dump of the old kind, the archive of files that belongs to it.
        :param allow_empty: let a set without tables, rows or files take the place of some.
        :raises BackupError: RESTORE_FAILED: the live database was not touched; RESTORE_UNDONE: everything is as it was.
        """
        with self._told(), self._alone("a restore", wait):
            found = self._import(name, files, allow_empty) if name.endswith((".sql", ".sql.gz")) else self._chosen(name, foreign)
            self._phase("check")
            self.sets.check_bytes(found)
            with self._work() as work, postgres.client(self.config, postgres.server(self.config.container), work) as programs:
                about = self._preflight(programs, found, foreign, allow_empty)
                saved = ""
                if safety and self.config.database in about["databases"]:
                    self._phase("safety")
                    saved = dump(self.sets, f"before the restore of {found.id}", False, self.tell, []).id
                result = self._restore(found, programs, work, identity, probe)
                if found.cluster != about["system_identifier"]:
                    self.sets.goes_on(found.cluster)
        self._phase("")
        return {"changed": True, "set": found.summary(), "saved": saved, "phases": self.phases, **result}

    def restorable(self, name: str, foreign: bool = False, allow_empty: bool = False) -> Set:
        """A set that could be restored here and now.

        :raises BackupError: it could not; nothing was changed.
        """
        found = self._chosen(name, foreign)
        self.sets.check_bytes(found)
        with postgres.client(self.config, postgres.server(self.config.container)) as programs:
            self._preflight(programs, found, foreign, allow_empty)
        return found

    def _cluster(self) -> str:
        """The identifier of the cluster that the server runs."""
        with postgres.client(self.config, postgres.server(self.config.container)) as programs:
            return str(programs.sql(sql.SERVER)[0]["system_identifier"])

    def _preflight(self, programs: postgres.Programs, found: Set, foreign: bool, allow_empty: bool) -> dict[str, Any]:
        about: dict[str, Any] = programs.sql(sql.SERVER)[0]
        restores.preflight(self.config, found.manifest, about, foreign)
        if not allow_empty:
            restores.refuse_hollow(self.config, programs, found.manifest, about["databases"])
        return about

    def returnable(self) -> dict[str, Any]:
        """The journal of a restore that can be returned from.

        :raises BackupError: there is none.
        """
        journal = restores.read_journal(self.config)
        if journal.get("phase") != "done" or not journal.get("going"):
            raise BackupError("There is no restore to return from.", BAD_INPUT)
        return journal

    def _import(self, name: str, files: str, allow_empty: bool) -> Set:
        with self._work() as work:
            return imports.legacy(self.sets, Path(name), files, work, self.tell, allow_empty)

    def _restore(self, found: Set, programs: postgres.Programs, work: Path, identity: str, probe: bool) -> dict[str, Any]:
        mark = plan.set_id(time.time(), secrets.token_hex(3))
        old = restores.read_journal(self.config)
        coming, going = (plan.beside(self.config.database, purpose, mark) for purpose in ("restore", "before"))
        self._phase("unpack")
        roles = restores.unpack(found, work, identity)
        with restores.claimed(self.config, programs):
            moves = restores.file_moves(self.config, found, f"new-{mark}")
            # One way back is kept, the last one; until this restore is final, that is the one before it.
            exchange = restores.Exchange(self.config, programs, {"set": found.id, **({"previous": old} if old else {})})
            exchange.write(phase="preparing", step="", coming=coming, going=going, moves=moves)
            try:
                restores.into(programs, found.manifest, roles, coming, self.config.jobs, RESTORE_FAILED, self._phase)
                self._phase("files")
                restores.unpack_files(self.config, found, identity, moves)
                self._phase("exchange")
                exchange.run("exchanging", coming, going, moves)
            except BaseException as error:
                try:
                    exchange.put_back()
                except BackupError as second:
                    message = f"{error} What was begun could not be put back yet ({second}); the next run of any command does."
                    raise BackupError(message, RESTORE_FAILED) from error
                raise
            seconds = exchange.journal["closed_seconds"]
            self._phase("probe")
            exchange.write(phase="probing")
            said = restores.healthy(self.config) if probe else ""
            if said and exchange.journal["existed"]:
                exchange.put_back()
                raise BackupError(
                    f"The application does not answer on the restored data ({said}). Everything is as it was.", RESTORE_UNDONE
                )
            self._phase("end")  # the way back before this one goes, with its database
            exchange.done(probe=said)
        return {"closed_seconds": seconds, "kept": going if exchange.journal["existed"] else ""}

    def undo(self, wait: float = 0) -> dict[str, Any]:
        """Return to the database and the files that the last restore replaced. What is there now is kept in their place."""
        with self._alone("the undoing of a restore", wait):
            journal = self.returnable()
            with self._exchange(journal) as exchange:
                if journal["going"] not in exchange.names():
                    raise BackupError(f"{journal['going']} is not there any more.", BAD_INPUT)
                going = plan.beside(self.config.database, "before", plan.set_id(time.time(), secrets.token_hex(3)))
                try:
                    exchange.run("undoing", journal["going"], going, exchange.return_moves())
                except BaseException:
                    exchange.recover()
                    raise
                exchange.done()
        return {"changed": True, "closed_seconds": exchange.journal["closed_seconds"], "kept": going}

    def settle(self, wait: float = 0) -> None:
        """Give up the way back of the last restore, with the database and the files that it replaced."""
        with self._alone("the end of a restore", wait):
            journal = restores.read_journal(self.config)
            if journal.get("going"):
                with self._exchange(journal) as exchange:
                    exchange.drop(journal["going"])
                    exchange.forget()

    @contextmanager
    def _exchange(self, journal: dict[str, Any]) -> Iterator[restores.Exchange]:
        with postgres.client(self.config, postgres.server(self.config.container)) as programs:
            yield restores.Exchange(self.config, programs, journal)

    def _recover(self) -> None:
        """Undo a restore that died, or finish what undid it."""
        journal = restores.read_journal(self.config)
        if journal and journal["phase"] != "done":
            try:
                with self._exchange(journal) as exchange:
                    exchange.recover()
            except BackupError as error:
                message = f"A restore of {journal.get('set')} that died is not undone yet; every command tries it first. {error}"
                raise BackupError(message, error.code) from error
            self.notes.append(f"A restore of {journal.get('set')} that died was undone.")

    def recover(self) -> dict[str, Any]:
        """Put right what a dead run left; at boot, and by hand."""
        with self._alone("a recovery", wait=60):
            return {"changed": bool(self.notes), "notes": self.notes}
