# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Dumps of the old kind (plain SQL, perhaps gzipped) become sets.

Such a file is a program for psql. It runs in quarantine: a throw-away server of this server's image, without network. What has come
into being there is dumped as any other database.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import dump as dumps
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import postgres, preflight, sql, stream
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BAD_INPUT, BackupError
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Set, Sets, iso

NAME = "import"  # of the database in the throw-away server
COMPLETE = b"-- PostgreSQL database dump complete"
OF_THE_DATABASE = ("name", "owner", "acl", "settings", "connection_limit", "comment")


def legacy(sets: Sets, path: Path, files: str, work: Path, tell: dumps.Tell, allow_empty: bool = False) -> Set:
    """Make a set of a plain dump, and of the archive of files that belongs to it.

    :param allow_empty: also of one that leaves no table, row or file.
    :raises BackupError: the dump is not whole, does not run without an error, or what it holds went elsewhere.
    """
    config = sets.config
    tell("read", 0)
    complete(path)
    server = postgres.server(config.container)
    with postgres.client(config, server) as programs:
        about = programs.sql(sql.SERVER)[0]
        roles = programs.sql(sql.ROLE_NAMES)
        live: dict[str, Any] = {
            "encoding": "UTF8",
            "owner": config.user,
            "acl": None,
            "settings": [],
            "connection_limit": -1,
            "comment": None,
        }
        if config.database in about["databases"]:
            live = programs.sql(sql.DATABASE, config.database)[0]
    live["name"] = config.database
    partial = sets.partial()
    try:
        with postgres.scratch(config, server["image_id"], config.user, work) as programs:
            with programs.session("postgres", BAD_INPUT) as session:
                session.ask("".join(f"CREATE ROLE {manifests.quoted(role)};" for role in roles if role != config.user))
                session.ask(manifests.create_sql(live, NAME))
            tell("import", 0)
            before = _landscape(programs)
            _run(programs, path)
            others = {name for name, made in _landscape(programs).items() if made != before.get(name)} - {NAME}
            if others:
                raise BackupError(
                    f"{path} makes or fills other databases ({', '.join(sorted(others))}), as a dump of pg_dump --create does; nothing of "
                    "that would be restored. Make it again without --create, or take out its lines that begin with CREATE DATABASE, "
                    "ALTER DATABASE and \\connect.",
                    BAD_INPUT,
                )
            manifest = dumps.collect(config, programs, server, partial, tell, [], database=NAME)
        manifest["database"].update({key: live[key] for key in OF_THE_DATABASE})
        manifest["server"]["system_identifier"] = about["system_identifier"]
        if files:
            manifest["artefacts"].append(_files(sets, Path(files), partial, work, tell))
        manifest["reason"] = f"import of {path.name}"
        if not allow_empty:  # before it is a set that somebody could take for the latest
            with postgres.client(config, server) as programs:
                preflight.refuse_empty(config, programs, manifest, about["databases"])
        return sets.publish(
            partial,
            manifest,
            {"verification": [{"level": "decode", "at": iso(time.time()), "ok": True, "problem": ""}], "offsite": {}},
        )
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _landscape(programs: postgres.Programs) -> dict[str, int]:
    """How much somebody has made in each database of the throw-away server that can be entered."""
    names = programs.sql("SELECT to_json(datname) FROM pg_database WHERE datallowconn")
    return {name: int(programs.sql(sql.MADE, name)[0]) for name in names}


def _opener(path: Path) -> list[str]:
    return ["gzip", "-dc", str(path)] if path.suffix == ".gz" else ["cat", str(path)]


def complete(path: Path) -> None:
    """Refuse a dump that is cut short: psql would load half of it and say that all went well.

    :raises BackupError: it is not there, cannot be read, or does not end as pg_dump ends its dumps.
    """
    if not path.is_file():
        raise BackupError(f"{path} is not there.", BAD_INPUT)
    process = stream.start(_opener(path))
    head = tail = b""
    for chunk in iter(lambda: os.read(process.stdout.fileno(), stream.CHUNK), b""):
        head = head or chunk[:4096]
        tail = (tail + chunk)[-4096:]
    stream.check([process], code=BAD_INPUT)
    if b"-- PostgreSQL database dump" not in head:
        raise BackupError(f"{path} is no plain dump of pg_dump.", BAD_INPUT)
    if COMPLETE not in tail:
        raise BackupError(f"{path} is cut short: it does not end with '{COMPLETE.decode()}'.", BAD_INPUT)


def _run(programs: postgres.Programs, path: Path) -> None:
    pipe = stream.fifo(programs.runtime, "import")
    psql = programs.start(
        "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", f"{postgres.SHARED}/import", stdout=subprocess.DEVNULL, database=NAME
    )
    target = stream.write_end(pipe, psql)
    try:
        reader = stream.start(_opener(path), stdout=target)
    finally:
        os.close(target)
    stream.check([psql], code=BAD_INPUT)
    stream.check([reader], code=BAD_INPUT)


def _files(sets: Sets, archive: Path, partial: Path, work: Path, tell: dumps.Tell) -> dict[str, Any]:
    """The old archive holds a directory; a set holds what is in it."""
    if not sets.config.files:
        raise BackupError("files: the configuration names no directory that an archive could belong to.", BAD_INPUT)
    target = sets.config.files[0]
    directory = work / "files"
    directory.mkdir()
    reader = stream.start(_opener(archive))
    tar = stream.start(
        ["tar", "--extract", "--preserve-permissions", "--numeric-owner", "--directory", str(directory)], reader.stdout
    )
    reader.stdout.close()
    stream.check([reader, tar], code=BAD_INPUT)
    inner = directory / Path(target["path"]).name
    warnings: list[str] = []
    entry = dumps.files_archive(
        sets.config,
        {**target, "path": str(inner if inner.is_dir() else directory)},
        partial / f"files-{target['name']}.tar",
        warnings,
        tell,
    )
    return {**(entry or {}), "path": target["path"], "role": f"files:{target['name']}"}
