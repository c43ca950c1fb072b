# SPDX-License-Identifier: GPL-3.0-or-later
"""Who lost the lock of a release changes nothing more on an edge, not even back; and a run that holds it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import state as edge_state
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.fence import Fence
from ansible_collections.kasaneha.deploy.plugins.modules import blue_green_switch

MINE, LATER = "1-aaaa", "2-bbbb"


class Ended(Exception):
    """The module has said its last word."""


class Module:
    """What the switch needs of AnsibleModule; notes what systemd is asked."""

    check_mode = _diff = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params, self.commands, self.result = params, [], {}
        self.warnings: list[str] = []

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(" ".join(command[:2]))
        return 0, "", ""

    def get_bin_path(self, name: str, *_: Any) -> str:
        return name

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": True, **result}
        raise Ended

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended


class Host:
    """An edge that serves blue, on which a run may switch."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.edge, self.fence = folder / "app", folder / "edge", Fence(folder / "app")
        (self.edge / "states").mkdir(parents=True)
        edge_state.switch(self.edge, "blue")
        self.fence.claim(MINE)
        self.patch = monkeypatch
        self.answers: Callable[[], str] = lambda: "green"  # the colour that answers; "" fails
        monkeypatch.setattr(http, "ask_site", self.ask)
        monkeypatch.setattr(blue_green_switch, "PAUSE", 0.01)

    def ask(self, _name: str, _path: str) -> tuple[int, bytes, dict[str, str]]:
        colour = self.answers()
        return (200 if colour else 502), b"{}", {"x-colour": colour}

    def switch(self, colour: str, state: str, run: str = MINE, **params: Any) -> Module:
        defaults = {
            "path": str(self.edge), "app": str(self.app), "run": run, "colour": colour, "state": state, "maintenance": None, "release": "v2",
            "upstreams": {}, "probes": [{"name": "x.test", "path": "/"}], "proofs": 1, "watch_seconds": 0, "max_error_ratio": 0.01,
            "log": str(self.edge / "log"), "revert_unit": "revert", "revert_seconds": 9, "drain_timeout": 0,
        }  # fmt: skip
        module = Module({**defaults, **params})
        self.patch.setattr(blue_green_switch, "AnsibleModule", lambda **_: module)
        with pytest.raises(Ended):
            blue_green_switch.main()
        return module

    def shown(self) -> tuple[str, str]:
        """The colour that is served, and the state to go back to."""
        found = edge_state.observe(self.edge)
        return found["colour"], found["uncommitted"]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_run_that_may_switches_and_confirms(host: Host) -> None:
    tried = host.switch("green", "tried", watch_seconds=1).result
    assert tried["changed"] is True and tried["watch_seconds"] == 1
    assert host.shown() == ("green", "states/1")
    assert "failed" not in host.switch("green", "served").result
    assert host.shown() == ("green", "")


def test_a_trial_that_fails_goes_back(host: Host) -> None:
    host.answers = lambda: ""
    done = host.switch("green", "tried")
    assert "The edge serves blue again" in done.result["msg"]
    assert host.shown() == ("blue", "") and done.commands[-1] == "systemctl stop"


@pytest.mark.parametrize(("colour", "state"), [("green", "tried"), ("green", "served"), ("blue", "served"), ("", "served")])
def test_who_lost_the_lock_switches_nothing(host: Host, colour: str, state: str) -> None:
    host.fence.claim(LATER)
    edge_state.arm(host.edge)  # the later run is at its own trial
    edge_state.switch(host.edge, "green")
    before = sorted(path.name for path in host.edge.rglob("*")), host.shown()
    done = host.switch(colour, state)
    assert "This run lost its lock" in done.result["msg"]
    assert (sorted(path.name for path in host.edge.rglob("*")), host.shown()) == before
    assert not [command for command in done.commands if "systemctl" in command or "systemd-run" in command]


def test_who_loses_the_lock_during_its_trial_does_not_even_go_back(host: Host) -> None:
    """The later run has put its own release live in between, as the colour that was idle, and has armed its own timer."""

    def taken_over() -> str:
        if host.fence.claim(LATER):
            edge_state.commit(host.edge)
            edge_state.arm(host.edge)
            edge_state.switch(host.edge, "red")
        return ""

    host.answers = taken_over
    done = host.switch("green", "tried")
    assert "This run lost its lock" in done.result["msg"]
    assert host.shown() == ("red", "states/2")
    assert done.commands.count("systemctl stop") == 1  # before it armed its own: none of the later run's


def test_without_a_run_nobody_is_asked(host: Host) -> None:
    """Maintenance is no release."""
    host.fence.claim(LATER)
    assert "failed" not in host.switch("blue", "served", run="", maintenance=True).result
    assert edge_state.observe(host.edge)["maintenance"] is True
