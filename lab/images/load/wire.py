# SPDX-License-Identifier: GPL-3.0-or-later
"""What both versions of HTTP need: where to connect, what is asked, and how an answer fails."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

API_PAUSE = 0.2  # seconds between two requests to /api/ from one source: half of what the edge allows a client


class Failure(Exception):
    """No complete, well-formed answer. `unanswered`: the connection ended without one byte of it."""

    def __init__(self, text: str, unanswered: bool = False) -> None:
        super().__init__(text)
        self.unanswered = unanswered
        self.reused = False  # … and the connection had answered before: a browser would ask once more


class Unprocessed(Exception):
    """The server said by GOAWAY that it never looked at the request: RFC 9113 lets it be sent again."""


@dataclass(slots=True)
class Request:
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def post(cls, path: str, content: Any, **headers: str) -> Request:
        return cls("POST", path, json.dumps(content).encode(), {"content-type": "application/json", **headers})


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Source:
    """An address of ours. `used`: when the API was last asked from there; without an address nothing is spared."""

    address: str = ""
    used: float = 0.0

    def may_ask_the_api(self) -> bool:
        return not self.address or time.monotonic() - self.used >= API_PAUSE


def add_sources(span: str, device: str) -> list[Source]:
    """`first-last`, each made an address of this host unless it is one."""
    first, _, last = span.partition("-")
    numbers = range(int(IPv4Address(first)), int(IPv4Address(last or first)) + 1)
    sources = [Source(str(IPv4Address(number))) for number in numbers]
    for source in sources:
        try:
            with socket.socket() as probe:
                probe.bind((source.address, 0))
        except OSError:
            subprocess.run(["ip", "addr", "add", f"{source.address}/32", "dev", device], check=True)
    return sources


class Connection(asyncio.Protocol):
    """A connection that knows whether it can still be used."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.open = False
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.open = True
        self.poll = select.poll()
        self.poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    async def usable(self) -> bool:
        """Sees an end that has arrived already: a client that looks too late would blame the server for its own haste."""
        if self.open and self.poll.poll(0):
            for _ in range(6):  # rounds of the loop until it is read, decrypted and told
                await asyncio.sleep(0)
        return self.open

    def eof_received(self) -> None:
        self.ended("end of the connection")

    def connection_lost(self, error: Exception | None) -> None:
        self.ended(f"the connection was lost: {error or 'closed'}")

    def ended(self, why: str) -> None:
        raise NotImplementedError  # HTTP/1.1 and HTTP/2 each know what an end means to what they have sent

    def close(self) -> None:
        self.open = False
        self.transport.close()

    def abort(self) -> None:
        self.open = False
        self.transport.abort()


class Target:
    """The server under test. Its certificate is not verified: what is measured is whether it answers."""

    def __init__(self, host: str, name: str, address: tuple[str, int]) -> None:
        self.host, self.name, self.address = host, name, address  # what the header says, what TLS says, where it is
        self.contexts = {protocol: self.context(protocol) for protocol in ("http/1.1", "h2")}

    @staticmethod
    def context(protocol: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ecdh_curve("prime256v1")  # post-quantum keys would cost a fresh connection a fifth more
        context.set_alpn_protocols([protocol])
        return context

    async def connect(self, kind: Callable[[], Connection], protocol: str, source: Source) -> Any:
        loop = asyncio.get_running_loop()
        plain = socket.socket()
        try:
            plain.setblocking(False)
            if source.address:
                plain.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: as many ports as a free choice has
                plain.bind((source.address, 0))
            await loop.sock_connect(plain, self.address)
            context = self.contexts[protocol]
            transport, connection = await loop.create_connection(kind, sock=plain, ssl=context, server_hostname=self.name)
        except BaseException:
            plain.close()
            raise
        agreed = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        if agreed != protocol and (agreed or protocol == "h2"):
            connection.abort()
            raise Failure(f"the server speaks {agreed}, not {protocol}")
        return connection
