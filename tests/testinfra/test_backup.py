# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups on a server with the application at work: by timer, by playbook, before a release; restored, and taken back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from .playbook import play

BACKUP = "/usr/local/sbin/kasaneha-backup"
PSQL = "docker exec -i kasaneha-postgres psql -XqAt -U kasaneha"


@pytest.fixture(scope="module")
def engine(root) -> Callable[[str], dict[str, Any]]:
    """The command on the server; its result."""
    return lambda arguments: json.loads(root(f"{BACKUP} {arguments} --json"))


@pytest.fixture(scope="module")
def sql(root) -> Callable[[str], str]:
    """Ask the application's database."""
    return lambda text: root(f'{PSQL} -d kasaneha_db -c "{text}"').strip()


@pytest.fixture
def backend(root) -> str:
    """The backend's container that serves."""
    return root("docker ps --filter label=kasaneha.deploy.service=backend --format '{{.Names}}'").strip()


@pytest.fixture(scope="module")
def data(browse, sql, engine) -> str:
    """What users have written, and a backup of it."""
    post = ("--request", "POST", "--header", "Content-Type: application/json", "--data")
    token = json.loads(browse("/api/v1/token", *post, '{"name": "mio"}')[2])["token"]
    assert browse("/api/v1/uploads", "--form", "file=@/etc/hostname", "--header", f"Authorization: Bearer {token}")[0] == 201
    sql("INSERT INTO users (name) SELECT 'user' || n FROM generate_series(1, 100) n ON CONFLICT DO NOTHING")
    return str(engine("run --reason data")["set"]["id"])


def test_the_first_backup_is_there_and_the_timers_run(root, engine, host):
    listed = engine("list")
    assert listed["latest"]["verified"] and "site" in [entry["reason"] for entry in listed["sets"]]
    for name in ("kasaneha-backup", "kasaneha-backup-verify", "kasaneha-backup-drill"):
        with host.sudo():
            assert host.service(f"{name}.timer").is_running and host.service(f"{name}.timer").is_enabled
    with host.sudo():
        assert host.service("kasaneha-backup-recover.service").is_enabled
    assert root("stat -c %a /etc/kasaneha/backup.json /var/backups/kasaneha").split() == ["600", "700"]


def test_what_the_timers_start_works(root, engine, data):
    before = len(engine("list")["sets"])
    for name in ("kasaneha-backup", "kasaneha-backup-verify", "kasaneha-backup-drill"):
        root(f"systemctl start {name}.service")
    listed = engine("list")
    assert len(listed["sets"]) == before + 1 or listed["latest"]["reason"] == "timer"
    assert listed["latest"]["drilled"]
    metrics = root("cat /var/lib/prometheus/node-exporter/backup.prom")
    assert (
        'kasaneha_backup_last_exit_code{app="kasaneha"} 0\n' in metrics
        and "kasaneha_restore_test_last_duration_seconds" in metrics
    )


def test_a_restore_brings_back_users_and_uploads_while_the_site_is_up(root, browse, sql, data, backend):
    uploads = root("ls /var/lib/kasaneha/uploads").split()
    assert uploads
    sql("DELETE FROM users")
    root("rm /var/lib/kasaneha/uploads/*")
    shown = play("playbooks/restore.yml", "--check", "--diff", backup=data)
    assert shown.returncode == 0, shown.stdout[-3000:]
    rows = re.findall(r"^[-+]+ ?public[.]users ([0-9]+)$", re.sub(r"\x1b[^m]*m", "", shown.stdout), re.M)
    assert rows[0] == "0" and int(rows[1]) > 100, shown.stdout[-3000:]  # of each table, before and after
    assert sql("SELECT count(*) FROM users") == "0"  # the plan changed nothing
    done = play("playbooks/restore.yml", backup=data)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (
        float(re.search(r"closed for ([\d.]+) s", " ".join(done.stdout.split()))[1]) > 0
    )  # how long is what the benchmark measures
    assert int(sql("SELECT count(*) FROM users")) > 100
    assert root("ls /var/lib/kasaneha/uploads").split() == uploads
    # The container that has the folder mounted sees them too, and its pool has connected again.
    assert root(f"docker exec {backend} ls uploads").split() == uploads
    assert json.loads(browse("/api/v1/info")[2])["database"] == "ok"


