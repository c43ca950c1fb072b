# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Make one set: the database, its rows counted in the dump itself, roles, files, and what they say of themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan, postgres, sql, stream
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BAD_INPUT, DUMP_FAILED, BackupError, Config
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.rows import Rows
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import PARTIAL, Set, Sets, iso

Tell = Callable[[str, int], None]  # a phase, and bytes so far
HIDDEN = ".restore-"  # directories that a restore keeps inside a directory of files


def dump(sets: Sets, reason: str, keep: bool, tell: Tell, warnings: list[str], judge: Judge | None = None) -> Set:
    """Dump the database of the configuration into a new set and publish it.

    :param judge: proves the dump while it passes; without one it is decoded.
    :raises BackupError: any part failed; nothing was published, and nothing is left.
    """
    config = sets.config
    server = postgres.server(config.container)
    partial = sets.partial()
    try:
        with postgres.client(config, server) as programs:
            manifest = collect(config, programs, server, partial, tell, [*warnings], judge, sets.all())
        after = postgres.server(config.container)
        if (after["container_id"], after["started_at"]) != (server["container_id"], server["started_at"]):
            raise BackupError(f"{config.container} was started again during the dump.", DUMP_FAILED)
        manifest["reason"] = reason
        guard(config, manifest, sets.all())
        now = iso(time.time())
        checks = [{"level": "decode", "at": now, "ok": True, "problem": ""}]
        if judge:
            checks.append({"level": "drill", "at": now, "ok": True, "problem": "", "seconds": judge.seconds})
        tell("publish", 0)
        return sets.publish(partial, manifest, {"verification": checks, "keep": keep, "offsite": {}})
    except OSError as error:
        raise BackupError(f"{error.filename or partial}: {error.strerror}.", DUMP_FAILED) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class Judge:
    """Restores a dump while it is made, where nobody can read it afterwards."""

    seconds = 0.0

    def decoder(self, database: Mapping[str, Any], roles: str) -> stream.Decoder:
        """What the compressed dump is given to; properties of the database and the SQL of its roles are known before."""
        raise NotImplementedError

    def verdict(self, database: Mapping[str, Any]) -> None:
        """Compare, once all has been given; BackupError: it is not the same."""
        raise NotImplementedError


def collect(
    config: Config,
    programs: postgres.Programs,
    server: dict[str, Any],
    partial: Path,
    tell: Tell,
    warnings: list[str],
    judge: Judge | None = None,
    known: list[Set] | None = None,
    database: str = "",
) -> dict[str, Any]:
    """Write every artefact of a set into a directory; its manifest.

    :param database: another name than the configuration's, in a throw-away server.
    """
    name = database or config.database
    began, seconds = time.time(), {}
    identity = partial.name[len(PARTIAL) :]
    artefacts: list[dict[str, Any]] = []
    with programs.session(name) as session:
        session.ask(sql.QUIET)
        about = session.one(sql.SERVER)
        if not about["superuser"]:
            raise BackupError(f"user: {config.user} is no superuser; a backup would lack what it may not see.", BAD_INPUT)
        if not database:
            postgres.claim(session)
        facts: dict[str, Any] = session.one(sql.DATABASE)
        good = [manifests.size(entry.manifest) for entry in known or [] if entry.verified]
        room = os.statvfs(partial)
        problem = plan.room_problem(
            config.root, room.f_bavail * room.f_frsize, (good or [0])[0], facts["size_bytes"], config.reserve_mb << 20
        )
        if problem:
            raise BackupError(problem, DUMP_FAILED)
        roles = manifests.roles_sql(session.ask(sql.ROLES))
        counted = Rows()
        # Decoded in full, and written out as far as there is something to count: rows, sequences, large objects.
        decoders = [
            stream.container_decoder(programs, "toc", "pg_restore", "--list", optional=True),
            stream.container_decoder(programs, "decode", "pg_restore", "--section=data", "--file=-", take=counted.feed),
            *([judge.decoder(facts, roles)] if judge else []),
        ]
        before = postgres.moment(session)
        tell("dump", 0)
        entry = _database(config, programs, name, partial / "database.dump", tell, decoders)
        after = postgres.moment(session)
        seconds["database"] = entry.pop("seconds")
        toc = contents((programs.runtime / "toc.out").read_text(errors="replace"))
        if counted.problem or (len(counted.tables), len(counted.sequences)) != (toc["table_data"], toc["sequences"]):
            problem = counted.problem or f"{len(counted.tables)} tables and {len(counted.sequences)} sequences"
            raise BackupError(f"what the dump holds could not be counted: {problem}; its contents are {toc}.", DUMP_FAILED)
        inside, lacking, odd = manifests.dumped(before, after, counted.tables, counted.sequences, counted.roots)
        if lacking:
            raise BackupError(f"the dump lacks the data of {len(lacking)} tables: {', '.join(lacking[:10])}.", DUMP_FAILED)
        facts.update(inside, large_objects=counted.large_objects)
        warnings += odd
        if toc["pg_dump"].split(".")[0] != about["version"].split(".")[0]:
            raise BackupError(f"pg_dump is of version {toc['pg_dump']}, the server of {about['version']}.", DUMP_FAILED)
        if judge:
            tell("drill", 0)
            judge.verdict(facts)
        artefacts.append({**entry, "role": "database"})
    artefacts.append({**_text(config, programs.runtime, roles, partial / "roles.sql"), "role": "roles"})
    for files in config.files if not database else []:
        tell(files["name"], 0)
        found = files_archive(config, files, partial / f"files-{files['name']}.tar", warnings, tell)
        if found:
            seconds[files["name"]] = found.pop("seconds")
            artefacts.append({**found, "role": f"files:{files['name']}"})
    return {
        "schema": manifests.SCHEMA,
        "id": identity,
        "instance": config.instance,
        "started_at": iso(began),
        "finished_at": iso(time.time()),
        "seconds": {**seconds, "all": round(time.time() - began, 2)},
        "release": _release(config.instance),
        "server": {
            **server,
            **{key: about[key] for key in ("version", "version_num", "system_identifier")},
            "user": config.user,
            "image_digest": _digest(server["image_id"]),
        },
        "client": {
            "pg_dump": toc["pg_dump"],
            "zstd": _version("zstd"),
            **({"age": _version("age")} if config.recipients else {}),
        },
        "database": facts,
        "toc": {"entries": toc["entries"], "table_data": toc["table_data"]},
        "recipients": list(config.recipients),
        "artefacts": artefacts,
        "warnings": warnings,
    }


