# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Put a set back: into a new database, compared, and only then exchanged with the live one. A journal lets the next run undo a dead one.

Files are exchanged entry by entry inside their folder (swap.py): containers that have it mounted go on seeing it, and writing to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan, postgres, sql, stream
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import swap as paths
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import HIDDEN, Tell
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import (
    BAD_INPUT,
    RESTORE_FAILED,
    BackupError,
    Config,
    Damaged,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Set
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health

Move = dict[str, Any]  # live, coming, going: directories; names: of the entries that are coming
JOURNAL = ".restore.json"
DUMP = f"{postgres.WORK}/database.dump"


def unpack(found: Set, work: Path, identity: str, code: int = RESTORE_FAILED) -> str:
    """Put the plain dump into a folder, where several processes can read it at once; the SQL of the roles.

    :raises BackupError: it cannot be decoded.
    """
    entry = manifests.artefact(found.manifest, "database") or {}
    with os.fdopen(os.open(work / "database.dump", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        stream.check(stream.opened(found.path / entry["name"], identity, file), code=code)
    entry = manifests.artefact(found.manifest, "roles") or {}
    processes = stream.opened(found.path / entry["name"], identity)
    out, _none = processes[-1].communicate()
    stream.check(processes, code=code)
    return out.decode(errors="surrogateescape")


def into(
    programs: postgres.Programs, manifest: Mapping[str, Any], roles: str, name: str, jobs: int, code: int, tell: Tell
) -> None:
    """Restore an unpacked dump into a new database of that name, compare it with the manifest, and analyse it.

    :raises BackupError: anything failed or differs; the new database may be there.
    """
    expected, processes = manifest["database"], jobs or os.cpu_count() or 1
    with programs.session("postgres", code) as session:
        known = {entry["name"] for entry in expected["extensions"]} - set(
            session.ask("SELECT to_json(name) FROM pg_available_extensions")
        )
        if known:
            raise BackupError(f"this server's image lacks the extensions {', '.join(sorted(known))}.", code)
        session.ask(f"{sql.SECRETLY};\n{roles}")
        session.ask(manifests.create_sql(expected, name))
    tell("restore", 0)
    programs.run(
        "pg_restore",
        "--exit-on-error",
        f"--jobs={processes}",
        conninfo(name),
        DUMP,
        code=code,
    )
    tell("compare", 0)
    with programs.session("postgres", code) as session:
        session.ask("\n".join(manifests.properties_sql(expected, name)))
    # What pg_restore left in memory goes to the disk meanwhile: the DROP DATABASE that ends a restore waits until it is there.
    # Who may not ask for a checkpoint waits then: no reason to fail.
    flush = programs.start("psql", "-Xqc", "CHECKPOINT", stdout=subprocess.DEVNULL)
    # Without statistics the first users would wait; they are gathered while the rows are counted.
    analyse = programs.start(
        "vacuumdb", "--analyze-only", "--quiet", f"--jobs={processes}", conninfo(name), stdout=subprocess.DEVNULL
    )
    try:
        with programs.session(name, code) as session:
            session.ask(sql.QUIET)
            found = postgres.facts(session)
        stream.check([analyse], code=code)
        flush.wait()
    finally:
        stream.end([analyse, flush])
    wrong = manifests.differences(expected, found)
    if wrong:
        raise Damaged(f"the restored database is not what was dumped: {'; '.join(wrong[:10])}", code)


@contextlib.contextmanager
def claimed(config: Config, programs: postgres.Programs) -> Iterator[None]:
    """The live database, if there is one, is nobody else's. The exchange ends the session that holds it with all the others."""
    if config.database not in programs.sql("SELECT to_json(datname) FROM pg_database"):
        yield
        return
    with programs.session(config.database, RESTORE_FAILED) as session:
        postgres.claim(session)
        yield


def conninfo(name: str) -> str:
    """How a program is told the name of a database, whatever stands in it."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"--dbname=dbname='{escaped}'"


def preflight(config: Config, manifest: Mapping[str, Any], about: Mapping[str, Any], foreign: bool) -> None:
    """Refuse a set that does not belong here, or that this server cannot take.

    :param about: what the server says of itself; ``foreign`` lets in a set of another cluster.
    """
    theirs = manifest["server"]
    if theirs["version_num"] // 10000 > about["version_num"] // 10000:
        raise BackupError(
            f"the set is of PostgreSQL {theirs['version']}, this server is the older {about['version']}.", BAD_INPUT
        )
    if theirs["system_identifier"] != about["system_identifier"] and not foreign:
        raise BackupError(
            f"the set is of another cluster ({theirs['system_identifier']}, this one is {about['system_identifier']}). "
            "If that is meant, as on a new machine, say so: --foreign (foreign: true).",
            BAD_INPUT,
        )
    room = os.statvfs(config.root)
    free, needed = room.f_bavail * room.f_frsize, int(manifest["database"]["size_bytes"] * 1.3)
    if free < needed + (config.reserve_mb << 20):
        raise BackupError(f"{config.root}: {free} bytes are free, {needed} are needed to unpack the set.", BAD_INPUT)


def refuse_hollow(config: Config, programs: postgres.Programs, manifest: Mapping[str, Any], databases: Sequence[str]) -> None:
    """Refuse a set that would leave nothing in the place of something, wherever it came from.

    :param databases: those that the live server has.
    :raises BackupError: BAD_INPUT; what the set lacks.
    """
    tables, live_rows = manifests.rows(manifest), False
    if not any(tables.values()) and config.database in databases:
        with programs.session(config.database, RESTORE_FAILED) as session:
            session.ask(sql.QUIET)
            live_rows = bool(session.ask(sql.FILLED))
    unfilled = []
    for files in config.files:
        entry = manifests.artefact(manifest, f"files:{files['name']}")
        if entry and entry["entries"] < 2 and paths.entries(Path(files["path"])):  # the folder itself is one
            unfilled.append(files["path"])
    lacks = plan.hollow(tables, live_rows, unfilled)
    if lacks:
        raise BackupError(
            f"{manifest['id']} has {' and '.join(lacks)}. If that is to take the place of what is there, say so: "
            "--allow-empty (allow_empty: true).",
            BAD_INPUT,
        )


def file_moves(config: Config, found: Set, mark: str) -> list[Move]:
    """Where the files of a set are to go, and where they are unpacked first: in a folder inside, on the same file system."""
    folders = [files["path"] for files in config.files if manifests.artefact(found.manifest, f"files:{files['name']}")]
    return [{"live": path, "coming": str(Path(path) / f"{HIDDEN}{mark}"), "going": ""} for path in folders]


@paths.told()
def unpack_files(config: Config, found: Set, identity: str, moves: list[Move]) -> None:
    """Unpack the files of a set beside the live ones.

    :raises BackupError: an archive cannot be read.
    """
    names = {files["path"]: files["name"] for files in config.files}
    for move in moves:
        live, coming = Path(move["live"]), Path(move["coming"])
        new = not live.is_dir()
        live.mkdir(mode=0o750, parents=True, exist_ok=True)
        coming.mkdir(mode=0o700)
        entry = manifests.artefact(found.manifest, f"files:{names[move['live']]}") or {}
        processes = stream.opened(found.path / entry["name"], identity)
        command = ["tar", "--extract", "--preserve-permissions", "--numeric-owner", "--same-owner", "--directory", str(coming)]
        tar = stream.start(command, processes[-1].stdout)
        processes[-1].stdout.close()
        stream.check([*processes, tar], code=RESTORE_FAILED)
        rights = coming.stat()  # the archive gave it those that the live folder had
        if new:
            os.chown(live, rights.st_uid, rights.st_gid)
            live.chmod(rights.st_mode & 0o7777)
        os.chown(coming, 0, 0)
        coming.chmod(0o700)


class Exchange:
    """Exchange a database and its files with others, under a fence; journalled, so that it can be undone from any point."""

    def __init__(self, config: Config, programs: postgres.Programs, journal: dict[str, Any]) -> None:
        self.config, self.programs, self.journal = config, programs, journal
        self.path = Path(config.root) / JOURNAL

    def write(self, **changes: Any) -> None:
        """Note where we are, on the disk."""
        self.journal.update(changes)
        statefile.write(self.path, self.journal, 0o600)

    def names(self) -> list[str]:
        """The databases there are."""
        return list(self.programs.sql("SELECT to_json(datname) FROM pg_database"))

    @paths.told()
    def run(self, phase: str, coming: str, going: str, moves: list[Move]) -> None:
        """Let `coming` be the database and its files, and keep what was there as `going`; how long nobody got in is noted.

        :param phase: what the journal is to say meanwhile.
        """
        live = self.config.database
        for move in moves:
            move["going"] = str(Path(move["live"]) / f"{HIDDEN}{going.rpartition('__before_')[2]}")
            move["names"] = paths.entries(Path(move["coming"]))
        exists = live in self.names()
        self.write(phase=phase, step="closed", coming=coming, going=going, moves=moves, existed=exists)
        (self.programs.runtime / "undo.sql").write_text(
            f"ALTER DATABASE {manifests.quoted(live)} ALLOW_CONNECTIONS true;\n" if exists else ""
        )
        with self.programs.session("postgres", RESTORE_FAILED) as session:
            began = time.monotonic()
            if exists:
                session.ask(f"ALTER DATABASE {manifests.quoted(live)} ALLOW_CONNECTIONS false")
            self._empty(session, live, coming)
            self.write(step="files_out")
            for move in moves:
                paths.out(Path(move["live"]), Path(move["going"]))
            self.write(step="files_in")
            for move in moves:
                paths.enter(Path(move["coming"]), Path(move["live"]), Path(move["going"]))
            away = f"ALTER DATABASE {manifests.quoted(live)} RENAME TO {manifests.quoted(going)};" if exists else ""
            session.ask(
                f"BEGIN; {away} ALTER DATABASE {manifests.quoted(coming)} RENAME TO {manifests.quoted(live)}; "
                f"ALTER DATABASE {manifests.quoted(live)} ALLOW_CONNECTIONS true; COMMIT"
            )
            seconds = round(time.monotonic() - began, 3)
        (self.programs.runtime / "undo.sql").unlink()
        for move in moves:
            shutil.rmtree(move["coming"], ignore_errors=True)
        self.write(step="swapped", closed_seconds=seconds)

    def _empty(self, session: postgres.Session, *databases: str) -> None:
        """End every session in the databases; nobody new gets into a closed one."""
        for _attempt in range(100):
            session.ask(sql.terminate(*databases))
            if not session.one(sql.sessions(*databases)):
                return
            time.sleep(0.05)
        raise BackupError("some sessions of the database do not end.", RESTORE_FAILED)

    def swapped(self) -> bool:
        """Whether the exchange of the journal took place."""
        names = self.names()
        return self.journal.get("coming") not in names and self.config.database in names

    @paths.told()
    def back(self) -> None:
        """Undo an exchange that was begun and did not take place."""
        if self.journal.get("step") == "files_in":
            for move in self.journal["moves"]:
                live = Path(move["live"])
                paths.withdraw(live, Path(move["coming"]), move["names"] if "names" in move else paths.entries(live))
            self.write(step="files_out")
        if self.journal.get("step") == "files_out":
            for move in self.journal["moves"]:
                paths.take_back(Path(move["going"]), Path(move["live"]))
        if self.config.database in self.names():
            self.programs.sql(f"ALTER DATABASE {manifests.quoted(self.config.database)} ALLOW_CONNECTIONS true")

    @paths.told()
    def put_back(self) -> None:
        """End an unfinished restore: everything as before it, nothing of it left."""
        journal = self.journal
        if journal["step"] and not self.swapped():
            self.back()
        elif journal["step"] and journal["existed"]:
            self.run("returning", journal["going"], journal["coming"], self.return_moves())
            self.drop(journal["going"])
        if journal["phase"] != "returning":
            self.drop(journal["coming"])
        self.forget()

    @paths.told()
    def recover(self) -> None:
        """Undo a restore that died, or finish what undid it."""
        journal = self.journal
        swapped = bool(journal["step"]) and self.swapped()
        if journal["phase"] == "undoing":
            # Both databases are good ones; whichever is in place stays, and the other is the way back.
            if not swapped:
                self.back()
                moves = [{**move, "coming": "", "going": move["coming"]} for move in journal["moves"]]
                journal.update(going=journal["coming"], moves=moves)
            self.write(phase="done", step="swapped")
        elif journal["phase"] == "returning":
            if not swapped:
                self.back()
                self.run("returning", journal["coming"], journal["going"], self.journal["moves"])
            self.drop(journal["going"])
            self.forget()
        else:
            self.put_back()

    def return_moves(self) -> list[Move]:
        """The moves that bring back what went away."""
        return [{"live": move["live"], "coming": move["going"], "going": ""} for move in self.journal["moves"]]

    def drop(self, name: str) -> None:
        """Remove a database that nobody needs, and whoever is in it."""
        if name in self.names():
            self.programs.sql(f"DROP DATABASE {manifests.quoted(name)} WITH (FORCE)")

    def forget(self) -> None:
        """Nothing is under way any more; the way back that there was before is there again."""
        self._remove_folders(self.journal)
        previous = self.journal.get("previous")
        if previous:
            self.journal = previous
            self.write()
        else:
            statefile.remove(self.path)

    @paths.told()
    def done(self, **changes: Any) -> None:
        """The exchange is final: it is the way back from now on, and the one before it goes."""
        previous = self.journal.pop("previous", None)
        self.write(phase="done", **changes)
        if previous:
            self.drop(previous["going"])
            self._remove_folders(previous)

    @staticmethod
    def _remove_folders(journal: Mapping[str, Any]) -> None:
        for move in journal.get("moves") or []:
            for folder in (move["coming"], move["going"]):
                if folder and Path(folder).name.startswith(HIDDEN):
                    shutil.rmtree(folder, ignore_errors=True)


def read_journal(config: Config) -> dict[str, Any]:
    """The journal of the last restore; empty when there is none."""
    found = statefile.read(Path(config.root) / JOURNAL) or {}
    found.pop("schema", None)
    return found


def healthy(config: Config) -> str:
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
