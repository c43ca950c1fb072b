# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a real PostgreSQL server with everything in it: what a set holds, that it comes back whole, and who can read it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests

from .backups import CANARY, CONTENT, DATABASE, EVERYTHING, LONGEST, USER, Shop, as_root
from .boxes import WAIT, Lab

pytestmark = as_root

ROUNDS, USERS = (20, 50) if os.environ.get("LONG") else (2, 20)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Lab() as lab:
        made = Shop(lab, tmp_path_factory.mktemp("shop"))
        made.sql(EVERYTHING)
        yield made
        assert made.left() == []


@pytest.fixture(scope="module")
def backed_up(shop: Shop) -> dict[str, Any]:
    """One backup, which most tests look at."""
    return shop.run("run", "--reason", "test")["set"]


def test_a_set_is_whole_and_nobody_elses(shop: Shop, backed_up: dict[str, Any]) -> None:
    folder = shop.set(backed_up["id"])
    names = {
        "database.dump.zst",
        "roles.sql.zst",
        "files-uploads.tar.zst",
        "manifest.json",
        "state.json",
        "SHA256SUMS",
        "RESTORE.txt",
    }
    assert {path.name for path in folder.iterdir()} == names
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in [shop.sets, folder, *shop.sets.glob("**/*")] if not path.is_symlink()
    }
    assert {oct(mode) for path, mode in modes.items() if path.is_dir()} == {"0o700"}
    assert {oct(mode) for path, mode in modes.items() if path.is_file()} == {"0o600"}
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode == 0
    assert os.readlink(shop.sets / "latest") == backed_up["id"] and backed_up["verified"] and not backed_up["warnings"]


def test_the_manifest_knows_everything(shop: Shop, backed_up: dict[str, Any]) -> None:
    manifest = shop.manifest(backed_up["id"])
    database = manifest["database"]
    rows = {entry["name"]: entry.get("rows") for entry in database["tables"]}
    assert rows["plain"] == 5000 and rows["parts_1"] == 17 and rows["parts_rest"] == 83 and "parts" not in rows
    assert (
        rows["parent"] == 1 and rows["child"] == 2 and rows["secured"] == 2 and rows["データ;--"] == 1 and rows["totals"] is None
    )  # a view is computed again
    assert "unfilled" not in rows and rows[LONGEST] == 0
    assert database["name"] == DATABASE and database["large_objects"] == 2 and database["connection_limit"] == 77
    assert {entry["name"] for entry in database["extensions"]} == {"plpgsql", "pgcrypto", "hstore"}
    assert {"schema": "public", "name": "down", "dumped": 99} in database["sequences"]
    assert {"schema": "public", "name": "plain_id_seq", "dumped": 5000} in database["sequences"]
    assert database["comment"] == "it's \\ ours" and database["acl"] and database["encoding"] == "UTF8"
    assert manifest["toc"]["table_data"] >= len([entry for entry in database["tables"] if entry["kind"] == "r"])
    assert manifest["server"]["version"].split()[0].split(".")[0] == manifest["client"]["pg_dump"].split(".")[0]
    assert manifest["server"]["image_id"].startswith("sha256:") and manifest["server"]["system_identifier"]
    roles = subprocess.run(["zstd", "-dc", str(shop.set() / "roles.sql.zst")], capture_output=True, text=True, check=True).stdout
    assert "SCRAM-SHA-256" in roles and roles.index('CREATE ROLE "readers"') < roles.index('CREATE ROLE "reader"')


def test_a_drill_restores_everything_and_says_how_long_it_took(shop: Shop, backed_up: dict[str, Any]) -> None:
    result = shop.run("drill", backed_up["id"])
    assert result["set"]["drilled"] and 0 < result["seconds"] < 120
    text = (shop.folder / "backup.prom").read_text()
    assert f'kasaneha_restore_test_last_duration_seconds{{app="{shop.config["instance"]}"}} {result["seconds"]:g}' in text


def properties(shop: Shop) -> str:
    """What a restore under another name would forget."""
    return shop.sql(
        f"""SELECT pg_get_userbyid(datdba), encoding, datcollate, datconnlimit, datallowconn, datacl::text, shobj_description(oid, 'pg_database'),
        (SELECT array_agg(setrole::regrole::text || setconfig::text ORDER BY 1) FROM pg_db_role_setting WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = {manifests.literal(DATABASE)}""",
        "postgres",
    )  # noqa: S608


