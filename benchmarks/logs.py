#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the way of a line costs: lines per second that the collector takes, its memory, the journal's size, and how long until a line
is found. A real journald and the collector in one container; the lines come from containers of this machine's Docker.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "collections")]
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import zipapp  # noqa: E402 - as it stands in this checkout

BOX, WRITER = "kasaneha-lab-logs-bench", "kasaneha-lab-logs-writer"
CONFIG = {
    "app": "bench", "containers": True, "files": [], "secret_dirs": ["/secrets"], "redact": [], "anonymous": False, "burst_lines": 10**9,
    "burst_bytes": 2**40, "burst_seconds": 30, "metrics": "", "max_bytes": 1, "upload": False,
}  # fmt: skip
START = """
mkdir -p /run/systemd/journal /run/log/journal /var/log/journal /etc/systemd/journald.conf.d /secrets; systemd-machine-id-setup
echo a-secret-of-this-server-0123456789 >/secrets/one
printf '[Journal]\\nStorage=persistent\\nSystemMaxUse=4G\\nRateLimitIntervalSec=0\\n' >/etc/systemd/journald.conf.d/bench.conf
/usr/lib/systemd/systemd-journald & sleep 1; journalctl --flush; exec sleep 100000
"""
UNITS = {
    "lines_per_second": "lines/s",
    "collector_rss": "MB",
    "journald_rss": "MB",
    "disk_per_million_lines": "MB",
    "found_after": "s",
}
LINE = '{"level":"info","message":"request answered","path":"/api/v1/sessions","status":200,"seconds":0.0123,"request_id":"%08d"}'


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def inside(command: str) -> str:
    return docker("exec", BOX, "sh", "-c", command)


def write(count: int, detach: bool = False) -> None:
    """A container that writes so many lines."""
    subprocess.run(["docker", "rm", "--force", WRITER], capture_output=True, check=False)
    labels = ["--label", "kasaneha.deploy.app=bench", "--label", "kasaneha.deploy.service=writer"]
    docker("run", *(["--detach"] if detach else []), "--name", WRITER, "--log-driver", "local", "--log-opt", "max-size=100m", *labels, "--entrypoint",
           "perl", "kasaneha-lab/server:trixie", "-e", f'printf(q({LINE}) . "\\n", $_) for 1 .. {count}')  # fmt: skip


def journal_bytes() -> int:
    inside("journalctl --sync")
    return int(inside("du --summarize --bytes /var/log/journal").split()[0])


def stored() -> int:
    return int(inside("journalctl --quiet --output=cat CONTAINER_NAME=" + WRITER + " | wc -l"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--lines", type=int, default=100_000)
    given = options.parse_args()
    found: dict[str, list[float]] = {name: [] for name in UNITS}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bench-logs"
        program.write_bytes(zipapp.pack("logs.command"))
        program.chmod(0o755)
        (Path(folder) / "logs.json").write_text(json.dumps(CONFIG))
        mounts = [
            "--volume=/var/run/docker.sock:/var/run/docker.sock",
            f"--volume={program}:/usr/local/sbin/bench-logs:ro",
            f"--volume={folder}/logs.json:/etc/bench/logs.json:ro",
        ]
        try:
            for _ in range(given.runs):
                subprocess.run(["docker", "rm", "--force", BOX], capture_output=True, check=False)
                docker("run", "--detach", "--name", BOX, "--tmpfs", "/run", *mounts, "--entrypoint", "bash",
                       "kasaneha-lab/server:trixie", "-c", START)  # fmt: skip
                time.sleep(2)
                before = journal_bytes()
                write(given.lines)  # the backlog of an outage, so that nothing but the collector decides
                began = time.monotonic()
                docker("exec", "--detach", BOX, "bench-logs", "collect")
                rss = {"collector_rss": 0, "journald_rss": 0}
                while (have := stored()) < given.lines:
                    for name, program in (("collector_rss", "bench-logs collect"), ("journald_rss", "systemd-journald")):
                        rss[name] = max(rss[name], int(inside(f"ps -o rss= -p $(pgrep -f '{program}' | head -n 1)") or 0))
                    time.sleep(1)  # asking costs as much as collecting does
                    if time.monotonic() - began > 300:
                        sys.exit(f"{have} of {given.lines} lines after 300 s")
                found["lines_per_second"].append(given.lines / (time.monotonic() - began))
                for name, kilobytes in rss.items():
                    found[name].append(kilobytes / 1024)
                found["disk_per_million_lines"].append((journal_bytes() - before) / given.lines * 1e6 / 2**20)
                write(1, detach=True)
                began = time.monotonic()
                while "00000001" not in inside("bench-logs --lines 1 --since '3 s ago'"):
                    time.sleep(0.05)
                found["found_after"].append(time.monotonic() - began)
        finally:
            subprocess.run(["docker", "rm", "--force", BOX, WRITER], capture_output=True, check=False)
    figures = {name: report.figure(UNITS[name], values) for name, values in found.items()}
    targets = {
        "lines_per_second": report.target(2000, figures["lines_per_second"]["median"], at_least=True),
        "collector_rss": report.target(100, figures["collector_rss"]["median"]),
        "found_after": report.target(10, figures["found_after"]["median"]),
    }
    report.write("logs", given.runs, figures, targets, {"lines": given.lines, "line_bytes": len(LINE % 1)})


if __name__ == "__main__":
    main()
