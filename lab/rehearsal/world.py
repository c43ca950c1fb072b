# SPDX-License-Identifier: GPL-3.0-or-later
"""The world outside the servers of a rehearsal, as far as it is written to: webhooks and heartbeats (HTTP, port 80), mail (SMTP, port 25).

Runs in a container; each message becomes a line on its output.
"""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def keep(kind: str, **what: Any) -> None:
    """Write down one message."""
    print(json.dumps({"kind": kind, **what}), flush=True)


class Web(BaseHTTPRequestHandler):
    """Takes everything that is asked or told."""

    def answer(self) -> None:
        """Say yes."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        keep(self.path.strip("/").partition("/")[0] or "web", path=self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_: Any) -> None:
        """Nothing beside the lines above."""


class Mail(socketserver.StreamRequestHandler):
    """Takes every mail, without TLS and from whoever sends it."""

    def handle(self) -> None:
        """One connection."""
        self.wfile.write(b"220 world.lab\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (text := self.rfile.readline()) and text.rstrip(b"\r\n") != b".":
                    if text.lower().startswith(b"subject:"):
                        keep("mail", subject=text[8:].strip().decode(errors="replace"))
            if word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


if __name__ == "__main__":
    threading.Thread(target=socketserver.ThreadingTCPServer(("0.0.0.0", 25), Mail).serve_forever, daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", 80), Web).serve_forever()
