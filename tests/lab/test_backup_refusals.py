# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged sets, foreign folders, other clusters, several at once: what the backup refuses before it touches anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.postgres import LOCK_KEY

from .backups import DATABASE, ROWS, USER, Shop, as_root
from .boxes import Lab

pytestmark = as_root


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Lab() as lab:
        made = Shop(lab, tmp_path_factory.mktemp("refused"))
        made.sql(ROWS)
        yield made


@pytest.fixture(scope="module")
def good(shop: Shop) -> str:
    """A set that must stay what it is, whatever happens beside it."""
    return str(shop.run("run", "--keep")["set"]["id"])


# --- bytes that change -----------------------------------------------------------------------------------------


def flip(path: Path, where: float) -> None:
    """Flip one bit, at a share of the file."""
    data = bytearray(path.read_bytes())
    data[min(len(data) - 1, int(len(data) * where))] ^= 1
    path.write_bytes(data)


def exchange(one: Path, other: Path) -> None:
    """Give each file the other's name."""
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut to 60 %": lambda set_: os.truncate(set_ / "database.dump.zst", (set_ / "database.dump.zst").stat().st_size * 6 // 10),
    "the last 20 bytes": lambda set_: os.truncate(set_ / "database.dump.zst", (set_ / "database.dump.zst").stat().st_size - 20),
    "the last byte": lambda set_: os.truncate(set_ / "database.dump.zst", (set_ / "database.dump.zst").stat().st_size - 1),
    "a bit at the head": lambda set_: flip(set_ / "database.dump.zst", 0),
    "a bit in the middle": lambda set_: flip(set_ / "database.dump.zst", 0.5),
    "a bit at the end": lambda set_: flip(set_ / "database.dump.zst", 1),
    "a bit of the files": lambda set_: flip(set_ / "files-uploads.tar.zst", 0.5),
    "a bit of the roles": lambda set_: flip(set_ / "roles.sql.zst", 0.5),
    "an empty dump": lambda set_: os.truncate(set_ / "database.dump.zst", 0),
    "no dump": lambda set_: (set_ / "database.dump.zst").unlink(),
    "two files exchanged": lambda set_: exchange(set_ / "roles.sql.zst", set_ / "files-uploads.tar.zst"),
    "no manifest": lambda set_: (set_ / "manifest.json").unlink(),
    "another count": lambda set_: (set_ / "manifest.json").write_text((set_ / "manifest.json").read_text().replace("200000", "200001")),
    "another hash": lambda set_: (set_ / "SHA256SUMS").write_text("0" + (set_ / "SHA256SUMS").read_text()[1:]),
    "a way out": lambda set_: (set_ / "manifest.json").write_text((set_ / "manifest.json").read_text().replace("roles.sql.zst", "../../etc/passwd")),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_noticed_before_anything_is_touched(shop: Shop, good: str, damage: str) -> None:
    name = "20200101T000000Z-abcdef"
    copy = shop.sets / name
    shutil.copytree(shop.sets / good, copy)
    for path in (copy / "manifest.json", copy / "SHA256SUMS"):
        path.write_text(path.read_text().replace(good, name))
    sums = subprocess.run(["sha256sum", "manifest.json"], cwd=copy, capture_output=True, text=True, check=True).stdout
    text = (copy / "SHA256SUMS").read_text().splitlines(True)
    (copy / "SHA256SUMS").write_text("".join(sums if line.endswith(" manifest.json\n") else line for line in text))
    try:
        if damage == next(iter(DAMAGE)):
            shop.run("verify", name)  # the negative control: the undamaged copy is good
        DAMAGE[damage](copy)
        state = "SELECT string_agg(datname, ' '), (SELECT md5(string_agg(r::text, '' ORDER BY id)) FROM rows r) FROM pg_database"
        before = shop.sql(state)
        shop.run("restore", name, code=5)
        assert shop.sql(state) == before and not (shop.sets / ".restore.json").exists()
        shop.run("verify", name, code=5)
        listed = {entry["id"]: entry for entry in shop.run("list", code=5)["sets"]}
        assert not listed[name]["verified"]
        assert shop.run("prune", "--dry-run")["removed"] == [] or name not in shop.run("prune", "--dry-run")["keep"]
        assert Path("/etc/passwd").exists()
    finally:
        shutil.rmtree(copy)


# --- wrong place, wrong cluster, at once ------------------------------------------------------------------------


def test_foreign_folders_are_refused_and_left_alone(shop: Shop, good: str, tmp_path: Path) -> None:
    places: dict[str, Path] = {name: tmp_path / name for name in ("linked", "foreign", "others", "file")}
    places["linked"].symlink_to("/etc")
    places["foreign"].mkdir()
    (places["foreign"] / "notes.gz").write_text("mine")
    places["others"].mkdir()
    (places["others"] / ".backup-root").write_text('{"schema": 1, "instance": "other"}')
    places["file"].write_text("")
    before = dict(shop.config)
    try:
        for place in places.values():
            shop.write(root=str(place))
            assert shop.run("run", code=2)["msg"].startswith("root: ")
            assert shop.run("prune", code=2)["msg"]
    finally:
        shop.config = before
        shop.write()
    assert (places["foreign"] / "notes.gz").read_text() == "mine" and len(list(places["foreign"].iterdir())) == 1
    # Among our own sets a stranger's file is nobody's business either, nor is it in a set that goes.
    (shop.sets / "notes.gz").write_text("mine")
    for _run in range(2):
        shop.run("run")
    (shop.sets / shop.ids()[-2] / "notes.gz").write_text("mine")
    shop.write(retention={"keep_last": 1}, min_keep=1)
    try:
        removed = shop.run("prune")["removed"]
        assert removed and good in shop.ids() and (shop.sets / "notes.gz").read_text() == "mine"
        assert [path.name for path in shop.sets.glob("left-over-*/*")] == ["notes.gz"]
    finally:
        shop.write(retention={"keep_last": 3}, min_keep=3)
        (shop.sets / "notes.gz").unlink()


