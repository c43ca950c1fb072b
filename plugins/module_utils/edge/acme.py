# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Whether a name leads to this server, seen as a certificate authority will see it: by every address, on port 80."""

from __future__ import annotations

import http.client
import secrets
import socket
from pathlib import Path

FOLDER = ".well-known/acme-challenge"


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


def fetch(name: str, address: str, path: str, port: int = 80, timeout: float = 5) -> str:
    """What is answered for a name at one of its addresses.

    :raises OSError: nothing, or nothing that is HTTP.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": name})
        return connection.getresponse().read(4096).decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP ({type(error).__name__})") from error
    finally:
        connection.close()


def judge(name: str, answers: dict[str, str | OSError], token: str) -> list[str]:
    """One sentence for each address that does not lead here.

    :param answers: address -> what was answered, or why not.
    """
    problems = [] if answers else [f"{name}: has no address. Point its DNS record here, then run again."]
    for address, answer in answers.items():
        kind = "AAAA" if ":" in address else "A"
        if isinstance(answer, OSError):
            problems.append(
                f"{name}: {address} ({kind} record) does not answer on port 80 ({answer.strerror or answer}). "
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
    file = Path(webroot) / FOLDER / f"check-{token}"
    problems: list[str] = []
    try:
        file.write_text(token)
        file.chmod(0o644)
        for name in names:
            answers: dict[str, str | OSError] = {}
            try:
                addresses = resolve(name)
            except OSError as error:
                problems.append(f"{name}: cannot be looked up ({error}). Does the server reach its name server?")
                continue
            for address in addresses:
                try:
                    answers[address] = fetch(name, address, f"/{FOLDER}/{file.name}", port, timeout)
                except OSError as error:
                    answers[address] = error
            problems += judge(name, answers, token)
    finally:
        file.unlink(missing_ok=True)
    return problems
