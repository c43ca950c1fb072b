# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of a fleet that vanish, die or fall asleep in the middle of a release: one release on all that are left."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from .fleet import (
    APPS,
    EDGE,
    HOSTS,
    QUICK,
    all_answered,
    colours,
    container,
    given_up,
    inside,
    lost,
    on,
    once,
    one_release,
    reached,
    record,
)
from .load import SHORT, Load
from .playbook import play, start

__all__ = ["once"]
pytestmark = pytest.mark.usefixtures("once")


@pytest.mark.long
def test_a_host_that_dies_between_gate_and_switch_keeps_the_fleet_on_the_old_release():
    server, before = container("fleet-app2"), record()["release"]
    with Load(EDGE, rate=40, slow=0, streams=0) as load:
        run = start("playbooks/deploy.yml", app_release="v1.2.0", force=True, **QUICK)
        on(
            "fleet-app1",
            'for i in $(seq 1800); do grep -q \'"phase": "start"\' /var/lib/kasaneha/run.json && exit 0; sleep 0.1; done; exit 1',
        )
        time.sleep(3)  # its containers start
        subprocess.run(["docker", "kill", server], check=True, capture_output=True)
        try:
            assert run.wait() != 0
            one_release(before, "fleet-app1")
        finally:
            subprocess.run(["docker", "start", server], check=True, capture_output=True)
        result = load.stop()
    # What was sent already to a process that dies, and may not be sent twice, cannot be saved.
    assert not [entry for entry in load.records if entry["error"] and entry["method"] != "POST"], result["failures"]
    assert result["failed"] <= 40  # until the kernel says that the host is gone
    # It comes back with what it had; the next run makes it one of the fleet again, whatever that was.
    on("fleet-app2", "for i in $(seq 60); do docker ps --quiet | grep -q . && exit 0; sleep 1; done; exit 1")
    done = play("playbooks/deploy.yml", app_release="v1.2.0", force=True, **QUICK)
    assert done.returncode == 0, done.stdout[-3000:]
    one_release("v1.2.0")


@pytest.mark.long  # on one server: test_interrupted.py
@pytest.mark.parametrize("phase", ["start", "switch"])
def test_a_run_that_lost_its_lock_changes_nothing_more(phase):
    before = record()["release"]
    mine, theirs = ("v1.2.0", "v1.0.0") if before == "v1.1.0" else ("v1.1.0", "v1.2.0")
    with Load(EDGE, rate=40, **SHORT) as load:
        slow = start("playbooks/deploy.yml", app_release=mine, force=True, **QUICK)
        reached(phase)
        slow.pause()
        # Its controller is another machine, which said nothing for longer than its time.
        on(
            "fleet-app1",
            """sed -i 's/"host": "[^"]*"/"host": "asleep"/; s/"until": [0-9.]*/"until": 1/' /var/lib/kasaneha/run.json""",
        )
        done = play("playbooks/deploy.yml", app_release=theirs, force=True, **QUICK)
        assert done.returncode == 0 and "it said nothing within its time" in " ".join(done.stdout.split()), done.stdout[-3000:]
        one_release(theirs)
        ids = (
            on("fleet-app1", "docker ps --quiet --no-trunc | sort"),
            on("fleet-app1", "cat /opt/kasaneha/*/compose.yml | sha256sum"),
        )
        slow.resume()
        assert slow.wait() != 0
        result = load.stop()
    assert result["failed"] == 0, json.dumps(result["failures"][:3])
    one_release(theirs)
    assert ids == (
        on("fleet-app1", "docker ps --quiet --no-trunc | sort"),
        on("fleet-app1", "cat /opt/kasaneha/*/compose.yml | sha256sum"),
    )
    on("fleet-edge", "test ! -L /var/lib/kasaneha/edge/uncommitted")


def test_an_edge_that_vanishes_after_the_commit_keeps_both_colours():
    goal = "v1.1.0" if record()["release"] != "v1.1.0" else "v1.2.0"
    with Load(EDGE, rate=40, **SHORT) as load:
        run = start("playbooks/deploy.yml", app_release=goal, force=True, **QUICK)
        reached("commit")
        inside("fleet-edge", "iptables -I INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset")  # users still come in
        try:
            assert run.wait() != 0
            assert record()["release"] == goal
            assert [colours(name) for name in APPS] == [{"blue", "green"}, {"blue", "green"}]
        finally:
            inside("fleet-edge", "iptables -D INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset")
        done = play("playbooks/release.yml", **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        result = load.stop()
    assert result["failed"] == 0, json.dumps(result["failures"][:3])
    one_release(goal)


@pytest.mark.long  # without servers: tests/unit/test_release_transaction.py
def test_a_commit_whose_answer_is_lost_is_not_undone():
    """The record is written, and the journal cannot be: as when the disk is full, or the connection breaks, just then."""
    goal = "v1.1.0" if record()["release"] != "v1.1.0" else "v1.2.0"
    run = start("playbooks/deploy.yml", app_release=goal, force=True, **{**QUICK, "nginx_watch_seconds": 8})
    reached("switch")
    folder = "/var/lib/kasaneha"
    inside("fleet-app1", f"""mount --bind {folder}/run.json {folder}/run.json
        for i in $(seq 1200); do grep -q '^ "release": "{goal}"' {folder}/release.json && break; sleep 0.05; done
        sleep 0.3; umount {folder}/run.json""")  # fmt: skip
    assert run.wait() == 0
    one_release(goal)


@pytest.mark.long  # sometimes a request hangs for half a minute soon after the host vanished, and why is not known yet
def test_a_dead_host_is_left_out_and_its_replacement_catches_up():
    goal = "v1.2.0" if record()["release"] == "v1.1.0" else "v1.1.0"
    before = record()["release"]
    server = container("fleet-app2")
    for command in (["rm", "--force", server], ["volume", "rm", f"{server}-docker"]):
        subprocess.run(["docker", *command], check=True, capture_output=True)
    # A request on a connection that nginx kept open to it waits for a host that is not there; within seconds none is left.
    inside(
        "fleet-edge",
        f"""for i in $(seq 60); do [ "$(ss -Htn state established dst {HOSTS["fleet-app2"]})" ] || exit 0; sleep 0.5; done; exit 1""",
    )
    with Load(EDGE, rate=40, **SHORT) as load:
        done = play("playbooks/deploy.yml", app_release=goal, force=True, absent_hosts=["fleet-app2"], **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        result = load.stop()
    assert lost(result) == 0, f"{json.dumps(result['failures'][:3])}\n{given_up()}"
    one_release(goal, "fleet-app1")

    told = time.time()
    done = play("lab/create.yml", "--skip-tags=lab_images")
    assert done.returncode == 0, done.stdout[-3000:]
    done = play("playbooks/deploy.yml", app_release=before, force=True)
    assert "fleet-app2 has no Docker yet" in " ".join(done.stdout.split()), done.stdout[-3000:]
    with Load(EDGE, rate=40, **SHORT) as load:
        done = play("site.yml")  # the inventory names v1.0.0: the record wins
        assert done.returncode == 0, done.stdout[-3000:]
        time.sleep(3)
        result = load.stop()
    assert lost(result) == 0, json.dumps(result["failures"][:3])
    one_release(goal)
    all_answered(HOSTS["fleet-app2"], told)
    # It never had the images of the release before.
    done = play("playbooks/rollback.yml", release=before, force=True, **QUICK)
    assert done.returncode == 0, done.stdout[-3000:]
    one_release(before)
