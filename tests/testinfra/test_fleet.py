# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that grows to two app hosts beside an edge: one release on all of them or none."""

from __future__ import annotations

import json
import re
import time

import pytest

from .fleet import EDGE, HOSTS, QUICK, all_answered, lost, on, once, one_release, record
from .load import SHORT, Load
from .playbook import ROOT, play

JOINED = ("-i", str(ROOT / "molecule/fleet/joined"))  # the inventory in which the second app host is one of them

__all__ = ["once"]
pytestmark = pytest.mark.usefixtures("once")


def test_a_host_joins_and_costs_no_request():
    one_release("v1.0.0", "fleet-app1")
    began = time.time()
    with Load(EDGE, rate=40, **SHORT) as load:
        done = play("site.yml", *JOINED)
        assert done.returncode == 0, done.stdout[-3000:]
        time.sleep(3)  # requests for the new one
        result = load.stop()
    assert lost(result) == 0, json.dumps(result["failures"][:3])
    one_release("v1.0.0")
    assert record("fleet-app2") == record()
    all_answered(HOSTS["fleet-app2"], began)
    # It is one of them now: nothing is left to do.
    again = play("site.yml", *JOINED)
    assert again.returncode == 0 and len(re.findall("changed=0 ", again.stdout)) == len(HOSTS), again.stdout[-3000:]


def test_a_release_is_one_transaction_and_costs_no_request():
    one_release("v1.0.0")
    with Load(EDGE, rate=40, **SHORT) as load:
        done = play("playbooks/deploy.yml", *JOINED, app_release="v1.1.0", **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        result = load.stop()
    assert result["failed"] == 0, json.dumps(result["failures"][:3])
    one_release("v1.1.0")
    assert record("fleet-app2")["release"] == record("fleet-edge")["release"] == "v1.1.0"  # copies
    assert on("fleet-app2", "tail -1 /var/lib/kasaneha/releases.log") == on(
        "fleet-app1", "tail -1 /var/lib/kasaneha/releases.log"
    )


def test_one_host_whose_gate_fails_keeps_the_whole_fleet_back():
    # Its port is taken: the new colour starts on the first host and cannot on the second.
    port = 18180 if record()["colour"] == "blue" else 18080
    on("fleet-app2", f"systemd-run --unit=squatter python3 -m http.server --bind {HOSTS['fleet-app2']} {port}")
    try:
        with Load(EDGE, rate=40, **SHORT) as load:
            done = play("playbooks/deploy.yml", *JOINED, app_release="v1.2.0", force=True, **QUICK)
            result = load.stop()
    finally:
        on("fleet-app2", "systemctl stop squatter")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and "v1.2.0 was not released. v1.1.0 serves as before. fleet-app2: Start" in said
    assert result["failed"] == 0, json.dumps(result["failures"][:3])
    one_release("v1.1.0")


def test_a_new_host_without_the_shared_volumes_is_refused():
    done = play("playbooks/deploy.yml", *JOINED, app_release="v1.1.0", app_shared_volumes=False)
    assert done.returncode != 0 and "app_shared_volumes" in done.stdout and re.search("changed=0 ", done.stdout)
