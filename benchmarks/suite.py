#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long `make test` takes from a fresh clone on a machine that has Docker and nothing else of ours, step by step.

One run, since it takes most of an hour. What is measured is the last commit; a run that fails writes nothing, and leaves its clone
with the logs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import report
from converge import ROOT, forget_everything

LIMITS = {"make_test": 50 * 60, "longest_step": 13 * 60}  # seconds on two cores


def main() -> None:
    """Clone, forget, run, write benchmarks/results/suite.json."""
    clone = Path(tempfile.mkdtemp(prefix="kasaneha-suite-")) / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    forget_everything()
    began = time.monotonic()
    done = subprocess.run(["make", "test"], cwd=clone, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"make test failed; nothing is written. Its logs are in {clone}/.cache/logs")
    result = json.loads((clone / ".cache/suite.json").read_text())
    shutil.rmtree(clone.parent)
    steps = {row["step"]: row for row in result["steps"]}
    figures = {
        "make_test": report.figure("s", [seconds]),
        "longest_step": report.figure("s", [max(row["seconds"] for row in steps.values())]),
    }
    figures |= {name: report.figure("s", [row["seconds"]]) for name, row in steps.items()}
    targets = {name: report.target(limit, figures[name]["median"]) for name, limit in LIMITS.items()}
    report.write("suite", 1, figures, targets, {"commit": result["commit"], "steps": result["steps"]})


if __name__ == "__main__":
    main()
