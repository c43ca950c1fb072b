# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that grows to two app hosts beside an edge: one release on all of them or none, whichever host fails and when."""

from __future__ import annotations

import json
import re
import subprocess
import time
from datetime import datetime
from typing import Any

import pytest

from .load import SHORT, Load
from .playbook import ROOT, play, start

HOSTS = {"fleet-app1": "198.51.100.40", "fleet-app2": "198.51.100.41", "fleet-edge": "198.51.100.42"}
EDGE, APPS = HOSTS["fleet-edge"], ("fleet-app1", "fleet-app2")
JOINED = ("-i", str(ROOT / "molecule/fleet/joined"))  # the inventory in which the second app host is one of them
QUICK = {"nginx_watch_seconds": 3, "app_start_timeout": 15}

pytestmark = pytest.mark.usefixtures("once")


@pytest.fixture
def once(host: Any) -> None:
    """The checks speak of the whole fleet: they run for one of its hosts only."""
    if host.backend.get_hostname() != "fleet-edge":
        pytest.skip("once for the fleet")


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


def all_answered(address: str, since: float) -> None:
    """A host got requests, and none that it could not answer: nginx never had to turn from it to another one."""
    lines = on("fleet-edge", f"grep -F '{address}:' /var/log/nginx/access.log || true").splitlines()
    asked = [entry for entry in map(json.loads, lines) if datetime.fromisoformat(entry["time"]).timestamp() >= int(since)]
    assert asked, f"nobody asked {address}"
    turned_away = [entry for entry in asked if address not in entry["upstream"].split(", ")[-1] or entry["status"] >= 500]
    assert not turned_away, json.dumps(turned_away[:3])


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
    on("fleet-app2", f"systemd-run --unit=squatter python3 -m http.server --bind 198.51.100.41 {port}")
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


@pytest.mark.long
def test_a_host_that_dies_between_gate_and_switch_keeps_the_fleet_on_the_old_release():
    server = "kasaneha-lab-fleet-app2"
    with Load(EDGE, rate=40, slow=0, streams=0) as load:
        run = start("playbooks/deploy.yml", *JOINED, app_release="v1.2.0", force=True, **QUICK)
        on(
            "fleet-app1",
            'for i in $(seq 1800); do grep -q \'"phase": "start"\' /var/lib/kasaneha/run.json && exit 0; sleep 0.1; done; exit 1',
        )
        time.sleep(3)  # its containers start
        subprocess.run(["docker", "kill", server], check=True, capture_output=True)
        try:
            assert run.wait() != 0
            one_release("v1.1.0", "fleet-app1")
        finally:
            subprocess.run(["docker", "start", server], check=True, capture_output=True)
        result = load.stop()
    # What was sent already to a process that dies, and may not be sent twice, cannot be saved.
    assert not [entry for entry in load.records if entry["error"] and entry["method"] != "POST"], result["failures"]
    assert result["failed"] <= 40  # until the kernel says that the host is gone
    # It comes back with what it had; the next run makes it one of the fleet again, whatever that was.
    on("fleet-app2", "for i in $(seq 60); do docker ps --quiet | grep -q . && exit 0; sleep 1; done; exit 1")
    done = play("playbooks/deploy.yml", *JOINED, app_release="v1.2.0", force=True, **QUICK)
    assert done.returncode == 0, done.stdout[-3000:]
    one_release("v1.2.0")


def reached(phase: str, name: str = "fleet-app1") -> None:
    """Wait until the run under way has noted a phase."""
    waits = f'for i in $(seq 3600); do grep -q \'"phase": "{phase}"\' /var/lib/kasaneha/run.json 2>/dev/null && exit 0; sleep 0.05; done; exit 1'
    inside(name, waits)


def inside(name: str, command: str) -> None:
    """Run a shell command as root past SSH."""
    subprocess.run(["docker", "exec", f"kasaneha-lab-{name}", "sh", "-c", command], check=True, capture_output=True)


def colours(name: str) -> set[str]:
    """The colours whose containers run on a host."""
    return set(
        on(name, "docker ps --filter label=kasaneha.deploy.colour --format '{{.Label \"kasaneha.deploy.colour\"}}'").split()
    )


