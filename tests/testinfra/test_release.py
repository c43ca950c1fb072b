# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases under load: a good one costs no request, a bad one undoes itself; one that finds no record or no room harms nothing."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

from .playbook import play, said, with_secrets
from .releases import QUICK, RELEASE, deploy, settled, unharmed, words

LONG = pytest.mark.long
# Three kinds as whole deploys: before the switch, behind it, in the migration. What else the gate and the migration refuse is
# shown to them alone in tests/lab/test_gate.py, and as whole deploys in `make proof`.
WHOLE = ("liar", "crash", "hanging-migration")
BAD = {
    "never-listens": ({}, "did not prove itself within 5 s .*Connection refused"),
    "health-500": ({}, "did not prove itself within 5 s .*status 500"),
    "slow-start": ({}, "did not prove itself within 5 s"),
    "liar": ({}, "release is 'v1.0.0', not 'v2.0.0-liar'"),
    "crash": ({"nginx_watch_seconds": 20}, "while it was watched"),
    "failing-migration": ({}, "failed: .*failing_migration"),
    "hanging-migration": ({"migration_timeout": 6}, "was not done within 6 s and was ended"),
}


def test_a_release_costs_no_request(users, root, serving, record):
    before = record()
    assert serving() == before["release"] == "v1.0.0"
    # As Prometheus does: another program asks the old colour for as long as it answers, and keeps its connection.
    asks = f'c = http.client.HTTPConnection("127.0.0.1", {18080 if before["colour"] == "blue" else 18180})'
    again = 'exec("while not time.sleep(1): c.request(\\"GET\\", \\"/health\\"); c.getresponse().read()")'
    root(f"setsid python3 -c 'import http.client, time; {asks}; {again}' >/dev/null 2>&1 </dev/null &")
    with unharmed(users):
        done = deploy("v1.1.0")
        assert done.returncode == 0, done.stdout[-3000:]
    assert serving() == "v1.1.0" and record()["colour"] != before["colour"]
    settled(root, record()["colour"])
    line = json.loads(root("tail -1 /var/lib/kasaneha/releases.log"))
    assert (line["from_release"], line["to_release"], line["outcome"]) == ("v1.0.0", "v1.1.0", "done") and line["leftovers"] == 0
    assert line["seconds"]["switch"] > 0


def test_check_mode_shows_the_plan_and_changes_nothing(root, record):
    before = record(), root("docker ps --all --format '{{.ID}} {{.Status}}' | cut -c1-15; ls /var/lib/kasaneha/edge/states")
    done = deploy("v1.2.0", "--check", "--diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"Release v1\.2\.0 as (blue|green), in place of v1\.1\.0", words(done))
    assert re.search(r"^\+.*v1\.2\.0", done.stdout, re.MULTILINE)
    assert (
        record(),
        root("docker ps --all --format '{{.ID}} {{.Status}}' | cut -c1-15; ls /var/lib/kasaneha/edge/states"),
    ) == before


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=() if fault in WHOLE else LONG) for fault in BAD])
def test_a_bad_release_undoes_itself(fault, users, root, serving, record):
    options, sentence = BAD[fault]
    held = root(f"sha256sum /etc/kasaneha/secrets/{record()['colour']}/*/*")
    # What was sent already to a process that dies, and may not be sent twice, cannot be saved.
    with unharmed(users, but=lambda failure: fault == "crash" and (failure["method"] == "POST" or failure["kind"] == "sse")):
        done = play(
            "playbooks/deploy.yml", app_release=f"v2.0.0-{fault}",
            **{**QUICK, "app_start_timeout": 5 if fault != "crash" else 15, **options,
               "app_secrets": with_secrets(jwt_secret=f"changed-{time.time()}-0123456789"),
               "app_migrations": {"service": "backend", "command": ["./main", "migrate", "up"], "timeout": options.get("migration_timeout", 60)}},
        )  # fmt: skip
        assert done.returncode != 0
        assert re.search(sentence, words(done)), done.stdout[-3000:]
        assert f"v2.0.0-{fault} was not released. v1.1.0 serves as before." in words(done)
        assert "No such container" not in words(done)  # Docker's own words of what is cleaned up
    assert serving() == "v1.1.0"
    settled(root, record()["colour"])
    assert f"v2.0.0-{fault}" in record()["bad"]
    assert root(f"sha256sum /etc/kasaneha/secrets/{record()['colour']}/*/*") == held  # the changed secret was the other colour's
    if "migration" not in fault:  # kept for a look, until the next run
        assert f"v2.0.0-{fault}" in root("docker ps --all --format '{{.Label \"kasaneha.deploy.release\"}}'")
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kasaneha-migrate'"
    assert root(f'docker exec kasaneha-postgres psql -U kasaneha -d kasaneha_db -qAtc "{sessions}"').strip() == "0"


