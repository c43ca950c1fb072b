# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about backups: what is refused, how sets are named, and what retention may never do."""

from __future__ import annotations

import calendar
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import Entry

GOOD: dict[str, Any] = {
    "instance": "shop",
    "root": "/var/backups/shop",
    "container": "shop-postgres",
    "database": "shop",
    "user": "shop",
    "files": [{"name": "uploads", "path": "/var/lib/shop/uploads"}],
    "retention": {"keep_daily": 7},
    "recipients": ["age1" + "q" * 58],
    "remotes": ["s3:bucket/path", "/mnt/nas"],
}
HOUR, DAY = 3600, 86400


def at(text: str) -> float:
    """Seconds of a moment in UTC."""
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M")))


def test_a_sound_configuration_has_no_problems() -> None:
    assert plan.config_problems(GOOD) == []
    assert plan.Config(**GOOD).min_keep == 3
    assert (
        plan.config_problems({**GOOD, "probes": ["http://a:1/", {"url": "http://a:1/", "host": "shop.test", "body": "^ok"}]})
        == []
    )


def test_a_role_names_its_own_variables() -> None:
    (problem,) = plan.role_problems({**GOOD, "probes": [{"url": "http://a/", "timeout": 0}]})
    assert problem == "backup_probes[0].timeout: 0 is no time to wait. Use seconds above 0."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instance": ""}, "instance: is not set"),
        ({"instance": "../x"}, "instance: '../x' is no plain name"),
        ({"root": "/"}, "root: '/' is no place for backups"),
        ({"root": "backups"}, "root: 'backups'"),
        ({"root": "/etc"}, "root: '/etc'"),
        ({"root": "/var/backups/../../etc"}, "root: "),
        ({"colour": 1}, "colour: is unknown"),
        ({"retention": {}}, "retention: keeps nothing"),
        ({"retention": {"keep_daily": 0}}, "retention: keeps nothing"),
        ({"retention": {"keep_daily": -1}}, "retention.keep_daily: -1"),
        ({"retention": {"keep_daily": True}}, "retention.keep_daily: True"),
        ({"retention": {"keep_dayly": 7}}, "retention.keep_dayly: is unknown"),
        ({"min_keep": 0}, "min_keep: at least one"),
        ({"files": [{"name": "a", "path": "x"}]}, "files.a: 'x' is no absolute path"),
        ({"files": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]}, "files: 'a'"),
        ({"files": [{"name": "all", "path": "/var"}]}, "files.all: /var holds the backups themselves"),
        ({"files": ["/a"]}, "files: None"),
        ({"recipients": ["AGE-SECRET-KEY-1" + "Q" * 58]}, "recipients: not every entry is a public key"),
        ({"remotes": ["bucket"]}, "remotes: 'bucket'"),
        ({"guard": "maybe"}, "guard: 'maybe'"),
        ({"level": 22}, "level: 22"),
        ({"jobs": "two"}, "jobs: 'two' is not of type int"),
        ({"probes": "http://a/"}, "probes: 'http://a/' is not of type list"),
        ({"probes": ["http://a/", "/health"]}, "probes[1]: '/health' is no address to ask"),
        (
            {"probes": [{"url": "http://a/", "stauts": 200}]},
            "probes[0].stauts: is no key of a health check. Did you mean status?",
        ),
    ],
)
def test_what_cannot_work_is_named(change: dict[str, Any], said: str) -> None:
    assert any(problem.startswith(said) for problem in plan.config_problems({**GOOD, **change})), plan.config_problems(
        {**GOOD, **change}
    )


def test_a_private_key_among_the_recipients_is_not_repeated() -> None:
    key = "AGE-SECRET-KEY-1" + "Q" * 58
    assert key not in " ".join(plan.config_problems({**GOOD, "recipients": [key]}))


def test_something_else_than_an_object_is_refused() -> None:
    assert plan.config_problems([]) == ["the configuration is no JSON object."]


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_name_gives_its_moment_back_wherever_the_server_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for moment in ("2026-11-01 05:30", "2026-11-01 06:30", "2028-02-29 23:59"):  # the night of two half past one
            assert plan.id_time(plan.set_id(at(moment), "0123456789")) == at(moment)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_two_sets_of_one_second_have_two_names() -> None:
    assert plan.set_id(0, "aaaaaa") != plan.set_id(0, "bbbbbb")


@pytest.mark.parametrize("name", ["notes.gz", "20261301T000000Z-123456", "20261123T190300Z", "20261123T190300Z-12345x", "..", ""])
def test_other_names_are_nobodys_set(name: str) -> None:
    assert plan.id_time(name) is None


