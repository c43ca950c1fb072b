#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long `make test` takes from a fresh clone on a machine that has Docker and nothing else of ours, step by step.

One run, since it takes most of an hour. What is measured is the last commit; a run that fails writes nothing, and leaves its clone
with the logs. Where what failed has been mended since, `--again CLONE` runs those steps alone, at the last commit, and adds all that they
take to the whole, which is more than they would have taken beside others; the result names them with their commit.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import report
from converge import ROOT, forget_everything

# Seconds on two cores: 50 minutes as it was when this was set, and five for what has come to be proven since.
LIMITS = {"make_test": 55 * 60, "longest_step": 13 * 60}


def main() -> None:
    """Clone, forget, run, write benchmarks/results/suite.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--again", metavar="CLONE", type=Path, help="the clone of a run that failed: run those steps again")
    chosen = options.parse_args()
    if chosen.again:
        write(*again(chosen.again))
        return
    clone = Path(tempfile.mkdtemp(prefix="kasaneha-suite-")) / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    forget_everything()
    began = time.monotonic()
    done = subprocess.run(["make", "test"], cwd=clone, check=False)
    seconds = time.monotonic() - began
    result = json.loads((clone / ".cache/suite.json").read_text())
    (clone / ".cache/measured.json").write_text(json.dumps({**result, "seconds": seconds}))
    if done.returncode:
        raise SystemExit(f"make test failed; nothing is written. Its logs are in {clone}/.cache/logs")
    shutil.rmtree(clone.parent)
    write(seconds, result["steps"], {"commit": result["commit"]})


def again(clone: Path) -> tuple[float, list[dict], dict]:
    """Run the steps of a measured run that failed, at the last commit: seconds of it all, its steps with those, which they were."""
    measured = json.loads((clone / ".cache/measured.json").read_text())
    failed = [row["step"] for row in measured["steps"] if row["result"] != "ok"]
    subprocess.run(["git", "-C", str(clone), "pull", "--quiet", "--ff-only", str(ROOT), "HEAD"], check=True)
    if not failed or subprocess.run(["tests/run.sh", *failed], cwd=clone, check=False).returncode:
        raise SystemExit(f"{' '.join(failed) or 'nothing'} failed; nothing is written. The logs are in {clone}/.cache/logs")
    later = json.loads((clone / ".cache/suite.json").read_text())
    passed = [row for row in measured["steps"] if row["result"] == "ok"]
    said = {"commit": measured["commit"], "again": {"commit": later["commit"], "steps": failed}}
    return measured["seconds"] + later["seconds"], [*passed, *(row for row in later["steps"] if row["step"] in failed)], said


def write(seconds: float, steps: list[dict], said: dict) -> None:
    """Write the result: all of it, the longest step, each step; and what is said of the commits."""
    figures = {
        "make_test": report.figure("s", [seconds]),
        "longest_step": report.figure("s", [max(row["seconds"] for row in steps)]),
    }
    figures |= {row["step"]: report.figure("s", [row["seconds"]]) for row in steps}
    targets = {name: report.target(limit, figures[name]["median"]) for name, limit in LIMITS.items()}
    report.write("suite", 1, figures, targets, {**said, "steps": steps})


if __name__ == "__main__":
    main()
