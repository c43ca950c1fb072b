# SPDX-License-Identifier: GPL-3.0-or-later
"""What every benchmark shares: measure several runs, print a table, write benchmarks/results/<name>.json."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def figure(unit: str, values: list[float]) -> dict:
    """Summarise the runs of one figure: median, minimum, maximum, number of runs."""
    return {
        "unit": unit,
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
        "runs": len(values),
    }


def target(limit: float, measured: float, at_least: bool = False) -> dict:
    """A target is met when the measured median is not above its limit (or below, ``at_least``); a missed one is written down as missed."""
    met = measured >= limit if at_least else measured <= limit
    return {"target": limit, "measured": measured, "met": met, **({"at_least": True} if at_least else {})}


def commit() -> str:
    """The commit that is measured; `-dirty` behind it where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def add(name: str, runs: int, figures: dict[str, dict], targets: dict[str, dict], extra: dict) -> None:
    """Like ``write``, but earlier figures and targets of other names stay in the result, each under its own date and commit."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    here = {"date": datetime.date.today().isoformat(), "commit": commit(), "runs": runs, **extra}
    write(name, before.get("runs", runs), {**before.get("figures", {}), **figures}, {**before.get("targets", {}), **targets})
    kept = {key: value for key, value in before.items() if key not in ("figures", "targets")}
    result = {**json.loads(path.read_text()), **kept, "added": here}
    path.write_text(json.dumps(result, indent=2) + "\n")


def write(name: str, runs: int, figures: dict[str, dict], targets: dict[str, dict], extra: dict | None = None) -> None:
    """Print the table and write the result file; earlier results are replaced."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    result = {
        "benchmark": name,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {memory} GB, {platform.system()} {platform.machine()}",
        "runs": runs,
        "figures": figures,
        "targets": targets,
        **(extra or {}),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    width = max(map(len, figures))
    print(f"\n{name}: {result['machine']}, {result['date']}")
    print(f"{'':{width}}  {'median':>9} {'min':>9} {'max':>9}  {'runs':>4}  target")
    for key, value in figures.items():
        goal = targets.get(key)
        verdict = (
            ""
            if goal is None
            else f"{'>=' if goal.get('at_least') else '<='} {goal['target']:g}  {'met' if goal['met'] else 'MISSED'}"
        )
        print(
            f"{key:{width}}  {value['median']:9.2f} {value['min']:9.2f} {value['max']:9.2f}  {value['runs']:4d}  {verdict} ({value['unit']})"
        )
