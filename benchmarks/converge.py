#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a newcomer and an operator wait: cold demo, repeated demo, a site.yml that changes nothing.

Cold means: no server, no lab image, no base image, no Python environment; only Docker itself is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import against
import report

ROOT = Path(__file__).parent.parent
TASK_TIME = re.compile(r"^(.+?) -{2,} +([0-9.]+)s$")
IMAGES = r"^(kasaneha-lab/|kasaneha/|127\.0\.0\.1:\d+/|debian:(bookworm|trixie)-slim$)"


def run(*command: str, **env: str) -> str:
    """Run a command in the checkout; its output is returned, and shown if it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def timed(*command: str, **env: str) -> tuple[float, str]:
    """Seconds and output of a command."""
    start = time.monotonic()
    output = run(*command, **env)
    return time.monotonic() - start, output


def forget_everything() -> None:
    """Back to a fresh clone on a machine that has Docker and nothing else of ours."""
    if (ROOT / ".venv").exists():
        run("make", "demo-down")
    for folder in (".venv", ".cache"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    names = run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    ours = [name for name in names if re.match(IMAGES, name)]
    if ours:
        run("docker", "image", "rm", "--force", *ours)
    volumes = run(
        "docker", "volume", "ls", "--quiet", "--filter", "label=kasaneha.lab.checkout"
    ).split()  # of provisioned servers
    if volumes:
        run("docker", "volume", "rm", "--force", *volumes)


def rss_mb() -> float:
    """Resident memory of all processes in the demo's containers, the server's own Docker and its containers among them."""
    server = run("docker", "exec", "kasaneha-lab-demo", "ps", "-eo", "rss=").split()
    registry = [line.split()[1] for line in run("docker", "top", "kasaneha-lab-registry", "-eo", "pid,rss").splitlines()[1:]]
    return sum(map(int, server + registry)) / 1024


def changed(output: str) -> int:
    """The sum of `changed=` over all hosts of the play recap."""
    return sum(int(count) for count in re.findall(r"changed=(\d+)", output))


def main() -> None:
    """Measure, print, write benchmarks/results/converge.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5, help="runs of the repeated demo and of site.yml")
    options.add_argument("--cold-runs", type=int, default=5, help="runs from nothing (0 leaves the figure out)")
    options.add_argument(
        "--against", metavar="COMMIT", help="measure site.yml beside that of this commit only; the other figures stay"
    )
    options.add_argument("--inventory", default="inventories/prod", help="what is provisioned then; an inventory of one host")
    options.add_argument(
        "--bare-runs", type=int, default=3, help="times that a server is provisioned from nothing then, at least one"
    )
    chosen = options.parse_args()
    if chosen.against:
        compared = against.compare(chosen.against, chosen.inventory, chosen.runs, chosen.bare_runs)
        report.add("converge", chosen.runs, *compared, {"against": chosen.against})
        return

    cold = []
    for _ in range(chosen.cold_runs):
        forget_everything()
        cold.append(timed("make", "demo")[0])
    if not cold:
        run("make", "demo")

    warm, noop, plain, tasks, slowest = [], [], [], [], {}
    for _ in range(chosen.runs):
        seconds, output = timed("make", "demo")
        warm.append(seconds)
        if changed(output):
            raise SystemExit(f"a repeated demo changed something:\n{output[-3000:]}")
    site = (str(ROOT / ".venv/bin/ansible-playbook"), "site.yml", "-i", "inventories/local")
    for run_number in range(2 * chosen.runs):
        with_mitogen = run_number % 2 == 0  # in turns, so that both have the same machine
        seconds, output = timed(
            *(("lab/mitogen.sh", *site) if with_mitogen else site),
            PATH=f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
            ANSIBLE_CALLBACKS_ENABLED="ansible.posix.profile_tasks", PROFILE_TASKS_TASK_OUTPUT_LIMIT="all",
        )  # fmt: skip
        if changed(output):
            raise SystemExit(f"site.yml changed something:\n{output[-3000:]}")
        if not with_mitogen:
            plain.append(seconds)
            continue
        noop.append(seconds)
        each = [match for match in map(TASK_TIME.match, output.splitlines()) if match]
        tasks.append(len(each))
        for match in each:
            slowest.setdefault(match[1].strip(), []).append(float(match[2]))
    time.sleep(20)  # at rest: what the runs above started has settled
    figures = {
        **({"cold_demo": report.figure("s", cold)} if cold else {}),
        "repeated_demo": report.figure("s", warm),
        "noop_site": report.figure("s", noop),
        "noop_site_without_mitogen": report.figure("s", plain),
        "noop_tasks": report.figure("tasks", tasks),
        "rss": report.figure("MB", [rss_mb() for _ in range(chosen.runs)]),
    }
    # Memory: 600 without monitoring, and what monitoring may take (monitoring.py).
    limits = {"cold_demo": 420, "repeated_demo": 120, "noop_site": 30, "rss": 600 + 350}
    targets = {key: report.target(limit, figures[key]["median"]) for key, limit in limits.items() if key in figures}
    per_task = sorted(((sorted(seconds)[len(seconds) // 2], name) for name, seconds in slowest.items()), reverse=True)
    report.write("converge", chosen.runs, figures, targets, {"seconds_per_task": {name: s for s, name in per_task}})
    print("\nseconds per task (median):")
    for seconds, name in per_task[:15]:
        print(f"  {seconds:6.2f}  {name}")


if __name__ == "__main__":
    main()