@pytest.mark.parametrize("database", ["app", "We ird;--", "データベース" * 4, "x" * 63])
def test_a_database_beside_another_has_a_name_that_postgresql_takes(database: str) -> None:
    name = plan.beside(database, "restore", plan.set_id(0, "abcdef"))
    assert len(name.encode()) <= 63 and name.endswith("__restore_19700101t000000z-abcdef")
    old = plan.beside(database, "before", plan.set_id(0, "abcdef"))
    assert plan.kept_databases([old, name, database], database, 8 * DAY, 7) == [old]
    assert plan.kept_databases([old, name, database], database, 6 * DAY, 7) == []


# --- retention ------------------------------------------------------------------------------------------


def sets(*moments: str, **properties: Any) -> list[Entry]:
    """Entries of these moments."""
    return [Entry(plan.set_id(at(moment), f"{number:06x}"), at(moment), **properties) for number, moment in enumerate(moments)]


def test_the_newest_of_each_day_stays() -> None:
    entries = sets("2026-11-23 02:00", "2026-11-23 14:00", "2026-11-24 02:00", "2026-11-24 14:00", "2026-11-25 02:00")
    decided = plan.retention(entries, at("2026-11-25 03:00"), {"keep_daily": 2}, min_keep=1)
    assert decided.keep == {entries[4].id: ["newest verified", "daily"], entries[3].id: ["daily"]}
    assert set(decided.remove) == {entry.id for entry in entries[:3]}


def test_the_oldest_fills_a_slot_that_nothing_fills() -> None:
    entries = sets("2026-11-23 02:00", "2026-11-23 14:00", "2026-11-24 02:00")
    assert entries[0].id in plan.retention(entries, at("2026-11-24 03:00"), {"keep_daily": 3}, min_keep=1).keep


def test_the_floor_counts_verified_sets_only() -> None:
    bad = sets("2026-11-24 01:00", "2026-11-24 02:00", verified=False)
    good = sets("2026-11-20 01:00", "2026-11-21 01:00", "2026-11-24 00:30")
    decided = plan.retention([*bad, *good], at("2026-11-24 03:00"), {"keep_last": 1}, min_keep=3)
    assert set(decided.keep) == {entry.id for entry in [*bad, *good]}  # the failed ones are newer than anything good
    assert "nothing verified since" in decided.keep[bad[0].id]


def test_a_set_that_could_not_be_proven_again_stays_as_long_as_it_would_have() -> None:
    seven = sets(*(f"2026-11-{day} 02:00" for day in range(17, 24)), verified=False)
    policy, now = {"keep_last": 7}, at("2026-11-24 03:00")
    decided = plan.retention([*seven, *sets("2026-11-24 02:00")], now, policy, min_keep=1)
    assert decided.remove == []
    assert decided.keep[seven[0].id] == ["last if its last check had been good"]
    # The negative control: once seven good ones are newer, it goes as any other.
    newer = sets(*(f"2026-11-24 0{hour}:30" for hour in range(7)))
    assert set(plan.retention([*seven, *newer], at("2026-11-24 07:00"), policy, min_keep=1).remove) == {each.id for each in seven}


def test_ninety_days_of_failures_remove_nothing() -> None:
    good = sets("2026-08-01 02:00", "2026-08-02 02:00", "2026-08-03 02:00", "2026-08-04 02:00", "2026-08-05 02:00")
    decided = plan.retention(good, at("2026-11-05 02:00"), {"keep_last": 1}, min_keep=1)
    assert decided.remove == [] and "48 hours" in decided.note
    # The negative control: with one success of today they may go.
    assert (
        len(plan.retention([*good, *sets("2026-11-05 01:00")], at("2026-11-05 02:00"), {"keep_last": 1}, min_keep=1).remove) == 5
    )


def test_what_somebody_wants_and_what_is_nowhere_else_stays() -> None:
    entries = [*sets("2026-11-01 02:00", keep=True), *sets("2026-11-02 02:00", offsite_missing=True), *sets("2026-11-25 02:00")]
    decided = plan.retention(entries, at("2026-11-25 03:00"), {"keep_last": 1}, min_keep=1)
    assert decided.remove == []


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(plan.BackupError, match="keeps nothing") as caught:
        plan.retention([], 0, {"keep_daily": 0})
    assert caught.value.code == plan.BAD_INPUT


def history(dice: random.Random, now: float) -> list[Entry]:
    """Any past: failures, gaps, several sets in a second, nights that are longer, leap days, the future."""
    moments = [at("2026-10-25 00:00"), at("2026-11-01 05:30"), at("2028-02-29 12:00"), now, now + DAY, now - HOUR]
    entries = []
    for number in range(dice.randrange(0, 25)):
        moment = dice.choice(moments) if dice.random() < 0.2 else now - dice.expovariate(1 / (30 * DAY))
        moment = float(int(moment))
        entries.append(
            Entry(
                plan.set_id(moment, f"{number:06x}"),
                moment,
                verified=dice.random() < 0.8,
                keep=dice.random() < 0.05,
                offsite_missing=dice.random() < 0.1,
            )
        )
    return entries


