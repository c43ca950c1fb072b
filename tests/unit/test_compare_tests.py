# SPDX-License-Identifier: GPL-3.0-or-later
"""No test leaves the suite without a row that says where it is proven now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "compare_tests.py"
spec = importlib.util.spec_from_file_location("compare_tests", SOURCE)
assert spec and spec.loader
compare_tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare_tests)

TABLE = r"""
| test | where it is proven now |
|---|---|
| `testinfra/test_a.py::test_one` | `lab/test_b.py::test_other` |
| `testinfra/test_a.py::test_two[x]`, `testinfra/test_a.py::test_two[y \| z]` | in `make proof` |
| `testinfra/test_a.py::test_three` | |
"""


@pytest.mark.parametrize(
    ("shown", "plain"),
    [
        ("tests/unit/test_a.py::test_b", "unit/test_a.py::test_b"),
        ("tests/testinfra/test_a.py::test_b[local]", "testinfra/test_a.py::test_b"),
        ("tests/testinfra/test_a.py::test_b[local-c-d]", "testinfra/test_a.py::test_b[c-d]"),
        ("tests/lab/test_a.py::test_b[localhost]", "lab/test_a.py::test_b[localhost]"),
        ("tests/lab/test_a.py::test_b[a [b] c]", "lab/test_a.py::test_b[a [b] c]"),
        ("tests/unit/test_a.py::test_b[change7-a [b8]]", "unit/test_a.py::test_b"),
    ],
)
def test_an_id_names_no_server(shown: str, plain: str) -> None:
    assert compare_tests.plain(shown) == plain


def test_cases_without_a_name_are_counted() -> None:
    old, new = (compare_tests.counted(["a"] * count) for count in (3, 2))
    assert old - new == {"a (3)"} and new < old
    assert compare_tests.covered("a (3)", "a") and not compare_tests.covered("ab (3)", "a")


def test_what_became_of_each() -> None:
    old = {
        "unit/f.py::stays": False,
        "unit/f.py::goes": False,
        "unit/f.py::rarer": False,
        "unit/f.py::long": True,
        "unit/f.py::back": True,
        "unit/f.py::moves": False,
    }
    new = {
        "unit/f.py::stays": False,
        "unit/f.py::comes": False,
        "unit/g.py::rarer": True,
        "unit/f.py::long": True,
        "unit/f.py::back": False,
        "unit/g.py::moves": False,
    }
    assert compare_tests.compare(old, new) == {
        "vanished": ["unit/f.py::goes"],
        "moved to another file": ["unit/f.py::moves", "unit/f.py::rarer"],
        "moved to make proof": ["unit/f.py::rarer"],
        "moved from make proof": ["unit/f.py::back"],
        "appeared": ["unit/f.py::comes"],
    }


def test_a_row_speaks_of_a_test_or_of_all_its_cases() -> None:
    rows = compare_tests.rows(TABLE)
    assert len(rows) == 3  # the one that says nothing of where does not count
    gone = ["testinfra/test_a.py::test_one[case]", "testinfra/test_a.py::test_two[x]", "testinfra/test_a.py::test_two[y | z]"]
    assert compare_tests.without_row(gone, rows) == []
    others = ["testinfra/test_a.py::test_one_more", "testinfra/test_a.py::test_two[w]", "testinfra/test_a.py::test_three"]
    assert compare_tests.without_row(others, rows) == others
