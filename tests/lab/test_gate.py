# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of a release on real containers: what is well passes, and whatever is not is refused with the reason.

Scenario release shows with three kinds of bad releases what a deploy makes of a refusal; here each kind meets the module alone.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .application import SECRETS, Services, leaks
from .boxes import ROOT, Box, Lab

MODULE = "ansible_collections.kasaneha.deploy.plugins.modules.blue_green_gate"
# Environment, then what the gate is asked; all of them wait for their refusal side by side.
FAULTS: dict[str, tuple[dict[str, str | None], dict[str, Any], str]] = {
    "never listens": ({"FAULT": "never_listens"}, {}, "within 3 s .*: backend: .*(refused|reset|disconnected|closed)"),
    "health of 500": ({"FAULT": "health_500"}, {}, "within 3 s .*: backend: .*status 500"),
    "slow start": ({"FAULT": "slow_start", "FAULT_SECONDS": "60"}, {}, "within 3 s .*(refused|reset|disconnected|closed)"),
    "another release": ({}, {"release": "v2.0.0"}, "within 3 s .*: release is 'v1.0.0', not 'v2.0.0'"),
    "another image": ({}, {"images": {"backend": "sha256:other"}}, "prove itself: backend: its container runs sha256:.*, not sha256:other"),
    "keeps ending": ({"JWT_SECRET": None}, {"timeout": 60}, r"prove itself: backend: its container ended and was started again \d times"),
    "wrong port": ({"PORT": "8081"}, {}, "within 3 s .*(refused|reset|disconnected|closed)"),
    "no such page": ({}, {"health": "/no-such-page"}, r"status 404[\s\S]*Last log lines of \S+:[\s\S]*/no-such-page"),
    "another status": ({}, {"health": {"path": "/health", "status": [401, 403]}}, "within 3 s .*: status 200, not 401 or 403"),
    "another body": ({}, {"health": {"path": "/health", "body": "asleep"}}, r"within 3 s .*: body does not match 'asleep': '\{.*\"release\""),
    "another release in the right body": (
        {}, {"health": {"path": "/health", "body": '"status": ?"ok"'}, "release": "v2.0.0"}, "release is 'v1.0.0', not 'v2.0.0'",
    ),
    "a health that is none": ({}, {"health": {"path": "health", "time": 5}}, r"^services.backend.health.time: .*\n.*health.path: 'health'"),
    "another colour": ({}, {"colour": "green"}, "prove itself: backend: there is no container"),
}  # fmt: skip
# Wrongly, and they are asked once they do.
ANSWERS = ("health of 500", "another release", "another image", "no such page", "another status", "another body",
           "another release in the right body")  # fmt: skip


class Gate:
    """A container and the module that asks it, run as Ansible would, without waiting for the answer."""

    def __init__(self, lab: Lab, services: Services, environment: dict[str, str | None]) -> None:
        self.app = f"gate-{secrets.token_hex(4)}"
        labels = {
            f"kasaneha.deploy.{key}": value for key, value in {"app": self.app, "service": "backend", "colour": "blue"}.items()
        }
        self.ends = "JWT_SECRET" in environment
        options = {"labels": labels, **({"restart_policy": {"Name": "on-failure"}} if self.ends else {})}
        self.box: Box = services.start(lab, options=options, **environment)

    def ask(self, health: Any = "/health", **asked: Any) -> Gate:
        port = (
            "1" if self.ends else self.box.address.rpartition(":")[2]
        )  # one that has ended publishes nothing; the gate sees that first
        backend = {"publish": {"blue": port, "green": port}, "health": health, "release_key": "release"}
        arguments = {
            "app": self.app,
            "colour": "blue",
            "release": "v1.0.0",
            "services": {"backend": backend},
            "timeout": 3,
            **asked,
        }
        self.running = subprocess.Popen(
            [sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
        )  # fmt: skip
        assert self.running.stdin
        self.running.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        self.running.stdin.close()
        return self

    def answer(self) -> dict[str, Any]:
        assert self.running.stdout
        text = self.running.stdout.read()
        assert not leaks(text + self.box.said(), SECRETS)
        return {"code": self.running.wait(), **json.loads(text)}


@pytest.fixture(scope="module")
def refused(services: Services) -> Iterator[dict[str, dict[str, Any]]]:
    """What the gate said of each."""
    with Lab() as lab:
        gates = {case: Gate(lab, services, environment) for case, (environment, _asked, _said) in FAULTS.items()}
        for case in ANSWERS:
            gates[case].box.until("an answer", gates[case].box.health)
        for case, (_environment, asked, _said) in FAULTS.items():
            gates[case].ask(**asked)
        yield {case: gate.answer() for case, gate in gates.items()}


@pytest.mark.parametrize("case", FAULTS)
def test_a_release_that_does_not_prove_itself_is_refused(case, refused):
    result = refused[case]
    assert result["code"] and result["failed"] and ("history" in result) == (case != "a health that is none")
    assert re.search(FAULTS[case][2], result["msg"]), result["msg"]
    assert not leaks(json.dumps(result), SECRETS)


WHOLE = {
    "path": "/health?of=the+gate", "host": "shop.test", "status": [200, 204], "headers": {"X-Forwarded-Proto": "https"},
    "body": '"status": ?"ok"', "timeout": 10,
}  # fmt: skip


@pytest.mark.parametrize("health", ["/health", WHOLE], ids=["path", "mapping"])
def test_one_that_is_well_passes(health, lab, services):
    """The negative control of all the others."""
    result = Gate(lab, services, {}).ask(health, timeout=60).answer()
    assert result["code"] == 0 and not result.get("failed") and result["history"][-1] == "good"


def test_one_that_started_again_since_an_earlier_gate_is_refused(lab, services):
    """It is well, and nothing but the time of its start says that it ended in between."""
    gate = Gate(lab, services, {})
    first = gate.ask(timeout=60).answer()
    assert first["code"] == 0 and first["started"]["backend"]
    assert gate.ask(timeout=60, started=first["started"]).answer()["code"] == 0
    gate.box.restart()
    gate.box.healthy()
    assert gate.ask(timeout=60).answer()["code"] == 0
    refused = gate.ask(timeout=60, started=first["started"]).answer()
    assert refused["code"] and re.search(
        r"prove itself: backend: its container started again at [\s\S]*Last log lines of", refused["msg"]
    )
