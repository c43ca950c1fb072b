#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release costs users and operators: real releases and bare switches under constant load, and for comparison the design's
rolling deploy (`up -d --no-deps`, `sleep 10`) and a switch by upstream file and reload, in one run on one server.

Every client is strict: it never retries. `failed` must be 0 for ours; what a browser would have retried is counted beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import report

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from tests.testinfra.load import MANY, Load  # noqa: E402 - the same load as in the tests

SERVER, ADDRESS = "kasaneha-lab-molecule-release", "198.51.100.22"
INVENTORY = "molecule/release/inventory"
WATCH = 5  # seconds that each release is watched
# As in production: Prometheus asks both colours all the time, and keeps its connections.
MONITORED = {"monitoring_enabled": True}
NEAR = 0.1  # seconds around a switch that count as "during"


def run(*command: str, **options: Any) -> str:
    """Run a command in the checkout; what it printed, or the end with what it said."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def playbook(name: str, mitogen: bool = False, **variables: Any) -> str:
    """Run a playbook on the server."""
    command = ["lab/mitogen.sh"] if mitogen else []
    path = {**os.environ, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}
    return run(*command, "ansible-playbook", name, "-i", INVENTORY, "-e", json.dumps({**MONITORED, **variables}), env=path)


def on_server(script: str, *arguments: str) -> str:
    """Run a Python script on the server, with the collection's own module_utils."""
    return run("docker", "exec", "-i", "--env", "PYTHONPATH=/root/bench", SERVER, "python3", "-", *arguments, input=script)


def shell(command: str) -> str:
    """Run a shell command on the server."""
    return run("docker", "exec", SERVER, "sh", "-c", command)


def record() -> dict[str, Any]:
    """The record of releases."""
    return json.loads(shell("cat /var/lib/kasaneha/release.json"))


def build_releases(count: int) -> list[str]:
    """Images of so many more releases, in the lab's registry."""
    ports = json.loads(run("docker", "inspect", "kasaneha-lab-registry"))[0]["NetworkSettings"]["Ports"]
    registry = f"127.0.0.1:{ports['5000/tcp'][0]['HostPort']}/kasaneha"
    releases = [f"v3.0.{number}" for number in range(count)]
    for release in releases:
        for part in ("backend", "frontend"):
            image = f"{registry}/{part}:{release}"
            run(
                "docker",
                "build",
                "-q",
                "-t",
                image,
                "--build-arg",
                "BASE=debian:bookworm-slim",
                "--build-arg",
                f"RELEASE={release}",
                f"lab/app/{part}",
            )
            run("docker", "push", "--quiet", image)
    return releases


def release(name: str, mitogen: bool) -> dict[str, Any]:
    """One release; the line of the server's log about it, with the seconds of the whole run."""
    began = time.monotonic()
    playbook("playbooks/deploy.yml", mitogen, app_release=name, nginx_watch_seconds=WATCH)
    return {"whole": time.monotonic() - began, **json.loads(shell("tail -1 /var/lib/kasaneha/releases.log"))}


def releases(names: list[str], rate: float) -> dict[str, Any]:
    """Real releases, one after the other, under load."""
    with Load(ADDRESS, ranges=MANY, rate=rate) as load:
        runs = [release(name, mitogen=True) for name in names]
        result = load.stop()
        return {"result": result, "records": load.records, "runs": runs}


SWITCHES = """
import json, random, sys, time
from pathlib import Path
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import state
colours, folder, times = sys.argv[2:], Path("/var/lib/kasaneha/edge"), []
for number in range(int(sys.argv[1])):
    began = time.time()
    times.append([began, state.switch(folder, colours[number % 2]), colours[number % 2]])
    time.sleep(random.uniform(0.3, 0.6))
print(json.dumps(times))
"""
# The other common way: the upstream stands in a file, and nginx reloads to read it.
RELOADS = """
import json, random, subprocess, sys, time
from pathlib import Path
colours, times = sys.argv[2:], []
config = Path("/etc/nginx/nginx.conf")
text = config.read_text()
for number in range(int(sys.argv[1])):
    colour = colours[number % 2]
    config.write_text(text.replace('set $closed "";', 'set $closed ""; set $colour %s;' % colour))
    subprocess.run(["nginx", "-t", "-q"], check=True)
    at = time.time()
    subprocess.run(["systemctl", "reload", "nginx"], check=True)
    times.append([at, at, colour])
    time.sleep(random.uniform(0.3, 0.6))
config.write_text(text)
subprocess.run(["systemctl", "reload", "nginx"], check=True)
print(json.dumps(times))
"""


