# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back: to which release, and what speaks against it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide as release_decide
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import record as release_record
from decisions import FREEZE, decide, shown, starts


def history(*releases: str, **serving: Any) -> dict[str, Any]:
    """A record of v9 with earlier releases, newest first; a `!` behind a name: the one before cannot run on its schema."""
    entries = [{"release": name.strip("!"), "migrations": "needs_restore" if "!" in name else "compatible"} for name in releases]
    return {"release": "v9", "migrations": "compatible", "history": entries, "bad": {}, **serving}


LEFT = history(history=[{"release": "v8", "migrations": "compatible", "rolled_back": True}])
BAD = {"bad": {"v8": {"since": "yesterday", "reason": "It fell."}}}


@pytest.mark.parametrize(
    ("record", "named", "force", "expected"),
    [
        (history("v8"), "", False, ""),
        (history("v8"), "v8", False, ""),
        ({}, "", False, "Nothing was deployed here yet"),
        ({}, "v8", True, "Nothing was deployed here yet"),
        (history("v8"), "v9", False, "release: v9 serves already. Known before it are: v8."),
        (history(), "v9", True, "release: v9 serves already. Known before it are: none."),
        (history(), "", False, "release: no good one is known from before v9. Known are: none. Another one is deployed"),
        (history("v8"), "v1", False, "release: v1 is not known here. Known are: v8."),
        (history("v8"), "v1", True, "release: v1 is not known here"),  # nothing to force: nobody knows its images
        (
            history("v8", **BAD),
            "",
            False,
            "release: no good one is known from before v9. Known are: v8 (marked bad). Name one of them",
        ),
        (
            LEFT,
            "",
            False,
            "release: no good one is known from before v9. Known are: v8 (left by a rollback). Name one of them with -e release=…",
        ),
        (history("v8", **BAD), "v8", False, "release: v8 was marked bad on yesterday: It fell."),
        (history("v8", **BAD), "v8", True, ""),
        (history("v8", "v7", **BAD), "", False, ""),
        (history("v8", migrations="needs_restore"), "", False, "release: v8 cannot run on the schema of v9"),
        (history("v8", migrations="needs_restore"), "", True, ""),
        (history("v8!", "v7"), "", False, ""),  # what v8 did to the schema is there already
        (history("v8!", "v7"), "v7", False, "release: v7 cannot run on the schema of v8 (app_migrations.rollback"),
        (history("v8", "v7!"), "v7", False, ""),
        (history("v8!", "v7"), "v7", True, ""),
    ],
)
def test_rollback(record: dict[str, Any], named: str, force: bool, expected: str) -> None:
    starts(release_decide.rollback_problems(record, named, None, force), [expected] if expected else [])


@pytest.mark.parametrize(
    ("releases", "named", "serving", "blocking"),
    [
        (["v8", "v7"], "v7", "needs_restore", ["v9"]),
        (["v8!", "v7"], "v7", "needs_restore", ["v9", "v8"]),
        (["v8!", "v7!", "v6!"], "v6", "compatible", ["v8", "v7"]),  # what v6 did is what it runs on
    ],
)
def test_the_backup_to_restore_is_the_oldest(releases: list[str], named: str, serving: str, blocking: list[str]) -> None:
    (problem,) = release_decide.rollback_problems(history(*releases, migrations=serving), named)
    assert f"on the schema of {', '.join(blocking)} (" in problem
    assert f"Restore the backup that was taken before {blocking[-1]}, or" in problem


def test_what_serves_after_a_rollback_keeps_what_it_did_to_the_schema() -> None:
    plan = decide(shown(record={**history("v8!", "v7"), "colour": "blue", "services": {}}), intent="rollback")
    record = release_record.new_record(plan["record"], plan, {}, "now", migrations=plan["migrations"])
    assert (record["release"], record["migrations"], release_record.rollback_target(record)) == ("v8", "needs_restore", "v7")
    starts(release_decide.rollback_problems(record), ["release: v7 cannot run on the schema of v8 ("])
    assert release_decide.rollback_problems({**record, "migrations": "compatible"}) == []


def test_every_reason_is_said_at_once() -> None:
    record = history("v8", migrations="needs_restore", **BAD)
    starts(
        release_decide.rollback_problems(record, "v8", FREEZE),
        ["Releases are frozen", "release: v8 was marked bad", "release: v8 cannot run on the schema of v9"],
    )


def test_the_target_of_a_decision_is_that_of_the_record() -> None:
    record = {**history("v8", "v7", **BAD), "colour": "blue", "services": {}}
    assert decide(shown(record=record), intent="rollback")["release"] == release_record.rollback_target(record) == "v7"