def test_the_way_back(root, browse, sql, data):
    done = play("playbooks/restore.yml", undo=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert sql("SELECT count(*) FROM users") == "0" and root("ls /var/lib/kasaneha/uploads").split() == []
    assert play("playbooks/restore.yml", undo=True).returncode == 0
    assert int(sql("SELECT count(*) FROM users")) > 100


def test_a_restore_that_the_application_does_not_survive_is_taken_back(root, browse, sql, engine, data, backend):
    names = f"{PSQL} -d postgres -c 'SELECT datname FROM pg_database ORDER BY 1'"
    sql("CREATE TABLE newer (x int)")
    before = root(names)
    root(f"docker stop {backend}")  # whatever the reason is, it does not answer
    try:
        done = play("playbooks/restore.yml", backup=data)
    finally:
        root(f"docker start {backend}")
    assert done.returncode != 0 and "Everything is as it was" in " ".join(done.stdout.split())
    assert sql("SELECT count(*) FROM newer") == "0"
    assert root(names) == before and "__restore_" not in before
    sql("DROP TABLE newer")


@pytest.mark.long  # scenario release shows quickly that the hook comes first; that a failed one stops it is shown here
def test_every_release_is_preceded_by_a_backup_and_stopped_without(root, browse, engine, data):
    before = len(engine("list")["sets"])
    done = play("playbooks/deploy.yml", app_release="v1.1.0", nginx_watch_seconds=3)
    assert done.returncode == 0, done.stdout[-3000:]
    newest = engine("list")["sets"][0]
    assert (
        len(engine("list")["sets"]) >= min(before, 3) and newest["reason"] == "before a release" and newest["release"] == "v1.0.0"
    )
    root("mv /etc/kasaneha/secrets/postgres/postgres_password /etc/kasaneha/secrets/postgres/away")
    try:
        done = play("playbooks/deploy.yml", app_release="v1.2.0", nginx_watch_seconds=3)
    finally:
        root("mv /etc/kasaneha/secrets/postgres/away /etc/kasaneha/secrets/postgres/postgres_password")
    assert done.returncode != 0 and "password_file" in done.stdout
    assert json.loads(browse("/api/v1/info")[2])["release"] == "v1.1.0"


def test_the_playbooks(engine, data):
    done = play("playbooks/backup.yml", reason="by the test", keep=True)
    assert done.returncode == 0 and engine("list")["sets"][0]["keep"]
    assert play("playbooks/verify_backup.yml", level="decode", backup="all").returncode == 0
    refused = play("playbooks/restore.yml", backup="20200101T000000Z-000000")
    assert refused.returncode != 0 and "There is no set 20200101T000000Z-000000" in " ".join(refused.stdout.split())
    done = play("playbooks/backup.yml", "--check", "--diff")
    assert done.returncode == 0 and engine("list")["sets"][0]["reason"] == "by the test"


def test_a_restore_that_a_reboot_cuts_off_is_undone_at_boot(root, sql, engine, data):
    """The database stays closed for as long as nobody opens it: after a power failure that is the service's task."""
    users = sql("SELECT count(*) FROM users")
    journal = {"schema": 1, "phase": "exchanging", "step": "closed", "coming": "kasaneha_db__restore_x", "going": "kasaneha_db__before_x",
               "moves": [], "existed": True, "set": data}  # fmt: skip
    root(f"echo '{json.dumps(journal)}' > /var/backups/kasaneha/.restore.json")
    root(
        f"{PSQL} -d postgres -c 'CREATE DATABASE kasaneha_db__restore_x' -c 'ALTER DATABASE kasaneha_db ALLOW_CONNECTIONS false'"
    )
    root("systemctl start kasaneha-backup-recover.service")
    deadline = time.monotonic() + 60
    while "active" in root("systemctl is-active kasaneha-backup-recover.service || true").split() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert sql("SELECT count(*) FROM users") == users
    assert "__restore" not in root(f"{PSQL} -d postgres -c 'SELECT datname FROM pg_database'")


def test_no_secret_is_where_others_can_see_it(root, secrets):
    readable = root(
        "cat /etc/systemd/system/kasaneha-backup* /etc/kasaneha/backup.json /var/lib/prometheus/node-exporter/backup.prom"
    )
    readable += root("cat /var/backups/kasaneha/*/manifest.json; journalctl --no-pager --output=cat -u 'kasaneha-backup*'")
    assert not [name for name, value in secrets.items() if value in readable]
    assert root("find /var/backups/kasaneha -perm /077 ! -type l").split() == []
    assert root("ls /run | grep -E 'kasaneha-(backup|drill)-' || true") == ""
