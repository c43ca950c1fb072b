# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with services and their migrations."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils import _service
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs

COLOURS = ("blue", "green")
SERVICE: dict[str, Any] = {"image": "registry.test/app/backend", "port": 8080, "publish": {"blue": 1, "green": 2}}
DIGEST = "sha256:" + "d" * 64
SPECS = {variable: _argument_specs.keys("app", variable) for variable in ("app_services", "app_migrations")}


def problems(services: Any, colours: Any = COLOURS, release: str = "v1", migrations: Any = None) -> list[str]:
    """What is wrong with services."""
    return _service.service_problems(services, colours, release, migrations or {}, SPECS)


def changed(**keys: Any) -> dict[str, Any]:
    """One service; None takes a key away."""
    return {"backend": {key: value for key, value in {**SERVICE, **keys}.items() if value is not None}}


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ({}, []),
        (changed(), []),
        (changed(port=None, publish=None), []),  # a worker publishes nothing
        (changed(image="backend:v3"), []),
        (changed(image=f"backend@{DIGEST}"), []),
        (changed(secrets={"JWT_SECRET": "jwt"}, secrets_as="environment"), []),
        (changed(secrets={"JWT_SECRET": "jwt"}, secrets_as="file"), []),
        (changed(secrets_as="env"), ["app_services.backend.secrets_as: is 'env'"]),
        (changed(image=None), ["app_services.backend.image: is not set"]),
        (changed(image=""), ["app_services.backend.image: is not set"]),
        (changed(image=5), ["app_services.backend.image: is not set"]),
        (changed(user=10001), []),
        (changed(user="101:101"), []),
        (changed(user="app"), ["app_services.backend.user: 'app' is not numeric"]),
        (changed(user="10001:app"), ["app_services.backend.user: '10001:app' is not numeric"]),
        (changed(user="10001\n"), ["app_services.backend.user: '10001\\n' is not numeric"]),
        (changed(user=""), ["app_services.backend.user: '' is not numeric"]),
        (changed(environment={"PORT": 8080, "EMPTY": None}), []),
        (
            changed(environment=["A=b"]),
            ["app_services.backend.environment: is not a mapping. Variables of the container: {PORT: 8080}"],
        ),
        (changed(secrets=["jwt"]), ["app_services.backend.secrets: is not a mapping"]),
        (
            changed(secrets={"A": "", "B": 5, "C": "c"}),
            [f"app_services.backend.secrets.{name}: names no secret" for name in "AB"],
        ),
        (changed(secrets={"A": None, "B": "b"}), ["app_services.backend.secrets.A: names no secret"]),
        (
            changed(secrets={"A": "../x", "B": "b", "C": "a b"}),
            [f"app_services.backend.secrets.{name}: names no secret" for name in "AC"],
        ),
        (changed(publish={}), [f"app_services.backend.publish.{colour}: is not set" for colour in COLOURS]),
        (changed(publish="18080"), ["app_services.backend.publish: is not a mapping"]),
        ({"backend": {**SERVICE, "publish": None}}, ["app_services.backend.publish: is not a mapping"]),
        ({"backend": {**SERVICE, "environment": None}}, ["app_services.backend.environment: is empty. Give it a value"]),
        (changed(image="backend:latest"), ["app_services.backend.image: 'latest' names no release"]),
        (changed(port=None), ["app_services.backend.port: is not set"]),
        (changed(publish={"blue": 1}), ["app_services.backend.publish.green: is not set"]),
        (changed(publish=["1:1"]), ["app_services.backend.publish: is not a mapping"]),
        (
            changed(enviroment={"A": "b"}),
            ["app_services.backend.enviroment: is not a key of a service. Did you mean environment?"],
        ),
        (changed(networks=["x"]), ["app_services.backend.networks: is not a key of a service. Known are: after, assets"]),
        (
            changed(port="80x"),
            ["app_services.backend.port: '80x' is not a whole number. The port on which the container listens"],
        ),
        (changed(read_only="false"), ["app_services.backend.read_only: 'false' is not true or false"]),
        (changed(volumes="a:/b"), ["app_services.backend.volumes: is not a list. Write [a:/b]"]),
        (changed(build={"dockerfile": "D"}), ["app_services.backend.build.context: is not set. Folder with the source"]),
        (changed(user=["10001"]), ["app_services.backend.user: is a list and no text"]),
        ({"backend": "image"}, ["app_services.backend: is not a mapping"]),
        ({"backend": None}, ["app_services.backend: is not a mapping"]),
        ({**changed(image=None), "worker": 1}, ["app_services.backend.image:", "app_services.worker:"]),
        (["backend"], []),  # the argument specification reports it
        (None, []),
    ],
)
def test_services(services: Any, expected: list[str]) -> None:
    found = problems(services)
    assert [problem[: len(start)] for problem, start in zip_longest(found, expected, fillvalue="")] == expected


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("backend", True),
        ("back-end-2", True),
        ("postgresql", True),
        ("Backend", False),
        ("back_end", False),
        ("2nd", False),
        ("-backend", False),
        ("back end", False),
        ("backend\n", False),
        ("", False),
        (7, False),
        ("postgres", False),  # the databases' own
        ("redis", False),
    ],
)
def test_name(name: object, good: bool) -> None:
    found = problems({name: SERVICE})
    assert len(found) == (not good)
    assert all(problem.startswith(f"app_services.{name}: is no name for a service.") for problem in found)


