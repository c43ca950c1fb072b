# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server with everything in it, and the backup command beside it as it runs on a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import zipapp

from .boxes import Box, Lab

# On a server systemd starts the backup as root: it reads files of every owner, and gives them back to theirs. Without root the
# rest of the suite can still be run; CI runs as root and skips none of these.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the backup runs as root")

USER, DATABASE = "shop", 'We ird;--"データ'
LONGEST = "a name of as many bytes as there may be: ".ljust(63, "x")
CANARY = "CANARY-password-4711:with\\colons"

# One of each kind of thing that a backup may forget.
EVERYTHING = r"""
CREATE ROLE readers; CREATE ROLE reader LOGIN PASSWORD 'reader-secret' IN ROLE readers;
ALTER ROLE reader SET search_path = "$user", public; ALTER ROLE reader IN DATABASE :"DBNAME" SET statement_timeout = '7s';
ALTER DATABASE :"DBNAME" SET work_mem = '5MB'; ALTER DATABASE :"DBNAME" CONNECTION LIMIT 77;
COMMENT ON DATABASE :"DBNAME" IS 'it''s \ ours'; REVOKE CONNECT ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT, TEMP ON DATABASE :"DBNAME" TO readers WITH GRANT OPTION;
CREATE EXTENSION pgcrypto; CREATE EXTENSION hstore; CREATE SCHEMA "odd ""schema";
CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc jsonb, tags hstore, twice int GENERATED ALWAYS AS (2 * 21) STORED);
INSERT INTO plain (doc, tags) SELECT jsonb_build_object('n', n, 'text', md5(n::text)), hstore('k', n::text) FROM generate_series(1, 5000) n;
CREATE INDEX ON plain USING gin (doc);
CREATE TABLE "odd ""schema"."データ;--" (raw bytea, m mood, p positive); INSERT INTO "odd ""schema"."データ;--" VALUES ('\x00ff5c0a27', 'happy', 1);
CREATE TABLE "LONGEST" (x int);
CREATE TABLE parts (at date, n int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT date '2026-01-15' + n, n FROM generate_series(0, 99) n;
CREATE TABLE hashed (m mood) PARTITION BY HASH (m);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT CASE n % 3 WHEN 0 THEN 'sad' ELSE 'happy' END::mood FROM generate_series(1, 30) n;
CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3), (4, 5);
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM plain; CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS x WITH NO DATA;
CREATE TABLE secured (owner text, note text); ALTER TABLE secured ENABLE ROW LEVEL SECURITY; ALTER TABLE secured FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON secured FOR SELECT TO readers USING (owner = current_user); INSERT INTO secured VALUES ('reader', 'mine'), ('other', 'theirs');
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a trigger ran during the restore'; END $$;
CREATE TABLE audited (x int); INSERT INTO audited VALUES (1); CREATE TRIGGER t BEFORE INSERT ON audited FOR EACH ROW EXECUTE FUNCTION touched();
CREATE UNLOGGED TABLE fleeting (x int); INSERT INTO fleeting VALUES (1);
CREATE SEQUENCE down INCREMENT -1 MAXVALUE 100 START 100; SELECT nextval('down'), nextval('down');
SELECT lo_from_bytea(0, '\xdeadbeef'); SELECT lo_from_bytea(0, '\x00');
GRANT SELECT ON plain TO readers; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO readers;
""".replace("LONGEST", LONGEST)


ROWS = """
CREATE TABLE rows AS SELECT n AS id, md5(n::text) AS text, random() AS r FROM generate_series(1, 200000) n; ALTER TABLE rows ADD PRIMARY KEY (id)
"""


# What must be the same again after a restore.
CONTENT = """SELECT md5(string_agg(md5(p::text), '' ORDER BY id)) FROM plain p; TABLE "odd ""schema"."データ;--"; SELECT * FROM parts ORDER BY n LIMIT 3;
TABLE secured; SELECT md5(string_agg(data, '' ORDER BY loid)) FROM pg_largeobject; TABLE totals;"""