def test_a_restore_brings_back_data_files_and_properties_under_users_who_never_stop(
    shop: Shop, backed_up: dict[str, Any]
) -> None:
    before, content = properties(shop), shop.sql(CONTENT)
    shop.sql(
        "DELETE FROM plain WHERE id > 10; DROP TABLE secured; ALTER TABLE parts RENAME TO gone; INSERT INTO child VALUES (9, 9)"
    )
    (shop.uploads / "first").unlink()
    (shop.uploads / "second").write_text("written after the backup")
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.append(shop.sql(f"SELECT count(*) FROM pg_database WHERE datname = {manifests.literal(DATABASE)}", "postgres"))  # noqa: S608

    watcher = threading.Thread(target=watch)
    watcher.start()
    shop.box.run("touch", "/tmp/users")
    users = [subprocess.Popen(
        ["docker", "exec", "-i", shop.box.name, "sh", "-c", 'while [ -e /tmp/users ]; do psql -qU "$0" -d "$1" -c "SELECT pg_sleep(5)"; done', USER, DATABASE],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) for _user in range(USERS)]  # fmt: skip
    time.sleep(1)
    result = shop.run("restore", backed_up["id"])
    shop.box.run("rm", "/tmp/users")
    stop.set()
    watcher.join()
    assert set(seen) == {"1"} and len(seen) > 5  # at every moment there was a database of that name
    assert result["closed_seconds"] > 0 and result["saved"]  # how long is what the benchmark measures
    assert properties(shop) == before and shop.sql(CONTENT) == content
    assert {path.name for path in shop.uploads.iterdir() if not path.name.startswith(".")} == {"first"}
    assert (shop.uploads / "first").read_text() == "an upload"
    assert shop.run("list")["restore"]["going"] == result["kept"]
    for user in users:
        user.wait(timeout=WAIT)

    # The way back, and the way back from there.
    shop.run("restore", "--undo")
    assert shop.sql("SELECT count(*) FROM plain") == "10" and (shop.uploads / "second").exists() and properties(shop) == before
    shop.run("restore", "--undo")
    assert shop.sql("SELECT count(*) FROM plain") == "5000" and not (shop.uploads / "second").exists()


def test_an_application_that_does_not_answer_gets_its_old_data_back(shop: Shop, backed_up: dict[str, Any]) -> None:
    shop.sql("CREATE TABLE newer (x int)")
    (shop.uploads / "newer").write_text("x")
    way_back = shop.run("list")["restore"]["going"]
    shop.write(probes=["http://127.0.0.1:9/health"], probe_seconds=2)
    try:
        failure = shop.run("restore", backed_up["id"], "--no-safety", code=8)
        assert "Everything is as it was" in failure["msg"]
        assert shop.sql("SELECT count(*) FROM newer") == "0" and (shop.uploads / "newer").exists()
        assert "__restore" not in shop.sql("SELECT string_agg(datname, ' ') FROM pg_database", "postgres")
        # The way back from the restore before this one is still there, and nothing of this one.
        assert shop.run("list")["restore"]["going"] == way_back
        assert [path.name for path in shop.uploads.iterdir() if path.name.startswith(".")] == [f".restore-{way_back[-23:]}"]
    finally:
        shop.write(probes=[])
    shop.sql("DROP TABLE newer")
    (shop.uploads / "newer").unlink()


