# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with backups: programs that lie, processes that die, disks that are full, bytes that change, servers that restart.

After each of them every published set is still proven, nothing half made is taken for one, and the next run succeeds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .backups import DATABASE, ROWS, Shop, as_root
from .boxes import WAIT, Lab

pytestmark = as_root

KILLS = 25 if os.environ.get("LONG") else 4


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Lab() as lab:
        made = Shop(lab, tmp_path_factory.mktemp("faults"))
        made.sql(ROWS)
        (made.uploads / "daily").mkdir()
        (made.uploads / "daily" / "first").write_text("an upload")
        yield made


@pytest.fixture(scope="module")
def good(shop: Shop) -> str:
    """A set that must stay what it is, whatever happens beside it."""
    return str(shop.run("run", "--keep")["set"]["id"])


@pytest.fixture
def unharmed(shop: Shop, good: str) -> Iterator[None]:
    """Nothing new is published, what was there is the same to the byte, and nothing is left."""
    before = subprocess.run(
        ["sh", "-c", "sha256sum */*; readlink latest"], cwd=shop.sets, capture_output=True, text=True, check=True
    ).stdout
    yield
    after = subprocess.run(
        ["sh", "-c", "sha256sum */*; readlink latest"], cwd=shop.sets, capture_output=True, text=True, check=True
    ).stdout
    assert after == before
    assert shop.left() == []


def stub(folder: Path, name: str, text: str) -> str:
    """A program of that name that stands first on PATH; {real} is the real one."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + text.replace("{real}", str(shutil.which(name))))
    path.chmod(0o755)
    return str(folder)


# --- the lying pipe ---------------------------------------------------------------------------------------


LIES = {
    "a compressor that dies": ("zstd", 'case "$*" in *-c*) kill -9 $$;; esac; exec {real} "$@"', 4),
    "a compressor that fails after a while": ("zstd", 'case "$*" in *-c*) head -c 1000000 | {real} -q -c; exit 1;; esac; exec {real} "$@"', 4),
    "a compressor that says nothing and is content": ("zstd", 'case "$*" in *-c*) cat >/dev/null; exit 0;; esac; exec {real} "$@"', 5),
    "a compressor that loses the end": ("zstd", 'case "$*" in *-c*) {real} "$@" | (head -c 100000; cat >/dev/null); exit 0;; esac; exec {real} "$@"', 5),
    "a compressor that writes something else": ("zstd", 'case "$*" in *-c*) cat >/dev/null; echo nothing | {real} -q -c;; *) exec {real} "$@";; esac', 5),
    "docker exec that is cut off": ("docker", 'case "$*" in *pg_dump*) timeout -s KILL 0.2 {real} "$@"; exit 137;; esac; exec {real} "$@"', 4),
    "a dump that fails at its end": ("docker", 'case "$*" in *pg_dump*) {real} "$@"; exit 1;; esac; exec {real} "$@"', 4),
    "an archiver that fails": ("tar", 'case "$*" in *--create*) {real} "$@"; exit 2;; esac; exec {real} "$@"', 4),
}  # fmt: skip


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("lie", LIES)
def test_no_program_can_lie(shop: Shop, tmp_path: Path, lie: str) -> None:
    program, text, code = LIES[lie]
    failure = shop.run("run", code=code, path=stub(tmp_path, program, text))
    assert failure["failed"] and failure["msg"]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat >/dev/null; exit 1", "age: "),
        ("cat; exit 0", "age did not write what it should"),
        ('{real} "$@" | (head -c 90000; cat >/dev/null)', "age did not write"),
    ],
    ids=["fails", "does not encrypt", "loses the end"],
)
def test_encryption_cannot_lie(shop: Shop, tmp_path: Path, text: str, said: str) -> None:
    shop.write(recipients=["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"])
    try:
        failure = shop.run(
            "run",
            path=stub(tmp_path, "age", 'case "$1" in --version) echo 1; exit;; esac; ' + text),
            code=5 if "did" in said else 4,
        )
    finally:
        shop.write(recipients=[])
    assert said in failure["msg"]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"database": "nosuch"}, 4, 'database "nosuch" does not exist'),
        ({"container": "nosuch"}, 2, "container: nosuch does not exist"),
        ({"user": "nosuch"}, 4, 'password authentication failed for user "nosuch"'),
        ({"password_file": "/nosuch"}, 2, "password_file: /nosuch cannot be read"),
        ({"files": [{"name": "x", "path": "/nosuch"}]}, 2, "files.x: /nosuch is no directory"),
        ({"retention": {"keep_daily": 0}}, 2, "retention: keeps nothing"),
        ({"root": "/etc"}, 2, "is no place for backups"),
        ({"reserve_mb": 10_000_000}, 4, "bytes are free"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_bad_input_is_named(shop: Shop, change: dict[str, Any], code: int, said: str) -> None:
    before = dict(shop.config)
    shop.write(**change)
    try:
        assert said in shop.run("run", code=code)["msg"]
    finally:
        shop.config = before
        shop.write()


def test_a_wrong_password_is_not_a_backup(shop: Shop, good: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    shop.write(password_file=str(tmp_path / "password"))
    try:
        assert "password authentication failed" in shop.run("run", code=4)["msg"]
    finally:
        shop.write(password_file=str(shop.folder / "password"))


# --- kill anywhere ------------------------------------------------------------------------------------------


def whole(shop: Shop, *arguments: str) -> float:
    """Seconds that a run takes which nobody kills."""
    began = time.monotonic()
    shop.run(*arguments)
    return time.monotonic() - began


def kills(shop: Shop, seed: int, earliest: float, seconds: float, *arguments: str) -> Iterator[None]:
    """Runs of which KILLS are killed at random instants, each alone; the others had ended.

    :param earliest: the first instant, as a share of `seconds`, which a whole run takes.
    """
    dice, hits = random.Random(seed), 0
    for _run in range(3 * KILLS):
        process = subprocess.Popen(shop.command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(earliest, 0.95) * seconds)
        if process.poll() is None:
            hits += 1
        else:
            seconds *= 0.8  # the one that was measured had less of the machine
        process.send_signal(signal.SIGKILL)
        process.wait()
        yield
        if hits == KILLS:
            return
    raise AssertionError(f"{hits} of {3 * KILLS} runs were still at work when they should have been killed")


def vanished(shop: Shop) -> bool:
    """Whether containers and sessions of a dead run end by themselves."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if not [name for name in shop.left() if not name.startswith((".", "/"))]:
            return True
        time.sleep(0.2)
    return False


