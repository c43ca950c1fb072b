# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Ask a server over HTTP as little as is needed to know whether it answers. No redirect is followed: an answer is an answer."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit


def ask(url: str, timeout: float = 5, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Ask a URL on a new connection.

    :returns: status and body (decoded if it is JSON, else text); 0 and the reason when there is no answer.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, _decoded(answer.read(1_000_000))
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
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
        return answer.status, _decoded(answer.read(1_000_000)), headers
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__, {}
    finally:
        connection.close()


def _decoded(body: bytes) -> Any:
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
