# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Prove a set where it can do no harm: decoded, or restored into a throw-away server of the same image without network."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import load, postgres, sql, stream
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import Judge, Tell
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import NOT_CHECKED, VERIFY_FAILED, BackupError, Config
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Set
from ansible_collections.kasaneha.deploy.plugins.module_utils.io.docker import run as run_command

NAME = "drill"  # of the database in the throw-away server


class StreamJudge(Judge):
    """Restores a dump while it is made: for sets that nobody on this host can read afterwards."""

    def __init__(self, config: Config, server: Mapping[str, Any], work: Path) -> None:
        self.config, self.server, self.work, self.stack = config, server, work, ExitStack()

    def __enter__(self) -> StreamJudge:
        self.programs = self.stack.enter_context(
            postgres.scratch(self.config, self.server["image_id"], self.config.user, self.work)
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stack.close()

    def decoder(self, database: Mapping[str, Any], roles: str) -> stream.Decoder:
        """A pg_restore that fills a new database with the same properties."""
        self.began = time.monotonic()
        with self.programs.session("postgres", VERIFY_FAILED) as session:
            session.ask(roles)
            session.ask(manifests.create_sql(database, NAME))
            session.ask("\n".join(manifests.properties_sql(database, NAME)))
        return stream.container_decoder(self.programs, "judge", "pg_restore", "--exit-on-error", f"--dbname={NAME}")

    def verdict(self, database: Mapping[str, Any]) -> None:
        """Compare with what was counted."""
        with self.programs.session(NAME, VERIFY_FAILED) as session:
            session.ask(sql.QUIET)
            wrong = manifests.differences(database, postgres.facts(session))
        self.seconds = round(time.monotonic() - self.began, 1)
        if wrong:
            raise BackupError(f"restored while it was made, the dump is not the database: {'; '.join(wrong[:10])}", VERIFY_FAILED)


def restore_elsewhere(config: Config, found: Set, work: Path, identity: str, tell: Tell) -> float:
    """Restore a set into a throw-away server and compare; the seconds that it took.

    :raises Damaged: it cannot be restored, or is not what the manifest says. BackupError: this host cannot tell.
    """
    began = time.monotonic()
    tell("unpack", 0)
    roles = load.unpack_dump(found, work, identity, VERIFY_FAILED)
    with postgres.scratch(config, image(config, found.manifest), found.manifest["server"]["user"], work) as programs:
        load.load_dump(programs, found.manifest, roles, NAME, config.jobs, VERIFY_FAILED, tell)
    return round(time.monotonic() - began, 1)


def image(config: Config, manifest: Mapping[str, Any]) -> str:
    """The image that the set was made with, or else the one that the server runs, if it is of the same major version.

    :raises BackupError: neither is here.
    """
    theirs = manifest["server"]
    for name in (theirs["image_id"], theirs.get("image_digest"), theirs["image"]):
        if name and run_command(["docker", "image", "inspect", name])[0] == 0:
            return str(name)
    server = postgres.server(config.container)
    with postgres.client(config, server) as programs:
        about = programs.sql(sql.SERVER)[0]
    if about["version_num"] // 10000 != theirs["version_num"] // 10000:
        raise BackupError(
            f"the image {theirs['image']} of PostgreSQL {theirs['version']} is not on this host: docker pull it.", NOT_CHECKED
        )
    return str(server["image_id"])


def decode(config: Config, found: Set, identity: str) -> None:
    """Read every artefact of a set to its end, as a restore would.

    :raises Damaged: one of them cannot be read. BackupError: this host cannot tell.
    """
    with postgres.client(config, {"image_id": image(config, found.manifest), "container_id": "", "port": "5432"}) as programs:
        for entry in found.manifest["artefacts"]:
            path = found.path / entry["name"]
            if entry["role"] == "database":
                pipe = stream.fifo(programs.runtime, "decode")
                judge = programs.start(
                    "sh", "-c", f"exec pg_restore --file=/dev/null <{postgres.SHARED}/decode", stdout=subprocess.DEVNULL
                )
                target = stream.write_end(pipe, judge)
                try:
                    processes = stream.opened(path, identity, target)
                finally:
                    os.close(target)
            elif entry["role"] == "roles":
                processes = stream.opened(path, identity, subprocess.DEVNULL)
                judge = processes[-1]
            else:
                processes = stream.opened(path, identity)
                judge = stream.start(["tar", "--list", "--file", "-"], processes[-1].stdout, subprocess.DEVNULL)
                processes[-1].stdout.close()
            stream.check([*processes, judge], code=VERIFY_FAILED)
