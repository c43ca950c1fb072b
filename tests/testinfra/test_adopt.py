# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of the first design is taken over: refused, planned, killed on the way, finished, and given back. In this order."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .playbook import play, start

SERVER = "kasaneha-lab-molecule-adopt"
JOURNAL = "/var/lib/kasaneha/adopt.json"
# What must be the same before and after: rows and their contents, roles, files, the certificate.
SQL = "psql -XqAt -U kasaneha -d kasaneha_db -c \"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} t\""
TABLES = ("users", "sessions", "messages")
CHANGED = r"changed=0 "


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All on one line."""
    return " ".join(done.stdout.split())


def contents(root: Callable[[str], str], container: str, uploads: str) -> dict[str, str]:
    """Counts and checksums of every table and of every file."""
    found = {table: root(f"docker exec {container} {SQL.format(table)}").strip() for table in TABLES}
    return {
        **found,
        "files": root(
            f"cd {uploads} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; find . -type f | wc -l"
        ),
    }


@pytest.fixture(scope="module")
def ask(variables: dict[str, Any]) -> Callable[[], str]:
    """Which site answers: `old`, `new`, or nothing."""

    def run() -> str:
        command = ["curl", "--silent", "--insecure", "--max-time", "3", "--resolve", f"kasaneha.test:443:{variables['ansible_host']}",
                   "https://kasaneha.test/api/v1/info"]  # fmt: skip
        out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        try:
            return {"development": "old", "production": "new"}[json.loads(out)["env"]]
        except (ValueError, KeyError):
            return ""

    return run


@pytest.fixture(scope="module")
def served(variables: dict[str, Any]) -> Callable[[], str]:
    """The fingerprint of the certificate that visitors see."""
    command = f"openssl s_client -connect {variables['ansible_host']}:443 -servername kasaneha.test </dev/null | openssl x509 -noout -fingerprint"
    return lambda: subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def before(root: Callable[[str], str], ask: Callable[[], str], served: Callable[[], str]) -> dict[str, Any]:
    """The old site as it was."""
    assert ask() == "old"
    return {**contents(root, "kasaneha_postgres", "/opt/kasaneha/uploads"), "certificate": served()}


def answers(ask: Callable[[], str], wanted: str, seconds: float = 30) -> None:
    """Wait for one of the sites."""
    deadline = time.monotonic() + seconds
    while (found := ask()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found == wanted


def killed(root: Callable[[str], str], condition: str, process: bool = True) -> None:
    """Wait until the condition holds; then kill the process of the takeover on the server, which is the one in the journal."""
    pid = f"$(sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p' {JOURNAL})"
    kill = f"kill -9 {pid}" if process else "true"
    root(f"for i in $(seq 18000); do {condition} && {kill} && exit 0; sleep 0.05; done; exit 1")


def at(phase: str, step: str = "") -> str:
    """That the journal says so."""
    return f'grep -q \'"phase": "{phase}"\' {JOURNAL}' + (f' && grep -q \'"step": "{step}"\' {JOURNAL}' if step else "")


@pytest.fixture
def outages(ask: Callable[[], str]) -> Iterator[list[float]]:
    """For how long nobody answered, each time, while the test runs."""
    found: list[float] = []
    done = threading.Event()

    def watch() -> None:
        down = 0.0
        while not done.wait(0.1):
            now = time.monotonic()
            if ask():
                found.extend([now - down] if down else [])
                down = 0.0
            else:
                down = down or now

    thread = threading.Thread(target=watch)
    thread.start()
    yield found
    done.set()
    thread.join()


def taken_over(root: Callable[[str], str], ask: Callable[[], str], before: dict[str, Any]) -> None:
    """Everything is here, and nothing of the old site is at work."""
    assert ask() == "new"
    assert contents(root, "kasaneha-postgres", "/var/lib/kasaneha/uploads") == {key: before[key] for key in (*TABLES, "files")}
    states = dict(line.split() for line in root("docker ps --all --format '{{.Names}} {{.State}}'").splitlines())
    old = {name: state for name, state in states.items() if name.startswith("kasaneha_")}
    assert len(old) == 5 and set(old.values()) == {"exited"}
    policies = root("docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' " + " ".join(old)).split()
    assert set(policies) == {"no"}
    assert states["shop_cache"] == "running"  # somebody else's
    assert root("crontab -l").splitlines() == ["# mine", "MAILTO=ops@example.org", "15 3 * * * /usr/local/bin/mine"]
    assert root("cat /etc/cron.d/kasaneha") == ""


def test_site_yml_refuses_and_says_what_to_do(before):
    done = play("site.yml")
    assert done.returncode != 0 and re.search(CHANGED, done.stdout)
    assert "1 problem(s) to solve first" in done.stdout and "ansible-playbook playbooks/adopt.yml" in said(done)


def test_the_plan_changes_nothing(before, ask):
    done = play("playbooks/adopt.yml", "--check", "--diff")
    assert done.returncode == 0 and re.search(CHANGED, done.stdout) and ask() == "old"
    for words in ("the database kasaneha_db of kasaneha_postgres (PostgreSQL 15", "copy /opt/kasaneha/uploads to /var/lib/kasaneha/uploads",
                  "the certificate of /opt/kasaneha/nginx/ssl", "remove from /etc/cron.d/kasaneha", "certbot renew --quiet",
                  "leave alone: shop_cache"):  # fmt: skip
        assert words in said(done), words


def test_bad_input_is_refused_before_anything_is_changed(before, root, ask):
    # A full disk, a name for the database's major that is too old, a folder that is not there, and a stranger on port 443.
    root("mkdir -p /var/backups/kasaneha && mount -t tmpfs -o size=20m tmpfs /var/backups/kasaneha")
    try:
        done = play("playbooks/adopt.yml", app_postgres_major=14, adopt_files={"uploads": "/srv/nothing"},
                    adopt_services=["backend", "frontend", "redis", "postgres"])  # fmt: skip
    finally:
        root("umount /var/backups/kasaneha && rmdir /var/backups/kasaneha")
    assert done.returncode != 0 and re.search(CHANGED, done.stdout) and ask() == "old"
    message = said(done)
    assert re.search(r"disk: \d\d MB are free, 1\d\d\d MB are needed", message)
    for words in ("5 problem(s) to solve first", "none of the old containers has port 80 or 443",
                  "app_postgres_major: the data of kasaneha_postgres is of PostgreSQL 15",
                  "adopt_files.uploads: /srv/nothing is no directory", "kasaneha_nginx: holds port 80 and 443"):  # fmt: skip
        assert words in message, words


def refused(done: subprocess.CompletedProcess[str], *problems: str) -> None:
    """These are the problems, all in one message, and nothing was changed."""
    assert done.returncode != 0 and re.search(CHANGED, done.stdout), done.stdout[-3000:]
    assert f"{len(problems)} problem(s) to solve first" in said(done)
    for problem in problems:
        assert problem in said(done), problem


def test_data_of_another_major_is_refused_before_anything_is_changed(before, root, ask):
    """Real data of PostgreSQL 17: in the old container; under an image that is older than it; in the volume that would be ours."""
    copy = f"docker save kasaneha-lab/postgres:17 | docker exec -i {SERVER} docker load"
    subprocess.run(["sh", "-c", copy], check=True, capture_output=True)
    run = "docker run --detach --name {} -e POSTGRES_USER=kasaneha -e POSTGRES_DB=kasaneha_db -e POSTGRES_PASSWORD=x {}"
    ready = "for i in $(seq 60); do docker exec {} pg_isready -q -h 127.0.0.1 && exit 0; sleep 0.5; done; exit 1"
    ours = "-v kasaneha-data_postgres:/var/lib/postgresql -e PGDATA=/var/lib/postgresql/17/docker kasaneha-lab/postgres:17"
    newer = "app_postgres_major: the data of kasaneha_postgres is of PostgreSQL 17, the inventory wants the older 15. Set app_postgres_major: 17"
    root("docker rename kasaneha_postgres aside")
    try:
        root(run.format("kasaneha_postgres", "-v other:/var/lib/postgresql/data kasaneha-lab/postgres:17"))
        root(ready.format("kasaneha_postgres"))
        refused(play("playbooks/adopt.yml"), newer)
        root("docker rm --force kasaneha_postgres")
        root(run.format("kasaneha_postgres", "-v other:/var/lib/postgresql/data registry.lab:5000/lab/postgres:15"))
        root("docker wait kasaneha_postgres")
        refused(
            play("playbooks/adopt.yml"),
            newer,
            "(its data is of PostgreSQL 17, its image registry.lab:5000/lab/postgres:15). It must run to be copied",
        )
    finally:
        root("docker rm --force --volumes kasaneha_postgres; docker volume rm other; docker rename aside kasaneha_postgres")
    root(run.format("left-behind", ours))
    try:
        root(ready.format("left-behind"))
        refused(
            play("playbooks/adopt.yml"),
            "app_postgres_major: is 15, but the volume kasaneha-data_postgres holds a database of PostgreSQL 17",
        )
    finally:
        root(
            "docker rm --force --volumes left-behind; docker volume rm kasaneha-data_postgres; docker image rm kasaneha-lab/postgres:17"
        )
    assert ask() == "old"


def standing() -> str:
    """What status.yml says of the old site."""
    done = play("playbooks/status.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    return re.split("['\"]", said(done).partition("old site: ")[2])[0]  # YAML quotes it, with either of them


def test_killed_while_no_site_serves_the_old_one_serves_again(before, root, ask):
    runs: list[subprocess.CompletedProcess[str]] = []
    run = threading.Thread(target=lambda: runs.append(play("playbooks/adopt.yml")))
    run.start()
    killed(root, at("switching", "restore"))
    answers(ask, "old")  # nobody did anything
    run.join()
    assert runs[0].returncode != 0
    assert contents(root, "kasaneha_postgres", "/opt/kasaneha/uploads") == {key: before[key] for key in (*TABLES, "files")}
    assert standing() == "not finished (switching): the old site serves. Run playbooks/adopt.yml again."


def test_the_next_run_takes_over_with_a_short_outage(before, root, ask, served, outages):
    done = play("playbooks/adopt.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    taken_over(root, ask, before)
    assert served() == before["certificate"]
    assert root("docker exec kasaneha-redis redis-cli get remembered").strip() == "yes"
    assert (
        root(
            "docker exec kasaneha-postgres psql -XqAt -U kasaneha -c \"SELECT 1 FROM pg_roles WHERE rolname = 'reporting'\" kasaneha_db"
        ).strip()
        == "1"
    )
    printed = float(re.search(r"no site answered for ([\d.]+) s", said(done))[1])
    assert printed < 30 and max(outages) < printed + 2, outages  # what is printed is what users saw
    backups = json.loads(root("/usr/local/sbin/kasaneha-backup list --json"))["sets"]
    assert {"before the takeover", "after the takeover"} <= {entry["reason"] for entry in backups if entry["verified"]}
    assert not [entry for entry in backups if entry["reason"].startswith("on the way")]
    assert [entry["keep"] for entry in backups if entry["reason"] == "before the takeover"] == [True]


def test_a_second_run_changes_nothing(before):
    done = play("playbooks/adopt.yml")
    assert done.returncode == 0 and re.search(CHANGED, done.stdout), done.stdout[-3000:]


def test_status_and_verify_say_that_there_is_a_way_back(before):
    words = "its containers are there, so playbooks/adopt_undo.yml can go back to them"
    assert standing() == f"taken over; {words}"
    assert f"ok the old site is taken over; {words}" in said(play("playbooks/verify.yml"))


def test_an_old_database_that_does_not_start_keeps_the_new_site(before, root, ask):
    rules = "ufw status; cat /etc/firewall/containers.nft"
    control = "$(docker volume inspect --format '{{.Mountpoint}}' kasaneha_postgres_data)/global/pg_control"
    was = root(rules)
    root(f"mv {control} {control}.away")
    try:
        done = play("playbooks/adopt_undo.yml")
    finally:
        root(f"mv {control}.away {control}")
    assert done.returncode != 0
    assert re.search(
        r"kasaneha_postgres: its database does not answer \(exited; it says: .*pg_control.*\). The new site serves as before",
        said(done),
    )
    taken_over(root, ask, before)
    assert root(rules) == was


def test_the_way_back_and_there_again(before, root, ask, served):
    done = play("playbooks/adopt_undo.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    answers(ask, "old")
    assert "no site answered for" in said(done) and served() == before["certificate"]
    assert contents(root, "kasaneha_postgres", "/opt/kasaneha/uploads") == {key: before[key] for key in (*TABLES, "files")}
    assert "backup.sh" in root("crontab -l") and "pg_dump" in root("cat /etc/cron.d/kasaneha")
    again = play("playbooks/adopt_undo.yml")
    assert again.returncode != 0 and "there is no takeover to return from" in said(again) and ask() == "old"


# When; whether the process on the server is killed as well, or goes on by itself; which site serves then.
POINTS = {
    "the backup": ("ls -d /var/backups/kasaneha/.partial-* >/dev/null 2>&1", False, "old"),
    "the building beside": (at("saved"), False, "old"),
    "the rehearsal": (at("saved", "restore"), True, "old"),
    "the last dump": (at("switching", "dump"), True, "old"),
    "the opening": (at("switching", "serving") + " && systemctl is-active --quiet nginx", True, "new"),
    "the retirement": (at("done"), False, "new"),
}


def old_again(ask: Callable[[], str]) -> None:
    """The old site serves, to be taken over."""
    if ask() == "new":
        assert play("playbooks/adopt_undo.yml").returncode == 0
    answers(ask, "old")


@pytest.mark.long
def test_a_new_site_that_does_not_answer_gives_way_to_the_old_one(before, root, ask):
    old_again(ask)
    runs: list[subprocess.CompletedProcess[str]] = []
    run = threading.Thread(target=lambda: runs.append(play("playbooks/adopt.yml")))
    run.start()
    killed(root, at("switching"), process=False)
    root("docker kill $(docker ps --quiet --filter name=kasaneha-frontend-)")
    run.join()
    assert runs[0].returncode != 0
    assert re.search(
        r"the new site does not answer \(https://kasaneha.test/: status 50\d\). The old site serves again, after \d+ s without one; its data was not touched",
        said(runs[0]),
    )
    answers(ask, "old")
    assert root("systemctl is-enabled nginx || true").strip() == "disabled"  # it exits with 1 to say so
    assert contents(root, "kasaneha_postgres", "/opt/kasaneha/uploads") == {key: before[key] for key in (*TABLES, "files")}
    assert standing().startswith("not finished (rehearsed): the old site serves. Last time: the new site does not answer (https")
    verified = play("playbooks/verify.yml")
    assert verified.returncode != 0 and "FAIL the old site is taken over: not finished (rehearsed)" in said(verified)
    done = play("playbooks/adopt.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    taken_over(root, ask, before)


@pytest.mark.long
@pytest.mark.parametrize("way", [["docker restart"], ["docker kill", "docker start"]], ids=["reboot", "power cut"])
def test_a_reboot_while_no_site_serves_brings_the_old_one_back(before, root, ask, way):
    old_again(ask)
    running = start("playbooks/adopt.yml")
    try:
        killed(root, at("switching", "restore"), process=False)
        for command in way:
            subprocess.run([*command.split(), SERVER], check=True, capture_output=True)
    finally:
        running.kill()
    answers(ask, "old", 120)  # nobody did anything
    for _attempt in range(60):  # the connection from before is gone
        with contextlib.suppress(AssertionError, RuntimeError):
            root("true")
            break
        time.sleep(1)
    root(at("switching") + f" && ! grep -q serving {JOURNAL}")
    assert contents(root, "kasaneha_postgres", "/opt/kasaneha/uploads") == {key: before[key] for key in (*TABLES, "files")}
    done = play("playbooks/adopt.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    taken_over(root, ask, before)


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_one_of_the_sites_serves_and_the_next_run_finishes(before, root, ask, point):
    old_again(ask)
    condition, process, serves = POINTS[point]
    running = start("playbooks/adopt.yml")
    try:
        killed(root, condition, process)
    finally:
        running.kill()
    answers(ask, serves)
    done = play("playbooks/adopt.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    taken_over(root, ask, before)
