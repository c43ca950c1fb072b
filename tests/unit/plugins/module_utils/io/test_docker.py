# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker asked by its program, and by a socket behind which a real server answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import docker

ONE = json.dumps([{"Name": "/a"}])
GONE = "Error response from daemon: No such container: 2"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([(0, "1\n", ""), (0, ONE, "")], [{"Name": "/a"}]),
        ([(0, "\n", "")], []),
        ([(0, "1\n2\n", ""), (1, ONE, GONE)], [{"Name": "/a"}]),  # it went between the two questions
        ([(1, "", "Cannot connect to the Docker daemon\n")], "Cannot connect to the Docker daemon"),
        ([(0, "1\n", ""), (1, "", "")], "docker inspect failed"),
        ([(0, "1\n", ""), (1, ONE, "permission denied")], "permission denied"),
        ([(0, "1\n", ""), (0, "no JSON", "")], "docker inspect failed"),
    ],
)
def test_containers_by_the_program(answers: list[tuple[int, str, str]], found: object) -> None:
    asked = []

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        asked.append(list(argv))
        return answers[len(asked) - 1]

    if isinstance(found, str):
        with pytest.raises(RuntimeError, match=found):
            docker.inspected(run, "--all")
    else:
        assert docker.inspected(run, "--all") == found
    assert asked[0] == ["docker", "ps", "--all", "--quiet", "--no-trunc"]
    assert asked[1:] in ([], [["docker", "inspect", *answers[0][1].split()]])


def test_a_command_without_ansible() -> None:
    assert docker.run([sys.executable, "-c", "import sys; print('x'); sys.exit('y')"]) == (1, "x\n", "y\n")
    with pytest.raises(subprocess.TimeoutExpired):
        docker.run(["sleep", "9"], 0.05)
    with pytest.raises(FileNotFoundError):
        docker.run(["no-such-program"])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n[{"Id": "1"}]', [{"Id": "1"}]),
        (b"HTTP/1.0 404 Not Found\r\n\r\nno such container", "Docker says 404: no such container"),
    ],
)
def test_the_socket(tmp_path: Path, answer: bytes, found: object) -> None:
    asked = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "docker.sock"))
        server.listen()

        def serve() -> None:
            connection, _address = server.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        client = docker.Socket(str(tmp_path / "docker.sock"))
        if isinstance(found, str):
            with pytest.raises(OSError, match=found):
                client.get("/containers/1/json")
        else:
            assert client.get("/containers/1/json") == found
        thread.join()
    assert asked == [b"GET /containers/1/json HTTP/1.0\r\nHost: docker\r\n\r\n"]


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        docker.Socket(str(tmp_path / "none")).get("/info")
