# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with services and their migrations."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import images
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import services as release_services
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs

COLOURS = ("blue", "green")
SERVICE: dict[str, Any] = {"image": "registry.test/app/backend", "port": 8080, "publish": {"blue": 1, "green": 2}}
DIGEST = "sha256:" + "d" * 64
SPECS = {variable: _argument_specs.keys("app", variable) for variable in ("app_services", "app_migrations")}


def problems(services: Any, colours: Any = COLOURS, release: str = "v1", migrations: Any = None, **more: Any) -> list[str]:
    """What is wrong with services."""
    return release_services.service_problems(services, colours, release, migrations or {}, SPECS, **more)


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
        "memory": "256m", "cpus": 1, "pids": 1, "stop_timeout": 1, "build": {"context": "/src"}, "source": {"path": "/src"},
        "healthcheck": {"test": ["CMD", "true"]}, "after": ["other"],
    }  # fmt: skip
    assert problems({"backend": documented, "other": {"image": "x"}}) == []


def test_colours() -> None:
    assert len(problems(changed(publish={"red": 1}), colours=iter(["red"]))) == 0
    assert len(problems(changed(publish={"red": 1}), colours=COLOURS)) == 2
    assert problems(changed(publish={"red": 1}), colours="red") == []  # one colour, not three letters
    assert len(problems(changed(publish={"red": 1}), colours="blue")) == 1


def test_a_host_of_applications_needs_a_service() -> None:
    [problem] = problems({}, needed=True)
    assert problem.startswith("app_services: names no service. Describe at least one, e.g. {web: {image: ")
    assert problems(changed(), needed=True) == []
    assert problems(["backend"], needed=True) == problems(None, needed=True) == []  # the argument specification reports it


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


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"volumes": ["uploads:/app/uploads", "a.b-c_1:/x:ro", "rw:/y:rw"]}, []),
        ({"volumes": ["uploads"]}, [".volumes: 'uploads' is not name:/path."]),
        ({"volumes": ["uploads:app"]}, [".volumes: 'uploads:app' is not name:/path."]),
        ({"volumes": ["uploads:/"]}, [".volumes: 'uploads:/' is not name:/path."]),
        ({"volumes": ["/srv/uploads:/app"]}, [".volumes: '/srv/uploads:/app' is not name:/path."]),
        ({"volumes": ["../x:/app"]}, [".volumes: '../x:/app' is not name:/path."]),
        ({"volumes": ["x:/app/../etc"]}, [".volumes: 'x:/app/../etc' is not name:/path."]),
        ({"volumes": ["x:/app:z"]}, [".volumes: 'x:/app:z' is not name:/path."]),
        ({"volumes": ["x:/a b"]}, [".volumes: 'x:/a b' is not name:/path."]),
        ({"volumes": ["x:/app\n"]}, [".volumes: 'x:/app\\n' is not name:/path."]),
        ({"volumes": ["x:/app$HOME"]}, [".volumes: 'x:/app$HOME' is not name:/path."]),
        ({"volumes": [{"name": "x"}]}, [".volumes[0]: is a mapping and no text."]),
        ({"volumes": ["x:/app", "y:/app/:ro"]}, [".volumes: two of them are /app in the container."]),
        ({"memory": "512m"}, []),
        ({"memory": "1.5g"}, []),
        ({"memory": "512MB"}, []),
        ({"memory": "6291456b"}, []),
        ({"memory": 536870912}, [".memory: '536870912' is no amount of memory. Write a number and a unit, e.g. 512m or 1.5g."]),
        ({"memory": "512"}, [".memory: '512' is no amount of memory."]),
        ({"memory": "512MiB"}, [".memory: '512MiB' is no amount of memory."]),
        ({"memory": True}, [".memory: True is a truth value"]),
        ({"memory": "half"}, [".memory: 'half' is no amount of memory."]),
        ({"memory": "512m\n"}, [".memory: '512m\\n' is no amount of memory."]),
        ({"memory": "5m"}, [".memory: 5m is less than the 6m that Docker gives at least."]),
        ({"memory": "0g"}, [".memory: 0g is less than the 6m that Docker gives at least."]),
        ({"cpus": 0}, []),
        ({"cpus": 0.01}, []),
        ({"cpus": "2.0"}, []),
        ({"cpus": -1}, [".cpus: -1 is no number of processors."]),
        ({"cpus": 0.005}, [".cpus: 0.005 is no number of processors. Use 0.01 or more, or 0 for no limit."]),
        ({"cpus": 64}, []),  # nobody said how many there are
        ({"pids": -1}, []),
        ({"pids": "64"}, []),
        ({"pids": -2}, [".pids: -2 is no number of processes. Use 1 or more, or -1 for no limit."]),
        ({"stop_timeout": 0}, []),
        ({"stop_timeout": -1}, [".stop_timeout: -1 is no number of seconds. Use 0 or more."]),
        ({"port": 65535}, []),
        ({"port": 65536}, [".port: 65536 is not a port. Use a number from 1 to 65535."]),
        ({"port": 0}, [".port: 0 is not a port."]),
        ({"port": 80.5}, [".port: 80.5 is not a whole number."]),
        ({"port": "-1"}, [".port: -1 is not a port."]),
        ({"metrics": "/metrics"}, []),
        ({"metrics": "metrics"}, [".metrics: 'metrics' is not an absolute path. Write /metrics."]),
        ({"metrics": "http://x/metrics"}, [".metrics: 'http://x/metrics' is not an absolute path. Begin with a slash, without blanks and"]),
        ({"metrics": "/a b"}, [".metrics: '/a b' is not an absolute path. Begin"]),
        ({"health": "/ready?deep=1"}, []),
        ({"health": "ready"}, [".health: 'ready' is no absolute path. Begin it with /."]),
        ({"health": ""}, []),
        ({"health": {"path": "/ready", "status": 204}}, []),
        ({"health": {"path": "ready"}}, [".health.path: 'ready' is no absolute path. Begin it with /."]),
        ({"health": {"status": 204}}, []),
        ({"assets": "/usr/share/nginx/html/_astro"}, []),
        ({"assets": "_astro/"}, [".assets: '_astro/' is not an absolute path. Write /_astro/."]),
        ({"assets": "/"}, [".assets: / is the whole image. Name the directory of the files that have a hash in their names."]),
        ({"assets": "/srv/../etc"}, [".assets: '/srv/../etc' is not an absolute path. Begin with a slash, without blanks and without .."]),
        ({"after": ["worker"]}, [".after: 'worker' is not one of app_services (backend)."]),
        ({"after": ["bckend"]}, [".after: 'bckend' is not one of app_services (backend). Did you mean backend?"]),
        ({"after": ["backend"]}, [".after: a service cannot wait for itself."]),
        ({"environment": {"A": 1, "B": True, "C": None, "D": "x", "E": 1.5}}, []),
        ({"environment": {"A": ["canary"], "B": {"x": "canary"}}}, [".environment.A: is a list and no text.", ".environment.B: is a map"]),
    ],
)  # fmt: skip
def test_values_that_docker_would_refuse_in_the_middle_of_a_release(keys: dict[str, Any], expected: list[str]) -> None:
    found, starts = problems(changed(**keys)), [f"app_services.backend{start}" for start in expected]
    assert [problem[: len(start)] for problem, start in zip_longest(found, starts, fillvalue="")] == starts
    assert "canary" not in "".join(found)