class Shop:
    """The server, its database and the place for its backups."""

    def __init__(
        self, lab: Lab, folder: Path, image: str = "postgres", options: dict[str, Any] | None = None, **config: Any
    ) -> None:
        self.lab, self.folder, self.sets = lab, folder, folder / "sets"
        self.uploads = folder / "uploads"
        self.uploads.mkdir()
        (self.uploads / "first").write_text("an upload")
        (folder / "password").write_text(CANARY)
        self.box = self.server(image, **(options or {}))
        self.config = {
            "instance": f"shop-{os.getpid()}-{folder.name[-8:]}".lower().replace("_", "-")[:40],
            "root": str(self.sets),
            "container": self.box.name,
            "database": DATABASE,
            "user": USER,
            "password_file": str(folder / "password"),
            "files": [{"name": "uploads", "path": str(self.uploads)}],
            "retention": {"keep_last": 3},
            "metrics": str(folder / "backup.prom"),
            **config,
        }
        self.program = folder / "shop-backup"
        self.program.write_bytes(zipapp.pack("backup.cli"))
        self.write()

    def server(self, image: str = "postgres", **options: Any) -> Box:
        """A PostgreSQL server that asks for its password on 127.0.0.1, as ours do."""
        environment = {"POSTGRES_USER": USER, "POSTGRES_DB": DATABASE, "POSTGRES_PASSWORD": CANARY,
                       "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256"}  # fmt: skip
        box = self.lab.start(image, environment=environment, command=["postgres", "-c", "max_connections=100"], **options)
        box.until("PostgreSQL", lambda: box.run("pg_isready", "-h", "127.0.0.1")[0] == 0, 60)
        return box

    def write(self, **changes: Any) -> None:
        """Write the configuration, with other values."""
        self.config.update(changes)
        (self.folder / "backup.json").write_text(json.dumps(self.config))

    def command(self, *arguments: str) -> list[str]:
        """The command line of the backup."""
        return [sys.executable, str(self.program), arguments[0], "--config", str(self.folder / "backup.json"), *arguments[1:]]

    def run(self, *arguments: str, code: int = 0, path: str = "", **environment: str) -> dict[str, Any]:
        """Run the command and expect an exit code; its result, or its failure."""
        paths = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
        # Nothing of this machine's own settings for Python or S3.
        plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("AWS_")}
        done = subprocess.run(
            self.command(*arguments, "--json"),
            capture_output=True,
            text=True,
            check=False,
            env={**plain, "PATH": paths, **environment},
        )
        assert done.returncode == code, f"exit code {done.returncode}, not {code}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert CANARY not in done.stdout + done.stderr
        return json.loads(done.stdout)

    def ids(self) -> list[str]:
        """The sets that are published."""
        return sorted(path.name for path in self.sets.glob("2*-*") if (path / "manifest.json").exists())

    def set(self, name: str = "latest") -> Path:
        """The folder of a set."""
        return (self.sets / name).resolve()

    def manifest(self, name: str = "latest") -> dict[str, Any]:
        """What a set says of itself."""
        return json.loads((self.set(name) / "manifest.json").read_text())

    def sql(self, text: str, database: str = DATABASE) -> str:
        """Run SQL in the server, by its socket."""
        command = ["docker", "exec", "-i", self.box.name, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def left(self) -> list[str]:
        """What a run should not leave: containers, sessions, folders half made, secrets in memory."""
        containers = subprocess.run(
            ["docker", "ps", "--all", "--quiet", "--filter", f"label=kasaneha.deploy.backup={self.config['instance']}"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        sessions = self.sql(
            "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE '%-backup-%'", "postgres"
        ).split()
        partial = [path.name for path in self.sets.glob(".*") if path.name.startswith((".partial-", ".work-", ".gone-"))]
        return [*containers, *sessions, *partial, *map(str, Path("/run").glob(f"{self.config['instance']}-*"))]
