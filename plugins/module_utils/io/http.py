# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Ask a server over HTTP: by URL, or by name and TLS at an address of its own. No redirect is followed: an answer is an answer."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

MOST = 1_000_000  # bytes of an answer that are read
VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True)
class Answer:
    """What came back; status 0: nothing, and ``body`` says why."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Server:
    """One address, asked as often as is wanted, as strangers do too: by any name, old versions of TLS, any method and header.

    Certificates are not judged: they may be placeholders, and this is about what answers.
    """

    address: str
    port: int = 443
    plain_port: int = 80
    timeout: float = 5
    local: str = field(default="", init=False)  # the address from which it was asked last

    def context(self, version: str = "") -> ssl.SSLContext:
        """TLS as it is offered here; with a version, that one alone, however old."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if version:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = VERSIONS[version]
            context.set_ciphers("ALL:@SECLEVEL=0")  # else this side would refuse the old ones
        return context

    def connect(self, port: int) -> socket.socket:
        """A new connection."""
        plain = socket.create_connection((self.address, port), self.timeout)
        self.local = str(plain.getsockname()[0])
        return plain

    def handshake(self, name: str | None, version: str = "") -> str:
        """Try TLS and nothing more.

        :param name: asked for in the handshake; None: no name.
        :returns: the version that was agreed on, empty if the edge refused.
        :raises OSError: there was no connection to begin with.
        """
        with self.connect(self.port) as plain:
            try:
                with self.context(version).wrap_socket(plain, server_hostname=name) as secure:
                    return secure.version() or ""
            except OSError:
                return ""

    def ask(
        self, name: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, tls: bool = True, host: str = ""
    ) -> Answer:
        """Ask one thing on a new connection.

        :param name: asked for in the handshake; ``host`` in the request, if it is another one.
        """
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        connection = kind(self.address, self.port if tls else self.plain_port, timeout=self.timeout)
        try:
            plain = self.connect(connection.port)
            connection.sock = self.context().wrap_socket(plain, server_hostname=name) if tls else plain
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for key, value in {
                "Host": host or name,
                "User-Agent": "kasaneha.deploy verify",
                "Connection": "close",
                **(headers or {}),
            }.items():
                connection.putheader(key, value)
            if method == "POST":
                connection.putheader("Content-Length", "0")
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read(MOST).decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, body=str(error) or type(error).__name__)
        finally:
            connection.close()

    def burst(self, name: str, path: str, count: int, connections: int = 5) -> list[int]:
        """Ask the same many times as fast as it goes, on a few connections that stay open.

        :returns: the statuses; 0 where a connection broke.
        """

        def some(_number: int) -> list[int]:
            statuses: list[int] = []
            connection = http.client.HTTPSConnection(self.address, self.port, timeout=self.timeout)
            try:
                connection.sock = self.context().wrap_socket(self.connect(self.port), server_hostname=name)
                for _again in range(-(-count // connections)):
                    connection.request("GET", path, headers={"Host": name, "User-Agent": "kasaneha.deploy verify"})
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append(answer.status)
            except (OSError, http.client.HTTPException):
                statuses.append(0)
            finally:
                connection.close()
            return statuses

        with ThreadPoolExecutor(connections) as pool:
            return [status for statuses in pool.map(some, range(connections)) for status in statuses]


def fetch(url: str, timeout: float = 5, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """Ask a URL without TLS on a new connection, with a deadline for all of it, as a gate needs it.

    :param timeout: seconds for the whole of it; an answer that never ends is none.
    :param headers: sent beside, or in place of, those that are always sent.
    :returns: status and body (its first megabyte); status 0 and, at the end, the reason when there is no answer.
    """
    ends, parts = time.monotonic() + timeout, urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        given = {name.lower() for name in headers or {}}
        connection.request("GET", path, headers={**({} if "connection" in given else {"Connection": "close"}), **(headers or {})})
        line, body = connection.sock, b""  # the connection lets go of its socket before the answer has been read
        answer = connection.getresponse()
        while len(body) < MOST and not answer.isclosed():
            if time.monotonic() >= ends:
                raise TimeoutError("timed out")
            line.settimeout(max(ends - time.monotonic(), 0.001))
            chunk = answer.read1(MOST - len(body))
            if not chunk:
                break
            body += chunk
        return answer.status, body, ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, b"", str(error) or type(error).__name__
    finally:
        connection.close()


def ask_site(
    name: str, path: str, address: str = "127.0.0.1", port: int = 443, timeout: float = 5
) -> tuple[int, Any, dict[str, str]]:
    """Ask a site as its users do, by name and through TLS, at an address of this host.

    :returns: status, body, headers (names in lower case); 0 and the reason when there is no answer.
    """
    answer = Server(address, port, timeout=timeout).ask(name, path, headers={"User-Agent": "kasaneha.deploy probe"})
    headers = {key.lower(): value for key, value in answer.headers}
    return answer.status, decoded(answer.body.encode()) if answer.status else answer.body, headers


def decoded(body: bytes) -> Any:
    """JSON, or else text."""
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