def broken(entries: list[Entry], now: float, policy: dict[str, int], min_keep: int, decided: plan.Plan) -> list[str]:
    """Which of the promises a decision breaks."""
    known = {entry.id: entry for entry in entries}
    good = sorted((entry for entry in entries if entry.verified and entry.at <= now), key=lambda entry: (entry.at, entry.id))
    wrong = []
    if sorted([*decided.keep, *decided.remove]) != sorted(known):
        wrong.append("a set is neither kept nor removed")
    if good and good[-1].id not in decided.keep:
        wrong.append("the newest verified set goes")
    if len([entry for entry in good if entry.id in decided.keep]) < min(min_keep, len(good)):
        wrong.append("below the floor")
    if any(known[name].keep or known[name].offsite_missing or known[name].at > now for name in decided.remove):
        wrong.append("what must stay goes")
    if decided.remove and now - good[-1].at > 48 * HOUR:
        wrong.append("something goes though nothing is fresh")
    for entry in (known[name] for name in decided.remove if not known[name].verified):
        proven = [replace(entry, verified=True), *(other for other in good if other is not entry)]
        if entry.id not in plan.retention(proven, now, policy, min_keep).remove:
            wrong.append("a set goes because its last check was not good")
    after = [known[name] for name in decided.keep]
    if plan.retention(after, now, policy, min_keep).remove:
        wrong.append("a second pruning removes more")
    failed = Entry(plan.set_id(now, "ffffff"), now, verified=False)
    with_failed = plan.retention([*entries, failed], now, policy, min_keep)
    if set(with_failed.remove) != set(decided.remove):
        wrong.append("a failed set changes what goes")
    return wrong


def test_no_history_makes_retention_break_a_promise() -> None:
    dice = random.Random(4)
    removed = 0
    for _round in range(10_000):
        now = at("2026-11-25 03:00") + dice.randrange(0, 800 * DAY)
        entries = history(dice, now)
        policy = {rule: dice.choice([0, 0, 1, 3, 7]) for rule in plan.RULES}
        policy["keep_within_days"] = dice.choice([0, 0, 2, 30])
        if not any(policy.values()):
            policy["keep_last"] = 1
        min_keep = dice.choice([1, 2, 3, 5])
        decided = plan.retention(entries, now, policy, min_keep)
        assert broken(entries, now, policy, min_keep, decided) == [], (entries, policy)
        removed += len(decided.remove)
    assert removed > 5_000  # the promises are not kept by removing nothing


def test_the_promises_can_be_broken() -> None:
    entries = sets("2026-11-23 02:00", "2026-11-24 02:00")
    greedy = plan.Plan({}, [entry.id for entry in entries])
    assert {"the newest verified set goes", "below the floor"} <= set(
        broken(entries, at("2026-11-24 03:00"), {"keep_last": 1}, 1, greedy)
    )


# --- a run ----------------------------------------------------------------------------------------------


def test_a_fresh_set_needs_no_other() -> None:
    entries = [*sets("2026-11-24 02:00"), *sets("2026-11-24 02:50", verified=False)]
    now = at("2026-11-24 03:00")
    assert plan.fresh(entries, now, 2 * HOUR) == entries[0].id
    assert plan.fresh(entries, now, HOUR / 2) == ""
    assert plan.fresh(sets("2026-11-25 02:00"), now, 2 * HOUR) == ""  # the future is no proof


def test_room() -> None:
    assert plan.room_problem("/b", 1000, 500, 0, 100) == ""
    assert "600 are needed" in plan.room_problem("/b", 600, 500, 0, 100)
    assert "/b: 600 bytes are free, 5000 are needed" in plan.room_problem("/b", 600, 0, 10_000, 0)


def test_shrinking_is_noticed() -> None:
    assert plan.shrunk(90, {"t": 5}, [100, 110, 90], {"t": 6}) == []
    assert "the last ones had 100" in plan.shrunk(40, {}, [100, 110, 90], {})[0]
    assert plan.shrunk(100, {"t": 0, "new": 0}, [100], {"t": 6, "gone": 3}) == ["empty since the last set: t"]
    assert plan.shrunk(1, {}, [], {}) == []


@pytest.mark.parametrize(
    ("tables", "live_rows", "said"),
    [
        ({}, False, "no table"),
        ({"t": 0}, True, "no row"),
        ({"t": 0}, False, ""),  # nothing takes the place of nothing
        ({"t": 0, "u": 1}, True, ""),
    ],
)
def test_a_set_that_would_leave_nothing_is_known(tables: dict[str, int], live_rows: bool, said: str) -> None:
    found = plan.missing_contents(tables, live_rows, [])
    assert (said in " ".join(found)) if said else not found


def test_files_that_would_leave_nothing_are_known() -> None:
    assert plan.missing_contents({"t": 1}, True, ["/uploads"]) == ["no file for /uploads, where there are some"]
