# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stop a developer's machine or a build."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import build as release_build

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
    found = release_build.docker_problems(docker, compose, "me")
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected


def test_images_that_a_host_lacks() -> None:
    images = {
        "backend": {"reference": "x/backend:1", "id": "sha256:b"},
        "frontend": {"reference": "x/frontend:1", "id": "sha256:f"},
    }
    assert release_build.absent_images(images, [{"Id": "sha256:f"}]) == {"backend": "x/backend:1"}
    assert release_build.absent_images(images, [{"Id": "sha256:f"}, {"Id": "sha256:b"}]) == {}
    assert release_build.absent_images(images, []) == {"backend": "x/backend:1", "frontend": "x/frontend:1"}


SERVICES: dict[str, Any] = {
    "backend": {"source": {"path": "/src/b", "keep": ["bin"]}, "build": {"context": "/src/b", "dockerfile": "Dockerfile.dev"}},
    "worker": {"build": {"context": "/src/w"}},
}
FOLDER, FILE, NOTHING = {"exists": True, "isdir": True}, {"exists": True, "isdir": False}, {"exists": False}
ALL = {"/src/b": FOLDER, "/src/b/Dockerfile.dev": FILE, "/src/w": FOLDER, "/src/w/Dockerfile": FILE}


def test_paths_have_names() -> None:
    assert release_build.source_paths(SERVICES, build=True) == {
        "app_services.backend.source.path": "/src/b",
        "app_services.backend.build.context": "/src/b",
        "app_services.backend.build.dockerfile": "/src/b/Dockerfile.dev",
        "app_services.worker.build.context": "/src/w",
        "app_services.worker.build.dockerfile": "/src/w/Dockerfile",
    }
    assert release_build.source_paths(SERVICES, build=False) == {"app_services.backend.source.path": "/src/b"}
    assert release_build.source_paths(["odd"], build=True) == {}  # the argument specification reports it
    assert release_build.source_paths({"odd": None, "other": {"source": "x", "build": []}}, build=True) == {}
    assert release_build.mount_points({"a": {"source": {"path": "/src", "keep": ["node_modules"]}}, "b": {}}) == [
        "/src/node_modules"
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        (
            {"/src/b": NOTHING, "/src/b/Dockerfile.dev": NOTHING},
            ["app_services.backend.source.path: there is no folder /src/b on here."],
        ),
        ({"/src/w": FILE}, ["app_services.worker.build.context: there is no folder /src/w on here."]),
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
    found = release_build.path_problems(SERVICES, True, {**ALL, **changed}, "here")
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected


def test_an_image_from_source_needs_a_source() -> None:
    for service in ({"image": "a"}, {"build": {}}, {"build": "here"}):
        (found,) = release_build.path_problems({"a": service}, True, {}, "here")
        assert found.startswith("app_services.a.build: is not set, and app_image_source is build.")
        assert release_build.path_problems({"a": service}, False, {}, "here") == []


def line(name: str, ports: str, labels: str = "") -> str:
    return json.dumps({"Names": name, "Ports": ports, "Labels": labels})


LINES = [
    line("web", "0.0.0.0:8080->80/tcp, :::8080->80/tcp, 9000/tcp"),
    line("ours-postgres", "127.0.0.1:5432->5432/tcp", "a=b,kasaneha.deploy.app=ours,c=d=e"),
    line("many", "0.0.0.0:7000-7002->7000-7002/tcp"),
]


def test_our_own_ports_are_not_tried() -> None:
    wanted = {"app_postgres_port": 5432, "a": "8080", "b": 7001, "odd": "x"}
    assert release_build.ports_to_try(wanted, LINES, "ours") == [7001, 8080]
    assert release_build.ports_to_try(wanted, LINES, "theirs") == [5432, 7001, 8080]
    assert release_build.ports_to_try(wanted, [], "ours") == [5432, 7001, 8080]


def test_who_has_a_port() -> None:
    assert release_build.listeners([8080, 7001, 1], LINES) == [
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
    found = "".join(release_build.volume_problems(names, 15, "v"))
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


def test_what_was_built_is_known_by_its_id() -> None:
    images = [
        {"Id": "sha256:1", "RepoTags": ["b:v1", "b:old"], "RepoDigests": ["b@sha256:2"], "Config": {"Labels": {"version": "v1"}}}
    ]
    found = release_build.built_images({"b": {"release_label": "version"}, "f": {}}, {"b": "b:v1", "f": "f:v1"}, images)
    assert {name: (record["image"], record["id"], record["label"]) for name, record in found.items()} == {
        "b": ("sha256:1", "sha256:1", "v1")
    }


def test_a_failure_shows_the_last_lines() -> None:
    said = "\n".join(f"line {number}" for number in range(50))
    build = {"results": [{"image": {}, "stderr": "good"}, {"msg": "Building b:v1 failed", "stderr": said}]}
    assert release_build.build_failure(build, 2) == "Building b:v1 failed\nline 48\nline 49"
    assert release_build.build_failure({"results": build["results"][:1]}) == release_build.build_failure({"skipped": True}) == ""
    said = release_build.build_failure({"results": [{"msg": "does not have the buildx plugin installed"}]})
    assert "docker-buildx in Debian 13" in said
