# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the tests since a commit: python tests/compare_tests.py COMMIT [COMMIT]

Prints the tests that vanished, moved to `make proof` (marker long) or appeared between the two; without a second commit, up to
the checkout as it stands. Each that vanished or moved needs a row in docs/testing.md which says where it is proven now: exit
code 1 without one, and for a row whose test was never there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("tests/unit", "tests/templates", "tests/lab", "tests/testinfra")
ROWS = ROOT / "docs" / "testing.md"


def plain(test: str) -> str:
    """The id of a test below ``tests/``, without the server that testinfra would ask.

    Where values stand in tables (unit, templates), a case is called after its values and its place: there cases are only counted.
    """
    name, bracket, case = test.removeprefix("tests/").partition("[")
    if name.startswith(("unit/", "templates/")):
        return name
    return f"{name}{bracket}{re.sub(r'^local(?:-|(?=]))', '', case)}".removesuffix("[]")


def counted(tests: Iterable[str]) -> set[str]:
    """Ids, those that occur again with a number behind them: one case fewer is the last number missing."""
    seen: Counter[str] = Counter()
    found = set()
    for test in tests:
        seen[test] += 1
        found.add(test if seen[test] == 1 else f"{test} ({seen[test]})")
    return found


def in_tree(test: str) -> tuple[str, str]:
    """The tree of a test (unit, templates, lab, testinfra), and its name in whichever file of it."""
    file, _, name = test.partition("::")
    return file.partition("/")[0], name


def compare(old: Mapping[str, bool], new: Mapping[str, bool]) -> dict[str, list[str]]:
    """Sort the tests of two commits. One that went to another file of its tree is the same test.

    :param old: id -> whether the usual run leaves it out (marker long); ``new`` likewise.
    """
    gone: dict[tuple[str, str], list[str]] = {}
    for test in sorted(old.keys() - new.keys()):
        gone.setdefault(in_tree(test), []).append(test)
    was = {test: gone[in_tree(test)].pop(0) for test in sorted(new.keys() - old.keys()) if gone.get(in_tree(test))}
    new = {was.get(test, test): long for test, long in new.items()}
    return {
        "vanished": sorted(old.keys() - new.keys()),
        "moved to another file": sorted(was.values()),
        "moved to make proof": sorted(test for test in old.keys() & new.keys() if new[test] and not old[test]),
        "moved from make proof": sorted(test for test in old.keys() & new.keys() if old[test] and not new[test]),
        "appeared": sorted(new.keys() - old.keys()),
    }


def rows(text: str) -> list[str]:
    """The tests that the tables of a document name, in backticks in the first column of a row whose second one is not empty."""
    cells = [re.split(r"(?<!\\)\|", line)[1:3] for line in text.splitlines() if line.startswith("|")]
    named = [
        re.findall(r"`([^`]+)`", cell[0]) for cell in cells if len(cell) == 2 and len(cell[1].strip()) > 3 and "::" in cell[0]
    ]
    return [name.replace("\\|", "|") for names in named for name in names]


def covered(test: str, row: str) -> bool:
    """Whether a row speaks of a test: by its id, or by its function for all its parameters."""
    return re.sub(r" \(\d+\)$", "", test) == row or test.startswith(f"{row}[")


def without_row(tests: Iterable[str], named: Iterable[str]) -> list[str]:
    """The tests of which no row speaks."""
    known = list(named)
    return [test for test in tests if not any(covered(test, row) for row in known)]


def collect(folder: Path, *options: str) -> set[str]:
    """The ids of the tests in a checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *options, *FOLDERS],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = counted(plain(line) for line in done.stdout.splitlines() if line.startswith("tests/") and "::" in line)
    if done.returncode or not found:
        sys.exit(f"The tests of {folder} cannot be collected:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found


def tests(folder: Path) -> dict[str, bool]:
    """Id -> whether the usual run leaves it out."""
    usual = collect(folder, "-m", "not long")
    return {test: test not in usual for test in collect(folder)}


def tests_of(commit: str) -> dict[str, bool]:
    """The same of a commit, in a worktree that goes again."""
    with tempfile.TemporaryDirectory(prefix="tests-of-") as folder:
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", f"{folder}/tree", commit], check=True)
        try:
            return tests(Path(folder) / "tree")
        finally:
            subprocess.run([*git, "remove", "--force", f"{folder}/tree"], check=True)


def main(old_commit: str, new_commit: str = "") -> int:
    """Compare, print, judge."""
    old, new = tests_of(old_commit), tests_of(new_commit) if new_commit else tests(ROOT)
    found = compare(old, new)
    for kind, names in found.items():
        print(f"{kind}: {len(names)}")
        for name in names if kind not in ("appeared", "moved to another file") else ():
            print(f"  {name}")
    named = rows(ROWS.read_text())
    missing = without_row(found["vanished"] + found["moved to make proof"], named)
    strange = [row for row in named if not any(covered(test, row) for test in old)]
    for name in missing:
        print(f"{ROWS.relative_to(ROOT)} does not say where this is proven now: {name}")
    for name in strange:
        print(f"{ROWS.relative_to(ROOT)} has a row for a test that was not there at {old_commit}: {name}")
    print(f"{sum(not long for long in new.values())} tests, and {sum(new.values())} more in make proof; "
          f"{sum(not long for long in old.values())} and {sum(old.values())} at {old_commit}")  # fmt: skip
    return 1 if missing or strange else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) in (2, 3) else __doc__)
