# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole rehearsals: made to fail in ways that only servers show, and one whose inventory names a world outside that must hear nothing."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
CANARY = "canary.invalid"  # in the inventory; a test puts the address of its canary in its place

pytestmark = pytest.mark.long


def rehearse(source: Path | str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a rehearsal to its end."""
    return subprocess.run(
        [sys.executable, "lab/rehearse.py", str(source), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )


def docker(*arguments: str) -> str:
    """What Docker says."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def left() -> list[str]:
    """What a rehearsal left: containers, volumes, copies of inventories with their secrets."""
    found = docker("ps", "--all", "--filter", "name=kasaneha-lab-rehearsal-", "--format", "{{.Names}}").split()
    found += docker("volume", "ls", "--filter", "name=kasaneha-lab-rehearsal-", "--format", "{{.Name}}").split()
    return found + [str(path) for path in (ROOT / ".cache/rehearsal").glob("*/work-*")]


# Without the tiers that have no part in it: minutes.
LESS = {"monitoring_enabled": False}
FULL = 'docker exec "$REHEARSAL_SERVER" mount -t tmpfs -o size=64k tmpfs /var/backups/kasaneha'
FAILING: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "wrong domain in a site": ({"site_domains": ["kasaneha_.app"]}, [], r"rehearsal: site\.yml: .*'kasaneha_\.app'"),
    "failing migration": ({**LESS, "app_release": "v2.0.0-failing-migration"}, [], r"rehearsal: site\.yml: .*[Mm]igrat"),
    "bad image": (
        LESS, ["--release", "v2.0.0-never-listens"], r"rehearsal: release and rollback under load: .*v2\.0\.0-never-listens .*did not prove itself",
    ),
    "full disk": (LESS, ["--after-verify", FULL], r"rehearsal: release and rollback under load: .*(No space left|no room|free)"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILING)
def test_a_rehearsal_that_fails_says_why_in_one_sentence_and_leaves_nothing(case, tmp_path):
    variables, options, expected = FAILING[case]
    (tmp_path / "extra.yml").write_text(yaml.safe_dump(variables))
    done = rehearse("inventories/prod", "--extra", str(tmp_path / "extra.yml"), *options)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(lines) == 1 and re.search(expected, lines[0]) and lines[0].endswith("No server is left."), lines
    assert left() == []


@pytest.fixture
def taken() -> Iterator[None]:
    """Something else has the address of the first server."""
    docker(
        "run",
        "--detach",
        "--name",
        "kasaneha-taken",
        "--network",
        "kasaneha-lab",
        "--ip",
        "198.51.100.100",
        "kasaneha-lab/registry:2",
    )
    try:
        yield
    finally:
        docker("rm", "--force", "kasaneha-taken")


@pytest.mark.usefixtures("taken")
def test_a_server_that_cannot_be_created():
    done = rehearse("inventories/prod")
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1, done.stdout + done.stderr
    assert re.search(r"rehearsal: servers: kasaneha-prod: .*[Aa]ddress already in use", lines[0]), lines
    assert left() == []


# --- what was kept of one rehearsal is where the next one begins ----------------------------------------------------------
KEPT = "kasaneha-lab-rehearsal-kasaneha-prod"


def inside(*command: str) -> str:
    """What a command says on the server that was kept."""
    return docker("exec", KEPT, *command).strip()


# Every playbook that runs against servers, adopt.yml aside, which has a scenario.
PLANNED = {
    "site": [], "release": [], "deploy": ["app_release=v1.2.0"], "rollback": ["release=v1.1.0"], "status": [], "verify": [],
    "backup": [], "verify_backup": ["level=checksum"], "restore": ["identity={key}"],
    "certificates": [], "maintenance": ["maintenance=on"], "freeze": ["freeze=on", "message=moving"],
}  # fmt: skip
STATE = """
find /etc /opt /var/lib/kasaneha /var/www /var/backups /usr/local -type f ! -name '*.lock' -exec sha256sum {} + | sort -k 2
docker ps --all --no-trunc --format '{{.ID}} {{.Status}}' | sed 's/Up .*/up/; s/Exited .*/exited/' | sort
ufw status
"""


def planned(arguments: list[str], key: Path) -> dict[str, str]:
    """What is wrong with `--check --diff` of each playbook on servers where all is done: it fails, or something is changed."""
    wrong = {}
    for name, variables in PLANNED.items():
        options = [option for variable in variables for option in ("-e", variable.format(key=key))]
        before = inside("sh", "-c", STATE)
        assert "  /etc/nginx/" in before and " up\n" in before and "Status: active" in before  # it can see a change
        done = subprocess.run(
            ["lab/mitogen.sh", "ansible-playbook", f"playbooks/{name}.yml", *arguments, "--check", "--diff", *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        moved = sorted(set(before.splitlines()) ^ set(inside("sh", "-c", STATE).splitlines()))
        if done.returncode or moved:
            wrong[name] = "\n".join([*moved, done.stdout[-2000:], done.stderr[-500:]])
    return wrong


def test_a_rehearsal_on_the_encrypted_data_of_servers_that_were_kept(tmp_path):
    """KEEP and a plan of each playbook, then DATA with IDENTITY, and RELEASE."""
    without = {"adopt", "adopt_undo", "hosts", "new", "preflight"}  # those with a scenario of their own, and parts of others
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - without == set(PLANNED)
    place = ROOT / ".cache/rehearsal/prod"
    encrypted = (
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kdf3xnehqs0wq7u"  # of nobody: the rehearsal makes a key of its own
    )
    (tmp_path / "extra.yml").write_text(yaml.safe_dump({**LESS, "backup_recipients": [encrypted]}))
    extra = ("--extra", str(tmp_path / "extra.yml"))
    kept = rehearse("inventories/prod", *extra, "--keep")
    try:
        assert kept.returncode == 0, kept.stdout + kept.stderr
        assert "The servers are still there" in kept.stdout and "make rehearse-down INVENTORY=inventories/prod" in kept.stdout
        newest = inside("sh", "-c", "ls -d /var/backups/kasaneha/2* | tail -n 1")
        data = tmp_path / Path(newest).name
        docker("cp", f"{KEPT}:{newest}", str(data))
        [key] = place.glob("work-*/age.txt")
        (tmp_path / "age.txt").write_text(key.read_text())
        tables = json.loads((data / "manifest.json").read_text())["database"]["tables"]
        [command] = re.findall(r"ansible-playbook playbooks/status\.yml (.+)", kept.stdout)
        wrong = planned(shlex.split(command), tmp_path / "age.txt")
        assert not wrong, "\n".join(f"{name}.yml --check --diff: {what}" for name, what in wrong.items())
    finally:
        down = rehearse("inventories/prod", "--down")
    assert down.returncode == 0 and left() == [], down.stdout + down.stderr

    refused = rehearse("inventories/prod", *extra, "--data", str(data))
    assert refused.returncode == 2 and "IDENTITY=<file>" in refused.stderr

    done = rehearse(
        "inventories/prod", *extra, "--data", str(data), "--identity", str(tmp_path / "age.txt"), "--release", "v1.2.0"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((place / "report.json").read_text())
    steps = {step["name"]: step for step in result["steps"]}
    assert steps["real data"]["result"] == "ok" and data.name in str(steps["real data"]), steps["real data"]
    assert sum(table.get("rows", 0) for table in tables) > 0
    assert result["releases"] == ["v1.0.0", "v1.2.0"] and any(data.name in one for one in result["real"])
    assert left() == []


# --- a world outside that must hear nothing -----------------------------------------------------------------------------
SHOP = {
    "app_name": "shop",
    "app_release": "1.0.0",
    "app_services": {
        "web": {
            "image": "registry.example/shop/web", "port": 8080, "health": "/health", "release_key": "release", "metrics": "/metrics",
            "assets": "/srv/www/assets", "volumes": ["files:/data"], "secrets": {"DATABASE_URL": "postgres_url", "API_KEY": "api_key"},
        },
        "worker": {"image": "registry.example/shop/worker", "command": ["./worker"], "secrets": {"DATABASE_URL": "postgres_url"}},
    },
    "app_migrations": {"service": "web", "command": ["./main", "migrate"]},
    "nginx_sites": [{"names": ["shop.example"], "upstream": "web", "probes": ["/", {"path": "/version", "release_key": "release"}]}],
    "certbot_email": "admin@shop.example",
    "certbot_directory": f"http://{CANARY}/directory",
    "monitoring_receivers": [
        {"name": "hook", "webhook": f"http://{CANARY}/hook", "token": "canary-" + "x" * 33, "severities": ["critical", "warning", "info"]},
        {"name": "post", "email": ["ops@shop.example"]},
    ],
    "monitoring_smtp": {"host": f"{CANARY}:25", "from": "shop@shop.example", "tls": False},
    "monitoring_heartbeat_url": f"http://{CANARY}/heartbeat",
    "backup_recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kdf3xnehqs0wq7u"],
    "backup_remotes": ["canary:bucket/shop"],
    "backup_rclone_config": f"[canary]\ntype = webdav\nurl = http://{CANARY}/\n",
}  # fmt: skip


@pytest.fixture
def canary() -> Iterator[str]:
    """A container on the servers' own network, whose address the inventory names; what it is told becomes its output."""
    program = (ROOT / "lab/rehearsal/world.py").read_text()
    docker("run", "--detach", "--name", "kasaneha-canary", "--network", "kasaneha-lab", "--entrypoint", "python3",
           "kasaneha-lab/server:trixie", "-c", program)  # fmt: skip
    try:
        yield "kasaneha-canary"
    finally:
        docker("rm", "--force", "kasaneha-canary")


def test_an_inventory_of_an_unknown_application_and_nobody_outside_is_told(canary, tmp_path):
    """No group is named, no image can be pulled, the vault is encrypted, backups as well."""
    (tmp_path / "shop/group_vars/all").mkdir(parents=True)
    (tmp_path / "shop/hosts.yml").write_text(
        yaml.safe_dump({"all": {"hosts": {"shop-1": {"ansible_host": "203.0.113.9", "ansible_port": 2222}}}})
    )
    address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", canary).strip()
    (tmp_path / "shop/group_vars/all/app.yml").write_text(yaml.safe_dump(SHOP).replace(CANARY, address))
    (tmp_path / "shop/group_vars/all/vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3031\n")
    done = rehearse(tmp_path / "shop")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((ROOT / ".cache/rehearsal/shop/report.json").read_text())
    assert result["load"]["failed"] == 0 and result["load"]["total"] > 500
    assert [step["name"] for step in result["steps"] if step["result"] != "ok"] == []
    assert result["told"].get("heartbeat", 0) > 0, "the stand-in of the heartbeat was told nothing"
    assert docker("logs", canary) == ""
    asked = "import urllib.request as u; u.urlopen('http://127.0.0.1/heartbeat')"
    docker("exec", canary, "python3", "-c", asked)  # the control: it hears
    assert "heartbeat" in docker("logs", canary)
    assert left() == []
