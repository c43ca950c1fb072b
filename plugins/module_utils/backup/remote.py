# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Copies of sets elsewhere, by rclone. A set is there once its manifest is, and that comes last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan, postgres, stream
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BAD_INPUT, UPLOAD_FAILED, BackupError, Config
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import PARTIAL, Set, Sets

NOT_THERE = 3  # rclone's exit code for a directory that does not exist
MANIFEST = "manifest.json"
LOCAL = "state.json"  # what this host knows; it changes, and a copy need not


class Remote:
    """One remote of the configuration."""

    def __init__(self, config: Config, remote: str) -> None:
        self.config, self.remote = config, remote
        self.base = f"{remote.rstrip('/')}{'' if remote.endswith(':') else '/'}{config.instance}"

    def _rclone(self, *arguments: str) -> str:
        own = ["--config", self.config.rclone_config] if self.config.rclone_config else []
        process = stream.start(
            ["rclone", *own, "--retries", "3", "--low-level-retries", "3", "--contimeout", "15s", "--timeout", "60s", *arguments]
        )
        out, _none = process.communicate()
        if process.returncode == NOT_THERE and arguments[0] == "lsf":
            return ""  # nothing was ever copied there
        if process.returncode:
            raise BackupError(f"{self.remote}: rclone {arguments[0]}: {postgres.words(process)}", UPLOAD_FAILED)
        return out.decode()

    def copy(self, found: Set) -> None:
        """Copy a set and prove that it has arrived.

        :raises BackupError: it could not be copied, or is not the same there.
        """
        target = f"{self.base}/{found.id}"
        self._rclone("copy", str(found.path), target, "--exclude", MANIFEST, "--exclude", LOCAL)
        ways = ["--download"] if self.config.remote_check == "download" else []
        self._rclone("check", str(found.path), target, "--one-way", "--exclude", MANIFEST, "--exclude", LOCAL, *ways)
        self._rclone("copyto", str(found.path / MANIFEST), f"{target}/{MANIFEST}")
        self._rclone("check", str(found.path), target, "--one-way", "--include", MANIFEST, *ways)

    def list(self) -> list[str]:
        """The sets that are whole there, newest first."""
        listed = self._rclone("lsf", "--recursive", "--files-only", "--include", f"/*/{MANIFEST}", self.base)
        names = [line.split("/")[0] for line in listed.splitlines()]
        return sorted((name for name in names if plan.id_time(name) is not None), reverse=True)

    def manifest(self, name: str) -> dict[str, Any]:
        """What a set there says of itself.

        :raises BackupError: it cannot be read.
        """
        try:
            found = json.loads(self._rclone("cat", f"{self.base}/{name}/{MANIFEST}"))
        except ValueError as error:
            raise BackupError(f"{self.remote}: the manifest of {name} is no JSON: {error}", UPLOAD_FAILED) from error
        problems = manifests.problems(found, name, self.config.instance)
        if problems:
            raise BackupError(f"{self.remote}: {name}: {' '.join(problems)}", UPLOAD_FAILED)
        return dict(found)

    def newest(self, unlike: str = "") -> str:
        """The newest set there that is not empty.

        :param unlike: a cluster; only sets of another one count.
        :raises BackupError: there is none.
        """
        for name in self.list():
            found = self.manifest(name)
            if any(manifests.rows(found).values()) and found["server"]["system_identifier"] != unlike:
                return name
        other = " of another cluster than this server's" if unlike else ""
        raise BackupError(f"{self.remote} has no set of {self.config.instance}{other} that has any rows.", BAD_INPUT)

    def remove(self, name: str) -> None:
        """Remove one set there: the manifest first, so that it is no set any more whatever happens next.

        Without its manifest it is what somebody who died has left of it, and goes as well.
        """
        if f"{name}/" not in self._rclone("lsf", "--dirs-only", self.base).splitlines():
            return
        if name in self.list():
            self._rclone("deletefile", f"{self.base}/{name}/{MANIFEST}")
        self._rclone("purge", f"{self.base}/{name}")

    def fetch(self, sets: Sets, name: str) -> Set:
        """Bring a set back, and let it appear once every byte is proven.

        :raises BackupError: there is no such set, or it is not what was copied there.
        """
        if name not in self.list():
            raise BackupError(f"{self.remote} has no set {name} of {self.config.instance}.", BAD_INPUT)
        partial = sets.root / f"{PARTIAL}{name}"
        partial.mkdir(mode=0o700)
        try:
            self._rclone("copy", f"{self.base}/{name}", str(partial))
            for path in Path(partial).iterdir():
                path.chmod(0o600)
            return sets.adopt(partial, name, self.remote)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
