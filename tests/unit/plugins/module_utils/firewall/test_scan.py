# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports are read, and knocked at: real sockets on this machine's loopback."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import scan


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ("22", [22]), ("80, 22,80", [22, 80]), ("8000:8002", [8000, 8001, 8002]), ("1-2,4", [1, 2, 4])],
)
def test_ports(text: str, expected: list[int]) -> None:
    assert scan.ports(text) == expected


@pytest.mark.parametrize("text", ["x", "0", "65536", "9:8", "1:2:3", "-1"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a port nor a range"):
        scan.ports(text)


def test_the_usual_ports_can_be_read() -> None:
    assert {22, 80, 443, 5432, 24224} <= set(scan.ports(scan.USUAL))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_open_and_refused(address: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener, socket.socket() as taken:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        listener.listen()
        taken.bind(("127.0.0.1", 0))  # held, and not listened on
        port, other = listener.getsockname()[1], taken.getsockname()[1]
        assert scan.scan(address, [port, other], timeout=1) == {str(port): "open", str(other): "refused"}


def test_more_ports_than_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "AT_ONCE", 3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        found = scan.scan("127.0.0.1", range(port - 10, port + 10), timeout=1)
    assert len(found) == 20 and found[str(port)] == "open"


def test_no_way_is_said() -> None:
    with pytest.raises(OSError, match="255"):
        scan.scan("255.255.255.255", [80], timeout=1)
