# SPDX-License-Identifier: GPL-3.0-or-later
"""The application that a host is to run, its databases and what stands on the host already."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import app
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs

SPECS = {variable: _argument_specs.keys("app", variable) for variable in ("app_services", "app_migrations")}
WEB = {"image": "registry.test/shop/web", "port": 80, "publish": {"blue": 18080, "green": 18180}}
PORTS = {"app_services.web.publish.blue": 18080, "app_services.web.publish.green": 18180}
GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "secret_problems": [], "host": "a", "groups": {"app": ["a"], "edge": ["a"]},
    "play_hosts": ["a"], "name": "shop", "release": "v1", "record": {}, "colours": ["blue", "green"], "services": {"web": WEB},
    "migrations": {}, "processors": 2, "bind_address": "127.0.0.1", "log_driver": "journald", "log_options": {}, "engine": "28.0.0",
    "shared_volumes": False, "state_dir": "/var/lib/shop", "image_source": "pull", "build_host": "b", "sources": [],
    "postgres_bind_address": "", "postgres_major": 15, "postgres_volume": "shop-postgres", "volume": ["15"], "redis": True,
    "redis_bind_address": "", "redis_password_secret": "", "ports": PORTS, "running": False, "listening": [], "containers": [],
    "own": [], "tried": [], "registry_login": [], "helpers": [], "postgres_ca_host": "d",
}  # fmt: skip
BOUND = {"redis_bind_address": "10.0.0.5"}
NO_PASSWORD = "app_redis_bind_address: other hosts could use Redis without a password. Name one of app_secrets in app_redis_password_secret."
TWO = {"app": ["a", "b"], "edge": ["e", "a", "f"]}
OUT_OF_REACH = "app_bind_address: 127.0.0.1 is out of reach for the edges on other hosts (e, f). Use the address of a in a network that they share."
VOLUMES = {"services": {"web": {**WEB, "volumes": ["uploads:/uploads"]}}}
NOT_SHARED = (
    "app_shared_volumes: several hosts run services with volumes, and a file that one of them stores is not on the others."
    " Put /var/lib/shop volumes on shared storage and set app_shared_volumes: true."
)
TAKEN = [{"port": 18080, "name": "nc", "pid": 7}]
DOCKER = [
    {"rc": 0},
    {"rc": 0},
    {"rc": 0, "stdout_lines": ['{"Names": "x", "Ports": "127.0.0.1:18180->1/tcp"}']},
    {"stdout": "me"},
]
PRIVATE = {"bind_address": "10.0.0.1"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"name": "Shop"}, ["app_name: 'Shop' is no name for an application."]),
        ({"release": 1.1}, ["app_release: 1.1 is a number"]),
        ({"release": ""}, ["app_release: is not set, and nothing is installed here yet."]),
        ({"release": "", "record": {"release": "v1"}}, []),
        ({"services": {}}, ["app_services: names no service."]),
        ({"services": {}, "groups": {"db": ["a"]}}, []),  # a host of the database alone
        ({"services": {"web": {**WEB, "cpus": 3}}}, ["app_services.web.cpus: 3 are more than this host's processors (2)."]),
        ({"migrations": {"service": "web"}}, ["app_migrations.command: is not set."]),
        ({"bind_address": "0.0.0.0"}, ["app_bind_address: '0.0.0.0' is not a loopback or private address."]),
        ({"log_options": {"fluentd-write-timeout": "5s"}}, ["app_log_options.fluentd-write-timeout: needs the driver fluentd"]),
        ({"postgres_bind_address": "::"}, ["app_postgres_bind_address: '::' is not a loopback or private address."]),
        # Redis
        (BOUND, [NO_PASSWORD]),
        ({**BOUND, "redis": False}, []),
        ({**BOUND, "redis_password_secret": "redis"}, []),
        ({"redis_bind_address": "127.0.0.1"}, []),
        ({"redis_bind_address": "::1"}, []),
        # several hosts
        ({"groups": TWO}, [OUT_OF_REACH]),
        ({"groups": TWO, **PRIVATE}, []),
        ({"groups": {"edge": ["e"], "db": ["a"]}, "services": {}}, []),
        ({"groups": TWO, **PRIVATE, **VOLUMES}, [NOT_SHARED]),
        ({"groups": TWO, **PRIVATE, **VOLUMES, "shared_volumes": True}, []),
        (VOLUMES, []),
        # hosts that the run leaves out
        ({"helpers": [{"item": "d", "stat": {"exists": True}}, {"item": "b", "stat": {"exists": False}}]}, []),
        ({"helpers": [{"item": "d", "stat": {"exists": False}}]}, ["app_postgres_ca_host: d, which is left out of this run, has no cert"]),
        ({"helpers": [{"item": "d", "msg": "sudo: a password is required"}]}, ["app_postgres_ca_host: d, which is left out"]),
        ({"helpers": [{"item": "b", "unreachable": True}]}, ["b: a release needs this host, which is left out of this run, and it cannot"]),
        ({"helpers": [{"item": "d", "skipped": True}]}, []),
        # sources
        ({"image_source": "build"}, ["app_services.web.build: is not set, and app_image_source is build."]),
        ({"image_source": "build", "groups": {"app": ["b", "a"]}, "play_hosts": ["x", "b", "a"]}, []),  # b says it
        ({"image_source": "build", "groups": {"app": ["b", "a"]}, "play_hosts": ["a"]}, ["app_services.web.build: is not set"]),
        (
            {
                "image_source": "build", "services": {"web": {**WEB, "build": {"context": "/src"}}},
                "sources": [{"item": "/src", "stat": {"exists": False}}, {"item": "/src/Dockerfile", "stat": {"exists": False}}],
            },
            ["app_services.web.build.context: there is no directory /src on b."],
        ),
        (
            {"services": {"web": {**WEB, "source": {"path": "/src"}}}, "sources": [{"item": "/src", "stat": {"exists": False}}]},
            ["app_services.web.source.path: there is no directory /src on a."],
        ),
        # PostgreSQL's volume
        ({"volume": ["14"]}, ["app_postgres_major: is 15, but the volume shop-postgres holds a database of PostgreSQL 14."]),
        # ports
        ({"listening": TAKEN}, ["app_services.web.publish.blue: port 18080 is taken by nc (pid 7)."]),
        ({"listening": TAKEN, "running": True}, []),
        ({"listening": [{"port": 18080, "name": "docker-proxy"}]}, []),
        (
            {"containers": ['{"Names": "x", "Ports": "127.0.0.1:18080->80/tcp", "Labels": "kasaneha.deploy.app=other"}']},
            ["app_services.web.publish.blue: port 18080 is taken by the container x."],
        ),
        ({"containers": ['{"Names": "x", "Ports": "127.0.0.1:18080->80/tcp", "Labels": "kasaneha.deploy.app=shop"}']}, []),
        # a user's own machine
        ({"own": DOCKER}, []),
        ({"own": DOCKER, "tried": [{"item": 18080, "elapsed": 0}]}, []),
        (
            {"own": DOCKER, "tried": [{"item": 18080, "elapsed": 1}, {"item": 18180, "elapsed": 1}]},
            [
                "app_services.web.publish.blue: port 18080 is taken by another program",
                "app_services.web.publish.green: port 18180 is taken by the container x (pid ?).",
            ],
        ),
        (
            {"own": [{"rc": 1, "stderr": "permission denied"}, {"rc": 1}, {"rc": 1}, {"stdout": "me"}]},
            ["Docker: the user me may not use it"],
        ),
        # What cannot be read is somebody else's to report.
        ({"services": "web", "ports": {}, "argument_errors": ["a"]}, ["a"]),
        ({"services": {"web": "x"}, "groups": TWO, **PRIVATE}, ["app_services.web: is not a mapping."]),
    ],
)  # fmt: skip
def test_problems(changes: dict[str, Any], expected: list[str]) -> None:
    found = app.problems({**GOOD, **changes}, SPECS)
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected


def test_everything_is_said_at_once_and_in_order() -> None:
    wrong = {
        "argument_errors": ["a"], "cast_problems": ["b"], "secret_problems": ["s"], "name": "", "release": 1.1, "services": {"web": {}},
        "bind_address": "x", "log_options": {"fluentd-read-timeout": "1s"}, "redis_bind_address": "10.0.0.5", "volume": ["9"],
        "ports": {"port": 0}, "registry_login": [{"registry": "ghcr.io", "username": ""}], "own": [{"rc": 1}, {"rc": 0}, {}, {}],
    }  # fmt: skip
    found = app.problems({**GOOD, **wrong}, SPECS)
    starts = [
        "a", "b", "app_name", "app_release", "app_services.web.image", "s", "app_registry_login[0].username", "app_bind_address",
        "app_log_options.fluentd-read-timeout", "app_redis_bind_address", "Docker", "app_postgres_major", "port",
    ]  # fmt: skip
    assert [problem.split(":")[0] for problem in found] == starts
