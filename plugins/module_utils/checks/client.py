# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Ask an edge as strangers do: with names that are not its own, old versions of TLS, any method and any header."""

from __future__ import annotations

import http.client
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

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
class Edge:
    """One address, asked as often as is wanted."""

    address: str
    port: int = 443
    plain_port: int = 80
    timeout: float = 5
    local: str = field(default="", init=False)  # the address from which it was asked last

    def context(self, version: str = "") -> ssl.SSLContext:
        """TLS whose certificate is not judged here; with a version, that one alone, however old."""
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
            return Answer(answer.status, tuple(answer.getheaders()), answer.read(1_000_000).decode(errors="replace"))
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
