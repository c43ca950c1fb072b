# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command in a container prints reaches the test that asked, however late the test reads it."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable

import pytest

from .boxes import Box, Lab, until


@pytest.fixture
def box(lab: Lab) -> Box:
    return lab.start("redis", ["300"], entrypoint="sleep")


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets the library read each answer of Docker no sooner than this has returned."""
    begin = http.client.HTTPResponse.begin
    return lambda wait: monkeypatch.setattr(http.client.HTTPResponse, "begin", lambda response: (wait(), begin(response))[1])


def test_nothing_is_lost_to_a_test_that_reads_late(box, late):
    late(lambda: time.sleep(0.5))
    assert box.run("echo", "first words") == (0, "first words")
    assert box.run("sh", "-c", "echo last words; exit 3") == (3, "last words")


def test_a_command_that_does_not_wait_would_lose_them(box, late):
    """The negative control: all that it prints is there before its answer is read."""
    api = box.container.client.api
    started = api.exec_create(box.container.id, ["sh", "-c", "echo lost; touch /tmp/said"])["Id"]
    said = ["docker", "exec", box.container.id, "test", "-e", "/tmp/said"]
    late(lambda: (until("its end", lambda: subprocess.run(said, check=False).returncode == 0), time.sleep(1)))
    assert api.exec_start(started) == b""
