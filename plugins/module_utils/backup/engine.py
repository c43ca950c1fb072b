# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The backup engine: what the modules and the command on the server do, under one lock, with the same exit codes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan, postgres, sql
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.context import Context
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.drill import StreamJudge, decode, restore_elsewhere
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import Tell, dump
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.exchange import read_journal
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.manifest import qualified
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import (
    BAD_INPUT,
    NOT_CHECKED,
    UPLOAD_FAILED,
    BackupError,
    Config,
    Damaged,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.remote import Remote
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.restore import Restore
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Set, iso, newest


class Engine:
    """Everything that can be done to the backups of one instance; ``restore`` has what changes live data."""

    def __init__(self, config: Config, tell: Tell | None = None) -> None:
        self.context = Context(config, tell)
        self.config, self.sets, self.notes = config, self.context.sets, self.context.notes
        self.restore = Restore(self.context)

    # --- backup ----------------------------------------------------------------------------------------

    def run(self, reason: str = "", keep: bool = False, max_age: float = 0, wait: float = 0, drill: bool = False, prune: bool = True
            ) -> dict[str, Any]:  # fmt: skip
        """Back up, copy elsewhere, prune.

        :param max_age: do nothing if a verified set is younger than so many seconds.
        :param drill: restore the dump into a throw-away server while it is made.
        :raises BackupError: it failed; with UPLOAD_FAILED the set is good, but not elsewhere yet.
        """
        with self.context.reported(run=True), self.context.locked("a backup", wait):
            fresh = plan.fresh(self.sets.entries(), time.time(), max_age) if max_age else ""
            found = self.sets.find(fresh) if fresh else self._dump(reason, keep, drill)
            copied, failed = self._copy_all()
            removed: list[str] = []
            if prune and not fresh and not failed and not found.manifest.get("shrunk"):
                removed = self._prune(found.id)
            result = {"changed": not fresh, "set": self.sets.find(found.id).summary(), "copied": copied, "removed": removed}
            if failed:
                raise BackupError(f"The set {found.id} is good, but not everywhere yet: {' '.join(failed)}", UPLOAD_FAILED)
        return result

    def _dump(self, reason: str, keep: bool, drill: bool) -> Set:
        warnings: list[str] = []
        for attempt in (1, 2):
            server = postgres.server(self.config.container)
            try:
                if drill:
                    with self.context.work_directory() as work, StreamJudge(self.config, server, work) as judge:
                        return dump(self.sets, reason, keep, self.context.tell, warnings, judge)
                return dump(self.sets, reason, keep, self.context.tell, warnings)
            except BackupError as error:
                if attempt == 2 or not self._restarted(server):
                    raise
                warnings.append(f"PostgreSQL was started again during the first attempt ({error}); this is the second")
        raise AssertionError("unreachable")

    def _restarted(self, before: dict[str, Any], seconds: float = 60) -> bool:
        """Whether the server went away and is back, or will be soon; one that was never away answers at once."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(BackupError):
                now = postgres.server(self.config.container)
                postgres.docker("exec", self.config.container, "pg_isready", "-q", "-h", "127.0.0.1")
                return bool(now["started_at"] != before["started_at"])
            time.sleep(0.5)
        return False

    def _copy_all(self) -> tuple[list[str], list[str]]:
        """Copy every verified set to every remote that lacks it, newest first; what was copied, and what went wrong."""
        copied, failed = [], []
        for name in self.config.remotes:
            remote = Remote(self.config, name)
            waiting = [entry for entry in self.sets.all() if entry.verified and entry.missing([name])]
            for found in waiting:
                try:
                    if found is waiting[0] and not self._goes_on(remote):
                        break
                    self.context.tell(f"copy {found.id}", 0)
                    remote.copy(found)
                    self.sets.note(self.sets.find(found.id), offsite={**found.state.get("offsite", {}), name: iso(time.time())})
                    copied.append(f"{name}: {found.id}")
                except BackupError as error:
                    failed.append(str(error))
                    break  # an unreachable remote is not asked again for every set
        return copied, failed

    def _goes_on(self, remote: Remote) -> bool:
        """Whether this machine goes on with what is on a remote. A new one does not yet: its first sets would hide what it lost."""
        if any(remote.remote in entry.state.get("offsite", {}) for entry in self.sets.all() if not entry.state.get("fetched")):
            return True
        there = remote.list()
        theirs = remote.manifest(there[0]) if there else {}
        if not theirs or theirs["server"]["system_identifier"] in self.sets.ours():
            return True
        self.notes.append(
            f"Nothing is copied to {remote.remote} yet: the sets of {self.config.instance} there (the newest is {there[0]}) are of another "
            f"cluster ({theirs['server']['system_identifier']}). If this machine is to go on with them, bring them back (docs/backups.md, "
            "A new machine); if it is another beginning, give it a path of its own in remotes."
        )
        return False

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
        with self.context.reported(), self.context.locked("pruning", wait):
            decided = self.plan()
            removed = self._prune()
        return {"changed": bool(removed), "keep": decided.keep, "removed": removed, "note": decided.note}

    def _prune(self, new: str = "") -> list[str]:
        """:param new: the set just made, which stays whatever the clock has done."""
        removed = []
        for name in (name for name in self.plan().remove if name != new):
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
        journal = read_journal(self.config)
        if journal.get("phase") == "done" and journal["going"]:
            with self.context.exchange(journal) as exchange:
                for old in plan.kept_databases(
                    exchange.databases(), self.config.database, time.time(), self.config.keep_old_days
                ):
                    exchange.drop_database(old)
                    removed.append(old)
                if journal["going"] in removed:
                    exchange.discard_journal()
        return removed

    # --- checks --------------------------------------------------------------------------------------------

    def verify(self, name: str = "latest", identity: str = "", wait: float = 0, level: str = "decode") -> dict[str, Any]:
        """Compare every byte of a set with what it says of itself, and decode it if it can be read here; `all` for all sets.

        :raises BackupError: something is wrong. With VERIFY_FAILED it is a set, and written down; else this host could not tell.
        """
        with self.context.reported(), self.context.locked("a check", wait):
            chosen = self.sets.all() if name == "all" else [self.context.find(name)]
            wrong: list[BackupError] = []
            for found in chosen:
                self.context.tell(f"verify {found.id}", 0)
                try:
                    with self._checking(found, "checksum"):
                        self.sets.check_bytes(found)
                        self.sets.note_check(found, "checksum", "")
                    if level != "checksum" and (identity or not found.manifest["recipients"]):
                        with self._checking(found, "decode"):
                            decode(self.config, found, identity)
                            self.sets.note_check(self.sets.find(found.id), "decode", "")
                except BackupError as error:
                    wrong.append(error)
        if wrong:
            first = next((error for error in wrong if isinstance(error, Damaged)), wrong[0])
            raise BackupError(" ".join(map(str, wrong)), first.code)
        return {
            "changed": False,
            "sets": [entry.summary() for entry in self.sets.all() if entry.id in {each.id for each in chosen}],
        }

    @contextlib.contextmanager
    def _checking(self, found: Set, level: str) -> Iterator[None]:
        """Write down a verdict on a set that the body comes to; whatever else stops it is not about the set.

        :raises Damaged: the verdict. BackupError: NOT_CHECKED, unless the input was bad.
        """
        try:
            yield
        except Damaged as error:
            if not found.problem:
                self.sets.note_check(self.sets.find(found.id), level, str(error))
            raise
        except (BackupError, OSError) as error:
            code = BAD_INPUT if isinstance(error, BackupError) and error.code == BAD_INPUT else NOT_CHECKED
            raise BackupError(f"{found.id} could not be checked: {error}", code) from error

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
        with self.context.reported(), self.context.locked("a drill", wait):
            found = self.context.find(name)
            with self._checking(found, "drill"):
                self.sets.check_bytes(found)
                with self.context.work_directory() as work:
                    seconds = restore_elsewhere(self.config, found, work, identity, self.context.tell)
                noted = self.sets.note_check(found, "drill", "", {"seconds": seconds})
        return {"changed": True, "set": noted.summary(), "seconds": seconds}

    def recover(self) -> dict[str, Any]:
        """Put right what a killed run left; at boot, and by hand."""
        with self.context.locked("a recovery", wait=60):
            return {"changed": bool(self.notes), "notes": self.notes}

    # --- what there is -------------------------------------------------------------------------------------

    def fetch(self, name: str = "latest", remote: str = "", wait: float = 0, foreign: bool = False) -> dict[str, Any]:
        """Bring a set back from elsewhere, and say whose it is.

        :param name: `latest` for the newest one there that is not empty; with ``foreign``, of another cluster than this server's.
        :raises BackupError: there is none, or it is not what was copied there.
        """
        names = [remote] if remote else self.config.remotes
        if not names:
            raise BackupError("remotes: there are none in the configuration.", BAD_INPUT)
        with self.context.locked("a fetch", wait):
            there = Remote(self.config, names[0])
            wanted = there.newest(self.context.cluster() if foreign else "") if name == "latest" else name
            here = next((entry for entry in self.sets.all() if entry.id == wanted), None)
            if here and not here.verified:
                raise BackupError(f"{wanted} is here already, and damaged. Move {here.path} away first.", BAD_INPUT)
            found = here or there.fetch(self.sets, wanted)
        other = (
            " That is not this server's: restore it with --foreign (foreign: true)."
            if found.cluster not in self.sets.ours()
            else ""
        )
        self.notes.append(
            f"{found.id} {'is here already. It ' if here else ''}is a set of {self.config.instance}, made at "
            f"{found.manifest['started_at']} of the cluster {found.cluster}.{other}"
        )
        return {"changed": not here, "set": found.summary()}

    def info(self) -> dict[str, Any]:
        """Everything that is known, without touching anything."""
        sets = []
        if self.sets.root.is_dir():
            self.sets.ready(create=False)
            sets = [entry.summary() for entry in self.sets.all()]
        latest = newest(self.sets.all()) if sets else None
        return {
            "sets": sets,
            "latest": latest.summary() if latest else {},
            "restore": read_journal(self.config) if sets else {},
        }

    def live_rows(self, database: str = "") -> dict[str, int]:
        """Quoted name of each table in the live database (or another one of its server) -> the rows that it has now.

        :raises BackupError: PostgreSQL cannot be asked, a table was locked for 5 s, or counting took longer than two minutes.
        """
        with self.context.client() as programs, programs.session(database or self.config.database) as session:
            session.ask("SET default_transaction_read_only = on; SET lock_timeout = '5s'; SET statement_timeout = '120s'")
            return {qualified(table): table["rows"] for table in session.ask(sql.COUNTS)}

    def remote_info(self) -> dict[str, Any]:
        """The sets elsewhere, by remote."""
        return {"sets": [], "remotes": {name: Remote(self.config, name).list() for name in self.config.remotes}}

    def sizes(self) -> dict[str, int]:
        """How many bytes each phase of a backup had the last time."""
        good = [entry for entry in self.sets.all() if entry.verified]
        artefacts = good[0].manifest["artefacts"] if good else []
        return {{"database": "dump"}.get(entry["role"], entry["role"].rpartition(":")[2]): entry["bytes"] for entry in artefacts}
