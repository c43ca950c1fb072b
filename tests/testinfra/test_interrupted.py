# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that are cut off or meet each other, and a server that goes down: one release is left, and what served goes on serving."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from .playbook import play, start
from .releases import QUICK, RELEASE, deploy, settled, unharmed, words

LONG = pytest.mark.long

# A switch that nobody confirms has a test of its own.
PHASES = [*(pytest.param(phase, marks=LONG) for phase in ("prepare", "migrate", "start", "switch")), "commit"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_killed_leaves_one_release_and_the_next_one_tidies_up(phase, users, root, serving, record):
    before = record()
    goal = "v1.2.0" if before["release"] != "v1.2.0" else "v1.1.0"
    with unharmed(users):
        run = start("playbooks/deploy.yml", app_release=goal, force=True, **{**QUICK, "nginx_revert_seconds": 10})
        root(
            f'for i in $(seq 1800); do grep -q \'"phase": "{phase}"\' /var/lib/kasaneha/run.json 2>/dev/null && exit 0;'
            " sleep 0.1; done; exit 1"
        )
        run.kill()
        committed = phase == "commit"
        time.sleep(2)
        done = play(RELEASE, **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        assert f"The release of {goal}" in words(done) and f"it is {'finished' if committed else 'undone'}" in words(done)
        after = record()
        assert after["release"] == (goal if committed else before["release"])
        assert serving() == after["release"]
        settled(root, after["colour"])
        if committed:  # nothing is left to do, also for who asks for the same release again
            done = deploy(goal)
            assert done.returncode == 0 and re.search("changed=0 ", done.stdout), done.stdout[-3000:]
            assert record() == after


def test_a_switch_that_nobody_confirms_goes_back_by_itself(users, root, serving, record):
    before = record()
    goal = "v1.2.0" if before["release"] != "v1.2.0" else "v1.1.0"
    with unharmed(users):
        run = start(
            "playbooks/deploy.yml", app_release=goal, force=True, **{**QUICK, "nginx_watch_seconds": 5, "nginx_revert_seconds": 1}
        )
        root("for i in $(seq 1800); do test -L /var/lib/kasaneha/edge/uncommitted && exit 0; sleep 0.1; done; exit 1")
        run.kill()
        # The module may live on without its playbook: it watches, and goes back or waits to be confirmed.
        root("for i in $(seq 1800); do test ! -L /var/lib/kasaneha/edge/uncommitted && exit 0; sleep 0.1; done; exit 1")
        assert serving() == before["release"]
        done = play(RELEASE, **QUICK)
        assert done.returncode == 0 and "it is undone" in words(done), done.stdout[-3000:]
    settled(root, before["colour"])


def test_a_run_that_lost_its_lock_changes_nothing_more(users, root, serving, record):
    theirs, mine = record()["history"][0]["release"], "v1.1.0"  # one that was here before, one that is new
    shown = (
        "docker ps --quiet --no-trunc | sort; cat /opt/kasaneha/*/compose.yml | sha256sum; readlink /var/lib/kasaneha/edge/live"
    )
    with unharmed(users):
        slow = start("playbooks/deploy.yml", app_release=mine, force=True, **QUICK)
        root(
            """for i in $(seq 3600); do grep -q '"phase": "switch"' /var/lib/kasaneha/run.json 2>/dev/null && exit 0; sleep 0.05; done; exit 1"""
        )
        slow.pause()
        # Its controller is another machine, which said nothing for longer than its time.
        root("""sed -i 's/"host": "[^"]*"/"host": "asleep"/; s/"until": [0-9.]*/"until": 1/' /var/lib/kasaneha/run.json""")
        done = deploy(theirs, force=True)
        assert done.returncode == 0 and "it said nothing within its time" in words(done), done.stdout[-3000:]
        before = root(shown)
        slow.resume()
        assert slow.wait() != 0
        assert root(shown) == before
    assert serving() == record()["release"] == theirs
    settled(root, record()["colour"])


@pytest.fixture(scope="module")
def together(root, record) -> dict[str, Any]:
    """Two releases at once. The first one waits in its backup until the second one has been told so, and tidies up when it is done."""
    before = record()
    goal = before["history"][0]["release"]  # it has been here before
    (cut, digest), (shared, _) = json.loads(root(f"cat /var/www/kasaneha/releases/{goal}"))["files"].items()
    # A release that left the record long ago: one file of its own, one that the goal has, too. One of the goal's was cut off.
    root(f"""cd /var/www/kasaneha; printf '{shared}\n_astro/old.js\n' > releases/v0.0.1; rm -f /run/asked /run/go 'releases/{goal}'
        touch assets/_astro/old.js assets/_astro/foreign.js; echo short > assets/{cut}; chmod 0600 assets/{cut}""")
    backup = ["timeout", "300", "sh", "-c", "touch /run/asked; until [ -e /run/go ]; do sleep 0.1; done"]
    options = {"force": True, "app_keep_releases": 0, "app_before_release": backup, "nginx_drain_timeout": 0, **QUICK}
    first = start("playbooks/deploy.yml", app_release=goal, **options)
    root("for i in $(seq 1800); do test -e /run/asked && exit 0; sleep 0.1; done; exit 1")
    second = deploy("v1.1.0", force=True)
    at_work = first.process.poll() is None
    root("touch /run/go")
    known = {"before": before, "goal": goal, "cut": cut, "digest": digest}
    return {**known, "first": first.wait(), "second": second, "at_work": at_work}


def test_two_at_once(together, serving):
    second = together["second"]
    assert second.returncode != 0 and together["at_work"]  # it did not wait for its turn
    assert re.search(
        rf"{together['goal']} is being released by \S+ on \S+ \(process \d+\), since .* its process is at work", words(second)
    ), second.stdout[-3000:]
    assert together["first"] == 0
    assert serving() == together["goal"]


def test_what_no_rollback_needs_goes_and_a_backup_comes_first(together, root):
    before, goal = together["before"], together["goal"]
    kept = {goal, before["release"], *(entry["release"] for entry in before["history"])}
    assert set(root("ls /var/www/kasaneha/releases").split()) == kept
    asset = root(f"cd /var/www/kasaneha/assets; sha256sum {together['cut']}; stat -c %a {together['cut']}").split()
    assert asset[::2] == [together["digest"], "644"]
    listed = set(root("cd /var/www/kasaneha/releases; grep -ho '_astro/[^\"]*' *").split())
    there = set(root("cd /var/www/kasaneha/assets; find _astro -type f").split())
    assert there - listed == {"_astro/foreign.js"} and not listed - there  # what no release brought is not ours to remove
    images = set(root("docker images --quiet --no-trunc registry.lab:5000/kasaneha/backend").split())
    used = set(root("docker inspect --format '{{.Image}}' kasaneha-backend-blue kasaneha-backend-green").split())
    assert images == used and len(used) == 2


def test_who_is_refused_and_who_goes_on_all_the_same(browse, root, serving, record):
    """A freeze, a run of another machine, a closed site: one deploy meets all of them, one rollback goes past them."""
    goal = next(entry["release"] for entry in record()["history"] if entry["release"] != record()["release"])
    stale = {"schema": 1, "id": "x", "owner": {"user": "hana", "host": "laptop", "pid": 1, "boot": "b", "started": "1"}, "phase": "start",
             "phases": {"prepare": 0}, "since": "2026-01-01T00:00:00Z", "until": time.time() + 600, "to_release": "v9"}  # fmt: skip
    assert play("playbooks/freeze.yml", freeze="on", message="until Monday").returncode == 0
    assert play("playbooks/maintenance.yml", maintenance="on").returncode == 0
    status, headers, page = browse("/")
    assert status == 503 and headers["retry-after"] == "300" and "<h1>Back in a moment</h1>" in page
    root(f"cat > /var/lib/kasaneha/run.json <<'E'\n{json.dumps(stale)}\nE")
    done = deploy("v9.9.9")
    assert done.returncode != 0 and re.search("changed=0 ", done.stdout)
    for sentence in ("Releases are frozen", "until Monday", "v9 is being released by hana on laptop", "it counts as dead in"):
        assert sentence in words(done)
    root(f"cat > /var/lib/kasaneha/run.json <<'E'\n{json.dumps({**stale, 'until': 1})}\nE")
    done = play("playbooks/rollback.yml", release=goal, force=True, **QUICK)
    assert done.returncode == 0 and "it said nothing within its time" in words(done), done.stdout[-3000:]
    assert browse("/api/v1/info")[0] == 503  # still closed
    assert play("playbooks/maintenance.yml", maintenance="off").returncode == 0
    assert play("playbooks/freeze.yml", freeze="off").returncode == 0
    assert serving() == record()["release"] == goal
    settled(root, record()["colour"])


def test_a_release_needs_no_configuration_that_nginx_would_load(root, serving, record):
    """It needs no reload, so it works and warns; what is refused before a reload is a test of scenario edge."""
    before, now = root("cat /etc/nginx/nginx.conf"), record()
    root(f"echo 'broken {{' >> /etc/nginx/nginx.conf; printf wrong > /etc/kasaneha/secrets/{now['colour']}/backend/jwt_secret")
    try:
        done = deploy(now["release"])  # the inventory was right all the time: the other colour takes over, with its secrets
        assert done.returncode == 0 and "nginx would not start with its configuration" in done.stderr, done.stderr[-3000:]
        assert serving() == now["release"] and record()["colour"] != now["colour"]
        assert root(f"cat /etc/kasaneha/secrets/{record()['colour']}/backend/jwt_secret") != "wrong"
    finally:
        root(f"cat > /etc/nginx/nginx.conf <<'END-OF-FILE'\n{before}END-OF-FILE")
    done = play("site.yml")  # whatever was released since, the inventory's own release among it
    assert done.returncode == 0 and re.search("changed=0 ", done.stdout), done.stdout[-3000:]


def test_a_server_that_goes_down_in_the_middle_comes_up_with_the_old_release(root, serving, record):
    """The last one: users notice a server that is down."""
    before = record()
    goal = "v1.2.0" if before["release"] != "v1.2.0" else "v1.1.0"
    run = start("playbooks/deploy.yml", app_release=goal, force=True, **{**QUICK, "nginx_watch_seconds": 180})
    root("for i in $(seq 1800); do test -L /var/lib/kasaneha/edge/uncommitted && exit 0; sleep 0.1; done; exit 1")
    until = time.monotonic() + 90  # the way back is laid first, then it is switched
    while serving() != goal:
        assert time.monotonic() < until
    done = play("molecule/reboot.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert run.wait() != 0
    root("for i in $(seq 60); do docker ps --quiet --filter health=healthy --filter label=kasaneha.deploy.service=backend "
         "| grep -q . && exit 0; sleep 1; done; exit 1")  # fmt: skip
    assert serving() == before["release"]
    # A run that reaches the server again in time undoes itself; otherwise the next one does.
    left = root("cat /var/lib/kasaneha/run.json 2>/dev/null || tail -1 /var/lib/kasaneha/releases.log")
    done = play(RELEASE, **QUICK)
    assert done.returncode == 0, done.stdout[-3000:]
    told = json.loads(left)
    itself = (told.get("outcome"), told.get("to_release")) == ("failed", goal)
    assert itself or "it is undone" in words(done), left + done.stdout[-3000:]
    settled(root, before["colour"])