@pytest.mark.parametrize("colours", [[], None, ()])
def test_without_colours_a_service_has_one_port(colours: Any) -> None:
    assert [problem.split(":")[0] for problem in problems(changed(), colours=colours)] == ["app_services.backend.publish"]
    assert problems(changed(publish=8080, publish_also={6060: 6060}), colours=colours) == []
    assert problems({}, colours=colours) == []
    assert [problem.split(":")[0] for problem in problems(changed(publish_also={6060: 6060}))] == [
        "app_services.backend.publish_also"
    ]


def test_every_key_of_the_readme_is_known() -> None:
    documented = {
        **SERVICE, "health": "/health", "release_key": "release", "release_label": "version", "user": "1:1", "environment": {},
        "secrets": {}, "secrets_as": "file", "command": [], "volumes": [], "read_only": True, "tmpfs": [], "cap_add": [],
        "memory": "1m", "cpus": 1, "pids": 1, "stop_timeout": 1, "build": {"context": "/src"}, "source": {"path": "/src"},
        "healthcheck": {"test": ["CMD", "true"]}, "after": ["other"],
    }  # fmt: skip
    assert problems({"backend": documented}) == []


def test_colours() -> None:
    assert len(problems(changed(publish={"red": 1}), colours=iter(["red"]))) == 0
    assert len(problems(changed(publish={"red": 1}), colours=COLOURS)) == 2
    assert problems(changed(publish={"red": 1}), colours="red") == []  # one colour, not three letters
    assert len(problems(changed(publish={"red": 1}), colours="blue")) == 1


def test_release_is_needed_for_services_only() -> None:
    assert problems(changed(), release="")[0].startswith("app_release: is not set")
    assert problems({}, release="") == []


@pytest.mark.parametrize(
    ("migrations", "expected"),
    [
        ({}, []),
        ({"service": "backend", "command": ["./main", "migrate", "up"]}, []),
        ({"service": "backend", "command": ["./main"], "timeout": "60", "lock_timeout": 5, "rollback": "needs_restore"}, []),
        ({"service": "worker", "command": ["./main"]}, [".service: 'worker' is not one of app_services (backend)."]),
        ({"service": "bakend", "command": ["./main"]}, [".service: 'bakend' is not one of app_services (backend). Did you mean backend?"]),
        ({"command": ["./main"]}, [".service: None is not one of app_services (backend)."]),
        ({"service": ["backend"], "command": ["./main"]}, [".service: is a list", ".service: ['backend'] is not one of"]),
        ({"service": "backend"}, [".command: is not set."]),
        ({"service": "backend", "command": []}, [".command: is not set."]),
        ({"service": "backend", "command": "./main"}, [".command: is not a list. Write [./main]."]),
        ({"service": "backend", "command": ["./main"], "timeout": "1e3"}, [".timeout: '1e3' is no number in plain digits."]),
        ({"service": "backend", "command": ["./main"], "rollback": "no"}, [".rollback: is 'no'. Use compatible or needs_restore."]),
        ({"service": "backend", "comand": ["./main"]}, [".comand: is not a key of app_migrations. Did you mean command?", ".command: is"]),
        ("none", []),  # the argument specification reports it
    ],
)  # fmt: skip
def test_migrations(migrations: Any, expected: list[str]) -> None:
    found, starts = problems(changed(), migrations=migrations), [f"app_migrations{start}" for start in expected]
    assert [problem[: len(start)] for problem, start in zip_longest(found, starts, fillvalue="")] == starts


def test_without_services_migrations_have_none() -> None:
    assert problems({}, migrations={"service": "web", "command": ["x"]}) == [
        "app_migrations.service: 'web' is not one of app_services (none)."
    ]
