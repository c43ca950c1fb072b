# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Whether a name leads to this server, seen as a certificate authority will see it: by every address, on port 80."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http

DIRECTORY = ".well-known/acme-challenge"


def resolve(name: str) -> list[str]:
    """Every address of a name, IPv6 first as an authority prefers; none if it has none.

    :raises OSError: the name server did not answer.
    """
    try:
        found = socket.getaddrinfo(name, 80, proto=socket.IPPROTO_TCP)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            return []
        raise OSError(error.strerror) from error
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return sorted(addresses, key=lambda address: ":" not in address)


def judge(name: str, answers: dict[str, tuple[str, str]], token: str) -> list[str]:
    """One sentence for each address that does not lead here.

    :param answers: address -> what was answered, and why not if nothing was.
    """
    problems = [] if answers else [f"{name}: has no address. Point its DNS record here, then run again."]
    for address, (answer, reason) in answers.items():
        kind = "AAAA" if ":" in address else "A"
        if reason:
            problems.append(
                f"{name}: {address} ({kind} record) does not answer on port 80 ({reason}). "
                "Open 80/tcp towards everybody, or correct the record."
            )
        elif answer.strip() != token:
            problems.append(
                f"{name}: {address} ({kind} record) is another server. Correct the record, or take the name off the list."
            )
    return problems


def look(names: list[str], webroot: str, port: int = 80, timeout: float = 5) -> list[str]:
    """Put a token where challenges are answered from, and fetch it by every name and address; what is wrong."""
    token = secrets.token_hex(16)
    file = Path(webroot) / DIRECTORY / f"check-{token}"
    problems: list[str] = []
    try:
        file.write_text(token)
        file.chmod(0o644)
        for name in names:
            answers: dict[str, tuple[str, str]] = {}
            try:
                addresses = resolve(name)
            except OSError as error:
                problems.append(f"{name}: cannot be looked up ({error}). Does the server reach its name server?")
                continue
            for address in addresses:
                where = f"[{address}]" if ":" in address else address
                url = f"http://{where}:{port}/{DIRECTORY}/{file.name}"
                _status, body, reason = http.fetch(url, timeout, {"Host": name})
                answers[address] = (body.decode(errors="replace"), reason)
            problems += judge(name, answers, token)
    finally:
        file.unlink(missing_ok=True)
    return problems
