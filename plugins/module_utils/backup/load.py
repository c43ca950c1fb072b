# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Load a set: its dump into a new database, its files into a directory beside the live ones. What is live is not touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import exchange_files, postgres, sql, stream
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import HIDDEN, Tell
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.exchange import Move
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import RESTORE_FAILED, BackupError, Config, Damaged
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Set

DUMP = f"{postgres.WORK}/database.dump"


def unpack_dump(found: Set, work: Path, identity: str, code: int = RESTORE_FAILED) -> str:
    """Put the plain dump into a directory, where several processes can read it at once; the SQL of the roles.

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


def load_dump(
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


def conninfo(name: str) -> str:
    """How a program is told the name of a database, whatever stands in it."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"--dbname=dbname='{escaped}'"


def file_moves(config: Config, found: Set, mark: str) -> list[Move]:
    """Where the files of a set are to go, and where they are unpacked first: in a directory inside, on the same file system."""
    directories = [files["path"] for files in config.files if manifests.artefact(found.manifest, f"files:{files['name']}")]
    return [{"live": path, "coming": str(Path(path) / f"{HIDDEN}{mark}"), "going": ""} for path in directories]


@exchange_files.as_backup_error()
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
        rights = coming.stat()  # the archive gave it those that the live directory had
        if new:
            os.chown(live, rights.st_uid, rights.st_gid)
            live.chmod(rights.st_mode & 0o7777)
        os.chown(coming, 0, 0)
        coming.chmod(0o700)
