# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate asks of a service, and what it says of an answer; ``tests/lab/test_gate.py`` has it with real containers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import containers
from ansible_collections.kasaneha.deploy.plugins.modules import blue_green_gate

CONTAINER = {
    "name": "shop-backend-blue", "service": "backend", "colour": "blue", "id": "sha256:1", "running": True, "state": "running", "exit_code": 0,
    "restarts": 0, "health": "", "health_log": [], "started": "t1",
}  # fmt: skip


class Ended(Exception):
    """The module has said its last word."""


class Module:
    """What the gate needs of a module."""

    def __init__(self, **params: Any) -> None:
        self.params = {"app": "shop", "colour": "blue", "release": "v2", "images": {}, "address": "127.0.0.1", "started": {}, "answers": 1,
                       "interval": 0, "timeout": 0, **params}  # fmt: skip
        self.result: dict[str, Any] = {}

    def run_command(self, *_: Any) -> None:
        """Nobody asks."""

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": True, **result}
        raise Ended

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended


Asked = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What was asked; each is answered by `ready` and its release."""
    asked: Asked = []

    def fetch(*question: Any) -> tuple[int, bytes, str]:
        asked.append(question)
        return 200, b'{"release": "v2", "state": "ready"}', ""

    monkeypatch.setattr(http, "fetch", fetch)
    monkeypatch.setattr(containers, "observe", lambda *_: [CONTAINER])
    monkeypatch.setattr(containers, "last_words", lambda *_: "its last words")
    return asked


def gate(monkeypatch: pytest.MonkeyPatch, health: Any, **service: Any) -> dict[str, Any]:
    """What the module says."""
    service = {
        "publish": {"blue": 1, "green": 2},
        "release_key": "release",
        **({"health": health} if health != "none" else {}),
        **service,
    }
    module = Module(services={"backend": service})
    monkeypatch.setattr(blue_green_gate, "AnsibleModule", lambda **_: module)
    with pytest.raises(Ended):
        blue_green_gate.main()
    return module.result


@pytest.mark.parametrize(
    ("health", "url", "timeout", "headers"),
    [
        ("none", "http://127.0.0.1:1/", 5, {}),
        ("/health", "http://127.0.0.1:1/health", 5, {}),
        ({"path": "/health"}, "http://127.0.0.1:1/health", 5, {}),
        (
            {"path": "/up", "host": "shop.test", "headers": {"X-Forwarded-Proto": "https"}, "timeout": 2, "body": '"ready"'},
            "http://127.0.0.1:1/up", 2, {"X-Forwarded-Proto": "https", "Host": "shop.test"},
        ),
    ],
)  # fmt: skip
def test_it_asks_as_the_service_says(
    monkeypatch: pytest.MonkeyPatch, asked: Asked, health: Any, url: str, timeout: float, headers: dict[str, str]
) -> None:
    assert not gate(monkeypatch, health).get("failed")
    assert asked == [(url, timeout, headers)]


@pytest.mark.parametrize(
    ("health", "service", "said"),
    [
        ({"path": "/up", "status": 401}, {}, "backend: http://127.0.0.1:1/up: status 200, not 401"),
        (
            {"body": "asleep"},
            {},
            'backend: http://127.0.0.1:1/: body does not match \'asleep\': \'{"release": "v2", "state": "ready"}\'',
        ),
        ({"body": "ready"}, {"release_key": "version"}, "backend: http://127.0.0.1:1/: version is None, not 'v2'"),
    ],
)
def test_a_refusal_names_what_was_expected_and_what_came(
    monkeypatch: pytest.MonkeyPatch, asked: Asked, health: Any, service: dict[str, Any], said: str
) -> None:
    result = gate(monkeypatch, health, **service)
    assert result["failed"] and f"did not prove itself within 0 s (app_start_timeout): {said}\n" in result["msg"]
    assert "its last words" in result["msg"] and result["history"] == [said]


def test_what_cannot_be_asked_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    result = gate(monkeypatch, {"path": "up", "timeout": 0})
    assert result["msg"].splitlines() == [
        "services.backend.health.path: 'up' is no absolute path. Begin it with /.",
        "services.backend.health.timeout: 0 is no time to wait. Use seconds above 0.",
    ]
    assert not asked


@pytest.mark.parametrize(
    ("started", "problem"), [({}, ""), ({"backend": "t1"}, ""), ({"backend": "t0"}, "its container started again at t1")]
)
def test_a_container_that_started_again_after_an_earlier_gate_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: Asked, started: dict[str, str], problem: str
) -> None:
    """It answers, three times in a row; that it ended in between is what counts."""
    assert asked == []
    module = Module(services={"backend": {"publish": {"blue": 1}, "health": "/"}}, started=started, answers=3, timeout=60)
    monkeypatch.setattr(blue_green_gate, "AnsibleModule", lambda **_: module)
    with pytest.raises(Ended):
        blue_green_gate.main()
    assert problem in module.result.get("msg", "")
    assert bool(module.result.get("failed")) is bool(problem)
    assert module.result["started"] == {"backend": "t1"}
