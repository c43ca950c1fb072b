#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys that are killed at random instants under load: after each, one release serves, the next run puts everything right, and no
user lost a request."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import time

import report
from deploy import ADDRESS, INVENTORY, MANY, MONITORED, ROOT, Load, playbook, record, shell


def killed_after(seconds: float, release: str) -> str:
    """Deploy a release and kill the run after so many seconds; the phase that the journal was in."""
    quick = {"app_release": release, "force": True, "nginx_watch_seconds": 3, "nginx_revert_seconds": 5}
    variables = json.dumps({**MONITORED, **quick})
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "playbooks/deploy.yml", "-i", INVENTORY, "-e", variables]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(seconds)
    # No journal is an answer, too: the run had not begun, or had ended.
    phase = shell('grep -o \'"phase": "[a-z]*"\' /var/lib/kasaneha/run.json 2>/dev/null || true').split('"')
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return phase[3] if len(phase) > 3 else "none"


def wrong() -> str:
    """What is left over after the next run; empty: nothing."""
    now = record()
    live = shell("ls /var/lib/kasaneha/edge/live/").split()
    label = '{{.Label "kasaneha.deploy.colour"}}'
    running = set(shell(f"docker ps --filter label=kasaneha.deploy.colour --format '{label}'").split())
    left = shell("cd /var/lib/kasaneha; ls run.json 2>/dev/null; ls -d edge/uncommitted 2>/dev/null; true").split()
    good = live == [now["colour"], f"open-{now['colour']}"] and running == {now["colour"]} and not left
    return "" if good else f"{live} {running} {left} {now['colour']}"


def main() -> None:
    """Measure, print, write benchmarks/results/kills.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=25)
    options.add_argument("--seconds", type=float, default=25, help="the latest instant")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    random.seed(chosen.seed)
    playbook("lab/create.yml")
    playbook("site.yml")
    phases: dict[str, int] = {}
    problems, recovery = [], []
    with Load(ADDRESS, ranges=MANY, rate=60) as load:
        for number in range(chosen.kills):
            phase = killed_after(random.uniform(0, chosen.seconds), ("v1.1.0", "v1.2.0")[number % 2])
            phases[phase] = phases.get(phase, 0) + 1
            began = time.monotonic()
            playbook("playbooks/release.yml", nginx_watch_seconds=3)
            recovery.append(time.monotonic() - began)
            found = wrong()
            problems += [f"{phase}: {found}"] if found else []
        result = load.stop()
    figures = {
        "failed": report.figure("requests", [result["failed"]]),
        "requests": report.figure("requests", [result["total"]]),
        "not_put_right": report.figure("kills", [len(problems)]),
        "recovery": report.figure("s", recovery),
    }
    targets = {key: report.target(0, figures[key]["median"]) for key in ("failed", "not_put_right")}
    extra = {
        "kills": chosen.kills,
        "seed": chosen.seed,
        "phases": phases,
        "problems": problems,
        "first_failures": result["failures"][:5],
    }
    report.write("kills", chosen.kills, figures, targets, extra)
    playbook("lab/destroy.yml")


if __name__ == "__main__":
    main()