# What the containers of a colour need on their own: made anew, started, and ready to answer.
BOOTS = """
import json, subprocess, sys, time, urllib.request
from pathlib import Path
colour, times = sys.argv[2], []
compose = ["docker", "compose", "--file", f"/opt/kasaneha/{colour}/compose.yml"]
ports = [entry["HostPort"] for name in ("backend", "frontend")
         for entry in json.loads(subprocess.check_output(["docker", "inspect", f"kasaneha-{name}-{colour}"]))[0]["HostConfig"]["PortBindings"].popitem()[1]]
for _ in range(int(sys.argv[1])):
    subprocess.run([*compose, "rm", "--stop", "--force"], check=True, capture_output=True)
    began = time.monotonic()
    subprocess.run([*compose, "up", "--detach"], check=True, capture_output=True)
    for port, path in zip(ports, ("/health", "/")):
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5)
                break
            except OSError:
                if time.monotonic() > began + 60:
                    raise
                time.sleep(0.05)
    times.append(time.monotonic() - began)
print(json.dumps(times))
"""


def boots(count: int) -> list[float]:
    """Seconds that the containers of the colour that is idle take, without us and without load: no excuse for our overhead under it."""
    other = "green" if record()["colour"] == "blue" else "blue"
    times = json.loads(on_server(BOOTS, str(count), other))
    shell(f"docker stop kasaneha-backend-{other} kasaneha-frontend-{other}")
    return times


def switches(count: int, rate: float, script: str) -> dict[str, Any]:
    """Bare switches between two colours that both run, under load."""
    now = record()
    other = "green" if now["colour"] == "blue" else "blue"
    shell(f"docker start kasaneha-backend-{other} kasaneha-frontend-{other} && sleep 5")
    with Load(ADDRESS, ranges=MANY, rate=rate) as load:
        times = json.loads(on_server(script, str(count), other, now["colour"]))
        result = load.stop()
    shell(f"docker stop kasaneha-backend-{other} kasaneha-frontend-{other}")
    return {"result": result, "records": load.records, "times": times}


def rolling(count: int, rate: float) -> dict[str, Any]:
    """The design's deploy: the container is made anew in place, then a pause of ten seconds, then the next one."""
    now = record()
    with Load(ADDRESS, ranges=MANY, rate=rate, slow=0, streams=0) as load:
        for _ in range(count):
            for service in ("backend", "frontend"):
                name = f"{service}-{now['colour']}"
                shell(f"cd /opt/kasaneha/{now['colour']} && docker compose up -d --no-deps --force-recreate {name} && sleep 10")
        result = load.stop()
    return {"result": result, "records": load.records}


def switch_times(run_: dict[str, Any]) -> list[float]:
    """Milliseconds from each switch to the last request that began after it and was still given to the old colour.

    A request that was not answered before the next switch began says nothing of this one: the time of a switch is taken
    when the disk has it, and requests got the new colour some milliseconds before that.
    """
    asked = sorted(
        (entry["start"], entry["colour"], entry["start"] + entry["ms"] / 1000)
        for entry in run_["records"]
        if entry["colour"] and entry["kind"] in ("fresh", "keepalive", "h2")
    )
    found, position = [], 0
    for (_began, at, colour), (following, *_rest) in zip(run_["times"], [*run_["times"][1:], [float("inf")]], strict=True):
        last = at
        while position < len(asked) and asked[position][0] < following:
            start, got, end = asked[position]
            if start > at and got != colour and end < following:
                last = start
            position += 1
        found.append((last - at) * 1000)
    return found


