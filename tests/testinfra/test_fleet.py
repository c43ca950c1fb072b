# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that grows to two app hosts beside an edge: one release on all of them or none."""

from __future__ import annotations

import json
import re
import subprocess
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


# --- a part of it -------------------------------------------------------------------------------------------


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("playbook", "options", "sentence"),
    [
        (
            "site.yml",
            ("--limit", "all:!fleet-app1", "--skip-tags", "release"),
            "fleet-app1 would be left out, and nginx on fleet-edge",
        ),
        (
            "playbooks/freeze.yml",
            ("--limit", "fleet-app2", "-e", "freeze=off"),
            "--limit: leaves out fleet-app1, which keeps the record",
        ),
        ("site.yml", ("--start-at-task", "Write the configuration"), "--start-at-task: leaves out the checks"),
    ],
)
def test_a_part_that_is_none_is_refused_in_a_sentence(playbook: str, options: tuple[str, ...], sentence: str):
    done = play(playbook, *JOINED, *options)
    assert done.returncode != 0 and sentence in words(done), words(done)[-2000:]
    assert not re.search(r"changed=[1-9]|unreachable=[1-9]", done.stdout)


@pytest.mark.parametrize(
    "options",
    [
        ("--limit", "fleet-app2", "--skip-tags", "release"),  # its own copy says which images are its release's
        ("--tags", "nginx"),
        ("--check", "--diff", "--tags", "app_service"),
    ],
    ids=" ".join,
)
def test_a_part_changes_nothing_where_nothing_is_to_do(options: tuple[str, ...]):
    done = play("site.yml", *JOINED, *options)
    hosts = 1 if "--limit" in options else len(HOSTS)
    assert done.returncode == 0 and len(re.findall("changed=0 ", done.stdout)) == hosts, done.stdout[-3000:]


def test_a_release_is_planned_and_not_done():
    done = play("playbooks/deploy.yml", *JOINED, "--check", "--diff", app_release="v1.2.0")
    assert done.returncode == 0 and "Release v1.2.0 as" in words(done), words(done)[-3000:]
    one_release("v1.1.0")


def test_status_of_a_part_and_a_freeze_of_the_whole():
    done = play("playbooks/status.yml", *JOINED, "--limit", "fleet-app2")
    assert done.returncode == 0 and "fleet-app1 keeps the record, and did not answer or was not asked" in words(done)
    assert "fleet-app2: kasaneha-backend-" in words(done), words(done)[-2000:]
    try:
        assert play("playbooks/freeze.yml", *JOINED, freeze="on", message="the options are tried").returncode == 0
        on("fleet-app1", "test -e /var/lib/kasaneha/freeze.json")
        on("fleet-app2", "test ! -e /var/lib/kasaneha/freeze.json")
    finally:
        assert play("playbooks/freeze.yml", *JOINED, freeze="off").returncode == 0
    on("fleet-app1", "test ! -e /var/lib/kasaneha/freeze.json")
