# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether names lead here, against real HTTP servers on this machine."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import acme


@pytest.fixture
def webroot(tmp_path: Path) -> Path:
    (tmp_path / acme.DIRECTORY).mkdir(parents=True)
    return tmp_path


class Handler(http.server.SimpleHTTPRequestHandler):
    hosts: list[str] = []

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        super().do_GET()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def port(webroot: Path) -> Iterator[int]:
    Handler.hosts = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: Handler(*rest, directory=os.fspath(webroot)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def addresses(found: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names have these addresses."""
    monkeypatch.setattr(acme, "resolve", lambda name: found[name])


def test_a_name_that_leads_here(webroot: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses({"a.example": ["127.0.0.1"]}, monkeypatch)
    assert acme.look(["a.example"], os.fspath(webroot), port) == []
    assert Handler.hosts == ["a.example"]
    assert list((webroot / acme.DIRECTORY).iterdir()) == []  # nothing is left behind


def test_names_that_do_not(
    webroot: Path, port: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses({"none.example": [], "closed.example": ["::1", "127.0.0.1"]}, monkeypatch)
    other = tmp_path_factory.mktemp("other")
    (other / acme.DIRECTORY).mkdir(parents=True)
    found = acme.look(["none.example", "closed.example"], os.fspath(other), port)  # the server's root is another
    assert len(found) == 3
    assert found[0].startswith("none.example: has no address.")
    assert found[1].startswith("closed.example: ::1 (AAAA record) does not answer on port 80")
    assert found[2].startswith("closed.example: 127.0.0.1 (A record) is another server.")


def test_a_name_server_that_is_silent(webroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_name: str) -> list[str]:
        raise OSError("Temporary failure in name resolution")

    monkeypatch.setattr(acme, "resolve", silent)
    (problem,) = acme.look(["a.example"], os.fspath(webroot))
    assert problem.startswith("a.example: cannot be looked up (Temporary failure")


def test_ipv6_comes_first() -> None:
    found = acme.resolve("localhost")
    assert "127.0.0.1" in found and found == sorted(found, key=lambda address: ":" not in address)
    assert acme.resolve("this-name-does-not-exist.invalid") == []
