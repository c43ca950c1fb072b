# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the application works on the data that was restored, as its probes tell."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan, restore
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http


def answers(monkeypatch: pytest.MonkeyPatch, *rounds: dict[str, tuple[int, bytes, str]]) -> list[tuple[str, dict[str, str]]]:
    """Let each round of questions be answered by the next of these, the last one for ever; what was asked."""
    asked: list[tuple[str, dict[str, str]]] = []

    def fetch(url: str, _timeout: float, headers: dict[str, str]) -> tuple[int, bytes, str]:
        asked.append((url, headers))
        number = sum(before == url for before, _headers in asked) - 1
        return rounds[min(number, len(rounds) - 1)][url]

    clock = itertools.count()
    monkeypatch.setattr(http, "fetch", fetch)
    monkeypatch.setattr(restore, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _seconds: None))
    return asked


REFUSED = (0, b"", "[Errno 111] Connection refused")
BLUE, GREEN = "http://127.0.0.1:1/", "http://127.0.0.1:2/"


@pytest.mark.parametrize(
    ("probes", "rounds", "said"),
    [
        ([], [{}], ""),
        ([BLUE, GREEN], [{BLUE: REFUSED, GREEN: (206, b"", "")}], ""),  # of two colours one runs, and any 2xx is good
        ([BLUE, GREEN], [{BLUE: REFUSED, GREEN: (503, b"", "")}, {BLUE: REFUSED, GREEN: (200, b"", "")}], ""),
        ([BLUE, GREEN], [{BLUE: (503, b"", ""), GREEN: REFUSED}], f"{BLUE}: status 503, not 2xx"),
        ([BLUE, GREEN], [{BLUE: REFUSED, GREEN: (301, b"", "")}], f"{GREEN}: status 301, not 2xx"),
        ([BLUE], [{BLUE: REFUSED}], f"{BLUE}: [Errno 111] Connection refused"),
        ([BLUE], [{BLUE: (500, b"", "")}, {BLUE: REFUSED}], f"{BLUE}: status 500, not 2xx"),  # it ended, and this is why
        ([{"url": BLUE, "body": "ready"}], [{BLUE: (200, b"asleep", "")}], f"{BLUE}: body does not match 'ready': 'asleep'"),
        ([{"url": BLUE, "body": "ready"}, GREEN], [{BLUE: (200, b"no", ""), GREEN: REFUSED}], f"{BLUE}: body does not match"),
        ([{"url": BLUE, "body": "ready", "status": [200, 401]}], [{BLUE: (401, b"ready", "")}], ""),
    ],
)
def test_the_application_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probes: list[Any], rounds: list[Any], said: str
) -> None:
    answers(monkeypatch, *rounds)
    config = plan.Config(instance="s", root=str(tmp_path), container="c", database="d", user="u", probes=probes, probe_seconds=2)
    found = restore.application_problem(config)
    assert found.startswith(said) if said else found == ""


def test_the_application_is_asked_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, {BLUE: (200, b"", "")})
    probes = [{"url": BLUE, "host": "shop.test", "headers": {"X-A": "b"}}]
    config = plan.Config(instance="s", root=str(tmp_path), container="c", database="d", user="u", probes=probes)
    assert restore.application_problem(config) == "" and asked == [(BLUE, {"X-A": "b", "Host": "shop.test"})]
