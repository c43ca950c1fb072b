# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release must show before a user's request reaches it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import gate as release_gate
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health


@pytest.mark.parametrize(
    ("status", "body", "key", "problem"),
    [
        (200, {"release": "v2"}, "release", ""),
        (200, {"release": "v2"}, "", ""),
        (200, "hello", "", ""),  # an application that cannot say
        (204, "", "", ""),
        (204, "", "release", "release is None, not 'v2'"),
        (200, {"release": "v1"}, "release", "release is 'v1', not 'v2'"),
        (200, {"release": ""}, "release", "release is '', not 'v2'"),
        (200, {"release": 2}, "release", "release is 2, not 'v2': no string. Let the application write it in quotes"),
        (200, {"release": 1.1}, "release", "release is 1.1, not 'v2': no string. Let the application write it in quotes"),
        (200, {"version": "v2"}, "release", "release is None, not 'v2'"),
        (200, ["v2"], "release", "release is None, not 'v2'"),
        (200, "release: v2", "release", "release is None, not 'v2'"),
        (0, "[Errno 111] Connection refused", "release", "[Errno 111] Connection refused"),
        (0, "timed out", "", "timed out"),
        (500, {"release": "v2"}, "release", "status 500, not 200 or 204"),
        (503, "", "", "status 503, not 200 or 204"),
        (404, "", "", "status 404, not 200 or 204"),
        (301, "", "", "status 301, not 200 or 204"),  # what answers there is not what was asked
        (206, "", "", "status 206, not 200 or 204"),
    ],
)
def test_answer(status: int, body: Any, key: str, problem: str) -> None:
    assert release_gate.answer_problem(status, body, key, "v2") == problem


BLUE, GREEN = "http://10.0.0.4:1", "http://10.0.0.4:2"


@pytest.mark.parametrize(
    ("service", "probes"),
    [
        ({"health": "/health"}, [f"{BLUE}/health", f"{GREEN}/health"]),
        ({}, [f"{BLUE}/", f"{GREEN}/"]),
        ({"health": ""}, [f"{BLUE}/", f"{GREEN}/"]),
        ({"health": {"path": "/a"}}, [f"{BLUE}/a", f"{GREEN}/a"]),
        (
            {"health": {"host": "shop.test", "status": [200, 401]}},
            [{"url": f"{url}/", "host": "shop.test", "status": [200, 401]} for url in (BLUE, GREEN)],
        ),
    ],
)
def test_a_backup_asks_what_the_gate_asks(service: dict[str, Any], probes: list[Any]) -> None:
    service = {"publish": {"blue": 1, "green": 2}, **service}
    assert release_gate.probes(service, iter(["10.0.0.4"])) == probes
    for probe in probes:
        assert health.probe_problems("x", probe) == []
        url, check = health.probe_check(probe)
        path = health.health_check(service.get("health"), health.SUCCESS)
        assert url.endswith(path["path"]) and check == {**path, "path": "/"}


def test_every_address_and_port_is_asked() -> None:
    assert release_gate.probes({"publish": {"blue": 1, "green": "2"}}, ["10.0.0.4", "fd00::4"]) == [
        f"{BLUE}/", f"{GREEN}/", "http://[fd00::4]:1/", "http://[fd00::4]:2/",
    ]  # fmt: skip
    assert release_gate.probes({"publish": 8080}, ["127.0.0.1"]) == ["http://127.0.0.1:8080/"]
    assert release_gate.probes({"publish": {}}, ["127.0.0.1"]) == release_gate.probes({}, ["127.0.0.1"]) == []


def container(**changes: Any) -> dict[str, Any]:
    """A container that is well, changed by ``changes``."""
    return {
        "id": "sha256:2", "state": "running", "running": True, "exit_code": 0, "restarts": 0, "health": "healthy", "started": "t1",
        **changes,
    }  # fmt: skip


EXITED = {"state": "exited", "running": False, "exit_code": 2}
RESTARTING = {"state": "restarting", "running": False, "exit_code": 2}


@pytest.mark.parametrize(
    ("found", "image", "started", "problem", "hopeless"),
    [
        (container(), "sha256:2", "t1", "", False),
        (container(), "", "", "", False),
        (container(health=""), "", "", "", False),  # it has no check of its own
        (container(health="starting"), "", "", "", False),  # ours may be faster
        (container(restarts=2), "", "", "", False),
        (None, "", "", "there is no container", True),
        ({}, "", "", "there is no container", True),
        (container(), "sha256:1", "", "its container runs sha256:2, not sha256:1", True),
        (container(**EXITED), "", "", "its container is exited (exit code 2)", True),
        (container(**RESTARTING), "", "", "its container is restarting (exit code 2)", False),
        (container(state="created", running=False), "", "", "its container is created (exit code 0)", False),
        (container(state="paused", running=False), "", "", "its container is paused (exit code 0)", False),
        (container(restarts=3), "", "", "its container ended and was started again 3 times (exit code 0)", True),
        (container(**RESTARTING, restarts=7), "", "", "its container ended and was started again 7 times (exit code 2)", True),
        (container(health="unhealthy"), "", "", "its own health check fails", False),
        (container(), "", "t0", "its container started again at t1", False),
        # The wrong image is the first thing to know.
        (container(**EXITED), "sha256:1", "", "its container runs sha256:2, not sha256:1", True),
    ],
)
def test_container(found: Any, image: str, started: str, problem: str, hopeless: bool) -> None:
    assert release_gate.container_problem(found, image, started) == (problem, hopeless)


@pytest.mark.parametrize(
    ("now", "before", "problem"),
    [
        (3, 0, "its container ended and was started again 3 times (exit code 0)"),
        (3, 3, ""),  # what it did last week does not count
        (5, 3, ""),
        (6, 3, "its container ended and was started again 3 times (exit code 0)"),
        (0, 7, ""),  # it is another one
    ],
)
def test_restarts_count_from_the_beginning_of_the_gate(now: int, before: int, problem: str) -> None:
    assert release_gate.container_problem(container(restarts=now), "", "", before) == (problem, bool(problem))


@pytest.mark.parametrize(
    ("wanted", "rounds", "passed", "history"),
    [
        (1, [[""]], [True], ["good"]),
        (2, [[""], [""]], [False, True], ["good"]),
        (2, [[""], ["a: no"], [""], [""]], [False, False, False, True], ["good", "a: no", "good"]),  # in a row
        (2, [["a: no"], ["a: no"], [""], [""]], [False, False, False, True], ["a: no", "good"]),
        (1, [["", "b: no"]], [False], ["b: no"]),  # one of several is enough
        (1, [["a: no", "b: no"], ["a: no", ""]], [False, False], ["a: no; b: no", "a: no"]),
        (1, [[], ["", ""]], [True, True], ["good"]),
    ],
)
def test_gate(wanted: int, rounds: list[list[str]], passed: list[bool], history: list[str]) -> None:
    gate = release_gate.Gate(wanted)
    assert [gate.round(sentences) for sentences in rounds] == passed
    assert gate.history == history
