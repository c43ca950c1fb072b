# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine writes down about its sets, with a folder of real sets and a docker that says what a test lets it say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import engine, plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.engine import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.file import digest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import PARTIAL, Set
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import zipapp

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


# --- every end is told ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (ValueError("nobody expected this"), plan.UNEXPECTED),
        (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"), plan.UNEXPECTED),
        (OSError("a disk"), plan.UNEXPECTED),
        (SystemExit(143), 143),
        (KeyboardInterrupt(), plan.UNEXPECTED),
        (plan.BackupError("the dump", plan.DUMP_FAILED), plan.DUMP_FAILED),
        (plan.BackupError("somebody else", plan.LOCKED), plan.OK),  # whoever is at work tells how that ends
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_a_backup_that_ends_otherwise_than_well_is_no_success_for_prometheus(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, end: BaseException, code: int
) -> None:
    shop.docker(f"case $1 in inspect) echo '{RUNNING}';; esac")
    made = shop.made(1)
    monkeypatch.setattr(engine, "dump", lambda *_arguments: made)
    shop.engine.run()
    assert shop.values()["last_exit_code"] == plan.OK  # the negative control

    def dump(*_arguments: Any) -> Set:
        raise end

    monkeypatch.setattr(engine, "dump", dump)
    with pytest.raises(type(end)):
        shop.engine.run()
    assert shop.values()["last_exit_code"] == code and shop.values()["sets"] == 1


def test_sets_that_cannot_be_read_hide_no_failure(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.made(1)
    shop.engine.verify("all", level="checksum")

    def unreadable(*_arguments: Any) -> list[Set]:
        raise PermissionError("a mount that is away")

    monkeypatch.setattr(shop.engine.sets, "all", unreadable)
    shop.docker(f"case $1 in inspect) echo '{RUNNING}';; esac")
    monkeypatch.setattr(engine, "dump", unreadable)
    with pytest.raises(OSError, match="away"):
        shop.engine.run()
    assert shop.values()["last_exit_code"] == plan.UNEXPECTED and shop.values()["sets"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_the_command_tells_of_a_signal_that_ended_it(shop: Shop, number: signal.Signals) -> None:
    shop.docker('case "$1" in ps) ;; *) touch "$0.asked"; exec sleep 60;; esac')
    program, config = shop.folder / "shop-backup", shop.folder / "backup.json"
    program.write_bytes(zipapp.pack("backup.cli"))
    config.write_text(json.dumps(vars(shop.engine.config)))
    process = subprocess.Popen(
        [sys.executable, "-S", str(program), "run", "--config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup, or a shell's &, has it ignored
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (shop.folder / "bin" / "docker.asked").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    assert shop.values()["last_exit_code"] == 128 + number and not list(shop.engine.sets.root.glob(".partial-*"))


# --- the newest ---------------------------------------------------------------------------------------------


def test_no_older_set_is_restored_as_the_latest(shop: Shop) -> None:
    older, newest = shop.made(2), shop.made(1)
    with pytest.raises(plan.BackupError, match="No such image"):  # the negative control: the newest is the latest, and looked at
        shop.engine.restore.check("latest")
    shop.engine.sets.note_check(newest, "drill", "function rate(text) does not exist")
    before = [each.id for each in shop.engine.sets.all()]
    for asked in (shop.engine.restore.check, shop.engine.restore.run):
        with pytest.raises(plan.BackupError) as caught:
            asked("latest")
        assert caught.value.code == plan.BAD_INPUT
        assert all(word in str(caught.value) for word in (older.id, newest.id, "function rate(text) does not exist"))
        for name in (older.id, newest.id):  # whoever names one gets it
            with pytest.raises(plan.BackupError, match="No such image"):
                asked(name)
    assert [each.id for each in shop.engine.sets.all()] == before
    # One that cannot even be read is newer all the same.
    shop.engine.sets.note_check(newest, "drill", "", {"seconds": 1.0})
    third = shop.made(0)
    (third.path / "manifest.json").write_text("{")
    with pytest.raises(plan.BackupError, match=f"The newest set {third.id} is not verified"):
        shop.engine.restore.run("latest")
    assert shop.engine.verify("latest", level="checksum")["sets"][0]["id"] == newest.id
    assert any(third.id in note for note in shop.engine.notes)
