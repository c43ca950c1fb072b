# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of its Docker, ports, volumes and sources."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import app_host

GOOD = {"rc": 0, "stdout": "28.2.2"}


@pytest.mark.parametrize(
    ("docker", "compose", "expected"),
    [
        (GOOD, GOOD, []),
        (
            {"rc": 1, "stderr": "a line\npermission denied while trying to connect to the Docker daemon socket"},
            GOOD,
            ["Docker: the user me may not use it (permission denied"],
        ),
        (
            {"rc": 1, "stderr": "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."},
            GOOD,
            ["Docker: does not answer (Cannot"],
        ),
        (
            {"rc": 1, "stderr": "dial unix /x/docker.sock: connect: no such file or directory"},
            GOOD,
            ["Docker: does not answer (dial"],
        ),
        (
            {"rc": 2, "msg": "[Errno 2] No such file or directory: b'docker'"},
            GOOD,
            ["Docker: there is no program `docker` here."],
        ),
        ({"rc": 1}, GOOD, ["Docker: does not answer (no answer)"]),
        (GOOD, {"rc": 1, "stderr": "unknown command"}, ["Docker: has no Compose v2."]),
        ({"rc": 1, "stderr": "permission denied"}, {"rc": 1}, ["Docker: the user me may not use it"]),  # one thing at a time
    ],
)
def test_docker(docker: dict[str, Any], compose: dict[str, Any], expected: list[str]) -> None:
    found = app_host.docker_problems(docker, compose, "me")
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected


SERVICES: dict[str, Any] = {
    "backend": {"source": {"path": "/src/b", "keep": ["bin"]}, "build": {"context": "/src/b", "dockerfile": "Dockerfile.dev"}},
    "worker": {"build": {"context": "/src/w"}},
}
FOLDER, FILE, NOTHING = {"exists": True, "isdir": True}, {"exists": True, "isdir": False}, {"exists": False}
ALL = {"/src/b": FOLDER, "/src/b/Dockerfile.dev": FILE, "/src/w": FOLDER, "/src/w/Dockerfile": FILE}


def test_paths_have_names() -> None:
    assert app_host.source_paths(SERVICES, build=True) == {
        "app_services.backend.source.path": "/src/b",
        "app_services.backend.build.context": "/src/b",
        "app_services.backend.build.dockerfile": "/src/b/Dockerfile.dev",
        "app_services.worker.build.context": "/src/w",
        "app_services.worker.build.dockerfile": "/src/w/Dockerfile",
    }
    assert app_host.source_paths(SERVICES, build=False) == {"app_services.backend.source.path": "/src/b"}
    assert app_host.source_paths(["odd"], build=True) == {}  # the argument specification reports it
    assert app_host.source_paths({"odd": None, "other": {"source": "x", "build": []}}, build=True) == {}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        (
            {"/src/b": NOTHING, "/src/b/Dockerfile.dev": NOTHING},
            ["app_services.backend.source.path: there is no directory /src/b on here."],
        ),
        ({"/src/w": FILE}, ["app_services.worker.build.context: there is no directory /src/w on here."]),
        (
            {"/src/w/Dockerfile": NOTHING},
            ["app_services.worker.build.dockerfile: there is no Dockerfile /src/w/Dockerfile on here."],
        ),
        (
            {"/src/w/Dockerfile": FOLDER},
            ["app_services.worker.build.dockerfile: there is no Dockerfile /src/w/Dockerfile on here."],
        ),
    ],
)
def test_paths(changed: dict[str, Any], expected: list[str]) -> None:
    found = app_host.path_problems(SERVICES, True, {**ALL, **changed}, "here")
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected


def test_an_image_from_source_needs_a_source() -> None:
    for service in ({"image": "a"}, {"build": {}}, {"build": "here"}):
        (found,) = app_host.path_problems({"a": service}, True, {}, "here")
        assert found.startswith("app_services.a.build: is not set, and app_image_source is build.")
        assert app_host.path_problems({"a": service}, False, {}, "here") == []


def line(name: str, ports: str, labels: str = "") -> str:
    return json.dumps({"Names": name, "Ports": ports, "Labels": labels})


LINES = [
    line("web", "0.0.0.0:8080->80/tcp, :::8080->80/tcp, 9000/tcp"),
    line("ours-postgres", "127.0.0.1:5432->5432/tcp", "a=b,kasaneha.deploy.app=ours,c=d=e"),
    line("many", "0.0.0.0:7000-7002->7000-7002/tcp"),
]


def test_our_own_ports_are_not_tried() -> None:
    wanted = {"app_postgres_port": 5432, "a": "8080", "b": 7001, "odd": "x"}
    assert app_host.ports_to_try(wanted, LINES, "ours") == [7001, 8080]
    assert app_host.ports_to_try(wanted, LINES, "theirs") == [5432, 7001, 8080]
    assert app_host.ports_to_try(wanted, [], "ours") == [5432, 7001, 8080]


def test_who_has_a_port() -> None:
    assert app_host.listeners([8080, 7001, 1], LINES) == [
        {"port": 8080, "name": "the container web"},
        {"port": 7001, "name": "the container many"},
        {"port": 1, "name": ""},
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["15"], ""),
        (["15", "14"], ""),
        (["lost+found"], ""),
        (
            ["14"],
            "app_postgres_major: is 15, but the volume v holds a database of PostgreSQL 14. Set app_postgres_major and app_postgres_image to 14",
        ),
        (["13", "9"], "app_postgres_major: is 15, but the volume v holds a database of PostgreSQL 9 and 13."),
        (["PG_VERSION", "base"], "app_postgres_major: the volume v holds a database in a layout that is not ours."),
    ],
)
def test_volume(names: list[str], expected: str) -> None:
    found = "".join(app_host.volume_problems(names, 15, "v"))
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


@pytest.mark.parametrize(
    ("option", "driver", "engine", "needs"),
    [
        ("fluentd-write-timeout", "fluentd", "26.1.5", "Docker 28.2"),
        ("fluentd-write-timeout", "fluentd", "28.2.0", ""),
        ("fluentd-read-timeout", "fluentd", "28.5.1", "Docker 29.0"),
        ("fluentd-read-timeout", "fluentd", "29.0.0+dfsg1", ""),
        ("fluentd-write-timeout", "local", "29.0.0", "the driver fluentd"),
        ("fluentd-write-timeout", "fluentd", "", "no Docker yet"),
        ("tag", "fluentd", "20.10.24+dfsg1", ""),
    ],
)
def test_options_that_an_older_docker_does_not_know(option: str, driver: str, engine: str, needs: str) -> None:
    problems = app_host.log_option_problems({option: "5s"}, driver, engine)
    assert len(problems) == bool(needs) and needs in "".join(problems)
    assert not needs or problems[0].startswith(f"app_log_options.{option}: needs ")
