# SPDX-License-Identifier: GPL-3.0-or-later
"""A measured run of the suite of which a step failed: that step alone is run again, at the last commit, and its time is added."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
RUN = """#!/bin/sh
echo '{"commit": "mended", "seconds": 7, "steps": [{"step": "lab", "result": "ok", "seconds": 2}, {"step": "'$1'", "result": "ok", "seconds": 5}]}' \\
  >.cache/suite.json
exit %d
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/suite.py; the suite itself is a module of that name too."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    spec = importlib.util.spec_from_file_location("bench_suite", ROOT / "benchmarks/suite.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(folder: Path, code: int) -> Path:
    """The clone of a run whose step edge failed, and behind it a commit of which that step ends with this code."""
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (folder / "tests").mkdir()
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "first"], check=True)
    subprocess.run(["git", "clone", "--quiet", folder, folder / "clone"], check=True)
    (folder / "tests/run.sh").write_text(RUN % code)
    (folder / "tests/run.sh").chmod(0o755)
    subprocess.run([*git, "add", "tests"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "mended"], check=True)
    steps = [{"step": "unit", "result": "ok", "seconds": 3}, {"step": "edge", "result": "FAILED", "seconds": 1}]
    (folder / "clone/.cache").mkdir()
    (folder / "clone/.cache/measured.json").write_text(json.dumps({"commit": "first", "seconds": 90, "steps": steps}))
    return folder / "clone"


def test_what_failed_is_run_again_and_added_to_the_whole(bench, tmp_path, monkeypatch):
    clone = measured(tmp_path, 0)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    seconds, steps, said = bench.again(clone)
    assert seconds == 97 and [(row["step"], row["seconds"]) for row in steps] == [("unit", 3), ("edge", 5)]
    assert said == {"commit": "first", "again": {"commit": "mended", "steps": ["edge"]}}


def test_what_fails_again_writes_nothing(bench, tmp_path, monkeypatch):
    clone = measured(tmp_path, 1)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="edge failed; nothing is written"):
        bench.again(clone)
