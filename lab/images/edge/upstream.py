#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind nginx in its tests: says what it was asked, and does what a path tells it. One process for all ports.

/status/<n> answers with that status, /stream writes one event in a while, /slow answers late, /live speaks enough of WebSocket.
Every answer carries headers that an edge must not pass on as they are.
"""

import base64
import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "ico": "image/x-icon", "svg": "image/svg+xml"}
connections = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "upstream/9.9", ""

    def setup(self):
        global connections
        connections += 1
        super().setup()

    def answer(self, status, body, kind, **more):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "X-Powered-By": "secret/1.0", "X-Frame-Options": "SAMEORIGIN", "X-Colour": "forged",
                            "Strict-Transport-Security": "max-age=9", "Content-Security-Policy": "default-src *", **more}.items():  # fmt: skip
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/status/" in path:
            return self.answer(
                int(path.rpartition("/")[2]), b"from the application", "text/plain", **{"Cache-Control": "max-age=60"}
            )
        if path.endswith("/stream"):
            return self.stream()
        if path.endswith("/slow"):
            time.sleep(3)
        if path.endswith("/live") and self.headers.get("Upgrade") == "websocket":
            return self.live()
        said = {"port": self.server.server_port, "method": self.command, "path": self.path, "version": self.request_version,
                "received": len(body), "connections": connections, "headers": self.headers.items()}  # fmt: skip
        kind = TYPES.get(path.rpartition(".")[2], "application/json" if path.startswith("/api/") else "text/html")
        text = json.dumps(said).encode()
        if path.endswith("/long"):
            text += b" " * 4000
        return self.answer(200, text, kind, **({"Cache-Control": "public, max-age=5"} if path.endswith("/cached") else {}))

    do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(0.5)
        self.wfile.write(b"0\r\n\r\n")

    def live(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())  # noqa: S324 - RFC 6455
        self.end_headers()
        self.wfile.write(b"\x81\x05hello")
        self.close_connection = True

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    for port in sys.argv[1:]:
        ThreadingHTTPServer.daemon_threads = True
        threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever).start()
