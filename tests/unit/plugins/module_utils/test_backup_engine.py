# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine writes down about its sets, with a folder of real sets and a docker that says what a test lets it say."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_plan as plan
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_file import digest
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_sets import PARTIAL, Set

DATABASE = {"name": "shop", "owner": "shop", "encoding": "UTF8", "acl": None, "settings": [], "connection_limit": -1, "comment": None,
            "size_bytes": 1000, "extensions": [], "tables": [{"schema": "public", "name": "users", "kind": "r", "rows": 7}]}  # fmt: skip
SERVER = {
    "version": "15.20",
    "version_num": 150020,
    "user": "shop",
    "image": "postgres:15",
    "image_id": "sha256:1",
    "image_digest": "",
}
HOUR = 3600.0
RUNNING = json.dumps(
    [{"State": {"Running": True, "StartedAt": "t"}, "Config": {"Image": "postgres:15"}, "Id": "1", "Image": "sha256:1"}]
)
# A host whose docker runs the server, and whose image was removed meanwhile.
NO_IMAGE = f"""case "$1" in
ps) ;; inspect) echo '{RUNNING}';; run) echo "docker: Error response from daemon: No such image: sha256:1" >&2; exit 125;;
*) echo "Error: No such image: $3" >&2; exit 1;; esac"""


class Shop:
    """An engine, its folder, and the docker that stands first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = folder / "backup.prom"
        config = plan.Config(instance="shop", root=str(folder / "sets"), container="pg", database="shop", user="shop",
                             retention={"keep_last": 7}, min_keep=1, metrics=str(self.metrics), runtime=str(folder))  # fmt: skip
        self.engine = Engine(config)
        self.engine.sets.ready()
        (folder / "bin").mkdir()
        self.docker(NO_IMAGE)

    def docker(self, script: str) -> None:
        """What docker does from now on."""
        path = self.folder / "bin" / "docker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def made(self, hours_ago: float) -> Set:
        """Publish a set, decoded as every set is when it appears."""
        name = plan.set_id(time.time() - hours_ago * HOUR, os.urandom(3).hex())
        partial = self.engine.sets.root / f"{PARTIAL}{name}"
        partial.mkdir()
        artefacts = []
        for file, role, data in (
            ("database.dump.zst", "database", os.urandom(100_000)),
            ("roles.sql.zst", "roles", b"SELECT 1;"),
        ):
            path = partial / file
            path.write_bytes(subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout)
            artefacts.append({"name": file, "role": role, "bytes": path.stat().st_size, "sha256": digest(path)})
        manifest = {"schema": 1, "id": name, "instance": "shop", "recipients": [], "server": SERVER, "database": DATABASE,
                    "artefacts": artefacts}  # fmt: skip
        decoded = {"level": "decode", "at": "2026-11-25T03:18:01Z", "ok": True, "problem": ""}
        return self.engine.sets.publish(partial, manifest, {"verification": [decoded], "keep": False, "offsite": {}})

    def values(self) -> dict[str, float]:
        """What Prometheus reads."""
        lines = [line for line in self.metrics.read_text().splitlines() if not line.startswith("#")]
        return {line.split("{")[0].removeprefix("kasaneha_backup_"): float(line.split()[-1]) for line in lines}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return made


HOSTS = {
    "no image": NO_IMAGE,
    "a daemon that is away": 'case "$1" in ps) ;; *) echo "Cannot connect to the Docker daemon" >&2; exit 1;; esac',
    "a client that does not start": 'case "$1" in ps|image) ;; run) echo "docker: no space left on device" >&2; exit 125;; *) exit 1;; esac',
    "a decoder that is killed": 'case "$1" in ps|image) ;; inspect) echo true;; run) cat;; exec) [ "$3" = pg_isready ] || exit 137;; esac',
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("how", ["verify", "drill"])
def test_what_goes_wrong_on_this_host_is_not_held_against_a_set(shop: Shop, host: str, how: str) -> None:
    seven = [shop.made(hours) for hours in range(7, 0, -1)]
    states = [(each.path / "state.json").read_text() for each in seven]
    shop.docker(HOSTS[host])
    with pytest.raises(plan.BackupError, match="could not be checked") as caught:
        shop.engine.verify("all") if how == "verify" else shop.engine.drill()
    assert caught.value.code == plan.NOT_CHECKED
    assert [check for each in shop.engine.sets.all() for check in each.state["verification"] if not check["ok"]] == []
    assert shop.values()["damaged_sets"] == 0 and shop.values()["sets"] == 7
    if how == "drill":
        assert [(each.path / "state.json").read_text() for each in seven] == states
    assert shop.engine.prune(dry_run=True)["removed"] == []


def test_only_what_is_about_the_set_is_held_against_it_and_even_then_it_is_not_removed_for_that(shop: Shop) -> None:
    seven = [shop.made(hours) for hours in range(7, 0, -1)]
    broken = seven[2]
    with (broken.path / "database.dump.zst").open("r+b") as file:
        file.write(b"nonsense")
    (seven[3].path / "roles.sql.zst").unlink()
    with pytest.raises(plan.BackupError, match="is not what was written") as caught:
        shop.engine.verify("all", level="checksum")
    assert caught.value.code == plan.VERIFY_FAILED
    bad = {each.id for each in shop.engine.sets.all() if not each.verified}
    assert bad == {broken.id, seven[3].id} and shop.values()["damaged_sets"] == 2
    shop.made(0)
    removed = shop.engine.prune(dry_run=True)["removed"]
    assert removed == [] and len(shop.engine.sets.all()) == 8


def test_what_failed_once_counts_again_when_it_is_proven_again(shop: Shop) -> None:
    made = shop.made(1)
    shop.engine.sets.note_check(made, "checksum", "a disk that was away")
    assert not shop.engine.sets.find(made.id).verified
    assert shop.engine.verify(made.id, level="checksum")["sets"][0]["verified"]
    assert json.loads((made.path / "state.json").read_text())["verification"][-1]["ok"]
