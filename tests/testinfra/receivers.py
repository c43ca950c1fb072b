# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of alerts, by webhook and by mail, on the server itself: each message becomes a line in /var/lib/received.jsonl."""

from __future__ import annotations

import email
import email.policy
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

lock = threading.Lock()


def keep(kind: str, **what: Any) -> None:
    """Append one line."""
    with lock, open("/var/lib/received.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": kind, "at": time.time(), **what}) + "\n")


class Hook(BaseHTTPRequestHandler):
    """The webhook, and the heartbeat under another path."""

    def do_POST(self) -> None:
        """Keep what came."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        keep("heartbeat" if self.path.startswith("/heartbeat") else "webhook", path=self.path, status=body["status"],
             token=self.headers.get("Authorization", ""), alerts=[alert["labels"] | {"status": alert["status"]} for alert in body["alerts"]],
             annotations=[alert["annotations"] for alert in body["alerts"]])  # fmt: skip
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class Mailbox:
    """Takes every mail."""

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Keep the subject and who it is for."""
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        keep("mail", subject=message["Subject"], to=envelope.rcpt_tos)
        return "250 OK"


if __name__ == "__main__":
    Controller(Mailbox(), hostname="127.0.0.1", port=8025).start()
    ThreadingHTTPServer(("127.0.0.1", 8099), Hook).serve_forever()
