# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge's log and the kernel's table of connections say of a release."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import traffic

GREEN, BLUE = ["10.0.0.4:18180", "10.0.0.5:18180"], ["10.0.0.4:18080", "10.0.0.5:18080"]
GRAFANA = "127.0.0.1:3000"  # of the edge's own pages, no upstream of the application


def line(upstream: str = GREEN[0], status: int = 200, colour: str = "green") -> dict[str, Any]:
    """One line of the log."""
    return {"time": 1.5, "colour": colour, "status": status, "upstream": upstream, "upstream_status": "200", "seconds": 0.1}


def counted(requests: int, errors: int = 0, elsewhere: int = 0) -> dict[str, int]:
    """What was counted."""
    return {"requests": requests, "errors": errors, "elsewhere": elsewhere}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], counted(0)),
        ([line()], counted(1)),
        ([line(GREEN[1])], counted(1)),
        ([line(status=404), line(status=301), line(status=499)], counted(3)),  # the client's, or no error
        ([line(status=500), line(status=502), line()], counted(3, errors=2)),
        # Others' requests.
        ([line(BLUE[0], colour="blue"), line(BLUE[0], 500, colour="blue"), line("", 503, colour="")], counted(0)),
        # Answered by the edge itself: a limit, a file, a location that returns a status.
        ([line("", 429), line("", 200), line("", 503)], counted(0)),
        # Pages of the edge that are not the application's, whatever they say; a name that only looks like an upstream of it.
        (
            [line(GRAFANA), line(GRAFANA, 502), line("unix:/run/page.sock"), line("[::1]:19531"), line("10.0.0.4:1818")],
            counted(0),
        ),
        ([line("grafana", 502), line("backend_blue", 502), line("evergreen", 502)], counted(0)),
        # A foreign service before the application's (authentication) or after it (X-Accel-Redirect) answers for itself.
        (
            [line(f"{GRAFANA} : {GREEN[0]}"), line(f"{GREEN[0]} : {GRAFANA}"), line(f"{GREEN[0]} : {GRAFANA}", 502)],
            counted(3, errors=1),
        ),
        ([line(f"{GRAFANA} : {BLUE[0]}"), line(f"{BLUE[0]} : {GRAFANA}")], counted(2, elsewhere=2)),
        # Where no server of an upstream is taken for alive, nginx writes its name.
        ([line("backend_green", 502), line(f"{GREEN[0]}, backend_green", 502)], counted(2, errors=2)),
        # The last address is the one that answered.
        ([line(f"{GREEN[0]}, {GREEN[1]}")], counted(1)),
        ([line(f"{GREEN[0]}, {BLUE[0]}")], counted(1, elsewhere=1)),
        ([line(f"{GREEN[0]}, {GREEN[1]}, {BLUE[0]}")], counted(1, elsewhere=1)),
        ([line(BLUE[0])], counted(1, elsewhere=1)),
        ([line(f"{GREEN[0]}, {BLUE[0]}", 502)], counted(1, errors=1)),  # counted once
        # After an internal redirect.
        ([line(f"{BLUE[0]}, {BLUE[1]} : {GREEN[0]}")], counted(1)),
        ([line(f"{GREEN[0]} : {BLUE[0]}")], counted(1, elsewhere=1)),
        ([{"colour": "green"}, {}, {"status": 500}], counted(0)),
    ],
)
def test_count_requests(lines: list[dict[str, Any]], expected: dict[str, int]) -> None:
    assert traffic.count_requests(iter(lines), "green", {"blue": iter(BLUE), "green": GREEN}) == expected


@pytest.mark.parametrize(
    ("before", "after", "failed_probes", "problem"),
    [
        (counted(0), counted(0), 0, ""),
        (counted(0), counted(1000), 1, ""),  # bad luck
        (counted(0), counted(1000), 2, "2 probes in a row failed"),
        (counted(0), counted(1, errors=1), 0, ""),  # bad luck
        (counted(0), counted(2, errors=2), 0, "2 of 2 requests failed"),
        (counted(0), counted(2, errors=1, elsewhere=1), 0, "2 of 2 requests failed or had to be answered by the other colour"),
        (counted(0), counted(200, errors=2), 0, ""),  # just what is allowed
        (counted(0), counted(199, errors=2), 0, "2 of 199 requests failed"),
        (counted(0), counted(199, elsewhere=2), 0, "2 of 199 requests failed"),
        # Twice what was usual, if there was enough to tell by.
        (counted(100, errors=5), counted(100, errors=10), 0, ""),
        (counted(100, errors=5), counted(100, errors=11), 0, "11 of 100 requests failed"),
        (counted(19, errors=19), counted(100, errors=10), 0, "10 of 100 requests failed"),
        (counted(20, errors=20), counted(100, errors=100), 0, ""),  # nothing worked before either
        (counted(10_000), counted(100, errors=2), 0, "2 of 100 requests failed"),
    ],
)
def test_watch_problem(before: dict[str, int], after: dict[str, int], failed_probes: int, problem: str) -> None:
    found = traffic.watch_problem(before, after, failed_probes, max_error_ratio=0.01)
    assert found[: len(problem)] == problem
    assert bool(found) == bool(problem)


