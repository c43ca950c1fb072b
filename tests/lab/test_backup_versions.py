# SPDX-License-Identifier: GPL-3.0-or-later
"""Another PostgreSQL than the design's: the newest one that Debian packages, and the way from the one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .backups import CONTENT, EVERYTHING, Shop, as_root
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
