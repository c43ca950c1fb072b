# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases under load: a good one costs no request, a bad one undoes itself, and a run that is cut off leaves one release."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .load import SHORT, Load
from .playbook import play, services, start

LONG = pytest.mark.long
QUICK = {"nginx_watch_seconds": 3, "app_start_timeout": 15}
RELEASE = "playbooks/release.yml"  # what site.yml ends with; the rest of it has tests of its own
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


@pytest.fixture(scope="module")
def record(root) -> Callable[[], dict[str, Any]]:
    """The record of releases as it stands."""
    return lambda: json.loads(root("cat /var/lib/kasaneha/release.json"))


@pytest.fixture(scope="module")
def serving(browse) -> Callable[[], str]:
    """The release that answers users."""
    return lambda: json.loads(browse("/api/v1/info")[2])["release"]


@pytest.fixture(scope="module")
def users(variables) -> Iterator[Load]:
    """Users at work the whole time."""
    with Load(variables["ansible_host"], rate=30, **SHORT) as load:  # many more in benchmarks/deploy.py
        yield load


@contextmanager
def unharmed(users: Load, but: Callable[[dict[str, Any]], bool] = lambda failure: False) -> Iterator[None]:
    """None of the users may lose a request meanwhile, `but` those that no proxy can save."""
    began = time.time()
    yield
    time.sleep(1)  # for the answers to what began last
    lost = [failure for failure in users.failures_since(began) if not but(failure)]
    assert not lost, json.dumps(lost[:5], indent=1)


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What a run said, as one line."""
    return " ".join(done.stdout.split())


def deploy(release: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Deploy with short waits."""
    return play("playbooks/deploy.yml", *options, app_release=release, **{**QUICK, **variables})


def settled(root, colour: str) -> None:
    """One release, and nothing left over: no lock, no way back that waits, one colour that runs."""
    root("cd /var/lib/kasaneha && test ! -e run.json && test ! -L edge/uncommitted")
    assert root("ls /var/lib/kasaneha/edge/live/").split() == [colour, f"open-{colour}"]
    running = root("docker ps --filter label=kasaneha.deploy.colour --format '{{.Label \"kasaneha.deploy.colour\"}}'").split()
    assert running and set(running) == {colour}
    assert "nginx-edge-revert.timer" not in root("systemctl list-timers --all --no-legend")


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
            **{**QUICK, "app_start_timeout": 5 if fault != "crash" else 15, **options, "vault_jwt_secret": f"changed-{time.time()}-0123456789",
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


@pytest.fixture(scope="module")
def together(root, record) -> dict[str, Any]:
    """Two releases at once. The first one waits in its backup until the second one has been told so, and tidies up when it is done."""
    before = record()
    goal = "v1.2.0" if before["release"] != "v1.2.0" else "v1.1.0"
    (cut, digest), (shared, _) = json.loads(root(f"cat /var/www/kasaneha/releases/{goal}"))["files"].items()
    # A release that left the record long ago: one file of its own, one that the goal has, too. One of the goal's was cut off.
    root(f"""cd /var/www/kasaneha; printf '{shared}\n_astro/old.js\n' > releases/v0.0.1; rm -f /run/asked /run/go 'releases/{goal}'
        touch assets/_astro/old.js assets/_astro/foreign.js; echo short > assets/{cut}; chmod 0600 assets/{cut}""")
    backup = ["timeout", "300", "sh", "-c", "touch /run/asked; until [ -e /run/go ]; do sleep 0.1; done"]
    options = {"force": True, "app_keep_releases": 0, "app_before_release": backup, "nginx_drain_timeout": 0, **QUICK}
    first = start("playbooks/deploy.yml", app_release=goal, **options)
    root("for i in $(seq 1800); do test -e /run/asked && exit 0; sleep 0.1; done; exit 1")
    second = deploy("v1.0.0", force=True)
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
        options = {**options, "app_services": services()}
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
    root("mkdir -p /mnt/small && mount -t tmpfs -o size=64k tmpfs /mnt/small && cp -a /var/lib/kasaneha/. /mnt/small/ "
         "&& mount --bind /mnt/small /var/lib/kasaneha && (dd if=/dev/zero of=/var/lib/kasaneha/fill bs=1k 2>/dev/null || true)")  # fmt: skip
    try:
        done = deploy("v1.0.0", force=True)
        assert done.returncode != 0 and "disk full" in words(done), done.stdout[-3000:]
        assert serving() == before["release"]
    finally:
        root("umount /var/lib/kasaneha && umount /mnt/small")
    settled(root, before["colour"])


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
    done = play(RELEASE, **QUICK)
    assert done.returncode == 0 and "it is undone" in words(done), done.stdout[-3000:]
    settled(root, before["colour"])
