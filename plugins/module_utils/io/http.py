# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Ask a server over HTTP as little as is needed to know whether it answers. No redirect is followed: an answer is an answer."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

MOST = 1_000_000  # bytes of an answer that are read


def fetch(url: str, timeout: float = 5, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """Ask a URL on a new connection.

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

    The certificate is not judged: it may be the placeholder, and certificates are not what a release changes.

    :returns: status, body, headers (names in lower case); 0 and the reason when there is no answer.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(name, port, timeout=timeout, context=context)
    try:
        plain = socket.create_connection((address, port), timeout)
        connection.sock = context.wrap_socket(plain, server_hostname=name)
        connection.request("GET", path, headers={"Connection": "close", "User-Agent": "kasaneha.deploy probe"})
        answer = connection.getresponse()
        headers = {key.lower(): value for key, value in answer.getheaders()}
        return answer.status, decoded(answer.read(MOST)), headers
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__, {}
    finally:
        connection.close()


def decoded(body: bytes) -> Any:
    """JSON, or else text."""
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
