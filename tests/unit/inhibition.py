# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alerts Alertmanager holds back, by its own rules (tests/testinfra/test_monitoring.py compares with a real one)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Labels = Mapping[str, str]


def matches(labels: Labels, matchers: Sequence[str]) -> bool:
    """Whether an alert is meant by all of these: ``name="x"``, ``name!~"x|y"`` …; a missing label is an empty one."""
    for matcher in matchers:
        found = re.fullmatch(r'(\w+)(=~|!~|!=|=)(".*")', matcher)
        assert found, matcher
        value, wanted = labels.get(found[1], ""), json.loads(found[3])
        same = re.fullmatch(wanted, value) is not None if "~" in found[2] else value == wanted
        if same == found[2].startswith("!"):
            return False
    return True


def held_back(rules: Sequence[Mapping[str, Any]], firing: Sequence[Labels]) -> list[Labels]:
    """Those of the firing alerts that another one of them holds back."""

    def by(rule: Mapping[str, Any], cause: Labels, alert: Labels) -> bool:
        both = [matches(one, rule["source_matchers"]) and matches(one, rule["target_matchers"]) for one in (cause, alert)]
        equal = all(cause.get(label, "") == alert.get(label, "") for label in rule.get("equal", []))
        return matches(cause, rule["source_matchers"]) and matches(alert, rule["target_matchers"]) and equal and not all(both)

    return [alert for alert in firing if any(by(rule, cause, alert) for rule in rules for cause in firing)]
