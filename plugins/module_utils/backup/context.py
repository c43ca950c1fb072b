# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What every operation on the backups of an instance needs: its lock, the recovery of what a killed run left, metrics, notes."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import metrics, postgres, sql
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import Tell
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.exchange import Exchange, read_journal
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import LOCKED, OK, UNEXPECTED, BackupError, Config
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import WORK, Set, Sets


class Context:
    """The backups of one instance, and who works on them now."""

    def __init__(self, config: Config, tell: Tell | None = None) -> None:
        self.config, self.sets = config, Sets(config)
        self.tell: Tell = tell or (lambda phase, done: None)
        self.notes: list[str] = []  # what the operator should know, though it worked

    @contextmanager
    def locked(self, doing: str, wait: float = 0) -> Iterator[None]:
        """Under the lock, after whatever a killed run left was put right."""
        self.sets.ready()
        with self.sets.alone(doing, wait):
            postgres.sweep(self.config)
            self.sets.sweep()
            self._recover()
            yield

    @contextmanager
    def reported(self, run: bool = False) -> Iterator[None]:
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

    def find(self, name: str) -> Set:
        """A set to look at; told if `latest` is not the newest there is."""
        found = self.sets.find(name)
        overlooked = self.sets.overlooked(found, self.sets.all()) if name == "latest" else ""
        self.notes += [overlooked] if overlooked else []
        return found

    @contextmanager
    def work_directory(self) -> Iterator[Path]:
        """A directory for what must be unpacked, gone afterwards."""
        directory = Path(self.config.root) / f"{WORK}{secrets.token_hex(4)}"
        directory.mkdir(mode=0o700)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def cluster(self) -> str:
        """The identifier of the cluster that the server runs."""
        with self.client() as programs:
            return str(programs.sql(sql.SERVER)[0]["system_identifier"])

    @contextmanager
    def client(self, work: Path | None = None) -> Iterator[postgres.Programs]:
        """Client programs beside the server.

        :param work: a directory that they see as /work.
        """
        with postgres.client(self.config, postgres.server(self.config.container), work) as programs:
            yield programs

    @contextmanager
    def exchange(self, journal: dict[str, Any]) -> Iterator[Exchange]:
        """The exchange that a journal tells of."""
        with self.client() as programs:
            yield Exchange(self.config, programs, journal)

    def _recover(self) -> None:
        """Undo a restore that was killed, or finish what undid it."""
        journal = read_journal(self.config)
        if journal and journal["phase"] != "done":
            try:
                with self.exchange(journal) as exchange:
                    exchange.recover_after_crash()
            except BackupError as error:
                message = f"A restore of {journal.get('set')} that died is not undone yet; every command tries it first. {error}"
                raise BackupError(message, error.code) from error
            self.notes.append(f"A restore of {journal.get('set')} that died was undone.")