def _database(
    config: Config, programs: postgres.Programs, name: str, path: Path, tell: Tell, decoders: list[stream.Decoder]
) -> dict[str, Any]:
    """The dump itself. It passes through a FIFO: nothing that is to be encrypted ever lies on the disk as it is."""
    pipe = stream.fifo(programs.runtime, "dump")
    writer = programs.start("pg_dump", "--format=custom", "--compress=0", "--no-sync", "--lock-wait-timeout=60000",
                            f"--file={postgres.SHARED}/dump", database=name)  # fmt: skip
    source = stream.read_end(pipe, writer)
    return stream.store(source, [writer], path, config.recipients, config.level, decoders, lambda done: tell("dump", done))


def _text(config: Config, runtime: Path, text: str, path: Path) -> dict[str, Any]:
    """A small artefact. It lies in memory on its way."""
    plain = runtime / path.name
    with os.fdopen(
        os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors="surrogateescape"
    ) as file:
        file.write(text)
    entry = stream.store(os.open(plain, os.O_RDONLY), [], path, config.recipients, config.level)
    plain.unlink()
    del entry["seconds"]
    return entry


def files_archive(config: Config, files: Mapping[str, Any], path: Path, warnings: list[str], tell: Tell) -> dict[str, Any] | None:
    """An archive of a directory; None when it is not there and need not be."""
    if not Path(files["path"]).is_dir():
        if not files.get("optional"):
            raise BackupError(f"files.{files['name']}: {files['path']} is no directory on this host.", BAD_INPUT)
        warnings.append(f"{files['path']} is not there")
        return None
    archive = stream.start(["tar", "--create", "--file", "-", "--numeric-owner", "--sparse", f"--exclude=./{HIDDEN}*",
                            "--directory", files["path"], "."])  # fmt: skip
    decoder = stream.tar_decoder()
    source = os.dup(archive.stdout.fileno())
    archive.stdout.close()
    # 1: a file changed while it was read, as files do while a site is up. What it was before is in the last set.
    entry = stream.store(
        source, [archive], path, config.recipients, config.level, [decoder], lambda done: tell(files["name"], done), (0, 1)
    )
    if archive.returncode == 1:
        warnings.append(f"{files['path']}: {postgres.words(archive)}")
    count = int(decoder.processes[-1].stdout.read())
    return {**entry, "entries": count, "path": files["path"]}


def contents(listing: str) -> dict[str, Any]:
    """What ``pg_restore --list`` says of an archive."""
    version = re.search(r"Dumped by pg_dump version: (\S+)", listing)
    entries = re.findall(r"^\d+; (\d+) \d+ (.+)$", listing, re.M)
    if not version or not entries and "TOC Entries" not in listing:
        raise BackupError("pg_restore does not list the dump.", DUMP_FAILED)
    # Data is in no catalogue; a table of a schema DATA is in one.
    data = [entry for catalogue, entry in entries if catalogue == "0"]
    kinds = {key: sum(entry.startswith(f"{key} ") for entry in data) for key in ("TABLE DATA", "SEQUENCE SET")}
    return {"entries": len(entries), "table_data": kinds["TABLE DATA"], "sequences": kinds["SEQUENCE SET"], "pg_dump": version[1]}


def guard(config: Config, manifest: dict[str, Any], known: list[Set]) -> None:
    """Notice that data is gone before it is called a backup.

    :raises BackupError: it is, and the configuration says that this is a failure.
    """
    good = [entry for entry in known if entry.verified]
    signs = plan.shrunk(
        manifests.size(manifest),
        manifests.rows(manifest),
        [manifests.size(entry.manifest) for entry in good],
        manifests.rows(good[0].manifest) if good else {},
    )
    if signs and config.guard == "fail":
        raise BackupError(f"guard: {'; '.join(signs)}. If that is right, run it once with guard: warn.", DUMP_FAILED)
    manifest["warnings"] += signs
    manifest["shrunk"] = bool(signs)


def _release(instance: str) -> str:
    """The release that serves, for whoever looks for the set before it."""
    try:
        return str(json.loads(Path(f"/var/lib/{instance}/release.json").read_text()).get("release", ""))
    except (OSError, ValueError, AttributeError):
        return ""  # not every database belongs to a release


def _digest(image: str) -> str:
    """The registry's name for an image; empty for one that no registry gave."""
    return (json.loads(postgres.docker("image", "inspect", "--format", "{{json .RepoDigests}}", image)) or [""])[0]


def _version(program: str) -> str:
    process = stream.start([program, "--version"])
    out, _none = process.communicate()
    found = re.search(rb"\d+(\.\d+)+", out)
    return found[0].decode() if found else ""
