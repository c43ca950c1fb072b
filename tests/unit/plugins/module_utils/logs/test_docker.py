# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's frames as lines, and times as positions."""

from __future__ import annotations

import io
import struct
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import docker

T1, T2, T3 = (f"2026-11-25T09:00:00.00000000{number}Z" for number in (1, 2, 3))


def frame(kind: int, stamp: str, text: bytes) -> bytes:
    data = stamp.encode() + b" " + text
    return struct.pack(">BxxxL", kind, len(data)) + data


class Connection:
    def shutdown(self, _how: int) -> None:
        raise OSError("not connected")

    def close(self) -> None:
        pass


def read(*frames: bytes) -> list[tuple[str, str, bytes]]:
    connection: Any = Connection()
    found = docker.Lines(connection, io.BytesIO(b"".join(frames)))
    result = list(found)
    found.close()
    return result


def test_lines_of_both_streams() -> None:
    assert read(frame(1, T1, b"out\n"), frame(2, T2, b"err\r\n"), frame(1, T3, b"\n")) == [
        ("stdout", T1, b"out"), ("stderr", T2, b"err"), ("stdout", T3, b""),
    ]  # fmt: skip


def test_the_parts_of_a_long_line_are_one() -> None:
    parts = [frame(1, T1, b"a" * 16384), frame(2, T2, b"between\n"), frame(1, T1, b"b" * 16384), frame(1, T1, b"c\n")]
    assert read(*parts) == [("stderr", T2, b"between"), ("stdout", T1, b"a" * 16384 + b"b" * 16384 + b"c")]


def test_a_last_part_that_does_not_say_so() -> None:
    """Docker before 23, files of the driver `local`: no newline after the last part."""
    assert read(frame(1, T1, b"long"), frame(1, T1, b"er"), frame(1, T2, b"next\n")) == [
        ("stdout", T1, b"longer"),
        ("stdout", T2, b"next"),
    ]


def test_a_container_that_ended_in_the_middle_of_a_line() -> None:
    assert read(frame(1, T1, b"cut")) == [("stdout", T1, b"cut")]
    assert read(frame(1, T1, b"whole\n"), b"\1\0\0") == [("stdout", T1, b"whole")]


def test_a_line_without_end_is_bounded() -> None:
    [(_stream, _stamp, line)] = read(*[frame(1, T1, b"x" * 16384)] * (docker.MOST_PARTS + 9))
    assert len(line) == docker.MOST_PARTS * 16384


def test_times() -> None:
    assert docker.since("2026-11-25T09:00:00.000000001Z") == "1795597200.000000001"
    assert docker.since("2026-11-25T09:00:00.5Z") == "1795597200.500000000" and docker.since("") == ""
    assert docker.seconds("2026-11-25T09:00:00.250000000Z") == 1795597200.25
    assert docker.stamp_of(1795597200.25) == "2026-11-25T09:00:00.250000000Z"


def test_how_far_back_to_read() -> None:
    noon, later = "2026-11-25T09:00:00.000000000Z", "2026-11-25T09:00:05.000000000Z"
    assert docker.beginning([later, noon]) == docker.since(noon)
    assert docker.beginning(["", later]) == "1795597145.000000000"  # a minute before: not all that there is
    assert docker.beginning(["", ""]) == ""


def test_fields() -> None:
    labels = {"kasaneha.deploy.app": "shop", "kasaneha.deploy.service": "backend", "kasaneha.deploy.release": "v1", "other": "x"}
    inspected = {"Id": "0123456789abcdef", "Name": "/shop-backend-blue", "Config": {"Image": "i:1", "Labels": labels}}
    assert docker.described(inspected) == {
        "CONTAINER_ID": "0123456789ab", "CONTAINER_ID_FULL": "0123456789abcdef", "CONTAINER_NAME": "shop-backend-blue",
        "IMAGE_NAME": "i:1", "SYSLOG_IDENTIFIER": "shop-backend-blue", "KASANEHA_DEPLOY_APP": "shop",
        "KASANEHA_DEPLOY_SERVICE": "backend", "KASANEHA_DEPLOY_RELEASE": "v1",
    }  # fmt: skip