def test_the_share_that_is_allowed_is_said() -> None:
    assert "allowed is a share of 0.100" in traffic.watch_problem(counted(100, errors=5), counted(10, errors=9), 0, 0.01)
    assert traffic.watch_problem(counted(0), counted(10, errors=10), 0, max_error_ratio=1.0) == ""


# --- the log --------------------------------------------------------------------------------------------


def text(*numbers: int) -> bytes:
    """Lines of a log."""
    return b"".join(json.dumps({"n": number}).encode() + b"\n" for number in numbers)


def numbers(entries: Iterable[dict[str, Any]]) -> list[int]:
    """Their numbers."""
    return [entry["n"] for entry in entries]


def add(path: Path, more: bytes) -> None:
    with path.open("ab") as file:
        file.write(more)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (text(1, 2), [1, 2]),
        (b"", []),
        (text(1) + b'{"n": 2', [1]),
        (b'n": 1}\n' + text(2), [2]),
        (b'7\n[1]\nnull\n"n"\n\n' + text(3), [3]),
        (b'{"n": "\xff"}\n' + text(4), [4]),
    ],
)
def test_lines_that_are_broken_are_passed_over(raw: bytes, expected: list[int]) -> None:
    assert numbers(traffic.entries(raw)) == expected


def test_a_log_is_followed_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(text(1, 2))
    log = traffic.Log(str(path))
    assert numbers(log.new()) == []
    add(path, text(3, 4))
    assert numbers(log.before()) == [1, 2]
    assert numbers(log.new()) == [3, 4]
    assert numbers(log.new()) == []


def test_a_line_that_is_being_written_comes_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.touch()
    log = traffic.Log(str(path))
    add(path, text(1) + text(2)[:4])
    assert numbers(log.new()) == [1]
    assert numbers(log.new()) == []
    add(path, text(2)[4:] + text(3))
    assert numbers(log.new()) == [2, 3]


def test_a_log_is_followed_through_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(text(1, 2, 3))
    log = traffic.Log(str(path))
    path.rename(tmp_path / "access.log.1")
    assert numbers(log.new()) == []  # between the two
    path.write_bytes(text(4))
    assert numbers(log.new()) == [4]
    add(path, text(5))
    assert numbers(log.new()) == [5]