def test_services_may_wait_for_each_other() -> None:
    assert problems({**changed(after=["worker"]), "worker": {"image": "w"}}) == []


@pytest.mark.parametrize(
    ("cpus", "processors", "good"),
    [
        (2, 2, True),
        (2.5, 2, False),
        ("4", 2, False),
        (2.5, 0, True),
        (0, 1, True),
        ("2", "2", True),
        (4, "2", False),
        (0.5, 1, True),
    ],
)
def test_no_service_gets_more_processors_than_there_are(cpus: Any, processors: Any, good: bool) -> None:
    sentence = f"app_services.backend.cpus: {cpus} are more than this host's processors ({processors}). Use {processors} or less."
    assert problems(changed(cpus=cpus), processors=processors) == ([] if good else [sentence])


def test_ports_of_the_container_in_publish_also() -> None:
    assert problems(changed(publish=8080, publish_also={6060: 70000}), colours=[]) == [
        "app_services.backend.publish_also.6060: 70000 is not a port. Use a number from 1 to 65535."
    ]


def test_two_that_want_one_port_are_both_named() -> None:
    services = {**changed(publish={"blue": 9, "green": 9}), "web": {"image": "w", "port": 1, "publish": {"blue": 9, "green": 0}}}
    assert inventory_problems.port_problems(images.service_ports(services), [], []) == [
        "app_services.web.publish.green: 0 is not a port. Use a number from 1 to 65535.",
        "app_services.backend.publish.blue and app_services.backend.publish.green and app_services.web.publish.blue:"
        " all want port 9. Give each its own.",
    ]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("shop", True),
        ("shop-admin", True),
        ("s", True),
        ("s2", True),
        ("a" * 30, True),
        ("a" * 31, False),
        ("", False),
        ("2shop", False),
        ("-shop", False),
        ("shop-", False),
        ("Shop", False),
        ("shop_admin", False),
        ("shop.admin", False),
        ("shop admin", False),
        ("shop\n", False),
        ("../shop", False),
        ("büro", False),
        (7, False),
        (None, False),
        (True, False),
    ],
)
def test_the_name_of_an_application(name: Any, good: bool) -> None:
    found = release_services.app_name_problems(name)
    assert found == ([] if good else [f"app_name: {name!r} is no name for an application. {release_services.NAME_RULE}"])
