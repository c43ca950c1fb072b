#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to watch: resident memory and processor time of everything that monitoring adds to a server, Grafana left out.

On the server of the scenario `operations`, as it is left by: molecule converge -s operations
"""

from __future__ import annotations

import argparse
import subprocess
import time

import report

UNITS = "prometheus prometheus-alertmanager prometheus-blackbox-exporter prometheus-node-exporter prometheus-postgres-exporter"
UNITS += " prometheus-redis-exporter prometheus-nginx-exporter"
# Kilobytes and clock ticks of the main process of each unit, and how long the collector runs.
PROCESSES = f"""for unit in {UNITS}; do pid=$(systemctl show -P MainPID $unit)
echo $unit $(awk '/^VmRSS/ {{print $2}}' /proc/$pid/status) $(awk '{{print $14 + $15}}' /proc/$pid/stat); done"""
COLLECTOR = """TIMEFORMAT='%U %S'
for i in 1 2 3 4 5; do time python3 -I /usr/local/lib/kasaneha-metrics.py /etc/default/kasaneha-metrics; done 2>&1 | grep '^[0-9]'"""
EACH_MINUTE = 2  # runs of the collector


def on(server: str, script: str) -> list[list[str]]:
    """Run a script on the server; its lines in words."""
    done = subprocess.run(
        ["docker", "exec", "-i", server, "bash", "-s"], input=script, text=True, capture_output=True, check=True
    )
    return [line.split() for line in done.stdout.splitlines()]


def main() -> None:
    """Measure, print, write benchmarks/results/monitoring.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--server", default="kasaneha-lab-molecule-operations")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--runs", type=int, default=5)
    chosen = options.parse_args()
    memory: dict[str, list[float]] = {}
    total: list[float] = []
    share: list[float] = []
    for _ in range(chosen.runs):
        before = {unit: int(ticks) for unit, _rss, ticks in on(chosen.server, PROCESSES)}
        began = time.monotonic()
        time.sleep(chosen.seconds)
        after = on(chosen.server, PROCESSES)
        seconds = time.monotonic() - began
        collector = [float(user) + float(system) for user, system in on(chosen.server, COLLECTOR)]
        spent = sum(int(ticks) - before[unit] for unit, _rss, ticks in after) / 100
        share.append(100 * (spent / seconds + sum(collector) / len(collector) * EACH_MINUTE / 60))
        total.append(sum(int(rss) for _unit, rss, _ticks in after) / 1024)
        for unit, rss, _ticks in after:
            memory.setdefault(unit.removeprefix("prometheus-"), []).append(int(rss) / 1024)
    figures = {
        "rss": report.figure("MB", total),
        "cpu": report.figure("% of one core", share),
        **{f"rss {name}": report.figure("MB", values) for name, values in memory.items()},
    }
    targets = {"rss": report.target(350, figures["rss"]["median"]), "cpu": report.target(2, figures["cpu"]["median"])}
    report.write("monitoring", chosen.runs, figures, targets, {"seconds": chosen.seconds})


if __name__ == "__main__":
    main()
