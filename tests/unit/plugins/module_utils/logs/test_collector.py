# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a line from its source into the journal; files through rotation and a restart. The journal is a list here:
the real one, and real containers, are in molecule/operations."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import collector as collect
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import files, journal

CONFIG: dict[str, Any] = {
    "app": "shop", "containers": False, "files": [], "secret_dirs": [], "redact": [], "anonymous": False, "burst_lines": 5, "burst_bytes": 1000,
    "burst_seconds": 10, "metrics": "", "max_bytes": 1, "upload": False,
}  # fmt: skip


class Journal:
    def __init__(self) -> None:
        self.entries: list[dict[str, str]] = []

    def send(self, fields: Mapping[str, str]) -> None:
        self.entries.append(dict(fields))

    def messages(self) -> list[str]:
        return [entry["MESSAGE"] for entry in self.entries]


def collector(**changes: Any) -> tuple[collect.Collector, Journal]:
    written: Any = Journal()
    return collect.Collector({**CONFIG, **changes}, written), written


def sink(**changes: Any) -> tuple[collect.Sink, Journal]:
    made, written = collector(**changes)
    fields = {"SYSLOG_IDENTIFIER": "x", "KASANEHA_DEPLOY_SERVICE": "backend", "LOG_STREAM": "stdout"}
    return made.sink(fields, made.budget()), written


def test_entries_have_level_time_position_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text("the-jwt-secret-of-this-server\n")
    made, written = sink(secret_dirs=[str(tmp_path)])
    made.put(b'{"level":"error","what":"the-jwt-secret-of-this-server"}', "T1", 1.0, "P1")
    made.put(b" and more", "T2", 1.1, "P2")
    made.put(b"next", "T3", 1.2, "P3")
    assert written.messages() == ['{"level":"error","what":"[redacted]"}\n and more']
    assert {"PRIORITY": "3", "LOG_TIME": "T1", "LOG_POSITION": "P2"}.items() <= written.entries[0].items()
    made.flush()
    assert written.entries[1]["LOG_POSITION"] == "P3" and made.counter.redacted == 1 and made.counter.lines == 3


def test_secrets_of_any_size_and_shape_are_known(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 4096)
    (tmp_path / "key").write_bytes(b"-----BEGIN KEY-----\r\nMIIEvQIBADANBgkqhkiG9w0BAQ\r\n-----END KEY-----\r\n")
    (tmp_path / "binary").write_bytes(b"\xff" * 9)
    (tmp_path / "no secret").write_bytes(b"y" * 65537)
    assert collect.secrets([str(tmp_path), str(tmp_path / "gone")]) == [
        "-----BEGIN KEY-----\r\nMIIEvQIBADANBgkqhkiG9w0BAQ\r\n-----END KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQ", "x" * 4096,
    ]  # fmt: skip


def test_an_entry_that_waits_is_sent_after_a_while() -> None:
    made, written = sink()
    made.put(b"alone", "T1", 1.0, "P1")
    made.flush_old()
    assert written.messages() == []
    time.sleep(collect.GROUP_SECONDS + 0.05)
    made.flush_old()
    assert written.messages() == ["alone"]


def test_who_floods_is_told_once_in_a_window() -> None:
    made, written = sink()
    taken = [made.put(b"line %d" % number, f"T{number}", number / 100, f"P{number}") for number in range(20)]
    assert taken == [True] * 5 + [False] * 15
    taken = [made.put(b"later", "T", 10.0, "P99")]
    made.flush()
    assert taken == [True] and len(written.entries) == 5 + 1 + 1
    assert written.messages()[5] == "collector: more than 5 lines or 1000 bytes within 10 s; the rest of them is not kept"
    assert made.counter.dropped == 15 and made.counter.floods == 1


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "PAUSE", 0.02)
    return tmp_path / "access.log"


def follow(log: Path, position: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setattr(journal, "last_position", lambda _app, _matches: position)
    made, written = collector(burst_lines=1000, burst_bytes=1 << 20)
    source = files.FileSource(made, {"path": str(log), "service": "nginx", "stream": "access"})
    threading.Thread(target=source.run, daemon=True).start()
    threading.Thread(target=made.flush, daemon=True).start()
    time.sleep(0.1)
    return written


def until(written: Journal, messages: list[str]) -> None:
    for _attempt in range(100):
        if written.messages() == messages:
            return
        time.sleep(0.03)
    assert written.messages() == messages


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_a_file_is_followed_through_rotation(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("from before\n")
    written = follow(log, "", monkeypatch)
    append(log, "one\ntwo\nthr")
    until(written, ["one", "two"])
    append(log, "ee\n")
    log.rename(log.with_name("access.log.1"))
    append(log.with_name("access.log.1"), "late\n")  # nginx has not been told yet
    log.write_text("new\n")
    until(written, ["one", "two", "three", "late", "new"])
    log.write_text("x\n")  # emptied in place
    until(written, ["one", "two", "three", "late", "new", "x"])
    assert all(entry["LOG_FILE"] == str(log) and entry["KASANEHA_DEPLOY_SERVICE"] == "nginx" for entry in written.entries)


def test_a_collector_that_was_killed_goes_on_where_it_was(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("one\ntwo\nthree\n")
    inode = log.stat().st_ino
    until(follow(log, f"{inode}:4", monkeypatch), ["two", "three"])
    # Rotated meanwhile.
    log.rename(log.with_name("access.log.1"))
    log.write_text("four\n")
    until(follow(log, f"{inode}:8", monkeypatch), ["three", "four"])
    # Rotated twice: what is left.
    until(follow(log, "12345:8", monkeypatch), ["four"])


def test_a_file_that_is_not_there_yet(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = follow(log, "", monkeypatch)
    log.write_text("first\n")
    until(written, ["first"])


def test_times_that_lines_name() -> None:
    assert files.own_time(b'{"time":"2026-11-25T10:00:00+01:00","x":1}') == 1795597200
    assert files.own_time(b"2026/11/25 09:00:00 [error] x") == time.mktime((2026, 11, 25, 9, 0, 0, 0, 0, -1))
    assert abs(files.own_time(b"no time") - time.time()) < 2


def test_the_journals_own_protocol(tmp_path: Path) -> None:
    assert journal.encoded({"A": "x", "B": "two\nlines"}) == b"A=x\nB\n\x09\0\0\0\0\0\0\0two\nlines\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        writer = journal.Writer(str(tmp_path / "socket"))
        writer.send({"MESSAGE": "日本語"})
        assert server.recv(100) == "MESSAGE=日本語\n".encode()
        writer.send({"MESSAGE": "x" * 4_000_000})  # as a sealed file
        data, received, _flags, _address = socket.recv_fds(server, 10, 1)
        assert data == b"" and Path(f"/proc/self/fd/{received[0]}").stat().st_size == 4_000_009


def test_fields_of_the_journal_as_text() -> None:
    assert [journal.text_of(value) for value in ("x", [104, 255], ["a", "b"], None, [])] == ["x", "h\\xff", "b", "", ""]
