# SPDX-License-Identifier: GPL-3.0-or-later
"""Levels, entries of several lines, budgets, and bytes that are no text."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import lines


@pytest.mark.parametrize(
    ("text", "stream", "level"),
    [
        ('{"level":"warn","message":"x"}', "stdout", "warning"),
        ('{"severity":"ERROR"}', "stdout", "err"),
        ('{"level":30}', "stdout", "info"),
        ('{"level":60}', "stdout", "crit"),
        ('{"message":"no level"}', "stderr", "err"),
        ('{"status":502,"upstream_status":"502"}', "access", "err"),
        ('{"status":404,"upstream_status":""}', "access", "info"),
        ("[1, 2]", "stdout", "info"),
        ("2026-11-25 09:00:00.1 UTC [55] LOG:  checkpoint starting", "stderr", "info"),
        ("2026-11-25 09:00:00.1 UTC [55] ERROR:  syntax error", "stderr", "err"),
        ("2026-11-25 09:00:00.1 UTC [55] FATAL:  no", "stderr", "crit"),
        ("2026/11/25 09:00:00 [warn] 7#7: *1 a client", "error", "warning"),
        ("2026/11/25 09:00:00 [crit] 7#7: x", "error", "crit"),
        ("1:M 25 Nov 2026 09:00:00.000 * Ready", "stdout", "notice"),
        ("1:M 25 Nov 2026 09:00:00.000 # Warning", "stdout", "warning"),
        ('time=2026 level=WARN msg="x"', "stderr", "warning"),
        ("panic: runtime error", "stderr", "emerg"),
        ("Traceback (most recent call last):\n  x", "stdout", "err"),
        ("plain", "stdout", "info"),
        ("plain", "stderr", "err"),
        ("", "stdout", "info"),
        ('{"level":', "stdout", "info"),
    ],
)
def test_level(text: str, stream: str, level: str) -> None:
    assert lines.LEVELS[lines.level(text, stream)] == level


def test_level_names() -> None:
    assert [lines.level_number(name) for name in ("error", "ERR", "warn", "7", "8", "nonsense")] == [3, 3, 4, 7, None, None]


def grouped(text: str) -> list[str]:
    groups: list[list[str]] = []
    for line in text.splitlines():
        if groups and lines.goes_on(groups[-1], line):
            groups[-1].append(line)
        else:
            groups.append([line])
    return ["\n".join(group) for group in groups]


PYTHON = "Traceback (most recent call last):\n  File x\n    y\nKeyError: 1"
CHAIN = f"{PYTHON}\n\nDuring handling of the above exception, another exception occurred:\n\n{PYTHON}"
GO = "panic: nil\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:5 +0x1d\nruntime.goexit({})\n\t/x\nexit status 2"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIabc\ndef\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    "entry", [PYTHON, CHAIN, GO, KEY, "ERROR:  x\n\tSELECT\n\t 1", "java.X: y\n\tat a\nCaused by: z\n\tat b"]
)
def test_what_belongs_together_is_one_entry(entry: str) -> None:
    assert grouped(f"before\n{entry}\nafter") == ["before", entry, "after"]


def test_what_does_not_is_several() -> None:
    assert grouped("one\ntwo\npanicking: no\nthree") == ["one", "two", "panicking: no", "three"]
    assert max(text.count("\n") for text in grouped("x\n" + " y\n" * 1000)) < lines.GROUP_LIMIT


def test_bytes() -> None:
    assert lines.decoded("日本語\tx".encode()) == "日本語\tx"
    assert lines.decoded(b"bad \xff\xfe \x1b[31mred") == "bad \\xff\\xfe \\x1b[31mred"  # no line commands a terminal
    assert lines.cut(b"x" * 12, 10) == b"x" * 10 + b" [cut: 2 bytes more]"


def test_a_budget_counts_by_the_time_of_the_lines() -> None:
    budget = lines.Budget(lines=2, size=100, seconds=10)
    assert [budget.take(at, 1) for at in (100, 101, 102, 109.9, 110, 111, 112)] == [True, True, False, False, True, True, False]
    assert budget.dropped == 3 and budget.ends() == 120
    assert [lines.Budget(9, 100, 10).take(0, size) for size in (100, 101)] == [True, False]
    # Ten minutes that are read at once, as after an outage, lose nothing.
    late = lines.Budget(lines=2000, size=1 << 20, seconds=10)
    assert all(late.take(number / 200, 80) for number in range(120_000))


def test_metrics() -> None:
    text = lines.metrics("shop", {"backend": lines.Count(lines=3, dropped=1, last=1.5, levels={"err": 2})}, {"journal_bytes": 7})
    assert 'kasaneha_log_lines_total{app="shop",service="backend"} 3\n' in text
    assert 'kasaneha_log_dropped_lines_total{app="shop",service="backend"} 1\n' in text
    assert 'kasaneha_log_level_lines_total{app="shop",service="backend",level="err"} 2\n' in text
    assert text.endswith('# TYPE kasaneha_log_journal_bytes gauge\nkasaneha_log_journal_bytes{app="shop"} 7\n')