@pytest.mark.parametrize("recipients", [[], ["age"]], ids=["plain", "encrypted"])
def test_its_own_text_restores_a_set_without_our_tools(shop: Shop, tmp_path: Path, recipients: list[str]) -> None:
    folder = tmp_path / "copy"
    if recipients:
        subprocess.run(["age-keygen", "-o", str(tmp_path / "KEY.txt")], check=True, capture_output=True)
        public = subprocess.run(
            ["age-keygen", "-y", str(tmp_path / "KEY.txt")], check=True, capture_output=True, text=True
        ).stdout
        recipients = [public.strip()]
    shop.write(recipients=recipients)
    try:
        made = shop.run("run", "--keep")["set"]
    finally:
        shop.write(recipients=[])
    shutil.copytree(shop.set(made["id"]), folder)
    if recipients:
        shutil.copy(tmp_path / "KEY.txt", folder)
        assert not [path.name for path in folder.glob("*.zst")] and len(list(folder.glob("*.zst.age"))) == 3
    environment = {"POSTGRES_USER": USER, "POSTGRES_HOST_AUTH_METHOD": "trust"}
    bare = shop.lab.start("postgres", environment=environment)
    bare.until("PostgreSQL", lambda: bare.run("pg_isready", "-h", "127.0.0.1")[0] == 0, 60)
    script = "set -eu\n" + manifests.commands((folder / "RESTORE.txt").read_text())
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**os.environ, "PG": bare.name}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counted = bare.run(
        "psql",
        "-XqAtU",
        USER,
        "-d",
        DATABASE,
        "-c",
        "SELECT count(*) FROM plain; SELECT rolname FROM pg_roles WHERE rolname = 'reader'",
    )
    assert counted == (0, "5000\nreader") and (folder / "uploads" / "first").read_text() == "an upload"
    # The negative control: a byte less, and the same text stops before it has restored anything.
    shop.lab.remove(bare)
    dump = next(folder.glob("database.dump.*"))
    dump.write_bytes(dump.read_bytes()[:-1])
    assert subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**os.environ, "PG": "none"}, capture_output=True, check=False
    ).returncode