def test_a_log_that_was_renamed_is_read_to_its_end_first(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    path.write_bytes(text(1))
    log = traffic.Log(str(path))
    add(path, text(2))
    path.rename(old)
    add(old, text(3))  # nginx goes on in it until it is told
    assert numbers(log.new()) == [2, 3]
    add(old, text(4))
    path.write_bytes(text(5))
    assert numbers(log.new()) == [4, 5]
    assert numbers(log.new()) == []


def test_a_log_that_is_emptied_in_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(text(1, 2))
    log = traffic.Log(str(path))
    path.write_bytes(text(3))
    assert numbers(log.new()) == [3]
    path.write_bytes(b"")
    assert numbers(log.new()) == []
    add(path, text(4))
    assert numbers(log.new()) == [4]


def test_a_look_at_what_was_before_moves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(text(1))
    log = traffic.Log(str(path))
    add(path, text(2))
    assert numbers(log.new()) == [2]
    add(path, text(3))
    assert numbers(log.before()) == [1]
    assert numbers(log.new()) == [3]


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = traffic.Log(str(path))
    assert (numbers(log.before()), numbers(log.new())) == ([], [])
    path.write_bytes(text(1))
    assert (numbers(log.before()), numbers(log.new())) == ([], [1])


@pytest.mark.parametrize(("size", "expected"), [(1, []), (len(text(3)), [3]), (len(text(3)) + 2, [3]), (1000, [1, 2, 3])])
def test_of_what_was_before_only_the_end_is_read(tmp_path: Path, size: int, expected: list[int]) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(text(1, 2, 3))
    log = traffic.Log(str(path))
    add(path, text(4))
    assert numbers(log.before(size)) == expected


# --- connections ----------------------------------------------------------------------------------------

# Of a real kernel (x86-64): a listener, one connection in both directions, and each other state towards 127.0.0.1:18080,
# then the same over IPv6: [::1]:18080 and [fd00::4]:18180.
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:46A0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 35093 1 0000000000000000 100 0 0 10 0
   1: 0100007F:9C40 0100007F:46A0 01 00000000:00000000 00:00000000 00000000    33        0 35094 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:46A0 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 35095 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:9C42 0100007F:46A0 02 00000001:00000000 01:00000064 00000000    33        0 35096 2 0000000000000000 100 0 0 1 7
   4: 0100007F:9C44 0100007F:46A0 04 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
   5: 0100007F:9C46 0100007F:46A0 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
   6: 0100007F:9C48 0100007F:46A0 06 00000000:00000000 03:00001770 00000000     0        0 0 3 0000000000000000
   7: 0100007F:9C4A 0100007F:46A0 08 00000000:00000000 00:00000000 00000000    33        0 35097 1 0000000000000000 20 4 30 10 -1
   8: 0400000A:9C4C 0500000A:46A0 01 00000000:00000000 00:00000000 00000000    33        0 35098 1 0000000000000000 20 4 30 10 -1
   9: 0100007F:9C4E 0100007F:46A1 01 00000000:00000000 00:00000000 00000000    33        0 35099 1 0000000000000000 20 4 30 10 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 36000 1
   1: 00000000000000000000000001000000:9C40 00000000000000000000000001000000:46A0 01 00000000:00000000 00:00000000 00000000    33        0 36001 1
   2: 00000000000000000000000001000000:9C42 00000000000000000000000001000000:46A0 06 00000000:00000000 03:00001770 00000000     0        0 36002 1
   3: 000000FD000000000000000005000000:9C44 000000FD000000000000000004000000:4704 01 00000000:00000000 00:00000000 00000000    33        0 36003 1
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is of a little-endian kernel")
@pytest.mark.parametrize(
    ("addresses", "count"),
    [
        ([], 0),
        (["127.0.0.1:18080"], 2),  # established, and being established; not our side of the other direction
        (["127.0.0.1:18081"], 1),
        (["127.0.0.1:18082"], 0),
        (["10.0.0.5:18080"], 1),
        (["10.0.0.4:18080"], 0),
        (["[::1]:18080"], 1),
        (["[fd00::4]:18180"], 1),
        (["[fd00:0:0::4]:18180"], 1),
        (["[fd00::5]:18180"], 0),
        (["127.0.0.1:18080", "[::1]:18080", "127.0.0.1:18080"], 3),
    ],
)
def test_connections(addresses: list[str], count: int) -> None:
    every = {line.split()[9] for line in TABLE.splitlines() if len(line.split()) > 9}
    assert traffic.connections(TABLE, iter(addresses), every) == count
    assert traffic.connections(TABLE, iter(addresses), set()) == 0


def test_an_address_that_is_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        traffic.connections("", ["localhost:1"], set())


def process(proc: Path, pid: int, name: str, *sockets: str) -> None:
    """A process as the kernel shows it."""
    (proc / str(pid) / "fd").mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    (proc / str(pid) / "fd" / "0").symlink_to("/dev/null")
    for number, inode in enumerate(sockets, 3):
        (proc / str(pid) / "fd" / str(number)).symlink_to(f"socket:[{inode}]")


def test_sockets_belong_to_the_program_whose_processes_have_them_open(tmp_path: Path) -> None:
    process(tmp_path, 10, "nginx", "1", "2")
    process(tmp_path, 11, "nginx", "2", "3")  # an old worker after a reload, which still sends an answer
    process(tmp_path, 12, "prometheus", "4")
    process(tmp_path, 13, "nginx-exporter", "5")
    (tmp_path / "14").mkdir()  # it ended while it was looked at
    (tmp_path / "self").mkdir()
    (tmp_path / "net").mkdir()
    assert traffic.sockets(tmp_path, "nginx") == {"1", "2", "3"}
    assert traffic.sockets(tmp_path, "caddy") == set()


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is of a little-endian kernel")
def test_without_the_right_to_see_whose_sockets_are_all_count(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(TABLE)
    process(tmp_path, 10, "nginx", "35094")
    assert traffic.open_connections(["127.0.0.1:18080"], proc=tmp_path) == 1
    (tmp_path / "11").mkdir()
    (tmp_path / "11/comm").write_text("nginx\n")
    (tmp_path / "11/fd").touch()  # not to be read, and not because it is gone
    assert traffic.open_connections(["127.0.0.1:18080"], proc=tmp_path) == 2


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is of a little-endian kernel")
def test_only_connections_of_the_program_count(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(TABLE)
    process(tmp_path, 12, "prometheus", "35096", "35098")
    assert traffic.open_connections(["127.0.0.1:18080", "10.0.0.5:18080"], proc=tmp_path) == 0
    process(tmp_path, 10, "nginx", "35094")
    assert traffic.open_connections(["127.0.0.1:18080", "10.0.0.5:18080"], proc=tmp_path) == 1


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="no /proc here")
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_connections_of_this_host(family: int, host: str) -> None:
    program = Path("/proc/self/comm").read_text().strip()
    with socket.socket(family) as server:
        try:
            server.bind((host, 0))
        except OSError:
            pytest.skip(f"no {host} here")
        server.listen()
        port = server.getsockname()[1]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert traffic.open_connections([address], program) == 0
        with socket.create_connection((host, port)), socket.create_connection((host, port)) as second:
            assert traffic.open_connections([address], program) == 2
            assert traffic.open_connections([address]) == 0  # they are not nginx's
            second.shutdown(socket.SHUT_WR)  # we have ended it, whatever the other side does
            assert traffic.open_connections([address], program) == 1


def test_lines_that_nginx_wrote_to_the_renamed_file_before_it_was_told(tmp_path):
    path = tmp_path / "log"
    path.touch()
    log = traffic.Log(str(path))
    path.rename(tmp_path / "log.1")
    path.touch()
    assert list(log.new()) == []
    with (tmp_path / "log.1").open("a") as old:
        old.write('{"n": 1}\n')
    assert [entry["n"] for entry in log.new()] == [1]