def test_a_migration_that_fails_says_why_and_leaves_nothing(root, serving, record):
    """The step alone: that a deploy is undone by it is shown with the one that hangs."""
    command = ["sh", "-c", "FAULT=failing_migration exec ./main migrate up"]
    done = play("tests/testinfra/migrate.yml", app_migrations={"service": "backend", "command": command})
    assert done.returncode != 0
    assert re.search(r"of release v\d\S+ failed: .*failing_migration.*not_there", words(done)), done.stdout[-3000:]
    assert "kasaneha-migrate" not in root("docker ps --all --format '{{.Names}}'")
    assert serving() == record()["release"]


def test_a_release_that_ignores_the_signal_is_stopped_all_the_same(users, root, serving, record):
    with unharmed(users):
        done = deploy("v2.0.0-ignores-sigterm")
        assert done.returncode == 0, done.stdout[-3000:]
        done = play("playbooks/rollback.yml", **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
    assert re.search("kasaneha-backend-(blue|green) did not end when asked and was killed", words(done))
    assert serving() == "v1.1.0"
    settled(root, record()["colour"])


def test_status_is_one_screen(record):
    done = play("playbooks/status.yml")
    assert done.returncode == 0 and re.search("changed=0 ", done.stdout)
    now = record()
    for part in (
        f"{now['release']} serves as {now['colour']} since",
        "the edge serves",
        "lock: free",
        "sha256:",
        "bad: v2.0.0-",
        "done,",
    ):
        assert part in words(done)


REFUSED = {
    "unknown release": ({"app_release": "v9.9.9"}, "app_services.backend.image, release v9.9.9"),
    "image without the label": ({"app_release": "v2.0.0-unlabelled"}, "has nothing in its label"),
    "wrong port": (
        {"app_release": "v1.0.0", "force": True, "app_start_timeout": 4},
        "did not prove itself within 4 s .*(refused|reset|disconnected|closed)",
    ),
    "registry that cannot be reached": (
        {"app_release": "v1.0.0", "force": True, "app_registry": "198.51.100.22:9/none"},
        "may this server reach",
    ),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case == "image without the label" else LONG) for case in REFUSED]
)
def test_bad_input_is_refused_and_what_serves_goes_on(case, root, serving, record):
    options, sentence = REFUSED[case]
    if case == "image without the label":
        port = json.loads(subprocess.run(["docker", "inspect", "kasaneha-lab-registry"], check=True, capture_output=True).stdout)
        registry = f"127.0.0.1:{port[0]['NetworkSettings']['Ports']['5000/tcp'][0]['HostPort']}/kasaneha"
        for part in ("backend", "frontend"):
            image = f"{registry}/{part}:v2.0.0-unlabelled"
            subprocess.run(["docker", "tag", "kasaneha-lab/redis:7", image], check=True)
            subprocess.run(["docker", "push", "--quiet", image], check=True, capture_output=True)
    if case == "wrong port":
        options = {**options, "app_services": said("app_services")}
        options["app_services"]["backend"]["port"] = 8081
    before = record()
    done = play("playbooks/deploy.yml", **{**QUICK, **options})
    assert done.returncode != 0 and re.search(sentence, words(done)), done.stdout[-3000:]
    assert serving() == before["release"]
    settled(root, before["colour"])


@pytest.mark.parametrize(
    "damage", ["echo broken > /var/lib/kasaneha/release.json", pytest.param("rm /var/lib/kasaneha/release.json", marks=LONG)]
)
def test_a_record_that_is_lost_is_rebuilt_from_what_runs_and_not_guessed(damage, root, record):
    before = record()
    root("docker stop kasaneha-backend-blue kasaneha-frontend-blue kasaneha-backend-green kasaneha-frontend-green")
    root(damage)
    done = play(RELEASE)
    assert done.returncode != 0 and "It cannot be rebuilt" in words(done)
    root(f"docker start kasaneha-backend-{before['colour']} kasaneha-frontend-{before['colour']}")
    done = play(RELEASE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"It is rebuilt from what runs: release {before['release']}, colour {before['colour']}" in words(done)
    after = record()
    assert {key: after[key] for key in ("release", "colour")} == {key: before[key] for key in ("release", "colour")}


def test_a_full_disk_stops_a_release_and_harms_nothing(root, serving, record):
    before = record()
    # dd fails when the disk is full, which is what it is for.
    root("mkdir -p /mnt/small && mount -t tmpfs -o size=64k tmpfs /mnt/small && cp -a /var/lib/kasaneha/. /mnt/small/ "
         "&& mount --bind /mnt/small /var/lib/kasaneha && (dd if=/dev/zero of=/var/lib/kasaneha/fill bs=1k 2>/dev/null || true)")  # fmt: skip
    try:
        done = deploy("v1.0.0", force=True)
        assert done.returncode != 0 and "disk full" in words(done), done.stdout[-3000:]
        assert serving() == before["release"]
    finally:
        root("umount /var/lib/kasaneha && umount /mnt/small")
    settled(root, before["colour"])
