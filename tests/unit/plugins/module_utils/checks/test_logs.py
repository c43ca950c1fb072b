# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check of a host's logs passes on a good one, and fails for its own reason."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import logs

GOOD = (
    "unit shop-logs active",
    "token check-1",
    "canary canary-of-the-check",
    "found 09:00:00 shop-check check-1 password=[redacted]",
    "container /shop-web-blue journald",
    "listening 127.0.0.1:19531",
    "listening 0.0.0.0:443",
    "listening [::]:22",
    "journal 1048576",
)
FOUND = GOOD[3]


def problems(*lines: str, **how: object) -> dict[str, str]:
    """Check -> problem, of those that fail."""
    return {entry["check"]: entry["problem"] for entry in logs.checks(lines, **{"limit_mb": 1, **how}) if entry["problem"]}  # type: ignore[arg-type]


def test_a_good_host() -> None:
    assert problems(*GOOD) == {}
    assert len(logs.checks(GOOD, 1)) == 6
    sends = logs.checks([*GOOD, "unit systemd-journal-upload active"], 1, server="far", status=406)
    assert len(sends) == 7 and not any(entry["problem"] for entry in sends)


@pytest.mark.parametrize(
    ("old", "new", "check", "problem"),
    [
        (GOOD[0], "unit shop-logs failed", "the collector runs", "journalctl --unit shop-logs says why"),
        (FOUND, "", "a line is found", "check-1 is not among what was found: nothing"),
        (FOUND, "found cannot open the journal", "a line is found", "cannot open the journal"),
        (FOUND, "found check-1 password=canary-of-the-check", "its secret is not shown", "canary-of-the-check is shown"),
        (FOUND, "found check-1", "its secret is not shown", "nothing was redacted"),
        (GOOD[4], "container /shop-web-blue none", "every container", "shop-web-blue logs to none"),
        (GOOD[5], "listening 0.0.0.0:19531", "listens to everybody", "0.0.0.0:19531"),
        (GOOD[5], "listening [::]:9200", "listens to everybody", "[::]:9200"),
        (GOOD[5], "listening *:5601", "listens to everybody", "*:5601"),
        ("journal 1048576", "journal 1179649", "keeps to its limit", "it has 1179649 bytes"),
    ],
)  # fmt: skip
def test_each_check_fails_for_its_own_reason(old: str, new: str, check: str, problem: str) -> None:
    found = problems(*(new if line == old else line for line in GOOD))
    assert len(found) == 1
    assert check in next(iter(found)) and problem in found[next(iter(found))]


def test_a_file_that_is_written_to_may_be_an_eighth_too_much() -> None:
    assert problems(*GOOD[:-1], "journal 1179648") == {}


@pytest.mark.parametrize(
    ("status", "state", "problem"), [(0, "active", "far does not take them"), (406, "failed", "journalctl --unit")]
)
def test_a_log_server_that_takes_nothing(status: int, state: str, problem: str) -> None:
    found = problems(*GOOD, f"unit systemd-journal-upload {state}", server="far", status=status)
    assert list(found) == ["logs: the log server takes the lines of this host"] and problem in next(iter(found.values()))