def latencies(run_: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Milliseconds of requests that began near a switch, and of the others."""
    times, near, far, position = [at for _began, at, _colour in run_["times"]], [], [], 0
    for entry in sorted(run_["records"], key=lambda entry: entry["start"]):
        if entry["kind"] not in ("fresh", "keepalive", "h2"):
            continue
        while position < len(times) and times[position] + NEAR < entry["start"]:
            position += 1
        close = position < len(times) and abs(entry["start"] - times[position]) <= NEAR
        (near if close else far).append(entry["ms"])
    return near, far


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of all lies."""
    return statistics.quantiles(values, n=100)[round(share * 100) - 1]


def main() -> None:
    """Measure, print, write benchmarks/results/deploy.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--releases", type=int, default=20)
    options.add_argument("--alone", type=int, default=5, help="releases without load, with Mitogen, and as many without it")
    options.add_argument("--switches", type=int, default=500)
    options.add_argument("--reloads", type=int, default=100)
    options.add_argument("--rolling", type=int, default=5)
    options.add_argument("--rate", type=float, default=200, help="requests per second")
    chosen = options.parse_args()

    playbook("lab/create.yml")
    playbook("site.yml")
    shell("mkdir -p /root/bench/ansible_collections/kasaneha/deploy/plugins")
    run("docker", "cp", "plugins/module_utils", f"{SERVER}:/root/bench/ansible_collections/kasaneha/deploy/plugins/")

    names = build_releases(chosen.releases + 2 * chosen.alone)
    # Without load, which shares this machine's cores with all the rest; in turns, so that both have the same machine.
    alone: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for number in range(2 * chosen.alone):
        mitogen = number % 2 == 0
        alone[mitogen].append(release(names.pop(), mitogen))
    ours = releases(names, chosen.rate)
    boot = boots(5)
    bare = switches(chosen.switches, chosen.rate, SWITCHES)
    reload = switches(chosen.reloads, chosen.rate, RELOADS)
    design = rolling(chosen.rolling, chosen.rate)

    moved = switch_times(bare)
    near, far = latencies(bare)
    reload_near, reload_far = latencies(reload)

    def overhead(runs: list[dict[str, Any]]) -> list[float]:
        return [one["whole"] - statistics.median(boot) - float(one["watch_seconds"]) - one["drain_seconds"] for one in runs]

    figures = {
        "releases_failed": report.figure("requests", [ours["result"]["failed"]]),
        "releases_requests": report.figure("requests", [ours["result"]["total"]]),
        "switches_failed": report.figure("requests", [bare["result"]["failed"]]),
        "switches_requests": report.figure("requests", [bare["result"]["total"]]),
        "switch_time": report.figure("ms", moved),
        "p50_outside": report.figure("ms", [percentile(far, 0.5)]),
        "p50_during": report.figure("ms", [percentile(near, 0.5)]),
        "p99_outside": report.figure("ms", [percentile(far, 0.99)]),
        "p99_during": report.figure("ms", [percentile(near, 0.99)]),
        "p99_ratio": report.figure("", [percentile(near, 0.99) / percentile(far, 0.99)]),
        "deploy_boot": report.figure("s", boot),
        "deploy_whole": report.figure("s", [entry["whole"] for entry in ours["runs"]]),
        "deploy_drain": report.figure("s", [entry["drain_seconds"] for entry in ours["runs"]]),
        "deploy_proof": report.figure("s", [entry["proof_seconds"] for entry in ours["runs"]]),
        "deploy_overhead": report.figure("s", overhead(alone[True])),
        "deploy_overhead_without_mitogen": report.figure("s", overhead(alone[False])),
        "deploy_overhead_under_load": report.figure("s", overhead(ours["runs"])),
        "reload_failed": report.figure("requests", [reload["result"]["failed"]]),
        "reload_failed_after_browser_retry": report.figure(
            "requests", [reload["result"]["failed"] - reload["result"]["reused_connection_failures"]]
        ),
        "reload_requests": report.figure("requests", [reload["result"]["total"]]),
        "reload_switch_time": report.figure("ms", switch_times(reload)),
        "reload_p99_during": report.figure("ms", [percentile(reload_near, 0.99)]),
        "reload_p99_outside": report.figure("ms", [percentile(reload_far, 0.99)]),
        "rolling_failed": report.figure("requests", [design["result"]["failed"]]),
        "rolling_requests": report.figure("requests", [design["result"]["total"]]),
        "rolling_failed_per_deploy": report.figure("requests", [design["result"]["failed"] / chosen.rolling]),
    }
    limits = {"releases_failed": 0, "switches_failed": 0, "switch_time": 20, "p99_ratio": 1.5, "deploy_overhead": 15}
    targets = {key: report.target(limit, figures[key]["median"]) for key, limit in limits.items()}
    report.write("deploy", chosen.releases, figures, targets, {
        "releases": chosen.releases, "switches": chosen.switches, "reloads": chosen.reloads, "rolling_deploys": chosen.rolling,
        "rate": chosen.rate, "first_failures": {"ours": (ours["result"]["failures"] + bare["result"]["failures"])[:5],
                                                "reload": reload["result"]["failures"][:3], "rolling": design["result"]["failures"][:3]},
    })  # fmt: skip
    playbook("lab/destroy.yml")


if __name__ == "__main__":
    main()
