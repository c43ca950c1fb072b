# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of sets in a real S3-compatible server: complete or not there, retried, removed one by one, and enough to begin again from."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .backups import DATABASE, Shop, as_root
from .boxes import Lab, until

pytestmark = as_root
ROOT = Path(__file__).parents[2]
REMOTE = "s3:bucket/path"
SECRET = "CANARY-s3-secret"


class S3:
    """An S3 server, which can be away for a while."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.config = folder / "rclone.conf"
        self.config.write_text(
            f"[s3]\ntype = s3\nprovider = Other\naccess_key_id = test\nsecret_access_key = {SECRET}\n"
            f"endpoint = http://127.0.0.1:{self.port}\nforce_path_style = true\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until("S3", lambda: requests.get(f"http://127.0.0.1:{self.port}", timeout=5), 30)
        self.rclone("mkdir", "s3:bucket")

    def rclone(self, *arguments: str) -> str:
        """Ask it with rclone."""
        plain = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        command = ["rclone", "--config", str(self.config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def away(self) -> None:
        """A port where nobody answers."""
        self.config.write_text(self.config.read_text().replace(f":{self.port}\n", ":9\n"))

    def back(self) -> None:
        """It answers again."""
        self.config.write_text(self.config.read_text().replace(":9\n", f":{self.port}\n"))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(tmp_path_factory.mktemp("s3"))
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Iterator[Shop]:
    with Lab() as lab:
        made = Shop(lab, tmp_path_factory.mktemp("remote"), remotes=[REMOTE], rclone_config=str(s3.config))
        made.sql("CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n")
        yield made
        assert made.left() == []


def there(shop: Shop, s3: S3) -> list[str]:
    """The objects of all sets."""
    return sorted(s3.rclone("lsf", "--recursive", "--files-only", f"{REMOTE}/{shop.config['instance']}").split())


def test_a_copy_is_the_set(shop: Shop, s3: S3, tmp_path: Path) -> None:
    result = shop.run("run")
    name = result["set"]["id"]
    assert result["copied"] == [f"{REMOTE}: {name}"] and result["set"]["offsite"] == [REMOTE]
    s3.rclone("copy", f"{REMOTE}/{shop.config['instance']}/{name}", str(tmp_path / "copy"))
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "copy", check=False).returncode == 0
    assert shop.run("run", "--max-age", "3600")["copied"] == []  # nothing is copied twice
    assert shop.run("list", "--remote")["remotes"] == {REMOTE: [name]}


def test_a_remote_that_is_away_costs_no_set_and_is_asked_again(shop: Shop, s3: S3) -> None:
    before = shop.ids()
    s3.away()
    try:
        failure = shop.run("run", code=6)
    finally:
        s3.back()
    new = [name for name in shop.ids() if name not in before]
    assert len(new) == 1 and new[0] in failure["msg"] and REMOTE in failure["msg"] and SECRET not in failure["msg"]
    assert not next(entry for entry in shop.run("list")["sets"] if entry["id"] == new[0])["offsite"]
    # What is not elsewhere yet is never removed, however strict the policy.
    shop.write(retention={"keep_last": 1}, min_keep=1)
    assert new[0] not in shop.run("prune", "--dry-run")["removed"]
    shop.write(retention={"keep_last": 3}, min_keep=3)
    result = shop.run("run", "--max-age", "3600")
    assert result["copied"] == [f"{REMOTE}: {new[0]}"] and not result["changed"]


def test_a_copy_that_is_not_the_same_is_no_copy(shop: Shop, s3: S3, tmp_path: Path) -> None:
    # Behind every copy, something else lies there under the name of the dump.
    stub = tmp_path / "rclone"
    real = f"{shutil.which('rclone')} --config {s3.config}"
    stub.write_text(
        f"""#!/bin/sh
