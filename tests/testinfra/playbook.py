# SPDX-License-Identifier: GPL-3.0-or-later
"""Run playbooks of the checkout from a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
INVENTORY = ROOT / "molecule" / os.environ.get("MOLECULE_SCENARIO_NAME", "verify") / "inventory"


def play(playbook: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run a playbook, with Mitogen, on the servers of the scenario with other variables; the inventory's stay as they are."""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment.pop("ANSIBLE_FORCE_COLOR", None)  # molecule sets it, and it would win
    return subprocess.run(
        ["lab/mitogen.sh", "ansible-playbook", playbook, "-i", str(INVENTORY), "-e", json.dumps(variables), *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def said(name: str) -> Any:
    """A variable as the inventory has it, templates and all, to be changed and given back."""
    done = subprocess.run(
        ["ansible-inventory", "-i", str(INVENTORY), "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return next(host[name] for host in json.loads(done.stdout)["_meta"]["hostvars"].values() if name in host)


def with_secrets(**secrets: str) -> str:
    """`app_secrets` as the inventory has it, but for these."""
    return "{{ lab_app_secrets | combine(" + json.dumps(secrets) + ") }}"


class Running:
    """A playbook under way, in a process group of its own, so that it can be killed as a laptop dies: all of it, at once."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def kill(self) -> None:
        """No signal handler, no clean-up. SSH's shared connection to the server stays: it belongs to no run."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """As a laptop that sleeps: nothing is said, and nothing is closed."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It wakes up, and goes on where it was."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def wait(self) -> int:
        """The exit code, once it ended."""
        return self.process.wait(timeout=300)


def start(playbook: str, *options: str, **variables: Any) -> Running:
    """Start a playbook and do not wait for it."""
    command = ["ansible-playbook", playbook, "-i", str(INVENTORY), "-e", json.dumps(variables), *options]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment.pop("ANSIBLE_STRATEGY", None)  # what is killed are Ansible's own processes, one for each task
    log = subprocess.DEVNULL
    return Running(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True))
