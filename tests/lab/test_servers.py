# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: servers for any inventory, and clear refusals that leave nothing half-done."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BESIDE = ("--extra-vars", "lab_first=120")  # a rehearsal beside these tests has addresses from .100 up
NAMES = ["newcomer-a", "newcomer-b"]


def play(playbook: str, inventory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a lab playbook on an inventory; images and registry are there already, and stay for the scenarios beside."""
    return subprocess.run(
        ["ansible-playbook", f"lab/{playbook}.yml", "-i", str(inventory), "--skip-tags", "lab_images", *BESIDE, *options],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "LAB_KEEP": "true"},
    )  # fmt: skip


def docker(*words: str) -> str:
    """What the docker command prints."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def left_over() -> list[str]:
    """Containers and volumes of the fleet."""
    found = docker("ps", "--all", "--format", "{{.Names}}").split() + docker("volume", "ls", "--quiet").split()
    return [name for name in found if any(server in name for server in NAMES)]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Path]:
    """An inventory of two servers with addresses of their own, as production has them; none of them exists here."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all:\n  hosts:\n" + "".join(f"    {name}: {{ansible_host: {name}.example.org}}\n" for name in NAMES))
    yield inventory
    play("destroy", inventory)


def test_the_hosts_of_any_inventory_become_servers(fleet):
    created = play("create", fleet)
    assert created.returncode == 0, created.stdout[-3000:]
    reach = ["-i", str(fleet), "-i", str(ROOT / f"lab/state/{NAMES[0]}.yml")]
    names = subprocess.run(
        ["ansible", "all", *reach, "--become", "-m", "ansible.builtin.command", "-a", "hostname"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert names.returncode == 0, names.stdout + names.stderr
    assert all(f"\n{name}" in names.stdout for name in NAMES)
    assert "changed=0" in play("create", fleet).stdout  # what is there stays
    assert play("destroy", fleet).returncode == 0
    assert left_over() == []


@pytest.mark.long
def test_a_lab_that_was_half_created_is_completed(fleet):
    assert play("create", fleet, "--limit", f"localhost,{NAMES[0]}").returncode == 0
    docker("kill", f"kasaneha-lab-{NAMES[0]}")  # one server is down …
    docker("create", "--name", f"kasaneha-lab-{NAMES[1]}", "kasaneha-lab/server:trixie")  # … one was never started
    completed = play("create", fleet)
    assert completed.returncode == 0, completed.stdout[-3000:]


def test_a_port_that_is_taken_is_refused_before_anything_is_created(fleet):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = play("create", fleet, "--extra-vars", f'{{"lab_publish": ["127.0.0.1:{port}:443"]}}')
    assert refused.returncode != 0
    text = " ".join(refused.stdout.split())
    assert f"Port {port} of this machine is taken by another program" in text and "DEMO_PORT" in text
    assert left_over() == []


@pytest.fixture
def stranger() -> Iterator[list[str]]:
    """A checkout that belongs to a user who is not root and may not become root."""
    folder = Path(tempfile.mkdtemp())  # not tmp_path, whose parents are root's alone
    folder.chmod(0o755)
    home = folder / "checkout"
    shutil.copytree(ROOT / "lab", home / "lab", ignore=shutil.ignore_patterns("state"))
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, home)
    subprocess.run(["chown", "-R", "65534:65534", str(home)], check=True)
    yield ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
           "DOCKER_HOST=unix:///nonexistent/docker.sock", f"{home}/lab/setup.sh"]  # fmt: skip
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_docker_and_not_root_is_one_clear_sentence(stranger):
    done = subprocess.run(stranger, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("setup: ") and "root" in last and ("Docker does not answer" in last or "missing here: " in last)
    assert not (Path(stranger[-1]).parent.parent / ".venv").exists()