def test_an_encrypted_set_cannot_be_read_here_and_can_be_with_its_key(shop: Shop, tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", str(key)], check=True, capture_output=True, text=True).stdout.strip()
    shop.write(recipients=[public])
    try:
        written: set[str] = set()
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                for folder in shop.sets.glob(".partial-*"):
                    with contextlib.suppress(FileNotFoundError):  # it became a set meanwhile
                        written.update(os.listdir(folder))

        watcher = threading.Thread(target=watch)
        watcher.start()
        result = shop.run("drill")  # without a key: a new one, restored while it was made
        stop.set()
        watcher.join()
        assert result["set"]["encrypted"] and result["set"]["drilled"] and result["seconds"] > 0
        assert written and not [name for name in written if name.endswith((".zst", ".dump", ".sql", ".tar"))]
        name = result["set"]["id"]
        assert shop.run("verify", name)["sets"][0]["verified"]
        assert "Give the identity" in shop.run("drill", name, code=2)["msg"]
        assert shop.run("drill", name, "--identity", str(key))["seconds"] > 0
        subprocess.run(["age-keygen", "-o", str(tmp_path / "other.txt")], check=True, capture_output=True)
        assert "age: " in shop.run("restore", name, "--identity", str(tmp_path / "other.txt"), "--no-safety", code=7)["msg"]
        assert shop.run("restore", name, "--identity", str(key), "--no-safety")["closed_seconds"] <= 5
        assert key.read_text().split()[-1] not in "".join(
            path.read_text(errors="replace") for path in shop.sets.glob("**/*") if path.is_file()
        )
    finally:
        shop.write(recipients=[])


def test_a_dump_of_the_old_kind_comes_in_through_quarantine(shop: Shop, tmp_path: Path) -> None:
    plain = subprocess.run(
        ["docker", "exec", shop.box.name, "pg_dump", "-U", USER, "-d", DATABASE], capture_output=True, check=True
    ).stdout
    old = tmp_path / "db_backup_20260101_020000.sql.gz"
    old.write_bytes(subprocess.run(["gzip", "-c"], input=plain, capture_output=True, check=True).stdout)
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "old").write_text("old")
    archive = tmp_path / "files_backup_20260101_020000.tar.gz"
    subprocess.run(["tar", "-czf", str(archive), "-C", str(tmp_path), "./uploads"], check=True)
    before = properties(shop)
    shop.sql("DELETE FROM plain")
    result = shop.run("restore", str(old), "--files", str(archive), "--no-safety")
    assert shop.sql("SELECT count(*) FROM plain") == "5000" and properties(shop) == before
    assert [path.name for path in shop.uploads.iterdir() if not path.name.startswith(".")] == ["old"]
    assert result["set"]["reason"] == f"import of {old.name}"
    # One that is cut at a whole line is what psql loads without a word.
    cut = tmp_path / "backup_20260101_020000.sql"
    cut.write_bytes(b"\n".join(plain.split(b"\n")[: plain.count(b"\n") // 2]) + b"\n")
    assert "is cut short" in shop.run("restore", str(cut), code=2)["msg"]
    old.write_bytes(old.read_bytes()[:-20])
    assert "gzip: " in shop.run("restore", str(old), code=2)["msg"]
    assert shop.sql("SELECT count(*) FROM plain") == "5000"


def test_a_file_that_would_leave_nothing_is_refused_by_what_came_of_it(shop: Shop, tmp_path: Path) -> None:
    before = shop.sql("SELECT count(*) FROM plain"), shop.ids(), properties(shop)
    file = tmp_path / "dump.sql"
    for option, said in (("--create", "fills other databases"), ("--schema-only", "no row")):
        dump = ["docker", "exec", shop.box.name, "pg_dump", "-U", USER, "-d", DATABASE, option]
        file.write_bytes(subprocess.run(dump, capture_output=True, check=True).stdout)
        assert said in shop.run("restore", str(file), code=2)["msg"]
        # Nothing was replaced, and what was refused is no set that somebody could take for the latest.
        assert (shop.sql("SELECT count(*) FROM plain"), shop.ids(), properties(shop)) == before
    # Who says so gets it, and can return.
    shop.run("restore", str(file), "--no-safety", "--allow-empty")
    assert shop.sql("SELECT count(*) FROM plain") == "0"
    shop.run("restore", "--undo")
    assert shop.sql("SELECT count(*) FROM plain") == before[0]


def test_the_counts_are_those_of_the_dump_whatever_is_written_meanwhile(shop: Shop) -> None:
    shop.sql("CREATE TABLE IF NOT EXISTS busy (id bigint GENERATED ALWAYS AS IDENTITY, text text)")
    writer = subprocess.Popen(
        ["docker", "exec", "-i", shop.box.name, "psql", "-XqU", USER, "-d", DATABASE],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    writer.stdin.write(b"INSERT INTO busy (text) SELECT md5(n::text) FROM generate_series(1, 50) n;\n\\watch 0.01\n")
    writer.stdin.flush()
    try:
        made = [shop.run("run", "--keep")["set"]["id"] for _round in range(ROUNDS)]
    finally:
        writer.kill()
        writer.wait()
        shop.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO busy%'", "postgres")
    rows = {name: manifests.rows(shop.manifest(name))["public.busy"] for name in made}
    assert len(set(rows.values())) == ROUNDS
    for name in rows:
        shop.run("drill", name)
    # The negative control: the count of another moment is not accepted.
    manifest = shop.set(made[0]) / "manifest.json"
    changed = json.loads(manifest.read_text())
    next(entry for entry in changed["database"]["tables"] if entry["name"] == "busy")["rows"] += 1
    text = json.dumps(changed)
    manifest.write_text(text)
    sums = shop.set(made[0]) / "SHA256SUMS"
    digest = subprocess.run(
        ["sha256sum", "manifest.json"], cwd=manifest.parent, capture_output=True, text=True, check=True
    ).stdout
    sums.write_text("".join(digest if line.endswith(" manifest.json\n") else line for line in sums.read_text().splitlines(True)))
    assert f"table public.busy has {rows[made[0]]} rows, not {rows[made[0]] + 1}" in shop.run("drill", made[0], code=5)["msg"]
    assert f"has {rows[made[0]]} rows" in shop.run("restore", made[0], "--no-safety", code=7)["msg"]
    shutil.rmtree(manifest.parent)


def test_no_secret_is_seen_anywhere(shop: Shop) -> None:
    seen: set[str] = set()
    process = subprocess.Popen(shop.command("run", "--json"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it ended while we looked
                continue
        ids = subprocess.run(
            ["docker", "ps", "--quiet", "--filter", "label=kasaneha.deploy.backup"], capture_output=True, text=True, check=True
        )
        if ids.stdout.split():
            seen.add(
                subprocess.run(["docker", "inspect", *ids.stdout.split()], capture_output=True, text=True, check=False).stdout
            )
    seen.add(process.stdout.read().decode())
    assert any("pg_dump" in text for text in seen) and any(
        '"PGUSER=' in text for text in seen
    )  # it was looked at the right moment
    assert not [text for text in seen if CANARY in text or "reader-secret" in text]
    assert CANARY not in "".join(path.read_text(errors="replace") for path in shop.sets.glob("**/*") if path.is_file())
    assert CANARY not in shop.box.said() and "SCRAM" not in shop.box.said()
