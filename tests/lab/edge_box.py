# SPDX-License-Identifier: GPL-3.0-or-later
"""A container with nginx as a distribution packages it, configured by the role's own templates, and what clients do to it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import time
from typing import Any, NamedTuple

from edge import API as API_SITE
from edge import MAIN
from edge import text as rendered
from render import render

from .boxes import Box, Lab, tar, until

SITE, WWW, API = "kasaneha.test", "www.kasaneha.test", "api.kasaneha.test"
PORTS = ("18080", "18081", "18180", "18181")
VERSION = {"bookworm": "1.22", "trixie": "1.26"}
# The test's own machine is a load balancer in the eyes of this edge: each request may claim a client of its own.
BALANCED = {"nginx_real_ip_from": ["172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16"]}
ASSETS = {"app.0a1b2c3d.js": "let a = 1;\n" * 400, "style.4e5f6a7b.css": "a { b: c }\n"}
MORE = [
    {"path": "/api/v1/live", "upstream": "backend", "websocket": True},
    {"path": "/old", "return": "301 /new"},
    {"path": "/office", "upstream": "frontend", "allow": ["10.9.0.0/16"]},
    {"path": "/closed", "return": "503"},
]
# Pages of the edge's own beside the application's, as those of monitoring are: one that answers, one behind which nobody is.
PAGES = """
location ^~ /board/ { proxy_pass http://127.0.0.1:8090/; }
location ^~ /dead-board/ { proxy_pass http://127.0.0.1:8091/; }
"""


class Answer(NamedTuple):
    """What came back; header names in lower case, each with all its values."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def one(self, name: str) -> str:
        """The value of a header that must be there once."""
        found = self.headers.get(name.lower(), [])
        assert len(found) == 1, f"{name}: {found}"
        return found[0]

    @property
    def said(self) -> dict[str, Any]:
        """What the application was asked, in its own words."""
        return json.loads(self.body)

    def got(self, name: str) -> str | None:
        """A header as it reached the application."""
        found = [value for key, value in self.said["headers"] if key.lower() == name.lower()]
        assert len(found) < 2, f"{name}: {found}"
        return found[0] if found else None


def to(address: str, name: str, tls: ssl.SSLContext | None, sni: str | None) -> http.client.HTTPConnection:
    """A connection to an address in the name of another."""
    raw = socket.create_connection((address, 443 if tls else 80), timeout=10)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = http.client.HTTPConnection(name, timeout=10)
    connection.sock = tls.wrap_socket(raw, server_hostname=sni) if tls else raw
    return connection


def answered(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> Answer:
    """One request and its answer."""
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found: dict[str, list[str]] = {}
    for key, value in answer.getheaders():
        found.setdefault(key.lower(), []).append(value)
    return Answer(answer.status, found, answer.read())


def trusting() -> ssl.SSLContext:
    """TLS without a look at the certificate: it is the role's placeholder, which the tests of certificates are about."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Edge:
    """The server; `ask` is a client, `sh` is root on it."""

    def __init__(self, lab: Lab, release: str) -> None:
        self.release, self.lab = release, lab
        self.box: Box = lab.start(
            f"edge:{release}", cap_add=["NET_ADMIN", "SYS_PTRACE"], sysctls={"net.ipv6.conf.all.disable_ipv6": "0"},
            volumes={lab.volume(): {"bind": "/var/lib/kasaneha", "mode": "rw"}},  # as on a server: no file system of layers
        )  # fmt: skip
        self.sh(
            "mkdir -p /var/lib/kasaneha/edge/states/1 /var/lib/kasaneha/acme/.well-known/acme-challenge /etc/kasaneha/tls/kasaneha"
        )
        self.sh("ln -s states/1 /var/lib/kasaneha/edge/live; mkdir -p /var/www/kasaneha/assets/_astro /var/www/kasaneha/pages")
        self.sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=x -addext "
                f"subjectAltName=DNS:{SITE},DNS:{WWW},DNS:{API} -keyout /etc/kasaneha/tls/kasaneha/privkey.pem "
                "-out /etc/kasaneha/tls/kasaneha/fullchain.pem 2>&1")  # fmt: skip
        for name, content in ASSETS.items():
            self.put(f"/var/www/kasaneha/assets/_astro/{name}", content)
        for page in ("unavailable", "413", "429"):
            said = {"title": f"page {page}", "text": "…"}
            self.put(f"/var/www/kasaneha/pages/{page}.html", render("nginx", "page.html.j2", {"page": said}))
        self.serve("blue")
        self.upstream()

    def sh(self, command: str) -> str:
        """Run a command as root; its output, or a failed test with what it said."""
        code, output = self.box.run("sh", "-c", command)
        assert code == 0, f"{command}\n{output}"
        return output

    def put(self, path: str, content: str) -> None:
        folder, _, name = path.rpartition("/")
        assert self.box.put_archive(folder, tar({name: (content, 0o644, 0)}))

    def upstream(self, up: bool = True) -> None:
        """Start or stop the application of both colours."""
        self.sh("pkill -f /opt/[u]pstream.py; sleep 0.1; true")
        if up:
            self.sh(f"setsid python3 /opt/upstream.py {' '.join(PORTS)} >/dev/null 2>&1 &")
            self.box.until("the application", lambda: self.box.run("sh", "-c", "ss -Hltn | grep -c :18")[1] == "4")

    def serve(self, *names: str) -> None:
        """What the state says: a colour, maintenance."""
        files = {*names, *(f"open-{name}" for name in names if "maintenance" not in names)}
        self.sh(f"cd /var/lib/kasaneha/edge/live && rm -f * && touch x {' '.join(files)} && rm x")

    def text(self, **overrides: Any) -> str:
        """The configuration for the nginx that is here: the sites of the inventory, and the API under a name of its own."""
        return rendered(version=self.sh("nginx -V 2>&1"), brotli=True, **{"nginx_sites": [*MAIN, API_SITE], **overrides})

    def configure(self, **overrides: Any) -> Edge:
        """Let nginx read a configuration; it is running with it when this returns. Sites of the inventory, and a few locations more."""
        main = {**MAIN[0], "locations": [*MORE, *MAIN[0]["locations"]], "extra": PAGES}
        text = self.text(**{"nginx_sites": [main, API_SITE], **overrides})
        self.put("/etc/nginx/nginx.conf", text)
        self.sh("nginx -t -q 2>&1")
        self.sh("if [ -s /run/nginx.pid ]; then nginx -s reload; else nginx; fi")
        (wanted,) = re.findall(r'return 200 "([0-9a-f]{64})', text)
        port = overrides.get("nginx_status_port", 8090)
        self.box.until(
            "the configuration", lambda: self.box.run("curl", "-s", f"127.0.0.1:{port}/configuration")[1] == wanted, 10
        )
        until("workers of the old one", lambda: "shutting down" not in self.sh("ps ax"), 10, self.box)
        return self

    @property
    def address(self) -> str:
        self.box.reload()
        return self.box.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]

    def ask(
        self, path: str, name: str = SITE, method: str = "GET", body: bytes | None = None, tls: bool = True, sni: str | None = "",
        client: str = "", headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """One request over a connection of its own. ``sni``: another name than the request's, None for none."""
        connection = to(self.address, name, trusting() if tls else None, name if sni == "" else sni)
        try:
            sent = {**({"X-Forwarded-For": client} if client else {}), **(headers or {})}
            return answered(connection, method, path, body, sent)
        finally:
            connection.close()

    def burst(self, count: int, path: str, client: str, method: str = "GET") -> list[Answer]:
        """So many requests as quickly as one connection can; ``{}`` in the client's address is the number of the request."""
        connection = to(self.address, SITE, trusting(), SITE)
        try:
            clients = (client.format(f"{number:x}") for number in range(1, count + 1))
            return [answered(connection, method, path, None, {"X-Forwarded-For": address}) for address in clients]
        finally:
            connection.close()

    def handshake(self, *options: str) -> str:
        """What OpenSSL's own client says of a handshake with these options."""
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"{self.address}:443", *options],
            input=b"",
            capture_output=True,
            check=False,
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    def log(self) -> list[dict[str, Any]]:
        """The lines of the log of requests; each must be JSON."""
        time.sleep(1.1)  # the log of requests is written once a second
        return [json.loads(line) for line in self.sh("cat /var/log/nginx/access.log").splitlines()]