def test_a_backup_killed_anywhere_leaves_no_set_and_no_session(shop: Shop, good: str) -> None:
    elsewhere = shop.folder / "elsewhere"
    elsewhere.mkdir()
    # Each run copies a set and removes one, so that a kill meets these as well.
    shop.write(remotes=[str(elsewhere)], retention={"keep_last": 2}, min_keep=1)
    try:
        seconds = whole(shop, "run")
        before = set(shop.ids())
        for _kill in kills(shop, 5, 0.1, seconds, "run"):
            assert vanished(shop), shop.left()
            for name in set(shop.ids()) - before:
                shop.run("verify", name)
            before.update(shop.ids())
            assert_copies_are_whole(elsewhere)
        assert shop.run("run")["set"]["verified"] and shop.left() == []
        assert good in shop.ids()
        assert sorted(path.name for path in elsewhere.glob("*/*")) == shop.ids()
        assert_copies_are_whole(elsewhere)
        shop.run("verify", "all")
    finally:
        shop.write(remotes=[], retention={"keep_last": 3}, min_keep=3)


def assert_copies_are_whole(elsewhere: Path) -> None:
    """What is elsewhere and has a manifest is a set, to the byte."""
    for manifest in elsewhere.glob("*/*/manifest.json"):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=manifest.parent, check=True)


@pytest.fixture
def writing(shop: Shop) -> Iterator[None]:
    """An application that goes on writing uploads, into directories that it makes where they are not there."""
    loop = 'n=0; while :; do n=$(((n + 1) % 40)); mkdir -p daily other; echo "$n" >"daily/$n"; echo "$n" >"other/$n"; done'
    with subprocess.Popen(["sh", "-c", loop], cwd=shop.uploads, stderr=subprocess.DEVNULL) as process:
        yield
        assert process.poll() is None
        process.kill()


