#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a developer waits: from a saved file to the served page and to the answering backend, and for `make dev` that changes nothing."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import report
import requests

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests")]
from lab.developer import Developer, edit  # noqa: E402 - found by the path set above


def seconds(seen: Callable[[], bool], limit: float = 60) -> float:
    began, there = time.monotonic(), False
    while not there:
        with contextlib.suppress(requests.ConnectionError):  # the old program is gone, and the new one not yet there
            there = seen()
        if time.monotonic() - began > limit:
            sys.exit(f"not within {limit:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    found: dict[str, list[float]] = {"first_run": [], "run_without_change": [], "frontend_edit": [], "backend_edit": []}
    developer = Developer(Path(tempfile.mkdtemp(prefix="kasaneha-dev-")))
    try:
        for name, runs in (("first_run", 1), ("run_without_change", 3)):
            for _ in range(runs):
                began = time.monotonic()
                done = developer.site()
                if done.returncode:
                    sys.exit(done.stdout[-4000:])
                found[name].append(time.monotonic() - began)
        developer.page()
        before = developer.started()
        old = "Good morning"
        for run in range(given.runs):
            new = f"Good day {run}"
            edit(developer.frontend / "src/pages/index.astro", old, new)
            found["frontend_edit"].append(seconds(lambda new=new: new in developer.page()))
            edit(developer.backend / "cmd/api/main.go", old, new)
            found["backend_edit"].append(seconds(lambda new=new: developer.greeting() == new))
            old = new
        if developer.started() != before:
            sys.exit("a container began again")
    finally:
        developer.away()
    figures = {name: report.figure("s", values) for name, values in found.items()}
    targets = {
        "frontend_edit": report.target(3, figures["frontend_edit"]["max"]),
        "backend_edit": report.target(10, figures["backend_edit"]["max"]),
    }
    report.write("development", given.runs, figures, targets)


if __name__ == "__main__":
    main()
