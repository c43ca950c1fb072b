# SPDX-License-Identifier: GPL-3.0-or-later
"""Another PostgreSQL than the design's: the newest one that Debian packages, and the way from the one to the other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .backups import CONTENT, DATABASE, EVERYTHING, USER, Shop, as_root
from .boxes import Lab

pytestmark = as_root


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Lab() as lab:
        made = Shop(lab, tmp_path_factory.mktemp("shop"), "postgres17")
        made.sql(EVERYTHING)
        yield made
        assert made.left() == []


def test_postgresql_17_comes_back_whole(shop: Shop) -> None:
    content = shop.sql(CONTENT)
    made = shop.run("run")["set"]["id"]
    assert shop.manifest(made)["server"]["version"].startswith("17.")
    assert shop.run("drill", made)["set"]["drilled"]
    shop.sql("DROP TABLE secured; DELETE FROM plain")
    shop.run("restore", made)
    assert shop.sql(CONTENT) == content
    shop.run("restore", "--undo")
    assert shop.sql("SELECT count(*) FROM plain") == "0"
    shop.run("restore", "--undo")


def test_a_set_goes_to_a_newer_server_and_to_no_older_one(shop: Shop, tmp_path: Path) -> None:
    older = Shop(shop.lab, tmp_path)
    older.sql(EVERYTHING)
    content = older.sql(CONTENT)
    made = older.run("run")["set"]["id"]
    newer = shop.run("run")["set"]["id"]
    older.write(container=shop.box.name)
    assert "of another cluster" in older.run("restore", made, code=2)["msg"]
    older.run("restore", made, "--foreign")
    assert shop.sql("SELECT to_regclass('secured') IS NOT NULL") == "t" and shop.sql(CONTENT) == content
    shop.write(container=older.box.name)
    try:
        said = shop.run("restore", newer, "--foreign", code=2)["msg"]
        assert "the set is of PostgreSQL 17." in said and "this server is the older 15." in said
    finally:
        shop.write(container=shop.box.name)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_names_that_are_no_utf_8_come_back(shop: Shop, encoding: str) -> None:
    name = f"old_{encoding.lower()}"
    shop.sql(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'", "postgres")
    command = ["docker", "exec", "-i", shop.box.name, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", name]

    def ask(text: str) -> bytes:
        encoded = f"SET client_encoding = '{encoding}'; {text}".encode("latin-1")  # one byte for the é, whatever this file has
        return subprocess.run(command, input=encoded, capture_output=True, check=True).stdout

    ask("""CREATE TABLE "café" (id bigint GENERATED ALWAYS AS IDENTITY, t text); INSERT INTO "café" (t) VALUES ('é'), ('e');
    CREATE MATERIALIZED VIEW "été" AS SELECT 1""")
    shop.write(database=name)
    try:
        made = shop.run("run")["set"]["id"]
        database = shop.manifest(made)["database"]
        byte = "é" if encoding == "LATIN1" else "\udce9"  # as it is, or as a byte without a meaning
        assert [(entry["name"], entry.get("rows")) for entry in database["tables"]] == [
            (f"caf{byte}", 2),
            (f"{byte}t{byte}", None),
        ]
        assert [(entry["name"], entry["dumped"]) for entry in database["sequences"]] == [(f"caf{byte}_id_seq", 2)]
        shop.run("restore", made, "--no-safety")
        assert ask('TABLE "café"') == b"1|\xe9\n2|e\n"
    finally:
        shop.write(database=DATABASE)


@pytest.mark.long
@pytest.mark.parametrize("image", ["postgres", "postgres17"])
def test_a_gigabyte_comes_back_whole(image: str, shop: Shop, tmp_path: Path) -> None:
    large = Shop(shop.lab, tmp_path, image)
    large.sql(EVERYTHING)
    # Text that compresses as writing does, by two thirds or so.
    large.sql("CREATE TABLE large AS SELECT n AS id, (SELECT string_agg(md5((n::bigint * 7919 + m)::text) || ' and so on ', '') FROM generate_series(1, 25) m)"
              " AS text FROM generate_series(1, 1000000) n; ALTER TABLE large ADD PRIMARY KEY (id)")  # fmt: skip
    assert int(large.sql("SELECT pg_total_relation_size('large')")) > 1 << 30
    whole = "SELECT count(*), sum(hashtext(text)::bigint), md5(string_agg(id::text, ',' ORDER BY id)) FROM large"
    content, rows = large.sql(CONTENT), large.sql(whole)
    made = large.run("run")["set"]["id"]
    assert large.run("drill", made)["set"]["drilled"]
    large.sql("DELETE FROM large WHERE id % 2 = 0; DROP TABLE secured")
    large.run("restore", made, "--no-safety")
    assert large.sql(whole) == rows and large.sql(CONTENT) == content
