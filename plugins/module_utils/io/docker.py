# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Docker, in the two ways in which it can be asked: by its program, and by its socket.

The program is for all that happens now and then. The socket is for who follows every container's lines and starts: a process for each
of them would cost a hundred times as much.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

SOCKET = "/var/run/docker.sock"
# Runs a command: exit code, output, errors. AnsibleModule.run_command is one, `run` another.
Run = Callable[[Sequence[str]], "tuple[int, str, str]"]


def run(argv: Sequence[str], timeout: float | None = None) -> tuple[int, str, str]:
    """Run a command, where there is no AnsibleModule to do it.

    :param timeout: seconds.
    :raises FileNotFoundError: there is no such program. subprocess.TimeoutExpired: it was not done in time.
    """
    done = subprocess.run(list(argv), capture_output=True, text=True, timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def inspected(run: Run, *options: str) -> list[dict[str, Any]]:
    """``docker inspect`` of every container that ``docker ps`` lists.

    :param options: of ``docker ps``, such as ``--all``.
    :raises RuntimeError: Docker does not answer; the message is what it said.
    """
    code, out, err = run(["docker", "ps", *options, "--quiet", "--no-trunc"])
    if code:
        raise RuntimeError(err.strip() or "docker ps failed")
    if not out.split():
        return []
    # A container that went between the two commands makes the second one fail and still print the others.
    code, out, err = run(["docker", "inspect", *out.split()])
    try:
        if not code or "no such" in err.lower():
            return list(json.loads(out))
    except ValueError:
        pass
    raise RuntimeError(err.strip() or "docker inspect failed")


class Socket:
    """Docker's own interface, without a library."""

    def __init__(self, path: str = SOCKET) -> None:
        self.path = path

    def ask(self, url: str, timeout: float | None) -> tuple[socket.socket, http.client.HTTPResponse]:
        """A request by HTTP/1.0: the answer is not cut into chunks and ends with the connection.

        :raises OSError: no answer, or one that is an error.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(self.path)
            connection.sendall(f"GET {url} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
        except BaseException:
            connection.close()
            raise
        if answer.status >= 400:
            text = answer.read(500).decode(errors="replace")
            connection.close()
            raise OSError(f"Docker says {answer.status}: {text}")
        return connection, answer

    def get(self, url: str) -> Any:
        """A document."""
        connection, answer = self.ask(url, 30)
        with connection:
            return json.loads(answer.read())
