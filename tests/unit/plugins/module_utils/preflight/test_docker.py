# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server must have for Docker, and how its daemon must be set."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import docker

SUPPORTED = ["Debian 13", "Ubuntu 24.04"]
GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "system": "Debian 13", "memory_mb": 2000, "disk_mb": 20000, "daemon_problems": [],
    "packages": {"Debian 13": {"compose": ["docker-compose"]}, "Debian 12": {"compose": []}}, "min_memory_mb": 1800,
    "min_disk_mb": 10000, "compose": True, "source": "distribution",
}  # fmt: skip
NO_COMPOSE = (
    "docker_source: Debian 12 has no Compose v2 of its own. Set docker_source: docker,"
    " or docker_compose: false on hosts that run no containers."
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"system": "Debian 12"}, [NO_COMPOSE]),
        ({"system": "Debian 12", "source": "docker"}, []),
        ({"system": "Debian 12", "compose": False}, []),
        ({"system": "Plan9 4"}, ["operating system: Plan9 4 is not supported. Use one of Debian 13, Debian 12."]),
        (
            {"argument_errors": ["a"], "cast_problems": ["b"], "daemon_problems": ["d"], "system": "Debian 12", "memory_mb": 1},
            ["a", "b", "docker_min_memory_mb: the server has 1 MB of memory, 1800 MB are needed. Take a larger server.", "d", NO_COMPOSE],
        ),
    ],
)  # fmt: skip
def test_problems(changes: dict[str, Any], expected: list[str]) -> None:
    assert docker.problems({**GOOD, **changes}) == expected


@pytest.mark.parametrize(
    ("system", "memory", "disk", "min_memory", "min_disk", "expected"),
    [
        ("Debian 13", 2000, 20000, 1800, 10000, []),
        ("Ubuntu 24.04", 1800, 10000, 1800, 10000, []),  # exactly enough is enough
        ("Debian 11", 2000, 20000, 1800, 10000, ["operating system: Debian 11 is not supported"]),
        ("Debian 13", 1799, 20000, 1800, 10000, ["docker_min_memory_mb: the server has 1799 MB"]),
        ("Debian 13", 2000, 9999, 1800, 10000, ["docker_min_disk_mb: 9999 MB are free"]),
        ("CentOS 9", 1, 1, 2, 2, ["operating system:", "docker_min_memory_mb:", "docker_min_disk_mb:"]),
        # A limit of the wrong type is the argument specification's to report.
        ("Debian 13", 1, 1, "1800", None, []),
    ],
)
def test_host(system: str, memory: int, disk: int, min_memory: object, min_disk: object, expected: list[str]) -> None:
    problems = docker.host_problems(system, SUPPORTED, memory, disk, min_memory, min_disk)
    assert [problem[: len(start)] for problem, start in zip_longest(problems, expected, fillvalue="")] == expected


def test_host_names_what_to_use_instead() -> None:
    (problem,) = docker.host_problems("Alpine 3", iter(SUPPORTED), 9, 9, 1, 1)
    assert "Debian 13, Ubuntu 24.04" in problem