@pytest.mark.usefixtures("writing")
def test_a_restore_killed_anywhere_is_undone_by_the_next_command(shop: Shop, good: str) -> None:
    again = ("restore", good, "--no-safety")
    seconds = whole(shop, *again)
    assert (shop.uploads / "daily" / "first").read_text() == "an upload"
    (shop.uploads / "daily" / "second").write_text("later")
    shop.sql("CREATE TABLE later AS SELECT 1 AS x")
    (shop.uploads / "later").write_text("later")

    def ended() -> str:
        """The database that the last restore that came to its end put aside."""
        path = shop.sets / ".restore.json"
        journal = json.loads(path.read_text()) if path.exists() else {}
        return journal.get("going", "") if journal.get("phase") == "done" else ""

    before = ended()
    for _kill in kills(shop, 7, 0.2, seconds, *again):
        assert vanished(shop), shop.left()
        # Nobody need come: the database is open again.
        assert shop.sql("SELECT 1", DATABASE) == "1"
        shop.run("recover")
        if ended() != before:  # it was quick: go back
            shop.run("restore", "--undo")
        assert shop.sql("SELECT x FROM later") == "1" and (shop.uploads / "later").read_text() == "later"
        assert (shop.uploads / "daily" / "second").read_text() == "later"
        assert shop.sql("SELECT count(*) FROM rows") == "200000"
        assert "__restore" not in shop.sql("SELECT string_agg(datname, ' ') FROM pg_database", "postgres")
        before = ended()
    assert shop.left() == []
    shop.run(*again)
    assert shop.sql("SELECT to_regclass('later') IS NULL") == "t" and not (shop.uploads / "later").exists()
    assert [path.name for path in shop.uploads.glob("daily/[fs]*")] == ["first"]


@pytest.mark.usefixtures("unharmed")
def test_a_run_that_is_asked_to_end_puts_everything_away(shop: Shop) -> None:
    process = subprocess.Popen(shop.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + WAIT
    while not list(shop.sets.glob(".partial-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM


# --- a full disk, a restarted server --------------------------------------------------------------------------


def test_a_full_disk_fails_cleanly_and_removes_nothing(shop: Shop, good: str) -> None:
    small = shop.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    before = dict(shop.config)
    shop.write(root=str(small / "sets"), reserve_mb=0)
    kept, shop.sets = shop.sets, small / "sets"
    try:
        first = shop.run("run")["set"]
        for rest in (5_000_000, 1_000_000, 20_000):  # in the dump, at its end, at the manifest or the roles
            room = os.statvfs(small)
            filler = small / "filler"
            filler.write_bytes(b"x" * max(0, room.f_bavail * room.f_frsize - rest))
            failure = shop.run("run", code=4)
            assert str(small) in failure["msg"] and ("bytes are free" in failure["msg"] or "No space left" in failure["msg"])
            assert shop.ids() == [first["id"]] and shop.left() == []
            # Nor is there room to unpack a set: nothing that a check finds out of it is about the set.
            assert "No space left on device" in shop.run("drill", code=9)["msg"]
            assert shop.run("list")["sets"][0]["verified"] and shop.left() == []
            filler.unlink()
        # The check of room is a guess; the real thing must fail as cleanly.
        (shop.set(first["id"]) / "keep").touch()
        shop.sql("INSERT INTO rows SELECT n, md5(n::text), random() FROM generate_series(200001, 700000) n")
        failure = shop.run("run", code=4)
        assert "No space left on device after" in failure["msg"] and str(small) in failure["msg"]
        assert shop.ids() == [first["id"]] and shop.left() == []
        shop.sql("DELETE FROM rows WHERE id > 200000")
    finally:
        shop.config, shop.sets = {**before, "reserve_mb": 200}, kept
        shop.write()
        subprocess.run(["umount", str(small)], check=True)


def test_a_server_that_restarts_during_the_dump_costs_one_more_attempt(shop: Shop, good: str) -> None:
    process = subprocess.Popen(shop.command("run", "--json"), stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + WAIT
    while not list(shop.sets.glob(".partial-*/database*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    shop.box.restart(timeout=5)
    out, _none = process.communicate(timeout=120)
    result = json.loads(out)
    assert process.returncode == 0, result
    made = shop.manifest(result["set"]["id"])
    restarted = [text for text in made["warnings"] if "started again" in text]
    assert restarted or made["server"]["started_at"] != shop.manifest(good)["server"]["started_at"]
    assert shop.left() == []
