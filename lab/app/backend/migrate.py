# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies ./migrations/*.sql in order: each in one transaction, each once."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
from settings import Settings

FOLDER = Path(__file__).parent / "migrations"


def up(settings: Settings) -> int:
    try:
        with psycopg.connect(settings.database_url, autocommit=True, connect_timeout=10) as connection:
            return apply_all(connection, settings)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(f"migrate: failed: {reason[0]}", file=sys.stderr)
        return 1


def apply_all(connection: psycopg.Connection, settings: Settings) -> int:
    # Two migrators at once: the second waits, then finds nothing to do.
    connection.execute("SELECT pg_advisory_lock(hashtext('kasaneha/migrate'))")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    done = {version for (version,) in connection.execute("SELECT version FROM schema_migrations")}
    waiting = [path for path in sorted(FOLDER.glob("*.sql")) if path.stem not in done]
    for path in waiting:
        with connection.transaction():
            # A change that waits for a lock makes all others wait behind it: give up early instead.
            connection.execute("SET LOCAL lock_timeout = '5s'")
            connection.execute(path.read_text())
            connection.execute("INSERT INTO schema_migrations (version) VALUES (%s)", [path.stem])
        print(f"migrate: applied {path.stem}", flush=True)
    if settings.fault in ("failing_migration", "slow_migration"):
        fault(connection, settings)
    print(f"migrate: {len(waiting)} applied, {len(done)} were already there", flush=True)
    return 0


def fault(connection: psycopg.Connection, settings: Settings) -> None:
    """One more step, never recorded, so that it also meets a database that already has all the others."""
    with connection.transaction():
        if settings.fault == "slow_migration":
            seconds = settings.fault_lasts(10)
            connection.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
            print(f"migrate: slow_migration holds the table sessions for {seconds:g} s", flush=True)
            connection.execute("SELECT pg_sleep(%s)", [seconds])
        else:
            print("migrate: failing_migration is next", flush=True)
            connection.execute("CREATE TABLE half_done (id bigint)")
            connection.execute("ALTER TABLE half_done ADD CONSTRAINT half_done_fk FOREIGN KEY (id) REFERENCES not_there (id)")
