# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that does what a service's description says: it listens, is healthy, names its release, has metrics, assets and a migration."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOME = Path("/usr/local/lib/standin.json")
ROWS = 250


def build() -> None:
    """Make the files of the image, of the build arguments DESCRIPTION and RELEASE."""
    said = {**json.loads(os.environ["DESCRIPTION"]), "release": os.environ["RELEASE"]}
    style = f"body {{ font-family: sans-serif; margin: 4rem }} /* {said['release']} */\n"
    said["asset"] = ""
    if said["assets"]:
        folder = Path(said["assets"])
        folder.mkdir(parents=True, exist_ok=True)
        name = f"page.{hashlib.sha256(style.encode()).hexdigest()[:8]}.css"
        (folder / name).write_text(style)
        said["asset"] = f"/{folder.name}/{name}"
    HOME.write_text(json.dumps(said))
    for program in {*said["programs"], "standin"}:
        path = Path(program) if "/" in program else Path("/usr/local/bin", program)
        path = path if path.is_absolute() else Path("/app", path)
        if path.exists() or path.name in ("sh", "python3"):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#!/bin/sh\nexec python3 /usr/local/lib/standin.py "$@"\n')
        path.chmod(0o755)


def database(said: dict[str, Any]) -> str:
    """The URL of the database, from a variable or from the file that a variable names; empty if there is none."""
    for name in said["database"]:
        if os.environ.get(f"{name}_FILE"):
            return Path(os.environ[f"{name}_FILE"]).read_text().strip()
        if os.environ.get(name):
            return os.environ[name]
    return ""


def migrate(said: dict[str, Any]) -> int:
    """A table with rows, so that a backup has something to lose."""
    url = database(said)
    if not url:
        print("migrate: no database is named")
        return 0
    import psycopg

    with psycopg.connect(url, connect_timeout=10) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS standin_items (id integer PRIMARY KEY, note text NOT NULL)")
        done = connection.execute(
            "INSERT INTO standin_items SELECT n, 'item ' || n FROM generate_series(1, %s) AS n ON CONFLICT DO NOTHING", [ROWS]
        )
        print(f"migrate: {done.rowcount} rows")
    return 0


def with_key(key: str, value: str) -> dict[str, Any]:
    """`{a: {b: value}}` of `a.b`."""
    found: Any = value
    for part in reversed(key.split(".") if key else []):
        found = {part: found}
    return found if key else {}


class Service(BaseHTTPRequestHandler):
    """Answers."""

    protocol_version = "HTTP/1.1"
    timeout = 75
    said: dict[str, Any]
    asked = 0

    def do_GET(self) -> None:
        """A path of the description, metrics, an asset, or a page."""
        Service.asked += 1
        said, path = self.said, self.path.partition("?")[0]
        if path == said["metrics"]:
            return self.give(200, "text/plain; version=0.0.4", "# TYPE http_requests_total counter\n"
                             f'http_requests_total{{status="200"}} {Service.asked}\napp_info{{release="{said["release"]}"}} 1\n')  # fmt: skip
        if path in said["answers"] and (said["answers"][path]["key"] or path != "/"):
            answer = said["answers"][path]
            return self.give(
                answer["status"], "application/json", json.dumps({"status": "ok", **with_key(answer["key"], said["release"])})
            )
        if said["asset"] and path == said["asset"]:
            return self.give(200, "text/css", Path(said["assets"], Path(path).name).read_text())
        link = f'<link rel="stylesheet" href="{said["asset"]}">' if said["asset"] else ""
        return self.give(
            200,
            "text/html; charset=utf-8",
            f"<!doctype html><title>{said['service']}</title>{link}<h1>{said['service']}</h1><p>{said['release']}",
        )

    do_POST = do_HEAD = do_GET

    def give(self, status: int, kind: str, text: str) -> None:
        """Send an answer."""
        if length := int(self.headers.get("Content-Length") or 0):
            self.rfile.read(length)
        body = b"" if status == 204 else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-Release", self.said["release"])
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: nginx has a log of it."""


class Server(ThreadingHTTPServer):
    """Many connections, none of which keeps it from ending."""

    daemon_threads = True
    request_queue_size = 128


def main(arguments: list[str]) -> int:
    """Whatever the first word asks for."""
    if arguments == ["--build"]:
        build()
        return 0
    said = json.loads(HOME.read_text())
    if said["migrate"] and arguments == said["migrate"]:
        return migrate(said)
    if said["check"] and arguments == said["check"]:
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not said["migrate"] and said["database"]:
        migrate(said)
    print(json.dumps({"level": "info", "msg": "started", "service": said["service"], "release": said["release"]}), flush=True)
    if said["port"]:
        Service.said = said
        threading.Thread(target=Server(("0.0.0.0", said["port"]), Service).serve_forever, daemon=True).start()
    stop.wait()
    time.sleep(0.5)  # for what is being answered
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
