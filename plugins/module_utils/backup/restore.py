# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Put a set back: into a new database, compared, and only then exchanged with the live one; and the way back from it."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import import_dumps, load, plan, postgres, preflight, sql
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.context import Context
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import dump
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.exchange import Exchange, read_journal
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import (
    BAD_INPUT,
    RESTORE_FAILED,
    RESTORE_UNDONE,
    BackupError,
    Config,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Set, newest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health


class Restore:
    """Restores sets of one instance."""

    def __init__(self, context: Context) -> None:
        self.context, self.config, self.sets = context, context.config, context.sets
        self.phases: dict[str, float] = {}  # the seconds that each took
        self._phase_now, self._phase_since = "", 0.0

    def run(self, name: str, identity: str = "", foreign: bool = False, safety: bool = True, probe: bool = True,
            files: str = "", wait: float = 0, allow_empty: bool = False) -> dict[str, Any]:  # fmt: skip
        """Restore a set, or a dump of the old kind, and let it take the place of the live database and files.

        :param name: a set, `latest`, or the path of a .sql or .sql.gz.
        :param safety: back up what is there first.
        :param files: for a dump of the old kind, the archive of files that belongs to it.
        :param allow_empty: let a set without tables, rows or files take the place of some.
        :raises BackupError: RESTORE_FAILED: the live database was not touched; RESTORE_UNDONE: everything is as it was.
        """
        with self.context.reported(), self.context.locked("a restore", wait):
            found = self._import(name, files, allow_empty) if name.endswith((".sql", ".sql.gz")) else self.choose(name, foreign)
            self._phase("check")
            self.sets.check_bytes(found)
            with self.context.work_directory() as work, self.context.client(work) as programs:
                about = self._preflight(programs, found, foreign, allow_empty)
                saved = ""
                if safety and self.config.database in about["databases"]:
                    self._phase("safety")
                    saved = dump(self.sets, f"before the restore of {found.id}", False, self.context.tell, []).id
                result = self._restore(found, programs, work, identity, probe)
                if found.cluster != about["system_identifier"]:
                    self.sets.goes_on(found.cluster)
        self._phase("")
        return {"changed": True, "set": found.summary(), "saved": saved, "phases": self.phases, **result}

    def check(self, name: str, foreign: bool = False, allow_empty: bool = False) -> Set:
        """A set that could be restored here and now.

        :raises BackupError: it could not; nothing was changed.
        """
        found = self.choose(name, foreign)
        self.sets.check_bytes(found)
        with self.context.client() as programs:
            self._preflight(programs, found, foreign, allow_empty)
        return found

    def previous(self) -> dict[str, Any]:
        """The journal of the last restore, which :meth:`undo` can undo.

        :raises BackupError: there is none.
        """
        journal = read_journal(self.config)
        if journal.get("phase") != "done" or not journal.get("going"):
            raise BackupError("There is no restore to return from.", BAD_INPUT)
        return journal

    def undo(self, wait: float = 0) -> dict[str, Any]:
        """Return to the database and the files that the last restore replaced. What is there now is kept in their place."""
        with self.context.locked("the undoing of a restore", wait):
            journal = self.previous()
            with self.context.exchange(journal) as exchange:
                if journal["going"] not in exchange.databases():
                    raise BackupError(f"{journal['going']} is not there any more.", BAD_INPUT)
                going = plan.beside(self.config.database, "before", plan.set_id(time.time(), secrets.token_hex(3)))
                try:
                    exchange.replace_live("undoing", journal["going"], going, exchange.moves_to_previous())
                except BaseException:
                    exchange.recover_after_crash()
                    raise
                exchange.commit()
        return {"changed": True, "closed_seconds": exchange.journal["closed_seconds"], "kept": going}

    def discard_previous(self, wait: float = 0) -> None:
        """Give up the way back of the last restore, with the database and the files that it replaced."""
        with self.context.locked("the end of a restore", wait):
            journal = read_journal(self.config)
            if journal.get("going"):
                with self.context.exchange(journal) as exchange:
                    exchange.drop_database(journal["going"])
                    exchange.discard_journal()

    def choose(self, name: str, foreign: bool) -> Set:
        """The set to restore. On a machine that has sets of two clusters nobody but the operator knows which one `latest` is of.

        :raises BackupError: there is none; which one is meant is not certain; or as `latest` it would be an older one than the newest
            there is, and what was written since would be lost.
        """
        if name != "latest":
            return self.sets.find(name)
        sets = self.sets.all()
        if foreign:
            own = self.context.cluster()
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

    def _preflight(self, programs: postgres.Programs, found: Set, foreign: bool, allow_empty: bool) -> dict[str, Any]:
        about: dict[str, Any] = programs.sql(sql.SERVER)[0]
        preflight.refuse_misplaced(self.config, found.manifest, about, foreign)
        if not allow_empty:
            preflight.refuse_empty(self.config, programs, found.manifest, about["databases"])
        return about

    def _import(self, name: str, files: str, allow_empty: bool) -> Set:
        with self.context.work_directory() as work:
            return import_dumps.legacy(self.sets, Path(name), files, work, self.context.tell, allow_empty)

    def _restore(self, found: Set, programs: postgres.Programs, work: Path, identity: str, probe: bool) -> dict[str, Any]:
        mark = plan.set_id(time.time(), secrets.token_hex(3))
        old = read_journal(self.config)
        coming, going = (plan.beside(self.config.database, purpose, mark) for purpose in ("restore", "before"))
        self._phase("unpack")
        roles = load.unpack_dump(found, work, identity)
        with claimed(self.config, programs):
            moves = load.file_moves(self.config, found, f"new-{mark}")
            # One way back is kept, the last one; until this restore is final, that is the one before it.
            exchange = Exchange(self.config, programs, {"set": found.id, **({"previous": old} if old else {})})
            exchange.write_journal(phase="preparing", step="", coming=coming, going=going, moves=moves)
            try:
                load.load_dump(programs, found.manifest, roles, coming, self.config.jobs, RESTORE_FAILED, self._phase)
                self._phase("files")
                load.unpack_files(self.config, found, identity, moves)
                self._phase("exchange")
                exchange.replace_live("exchanging", coming, going, moves)
            except BaseException as error:
                try:
                    exchange.undo_restore()
                except BackupError as second:
                    message = f"{error} What was begun could not be put back yet ({second}); the next run of any command does."
                    raise BackupError(message, RESTORE_FAILED) from error
                raise
            seconds = exchange.journal["closed_seconds"]
            self._phase("probe")
            exchange.write_journal(phase="probing")
            said = application_problem(self.config) if probe else ""
            if said and exchange.journal["existed"]:
                exchange.undo_restore()
                raise BackupError(
                    f"The application does not answer on the restored data ({said}). Everything is as it was.", RESTORE_UNDONE
                )
            self._phase("end")  # the way back before this one goes, with its database
            exchange.commit(probe=said)
        return {"closed_seconds": seconds, "kept": going if exchange.journal["existed"] else ""}

    def _phase(self, name: str, done: int = 0) -> None:
        """Tell of a phase, and note how long the one before it took."""
        now = time.monotonic()
        if self._phase_now:
            self.phases[self._phase_now] = round(now - self._phase_since, 2)
        self._phase_now, self._phase_since = name, now
        if name:
            self.context.tell(name, done)


@contextlib.contextmanager
def claimed(config: Config, programs: postgres.Programs) -> Iterator[None]:
    """The live database, if there is one, is nobody else's. The exchange ends the session that holds it with all the others."""
    if config.database not in programs.sql("SELECT to_json(datname) FROM pg_database"):
        yield
        return
    with programs.session(config.database, RESTORE_FAILED) as session:
        postgres.claim(session)
        yield


def application_problem(config: Config) -> str:
    """Wait until one of the probes answers; what they said instead, empty when one did or there are none."""
    deadline, said, answered = time.monotonic() + config.probe_seconds, "no answer", False
    if not config.probes:
        return ""
    while True:
        for url, check in map(health.probe_check, config.probes):
            status, problem = health.ask(url, check)
            if not problem:
                return ""
            # Of several colours only one runs; what the one says that answers is worth more than that others do not.
            if status or not answered:
                said, answered = f"{url}: {problem}", bool(status)
        if time.monotonic() > deadline:
            return said
        time.sleep(0.5)
