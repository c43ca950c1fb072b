# SPDX-License-Identifier: GPL-3.0-or-later
"""The two edges as root sees them, as browsers see them, and with an authority that does not answer."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

from .playbook import ROOT

EDGE1, EDGE2 = "198.51.100.70", "198.51.100.71"
SITE = "kasaneha.test"


def on(address: str, command: str) -> str:
    """Run a shell command as root on one of the edges."""
    state = ROOT / "lab/state"
    done = subprocess.run(
        ["ssh", "-i", str(state / "id_ed25519"), "-o", f"UserKnownHostsFile={state}/known_hosts", f"debian@{address}", "sudo sh -s"],
        input=command, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def served(address: str = EDGE1, name: str = SITE) -> dict[str, str]:
    """The certificate that an edge shows for a name: serial, issuer, names, end."""
    command = (
        f"openssl s_client -connect {address}:443 -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -serial -issuer"
    )
    shown = subprocess.run(
        ["bash", "-c", f"{command} -enddate -ext subjectAltName"], capture_output=True, text=True, check=False
    ).stdout
    return {
        "serial": "".join(re.findall(r"serial=(\w+)", shown)),
        "issuer": "".join(re.findall(r"issuer=(.*)", shown)),
        "names": " ".join(sorted(re.findall(r"DNS:([^,\s]+)", shown))),
    }


def status(name: str = SITE, address: str = EDGE1, path: str = "/") -> int:
    """What a browser that looks at no certificate gets."""
    done = subprocess.run(
        ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", f"{name}:443:{address}", f"https://{name}{path}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return int(done.stdout)


def headers() -> str:
    """The headers of the first page, in lower case."""
    command = ["curl", "-sk", "-o", "/dev/null", "-D", "-", "--resolve", f"{SITE}:443:{EDGE1}", f"https://{SITE}/"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.lower()


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What a run said, on one line."""
    return re.sub(r"\s+", " ", done.stdout.replace("''", "'"))


class Visitors:
    """Clients that never stop: new connections, and kept ones; a kept one that was closed may be tried once more, as browsers do."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.good = 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.visit, args=(keep,)) for keep in (False, False, True, True)]

    def connection(self) -> http.client.HTTPSConnection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        made = http.client.HTTPSConnection(SITE, 443, context=context, timeout=10)
        made._create_connection = lambda _address, *rest: socket.create_connection((EDGE1, 443), *rest)  # type: ignore[attr-defined]
        return made

    def visit(self, keep: bool) -> None:
        connection, reused = self.connection(), False
        while not self.stop.wait(0.02):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, answer.status
                self.good, reused = self.good + 1, True
            except (OSError, http.client.HTTPException, AssertionError) as error:
                if not (keep and reused):
                    self.failed.append(repr(error))
                connection, reused = self.connection(), False
            if not keep:
                connection.close()
                connection, reused = self.connection(), False

    def __enter__(self) -> Visitors:
        for thread in self.threads:
            thread.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)
        self.stop.set()
        for thread in self.threads:
            thread.join()


@contextlib.contextmanager
def authority_down() -> Iterator[None]:
    """Nobody answers where the authority was."""
    on(EDGE1, "sed 's/198.51.100.75 acme.lab/127.0.0.1 acme.lab/' /etc/hosts > /tmp/hosts && cat /tmp/hosts > /etc/hosts")
    try:
        yield
    finally:
        on(EDGE1, "sed 's/127.0.0.1 acme.lab/198.51.100.75 acme.lab/' /etc/hosts > /tmp/hosts && cat /tmp/hosts > /etc/hosts")
