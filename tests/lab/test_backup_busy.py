# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a database whose users never stop: nobody waits for more than a pg_dump, no run fails, and what was proven comes back."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests

from .backups import DATABASE, USER, Shop, as_root
from .boxes import Lab

pytestmark = as_root

TABLES = """
CREATE TABLE busy (id bigint GENERATED ALWAYS AS IDENTITY, text text);
CREATE TABLE replaced (id bigint GENERATED ALWAYS AS IDENTITY, n int);
CREATE TABLE large AS SELECT n AS id, md5(n::text) AS text, random() AS r FROM generate_series(1, 600000) n;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM large;
"""
# What users do, and how often: each line over and over again, in a session of its own.
USERS = (
    "INSERT INTO busy (text) VALUES ('again')\n\\watch 0.01\n",
    "BEGIN\\; TRUNCATE replaced\\; INSERT INTO replaced (n) SELECT generate_series(1, 10)\\; COMMIT\n\\watch 0.01\n",
    "BEGIN\\; TRUNCATE replaced RESTART IDENTITY\\; INSERT INTO replaced (n) SELECT generate_series(1, 10)\\; COMMIT\n\\watch 0.1\n",
    "REFRESH MATERIALIZED VIEW totals\n\\watch 0.5\n",
)
LOCKS = """
SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
WHERE a.application_name LIKE '%-backup-%' AND c.relkind IN ('r', 'm') AND c.relnamespace = 'public'::regnamespace
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Lab() as lab:
        made = Shop(lab, tmp_path)
        made.sql(TABLES)
        yield made
        assert made.left() == []


@contextlib.contextmanager
def users(shop: Shop) -> Iterator[None]:
    """Users at work during the body."""
    command = ["docker", "exec", "-i", "-e", "PGAPPNAME=user", shop.box.name, "psql", "-XqU", USER, "-d", DATABASE]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for _user in USERS]
    for process, text in zip(running, USERS, strict=True):
        process.stdin.write(text.encode())
        process.stdin.flush()
    try:
        yield
        assert [process.poll() for process in running] == [None] * len(running)  # no user's transaction failed
    finally:
        for process in running:
            process.kill()
            process.wait()
        shop.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'user'", "postgres")


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.long)])
def test_backups_beside_users_who_write_and_replace(shop: Shop, rounds: int) -> None:
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.append(int(shop.sql(LOCKS)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    counts = []
    try:
        with users(shop):
            for _round in range(rounds):
                made = shop.run("run")["set"]
                assert made["verified"], made
                rows = manifests.rows(shop.manifest(made["id"]))
                assert rows["public.large"] == 600_000 and rows["public.replaced"] in (0, 10)
                counts.append(rows["public.busy"])
                assert shop.run("drill", made["id"])["set"]["drilled"]
    finally:
        stop.set()
        watcher.join()
    assert counts == sorted(counts) and len(set(counts)) == rounds
    # One session of ours has locks on tables, pg_dump's own, and nobody met it in a deadlock.
    assert max(seen) == 1
    assert shop.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == "0"
    assert "deadlock" not in shop.box.said()
    shop.run("restore", "latest", "--no-safety")
    assert int(shop.sql("SELECT count(*) FROM busy")) == counts[-1]
    # Whoever writes next gets the next number: the sequence was not left behind.
    assert int(shop.sql("SELECT max(id) FROM busy")) < int(shop.sql("INSERT INTO busy (text) VALUES ('next') RETURNING id"))