case " $* " in
*" copy "*) {shutil.which("rclone")} "$@"; target=$(echo "$*" | grep -o "s3:[^ ]*"); echo damaged | {real} rcat "$target/database.dump.zst" ;;
*) exec {shutil.which("rclone")} "$@" ;;
esac
"""
    )
    stub.chmod(0o755)
    failure = shop.run("run", code=6, path=str(tmp_path))
    assert "rclone check" in failure["msg"]
    name = shop.ids()[-1]
    assert f"{name}/manifest.json" not in there(shop, s3)  # the manifest comes last: this is no set there
    assert shop.run("run", "--max-age", "3600")["copied"] == [f"{REMOTE}: {name}"]


def test_copies_go_with_their_set_and_an_empty_disk_removes_none(shop: Shop, s3: S3) -> None:
    shop.run("run")
    shop.write(retention={"keep_last": 1}, min_keep=1)
    # Whoever removed the oldest one died after its manifest: the rest goes as well.
    s3.rclone("deletefile", f"{REMOTE}/{shop.config['instance']}/{shop.ids()[0]}/manifest.json")
    removed = shop.run("prune")["removed"]
    assert not (set(removed) & set(shop.ids())) and len(shop.ids()) == 1
    shop.write(retention={"keep_last": 3}, min_keep=3)
    left = there(shop, s3)
    assert removed and not [name for name in left if name.split("/")[0] in removed] and left
    for name in shop.ids():
        shutil.rmtree(shop.sets / name)
    shop.run("run")
    assert set(left) <= set(there(shop, s3))


def documented(app: str) -> list[list[str]]:
    """The commands that docs/backups.md gives for a new machine, in their order."""
    text = (ROOT / "docs/backups.md").read_text().partition("\n## A new machine\n")[2].partition("\n## ")[0]
    lines = [line for block in text.split("```")[1::2] for line in block.partition("\n")[2].strip().splitlines()]
    return [line.replace("kasaneha-backup", f"{app}-backup").split() for line in lines]


@contextlib.contextmanager
def installed(shop: Shop) -> Iterator[str]:
    """The command and its configuration where the role puts them; the name of the application."""
    app = shop.config["instance"]
    program, folder = Path(f"/usr/local/sbin/{app}-backup"), Path(f"/etc/{app}")
    folder.mkdir(mode=0o700)
    try:
        (folder / "backup.json").symlink_to(shop.folder / "backup.json")
        program.write_bytes(shop.program.read_bytes())
        program.chmod(0o755)
        yield app
    finally:
        program.unlink(missing_ok=True)
        shutil.rmtree(folder)


def test_a_lost_machine_is_recovered_by_the_documented_commands(shop: Shop, s3: S3, tmp_path: Path) -> None:
    lost = shop.run("run")["set"]
    (tmp_path / "new").mkdir()
    new = Shop(shop.lab, tmp_path / "new", remotes=[REMOTE], rclone_config=str(s3.config), instance=shop.config["instance"])
    (new.uploads / "first").unlink()
    copies = new.run("list", "--remote")["remotes"]
    # What site.yml does at its end, on nothing and on what migrations made: no copy of it, and nobody's latest.
    for statement in ("SELECT 1", "CREATE TABLE schema_migrations AS SELECT 42 AS version"):
        new.sql(statement)
        assert new.run("run", "--reason", "site")["copied"] == []
        assert new.run("list", "--remote")["remotes"] == copies
    assert [entry["rows"] for entry in new.run("list")["sets"]] == [1, 0] and new.run("list")["latest"]["rows"] == 1
    assert 'missing_copies{app="' in (new.folder / "backup.prom").read_text()
    commands = documented(new.config["instance"])
    assert [words[1] for words in commands[:2]] == ["site.yml", "playbooks/restore.yml"] and len(commands) == 4
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        f"all:\n  vars: {{ansible_connection: local, ansible_become: false, app_name: {new.config['instance']},"
        f" ansible_python_interpreter: {sys.executable}}}\n  children: {{app: {{hosts: {{new: }}}}, backup: {{hosts: {{new: }}}}}}\n"
    )
    with installed(new) as app:
        new.run("fetch", "--foreign")
        refused = new.run("restore", code=2)["msg"]
        assert lost["id"] in refused and "--foreign" in refused  # which one `latest` is of, nobody knows but the operator
        for words in commands[1:]:
            new.sql("DROP TABLE IF EXISTS t")
            playbook = ["ansible-playbook", words[1], "-i", str(inventory), *words[4:]]
            command = playbook if words[0] == "ansible-playbook" else [f"/usr/local/sbin/{app}-backup", *words[1:]]
            plain = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=plain)
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            if "restore" in " ".join(words):
                assert new.sql("SELECT count(*) FROM t") == "20000" and (new.uploads / "first").read_text() == "an upload"
    # It goes on where the lost one ended.
    made = new.run("run")
    assert (
        f"{REMOTE}: {made['set']['id']}" in made["copied"]
        and new.run("list", "--remote")["remotes"][REMOTE][0] == made["set"]["id"]
    )


def test_a_bare_machine_begins_again_from_the_copy_alone(shop: Shop, s3: S3, tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", str(key)], check=True, capture_output=True, text=True).stdout.strip()
    shop.write(recipients=[public])
    name = shop.run("run")["set"]["id"]
    shop.write(recipients=[])
    (tmp_path / "bare").mkdir()
    bare = Shop(shop.lab, tmp_path / "bare", remotes=[REMOTE], rclone_config=str(s3.config), instance=shop.config["instance"])
    (bare.uploads / "first").unlink()
    assert bare.run("fetch")["set"]["id"] == name
    again = bare.run("fetch", name)
    assert not again["changed"] and again["set"]["id"] == name  # whoever is interrupted begins again
    assert "has no set 20200101T000000Z-000000" in bare.run("fetch", "20200101T000000Z-000000", code=2)["msg"]
    assert "another cluster" in bare.run("restore", name, "--identity", str(key), code=2)["msg"]
    bare.run("restore", name, "--identity", str(key), "--foreign")
    assert bare.sql("SELECT count(*) FROM t", DATABASE) == "20000"
    assert (bare.uploads / "first").read_text() == "an upload"
    # The negative control: a copy that was damaged there is not taken.
    dump = f"{REMOTE}/{shop.config['instance']}/{name}/database.dump.zst.age"
    (tmp_path / "damaged").write_text("damaged")
    s3.rclone("copyto", str(tmp_path / "damaged"), dump)
    shutil.rmtree(bare.sets / name)
    assert "is not what was written" in bare.run("fetch", name, code=5)["msg"]
    assert name not in bare.ids() and not list(bare.sets.glob(".partial-*"))
