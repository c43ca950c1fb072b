# SPDX-License-Identifier: GPL-3.0-or-later
"""The example application's backend for tests: what it needs to run, and what its users ask of it."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import requests

from .boxes import HARDENED, TMP, WAIT, Box, Lab, self_signed

DATABASE_PASSWORD, CACHE_PASSWORD = secrets.token_hex(16), secrets.token_hex(16)
JWT_SECRET, GEMINI_KEY = secrets.token_hex(32), secrets.token_hex(16)
SECRETS = [DATABASE_PASSWORD, CACHE_PASSWORD, JWT_SECRET, GEMINI_KEY]
BASE_ENV = {
    "ENV": "production",
    "DATABASE_URL": f"postgres://kasaneha:{DATABASE_PASSWORD}@postgres:5432/kasaneha_db?sslmode=verify-full&sslrootcert=/run/tls/ca.crt",
    "REDIS_URL": f"redis://:{CACHE_PASSWORD}@redis:6379",
    "GEMINI_API_KEY": GEMINI_KEY,
    "JWT_SECRET": JWT_SECRET,
}
MIGRATE = ["./main", "migrate", "up"]


def leaks(text: str, values: list[str]) -> list[str]:
    return [value[:3] + "…" for value in values if value in text]


class Services:
    """A database with TLS, a cache, and what all backends share."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.network, self.uploads, self.certificates = lab, lab.network(), lab.volume(), lab.volume()
        key, certificate = self_signed(folder, "postgres")
        self.postgres = lab.start(
            "postgres",
            ["postgres", "-c", "ssl=on", "-c", "ssl_cert_file=/run/tls/ca.crt", "-c", "ssl_key_file=/run/server.key"],
            # Backends get the certificate by its volume, and the key stays here.
            files={"/run/tls/ca.crt": (certificate, 0o644, 0), "/run/server.key": (key, 0o600, 70)},
            volumes={self.certificates: {"bind": "/run/tls", "mode": "rw"}},
            environment={"POSTGRES_USER": "kasaneha", "POSTGRES_DB": "kasaneha_db", "POSTGRES_PASSWORD": DATABASE_PASSWORD},
            network=self.network,
            aliases=["postgres"],
        )
        command = ["redis-server", "--requirepass", CACHE_PASSWORD]
        self.redis = lab.start("redis", command, network=self.network, aliases=["redis"])
        self.postgres.until("PostgreSQL", lambda: self.sql("SELECT 1", quiet=True) == "1")

    def sql(self, statement: str, database: str = "kasaneha_db", quiet: bool = False) -> str:
        # Over TCP, where the entrypoint's first, private server does not listen.
        command = ["psql", "-h", "127.0.0.1", "-U", "kasaneha", "-d", database, "-Atqc", statement]
        code, output = self.postgres.run(*command, PGPASSWORD=DATABASE_PASSWORD)
        assert code == 0 or quiet, output
        return output

    def start(
        self,
        lab: Lab,
        image: str = "backend",
        command=None,
        files: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
        **env: str | None,
    ) -> Box:
        """`files`: path here -> path there; a variable that is None is not set; `options` as of `Lab.start`."""
        return lab.start(
            image,
            command,
            environment={name: value for name, value in {**BASE_ENV, **env}.items() if value is not None},
            volumes={
                self.uploads: {"bind": "/app/uploads", "mode": "rw"},
                self.certificates: {"bind": "/run/tls", "mode": "ro"},
                **{path: {"bind": target, "mode": "ro"} for path, target in (files or {}).items()},
            },
            ports={"8080/tcp": ("127.0.0.1", None)},
            network=self.network,
            tmpfs=TMP,
            **HARDENED,
            **(options or {}),
        )

    def migrate(self, **env: str | None) -> tuple[int, str]:
        box = self.start(self.lab, command=MIGRATE, **env)
        code, output = box.ended(), box.said()
        self.lab.remove(box)
        assert not leaks(output, SECRETS)
        return code, output


def login(app: Box, name: str = "hana") -> dict[str, str]:
    answer = requests.post(app.url + "/api/v1/token", json={"name": name}, timeout=WAIT)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def new_session(app: Box, me: dict[str, str]) -> str:
    answer = requests.post(app.url + "/api/v1/sessions", json={"title": "a day"}, headers=me, timeout=WAIT)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def ask(
    app: Box, me: dict[str, str], session: str, text: str, seconds: float, seen: list[tuple[str, Any]] | None = None
) -> tuple[list[tuple[str, Any]], list[float]]:
    """The events of a streamed answer, and when each came; a list that is given has them as they come."""
    url, times = f"{app.url}/api/v1/sessions/{session}/messages", []
    seen = [] if seen is None else seen
    given = {"params": {"seconds": seconds}, "json": {"text": text}, "headers": me, "stream": True, "timeout": WAIT}
    with requests.post(url, **given) as answer:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        event = "message"
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                seen.append((event, json.loads(value)))
                times.append(time.monotonic())
                event = "message"
    return seen, times
