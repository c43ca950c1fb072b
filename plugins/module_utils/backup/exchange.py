# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Exchange the live database and its files with those of a set. A journal lets the next run undo what a killed one began.

Files are exchanged entry by entry inside their directory (exchange_files.py): containers that have it mounted go on seeing it, and
writing to it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import exchange_files as files
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import postgres, sql
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import HIDDEN
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import RESTORE_FAILED, BackupError, Config
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile

Move = dict[str, Any]  # live, coming, going: directories; names: of the entries that are coming
JOURNAL = ".restore.json"


class Exchange:
    """Exchange a database and its files with others, under a fence; journalled, so that it can be undone from any point.

    The journal's phases: preparing, exchanging, probing, and done, when what was replaced is the way back; returning, when a restore
    that is not final is undone; undoing, when one that is final is, and what it restored becomes the way back.
    """

    def __init__(self, config: Config, programs: postgres.Programs, journal: dict[str, Any]) -> None:
        self.config, self.programs, self.journal = config, programs, journal
        self.path = Path(config.root) / JOURNAL

    def write_journal(self, **changes: Any) -> None:
        """Note where we are, on the disk."""
        self.journal.update(changes)
        statefile.write(self.path, self.journal, 0o600)

    def databases(self) -> list[str]:
        """The databases there are."""
        return list(self.programs.sql("SELECT to_json(datname) FROM pg_database"))

    @files.as_backup_error()
    def replace_live(self, phase: str, coming: str, going: str, moves: list[Move]) -> None:
        """Let `coming` be the database and its files, and keep what was there as `going`; how long nobody got in is noted.

        :param phase: what the journal is to say meanwhile.
        """
        live = self.config.database
        for move in moves:
            move["going"] = str(Path(move["live"]) / f"{HIDDEN}{going.rpartition('__before_')[2]}")
            move["names"] = files.entries(Path(move["coming"]))
        exists = live in self.databases()
        self.write_journal(phase=phase, step="closed", coming=coming, going=going, moves=moves, existed=exists)
        (self.programs.runtime / "undo.sql").write_text(
            f"ALTER DATABASE {manifests.quoted(live)} ALLOW_CONNECTIONS true;\n" if exists else ""
        )
        with self.programs.session("postgres", RESTORE_FAILED) as session:
            began = time.monotonic()
            if exists:
                session.ask(f"ALTER DATABASE {manifests.quoted(live)} ALLOW_CONNECTIONS false")
            self._empty(session, live, coming)
            self.write_journal(step="files_out")
            for move in moves:
                files.move_out(Path(move["live"]), Path(move["going"]))
            self.write_journal(step="files_in")
            for move in moves:
                files.move_in(Path(move["coming"]), Path(move["live"]), Path(move["going"]))
            away = f"ALTER DATABASE {manifests.quoted(live)} RENAME TO {manifests.quoted(going)};" if exists else ""
            session.ask(
                f"BEGIN; {away} ALTER DATABASE {manifests.quoted(coming)} RENAME TO {manifests.quoted(live)}; "
                f"ALTER DATABASE {manifests.quoted(live)} ALLOW_CONNECTIONS true; COMMIT"
            )
            seconds = round(time.monotonic() - began, 3)
        (self.programs.runtime / "undo.sql").unlink()
        for move in moves:
            shutil.rmtree(move["coming"], ignore_errors=True)
        self.write_journal(step="swapped", closed_seconds=seconds)

    def _empty(self, session: postgres.Session, *databases: str) -> None:
        """End every session in the databases; nobody new gets into a closed one."""
        for _attempt in range(100):
            session.ask(sql.terminate(*databases))
            if not session.one(sql.sessions(*databases)):
                return
            time.sleep(0.05)
        raise BackupError("some sessions of the database do not end.", RESTORE_FAILED)

    def took_place(self) -> bool:
        """Whether the exchange of the journal took place."""
        databases = self.databases()
        return self.journal.get("coming") not in databases and self.config.database in databases

    @files.as_backup_error()
    def undo_unfinished_exchange(self) -> None:
        """Undo an exchange that was begun and did not take place."""
        if self.journal.get("step") == "files_in":
            for move in self.journal["moves"]:
                live = Path(move["live"])
                files.undo_move_in(live, Path(move["coming"]), move["names"] if "names" in move else files.entries(live))
            self.write_journal(step="files_out")
        if self.journal.get("step") == "files_out":
            for move in self.journal["moves"]:
                files.undo_move_out(Path(move["going"]), Path(move["live"]))
        if self.config.database in self.databases():
            self.programs.sql(f"ALTER DATABASE {manifests.quoted(self.config.database)} ALLOW_CONNECTIONS true")

    @files.as_backup_error()
    def undo_restore(self) -> None:
        """Undo a restore that is not final: everything is as before it, and nothing of it is left."""
        journal = self.journal
        if journal["step"] and not self.took_place():
            self.undo_unfinished_exchange()
        elif journal["step"] and journal["existed"]:
            self.replace_live("returning", journal["going"], journal["coming"], self.moves_to_previous())
            self.drop_database(journal["going"])
        if journal["phase"] != "returning":
            self.drop_database(journal["coming"])
        self.discard_journal()

    @files.as_backup_error()
    def recover_after_crash(self) -> None:
        """Undo a restore that was killed, or finish what undid it."""
        journal = self.journal
        took_place = bool(journal["step"]) and self.took_place()
        if journal["phase"] == "undoing":
            # Both databases are good ones; whichever is in place stays, and the other is the way back.
            if not took_place:
                self.undo_unfinished_exchange()
                moves = [{**move, "coming": "", "going": move["coming"]} for move in journal["moves"]]
                journal.update(going=journal["coming"], moves=moves)
            self.write_journal(phase="done", step="swapped")
        elif journal["phase"] == "returning":
            if not took_place:
                self.undo_unfinished_exchange()
                self.replace_live("returning", journal["coming"], journal["going"], self.journal["moves"])
            self.drop_database(journal["going"])
            self.discard_journal()
        else:
            self.undo_restore()

    def moves_to_previous(self) -> list[Move]:
        """The moves that bring back what went away."""
        return [{"live": move["live"], "coming": move["going"], "going": ""} for move in self.journal["moves"]]

    def drop_database(self, name: str) -> None:
        """Remove a database that nobody needs, and whoever is in it."""
        if name in self.databases():
            self.programs.sql(f"DROP DATABASE {manifests.quoted(name)} WITH (FORCE)")

    def discard_journal(self) -> None:
        """Remove the journal and the directories that it names; the way back that there was before it is there again."""
        self._remove_directories(self.journal)
        previous = self.journal.get("previous")
        if previous:
            self.journal = previous
            self.write_journal()
        else:
            statefile.remove(self.path)

    @files.as_backup_error()
    def commit(self, **changes: Any) -> None:
        """The exchange is final: it is the way back from now on, and the one before it goes."""
        previous = self.journal.pop("previous", None)
        self.write_journal(phase="done", **changes)
        if previous:
            self.drop_database(previous["going"])
            self._remove_directories(previous)

    @staticmethod
    def _remove_directories(journal: Mapping[str, Any]) -> None:
        for move in journal.get("moves") or []:
            for directory in (move["coming"], move["going"]):
                if directory and Path(directory).name.startswith(HIDDEN):
                    shutil.rmtree(directory, ignore_errors=True)


def read_journal(config: Config) -> dict[str, Any]:
    """The journal of the last restore; empty when there is none."""
    found = statefile.read(Path(config.root) / JOURNAL) or {}
    found.pop("schema", None)
    return found