def test_a_set_of_another_cluster_or_a_newer_server_is_refused(shop: Shop, good: str) -> None:
    other = shop.server()
    shop.write(container=other.name)
    try:
        assert "of another cluster" in shop.run("restore", good, code=2)["msg"]
        assert other.run("psql", "-XqAtU", USER, "-d", DATABASE, "-c", "SELECT to_regclass('rows') IS NULL")[1] == "t"
        shop.run("restore", good, "--foreign", "--no-safety")
        assert other.run("psql", "-XqAtU", USER, "-d", DATABASE, "-c", "SELECT count(*) FROM rows")[1] == "200000"
    finally:
        shop.write(container=shop.box.name)
        (shop.sets / ".restore.json").unlink(missing_ok=True)
        shop.lab.remove(other)


def test_of_four_at_once_one_works(shop: Shop, good: str) -> None:
    before = shop.ids()
    runs = [
        subprocess.Popen(shop.command("run", "--json"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _run in range(4)
    ]
    codes = sorted(run.wait(300) for run in runs)
    assert codes[0] == 0 and set(codes[1:]) <= {0, 3} and 3 in codes
    refused = next(run for run in runs if run.returncode == 3)
    assert "a backup, process" in json.loads(refused.communicate()[0])["msg"]
    assert len(set(shop.ids()) - set(before)) == codes.count(0)
    # Whoever waits gets its turn.
    first, second = (subprocess.Popen(shop.command("run", "--wait", "60"), stdout=subprocess.DEVNULL) for _run in range(2))
    assert (first.wait(300), second.wait(300)) == (0, 0)


def test_whoever_works_on_the_database_from_another_host_is_met(shop: Shop, good: str) -> None:
    command = ["docker", "exec", "-i", shop.box.name, "psql", "-XqAtU", USER, "-d", DATABASE]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    other.stdin.write(f"SELECT pg_advisory_lock({LOCK_KEY}), 'held';\n")
    other.stdin.flush()
    assert "held" in other.stdout.readline()
    before = shop.ids()
    for arguments in (["run"], ["restore", good, "--no-safety"]):
        assert "from another host" in shop.run(*arguments, code=3)["msg"]
    assert shop.ids() == before and shop.left() == []
    other.communicate()
    # The negative control: now nobody is.
    shop.run("run")
    shop.run("restore", good, "--no-safety")


def test_a_fresh_set_is_enough_wherever_the_server_is(shop: Shop, good: str) -> None:
    for zone in ("America/New_York", "Asia/Tokyo"):
        result = shop.run("run", "--max-age", "3600", TZ=zone, LANG="ja_JP.UTF-8")
        assert result["changed"] is False and result["set"]["verified"]


def test_a_shrunken_database_is_noticed(shop: Shop, good: str) -> None:
    shop.sql("CREATE TABLE gone AS SELECT * FROM rows; TRUNCATE rows")
    try:
        shop.write(guard="fail")
        assert "empty since the last set: public.rows" in shop.run("run", code=4)["msg"]
        shop.write(guard="warn")
        result = shop.run("run")
        assert result["removed"] == [] and any("empty since" in text for text in result["set"]["warnings"])
    finally:
        shop.sql("INSERT INTO rows SELECT * FROM gone; DROP TABLE gone")
        shop.write(guard="warn")


def test_nothing_takes_the_place_of_something_unless_somebody_says_so(shop: Shop, good: str) -> None:
    shop.sql("TRUNCATE rows")
    (shop.uploads / "first").unlink()
    bare = shop.run("run")["set"]["id"]
    shop.run("restore", bare, "--no-safety")  # the negative control: there is nothing to lose
    shop.sql("INSERT INTO rows VALUES (1, 'x', 1)")
    (shop.uploads / "first").write_text("an upload")
    said = shop.run("restore", bare, "--no-safety", code=2)["msg"]
    assert "no row" in said and f"no file for {shop.uploads}" in said and "--allow-empty" in said
    assert shop.sql("SELECT count(*) FROM rows") == "1" and (shop.uploads / "first").exists()
    shop.sql("DROP TABLE rows")
    none = shop.run("run")["set"]["id"]
    assert "no table" in shop.run("restore", none, "--no-safety", code=2)["msg"]
    shop.run("restore", bare, "--no-safety", "--allow-empty")
    assert shop.sql("SELECT count(*) FROM rows") == "0" and not (shop.uploads / "first").exists()
    shop.run("restore", good, "--no-safety")
    assert shop.sql("SELECT count(*) FROM rows") == "200000" and (shop.uploads / "first").exists()
