# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml of this checkout beside that of an earlier commit: two servers made alike, their runs in turns, on plain Ansible."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import report
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "lab")]

import rehearse  # noqa: E402 - of the directory that the line above adds
from rehearsal.plan import Plan  # noqa: E402 - likewise

TASK_TIME = re.compile(r"^kasaneha\.deploy\.(\w+) : .+? -{2,} +([0-9.]+)s$", re.M)
ROLES = ("logging", "monitoring", "firewall", "backup", "certbot")
FIRST = 120  # the last number of the first server's address
SHARE = {"noop": 45, "bare": 67}  # percent of the earlier commit that this one may take


class Side:
    """A checkout and the server that its inventory describes."""

    def __init__(self, name: str, number: int, checkout: Path, inventory: str) -> None:
        """
        :param number: of the server: its address and its name come of it.
        :param inventory: a directory of the checkout.
        """
        self.name, self.checkout = name, checkout
        self.seconds: dict[str, list[float]] = {}
        self.address, self.container = f"198.51.100.{FIRST + number}", f"rehearsal-converge-{number}"
        self.plan = Plan(rehearse.options([str(checkout / inventory)]))
        self.plan.judge()
        copied, reach = self.plan.sources
        [file] = (reach / "host_vars").glob("*.yml")
        said = {**yaml.safe_load(file.read_text()), "ansible_host": self.address, "lab_server": self.container}
        file.write_text(yaml.safe_dump(said))
        self.arguments = ["-i", str(copied), "-i", str(reach), "-e", f"@{self.plan.work}/standins.json"]

    def play(self, playbook: str, *more: str, checkout: Path | None = None) -> str:
        """Run a playbook; what it printed.

        :raises SystemExit: it failed, with the end of what it printed.
        """
        place = checkout or self.checkout
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
            "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all",
        }
        command = ["ansible-playbook", playbook, *self.arguments, *more]
        done = subprocess.run(
            command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: {playbook} failed:\n{done.stdout[-4000:]}")
        return done.stdout

    def measure(self, kind: str) -> str:
        """Run site.yml and keep how long it took, and each role of it."""
        start = time.monotonic()
        output = self.play("site.yml")
        self.keep(kind, time.monotonic() - start)
        roles: dict[str, float] = {}
        for role, seconds in TASK_TIME.findall(output):
            roles[role] = roles.get(role, 0) + float(seconds)
        for role in ROLES:
            self.keep(f"{kind}_{role}", roles.get(role, 0))
        print(f"{self.name}: {kind} {self.seconds[kind][-1]:.1f} s", flush=True)
        return output

    def keep(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)


@contextmanager
def earlier(commit: str) -> Iterator[Path]:
    """The earlier commit, checked out beside this one while it is needed."""
    place = Path(tempfile.mkdtemp(prefix="converge-")) / "checkout"
    subprocess.run(["git", "worktree", "add", "--detach", str(place), commit], cwd=ROOT, check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(place)], cwd=ROOT, check=False, capture_output=True)
        shutil.rmtree(
            place.parent, ignore_errors=True
        )  # an empty temporary directory, if git left one: no reason to lose a measurement


def provision(side: Side, bare_runs: int) -> None:
    """Make the server from nothing and provision it, as often as that is measured; the last one stays."""
    for _ in range(bare_runs):
        remove(side)
        side.play("lab/create.yml", "-e", side.plan.lab(), "--skip-tags", "lab_images", checkout=ROOT)
        outside = json.dumps({"rehearsal_edge": side.address, "rehearsal_names": side.plan.names()})
        side.play("lab/rehearsal/prepare.yml", "-e", outside, checkout=ROOT)
        side.measure("bare")
    side.play("site.yml")  # what only a second run can do, such as what depends on the certificate


def remove(side: Side) -> None:
    """Remove a side's server."""
    name = f"kasaneha-lab-{side.container}"
    subprocess.run(["docker", "rm", "--force", "--volumes", name], check=False, capture_output=True)
    subprocess.run(["docker", "volume", "rm", "--force", f"{name}-docker"], check=False, capture_output=True)


def compare(commit: str, inventory: str, runs: int, bare_runs: int) -> tuple[dict[str, dict], dict[str, dict]]:
    """Figures and targets of the comparison.

    :param commit: the earlier one.
    :param inventory: a directory of inventories/ with one host.
    """
    sides: list[Side] = []
    with rehearse.alone(), earlier(commit) as checkout:
        try:
            for number, (name, place) in enumerate((("parent", checkout), ("now", ROOT))):
                sides.append(Side(name, number, place, inventory))
            for side in sides:
                provision(side, bare_runs)
            for _ in range(runs):
                for side in sides:
                    output = side.measure("noop")
                    if re.search(r"changed=[1-9]", output):
                        raise SystemExit(f"{side.name}: site.yml changed something:\n{output[-3000:]}")
        finally:
            for side in sides:
                remove(side)
                side.plan.tidy()
            for name in ("acme", "world"):
                subprocess.run(["docker", "rm", "--force", f"kasaneha-lab-rehearsal-{name}"], check=False, capture_output=True)
    figures = {f"{kind}_{side.name}": report.figure("s", values) for side in sides for kind, values in side.seconds.items()}
    targets = {}
    for kind, limit in SHARE.items():
        share = 100 * figures[f"{kind}_now"]["median"] / figures[f"{kind}_parent"]["median"]
        figures[f"{kind}_share"] = report.figure("%", [share])
        targets[f"{kind}_share"] = report.target(limit, round(share, 1))
    return figures, targets