@pytest.mark.long  # on one server: test_interrupted.py
@pytest.mark.parametrize("phase", ["start", "switch"])
def test_a_run_that_lost_its_lock_changes_nothing_more(phase):
    before = record()["release"]
    mine, theirs = ("v1.2.0", "v1.0.0") if before == "v1.1.0" else ("v1.1.0", "v1.2.0")
    with Load(EDGE, rate=40, **SHORT) as load:
        slow = start("playbooks/deploy.yml", *JOINED, app_release=mine, force=True, **QUICK)
        reached(phase)
        slow.pause()
        # Its controller is another machine, which said nothing for longer than its time.
        on(
            "fleet-app1",
            """sed -i 's/"host": "[^"]*"/"host": "asleep"/; s/"until": [0-9.]*/"until": 1/' /var/lib/kasaneha/run.json""",
        )
        done = play("playbooks/deploy.yml", *JOINED, app_release=theirs, force=True, **QUICK)
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
        run = start("playbooks/deploy.yml", *JOINED, app_release=goal, force=True, **QUICK)
        reached("commit")
        inside("fleet-edge", "iptables -I INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset")  # users still come in
        try:
            assert run.wait() != 0
            assert record()["release"] == goal
            assert [colours(name) for name in APPS] == [{"blue", "green"}, {"blue", "green"}]
        finally:
            inside("fleet-edge", "iptables -D INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset")
        done = play("playbooks/release.yml", *JOINED, **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        result = load.stop()
    assert result["failed"] == 0, json.dumps(result["failures"][:3])
    one_release(goal)


@pytest.mark.long  # without servers: tests/unit/test_release_transaction.py
def test_a_commit_whose_answer_is_lost_is_not_undone():
    """The record is written, and the journal cannot be: as when the disk is full, or the connection breaks, just then."""
    goal = "v1.1.0" if record()["release"] != "v1.1.0" else "v1.2.0"
    run = start("playbooks/deploy.yml", *JOINED, app_release=goal, force=True, **{**QUICK, "nginx_watch_seconds": 8})
    reached("switch")
    folder = "/var/lib/kasaneha"
    inside("fleet-app1", f"""mount --bind {folder}/run.json {folder}/run.json
        for i in $(seq 1200); do grep -q '^ "release": "{goal}"' {folder}/release.json && break; sleep 0.05; done
        sleep 0.3; umount {folder}/run.json""")  # fmt: skip
    assert run.wait() == 0
    one_release(goal)


def test_a_new_host_without_the_shared_volumes_is_refused():
    done = play("playbooks/deploy.yml", *JOINED, app_release="v1.1.0", app_shared_volumes=False)
    assert done.returncode != 0 and "app_shared_volumes" in done.stdout and re.search("changed=0 ", done.stdout)


def test_a_dead_host_is_left_out_and_its_replacement_catches_up():
    goal = "v1.2.0" if record()["release"] == "v1.1.0" else "v1.1.0"
    before = record()["release"]
    server = "kasaneha-lab-fleet-app2"
    for command in (["rm", "--force", server], ["volume", "rm", f"{server}-docker"]):
        subprocess.run(["docker", *command], check=True, capture_output=True)
    with Load(EDGE, rate=40, **SHORT) as load:
        done = play("playbooks/deploy.yml", *JOINED, app_release=goal, force=True, absent_hosts=["fleet-app2"], **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        result = load.stop()
    assert lost(result) == 0, json.dumps(result["failures"][:3])
    one_release(goal, "fleet-app1")

    told = time.time()
    done = play("lab/create.yml", "--skip-tags=lab_images")
    assert done.returncode == 0, done.stdout[-3000:]
    done = play("playbooks/deploy.yml", *JOINED, app_release=before, force=True)
    assert "fleet-app2 has no Docker yet" in " ".join(done.stdout.split()), done.stdout[-3000:]
    with Load(EDGE, rate=40, **SHORT) as load:
        done = play("site.yml", *JOINED)  # the inventory names v1.0.0: the record wins
        assert done.returncode == 0, done.stdout[-3000:]
        time.sleep(3)
        result = load.stop()
    assert lost(result) == 0, json.dumps(result["failures"][:3])
    one_release(goal)
    all_answered(HOSTS["fleet-app2"], told)
    # It never had the images of the release before.
    done = play("playbooks/rollback.yml", *JOINED, release=before, force=True, **QUICK)
    assert done.returncode == 0, done.stdout[-3000:]
    one_release(before)
