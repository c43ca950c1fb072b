# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of fleets share: their hosts, and what has to be true of all of them afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from typing import Any

import pytest
import yaml

from .playbook import ROOT

NAME = os.environ.get("MOLECULE_SCENARIO_NAME", "")
SCENARIO = ROOT / "molecule" / (NAME if NAME.startswith("fleet") else "fleet")
SERVERS = yaml.safe_load((SCENARIO / "inventory/hosts.yml").read_text())["all"]["children"]["fleet"]["hosts"]
HOSTS = {name: server["ansible_host"] for name, server in SERVERS.items()}
EDGE, APPS = HOSTS["fleet-edge"], ("fleet-app1", "fleet-app2")
QUICK = {"nginx_watch_seconds": 3, "app_start_timeout": 15}


@pytest.fixture
def once(host: Any) -> None:
    """The checks speak of the whole fleet: they run for one of its hosts only."""
    if host.backend.get_hostname() != "fleet-edge":
        pytest.skip("once for the fleet")


def container(name: str) -> str:
    """What Docker calls the server."""
    return f"kasaneha-lab-{SERVERS[name].get('lab_server', name)}"


def on(name: str, command: str) -> str:
    """Run a shell command as root on one host of the fleet."""
    state = ROOT / "lab/state"
    done = subprocess.run(
        # A server that has just been started again may refuse connections for some seconds.
        ["ssh", "-o", "ConnectionAttempts=60", "-i", str(state / "id_ed25519"),
         "-o", f"UserKnownHostsFile={state}/known_hosts", f"debian@{HOSTS[name]}", "sudo sh -s"],
        input=command, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def record(name: str = "fleet-app1") -> dict[str, Any]:
    """The record of releases on one host."""
    return json.loads(on(name, "cat /var/lib/kasaneha/release.json"))


def one_release(release: str, *names: str) -> None:
    """Every host shows the same release, in the same colour, and nothing else runs."""
    expected = record()
    assert expected["release"] == release
    for name in names or APPS:
        labels = '{{.Label "kasaneha.deploy.release"}} {{.Label "kasaneha.deploy.colour"}}'
        shown = on(name, f"docker ps --filter label=kasaneha.deploy.colour --format '{labels}'")
        assert set(shown.splitlines()) == {f"{release} {expected['colour']}"}, f"{name}: {shown}"
    assert on("fleet-edge", "ls /var/lib/kasaneha/edge/live/").split() == [expected["colour"], f"open-{expected['colour']}"]
    on("fleet-app1", "test ! -e /var/lib/kasaneha/run.json")
    for name in (*(names or APPS), "fleet-edge"):
        assert on(name, "find /var/lib/kasaneha -maxdepth 1 -name '*.tar'") == "", "what was carried stayed behind"


def lost(result: dict[str, Any]) -> int:
    """Requests lost to a browser. Edges are told of a host by a reload of nginx, which closes idle connections: what is under way on one
    of these a browser sends once more."""
    return result["failed"] - result["reused_connection_failures"]


def given_up() -> str:
    """Requests whose client did not wait any longer, as nginx noted them: whom it waited for, and since when."""
    return on("fleet-edge", """sleep 1; grep -F '"status":499' /var/log/nginx/access.log | tail -n 5 || true""")


def all_answered(address: str, since: float) -> None:
    """A host got requests, and none that it could not answer: nginx never had to turn from it to another one."""
    lines = on("fleet-edge", f"grep -F '{address}:' /var/log/nginx/access.log || true").splitlines()
    asked = [entry for entry in map(json.loads, lines) if datetime.fromisoformat(entry["time"]).timestamp() >= int(since)]
    assert asked, f"nobody asked {address}"
    turned_away = [entry for entry in asked if address not in entry["upstream"].split(", ")[-1] or entry["status"] >= 500]
    assert not turned_away, json.dumps(turned_away[:3])


def reached(phase: str, name: str = "fleet-app1") -> None:
    """Wait until the run under way has noted a phase."""
    waits = f'for i in $(seq 3600); do grep -q \'"phase": "{phase}"\' /var/lib/kasaneha/run.json 2>/dev/null && exit 0; sleep 0.05; done; exit 1'
    inside(name, waits)


def inside(name: str, command: str) -> None:
    """Run a shell command as root past SSH."""
    subprocess.run(["docker", "exec", container(name), "sh", "-c", command], check=True, capture_output=True)


def colours(name: str) -> set[str]:
    """The colours whose containers run on a host."""
    return set(
        on(name, "docker ps --filter label=kasaneha.deploy.colour --format '{{.Label \"kasaneha.deploy.colour\"}}'").split()
    )
