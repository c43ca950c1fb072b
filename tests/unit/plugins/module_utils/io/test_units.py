# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit runs what is on the disk, and is not disturbed if it does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import units

UNIT = "/etc/systemd/system/web.service"
CONFIG, RULES = "/etc/web.conf", "/etc/web/rules/a.yml"
WEB = units.Unit("web.service", restart=(CONFIG,), reload=("/etc/web/rules/*.yml",))
RUNS = units.Seen(loaded=True, state="active", file_state="enabled", stale=False, can_reload=True, oneshot=False, since=1000)
FILES = {path: units.File(f"hash of {path}", 900) for path in (UNIT, CONFIG, RULES)}
RECORD = {path: file.digest for path, file in FILES.items()}


def changed(*paths: str, at: float = 2000) -> dict[str, units.File]:
    """The files, of which some have changed."""
    return {**FILES, **{path: units.File("another", at) for path in paths}}


def gone(path: str) -> dict[str, units.File]:
    """The files without one."""
    return {name: file for name, file in FILES.items() if name != path}


def seen(**more: Any) -> units.Seen:
    return RUNS._replace(**more)


@pytest.mark.parametrize("record", [RECORD, None])
def test_a_unit_that_runs_what_is_there_is_left_alone(record: dict[str, str] | None) -> None:
    assert not units.decide(WEB, RUNS, FILES, record)


@pytest.mark.parametrize(
    ("files", "action", "because"),
    [
        (changed(UNIT), "restart", (UNIT,)),
        (changed(CONFIG), "restart", (CONFIG,)),
        (changed(RULES), "reload", (RULES,)),
        (changed("/etc/web/rules/b.yml"), "reload", ("/etc/web/rules/b.yml",)),
        (changed("/etc/systemd/system/web.service.d/more.conf"), "restart", ("/etc/systemd/system/web.service.d/more.conf",)),
        (changed(RULES, CONFIG), "restart", (CONFIG, RULES)),
        (gone(RULES), "reload", (RULES,)),
        (gone(CONFIG), "restart", (CONFIG,)),
        (gone(UNIT), "restart", (UNIT,)),
    ],
)
def test_which_file_changed_decides(files: dict[str, units.File], action: str, because: tuple[str, ...]) -> None:
    assert units.decide(WEB, RUNS, files, RECORD) == units.Step(action, because)


def test_what_cannot_be_reloaded_is_restarted() -> None:
    assert units.decide(WEB, seen(can_reload=False), changed(RULES), RECORD).action == "restart"


def test_without_a_record_younger_files_are_what_was_not_read() -> None:
    """A first run, a reboot, or a run that was killed before anything was recorded."""
    assert units.decide(WEB, RUNS, changed(CONFIG, at=999.95), None) == units.Step("restart", (CONFIG,))
    assert not units.decide(WEB, RUNS, changed(CONFIG, at=999.5), None)


def test_a_record_is_believed_more_than_time_stamps() -> None:
    """A clock that was wrong, a file that was touched: the hash decides."""
    assert units.decide(WEB, RUNS, changed(CONFIG, at=10), RECORD).action == "restart"
    assert not units.decide(WEB, RUNS, {path: file._replace(changed=5000) for path, file in FILES.items()}, RECORD)


@pytest.mark.parametrize("state", ["inactive", "failed", "deactivating"])
def test_what_does_not_run_is_started(state: str) -> None:
    assert units.decide(WEB, seen(state=state), FILES, RECORD) == units.Step("start")
    assert units.decide(WEB, seen(state=state, file_state="disabled"), changed(CONFIG), RECORD) == units.Step(
        "start", enable=True
    )


@pytest.mark.parametrize(
    ("file_state", "wanted", "enable"),
    [
        ("disabled", True, True),
        ("", True, True),
        ("enabled", True, None),
        ("static", True, None),
        ("alias", True, None),
        ("indirect", True, None),
        ("enabled-runtime", True, None),
        ("enabled", False, False),
        ("enabled-runtime", False, False),
        ("disabled", False, None),
        ("static", False, None),
    ],
)
def test_a_unit_is_enabled_where_that_is_possible(file_state: str, wanted: bool, enable: bool | None) -> None:
    assert units.decide(WEB._replace(enabled=wanted), seen(file_state=file_state), FILES, RECORD) == units.Step(enable=enable)


def test_a_unit_is_stopped_and_disabled_once() -> None:
    stopped = WEB._replace(started=False, enabled=False)
    assert units.decide(stopped, RUNS, changed(CONFIG), RECORD) == units.Step("stop", enable=False)
    assert not units.decide(stopped, seen(state="inactive", file_state="disabled"), FILES, RECORD)
    assert not units.decide(stopped, seen(loaded=False, state="inactive", file_state=""), {}, None)


def test_a_unit_may_be_enabled_and_else_left_alone() -> None:
    left = WEB._replace(started=None)
    assert not units.decide(left, seen(state="inactive"), changed(CONFIG), None)
    assert units.decide(left, seen(state="inactive", file_state="disabled"), FILES, None) == units.Step(enable=True)
    assert not units.decide(left._replace(enabled=None), seen(file_state="disabled"), changed(UNIT), RECORD)
    assert units.declared({"name": "web", "state": "any"}) == units.Unit("web.service", None, None)


def test_a_oneshot_is_run_once_for_what_is_there() -> None:
    done = seen(state="inactive", file_state="static", oneshot=True)
    assert not units.decide(WEB, done, FILES, RECORD)
    assert units.decide(WEB, done, changed(CONFIG), RECORD).action == "restart"
    assert units.decide(WEB, done._replace(since=0), FILES, None).action == "start"
    assert not units.decide(WEB, done._replace(state="failed"), FILES, RECORD)  # its timer runs it again


def test_in_check_mode_what_would_change_counts() -> None:
    assert units.decide(WEB, RUNS, FILES, RECORD, [RULES, "/etc/other"]) == units.Step("reload", (RULES,))
    drop_in = "/etc/systemd/system/web.service.d/new.conf"
    assert units.decide(WEB, RUNS, FILES, RECORD, [drop_in]) == units.Step("restart", (drop_in,))
    assert not units.decide(WEB, RUNS, FILES, RECORD, ["/etc/web/rules/deep/a.yml", "/etc/systemd/system/other.service"])


def test_another_application_that_names_other_files_of_the_same_unit_disturbs_nothing() -> None:
    """What it named once is still looked at, and not as a change because somebody else does not name it."""
    mine = {UNIT: FILES[UNIT], CONFIG: FILES[CONFIG]}
    both = {**mine, RULES: FILES[RULES]}
    assert units.unread(both, {path: file.digest for path, file in both.items()}, 1000) == []
    assert units.observed("no-such.service", [], [__file__]).keys() == {__file__}


def test_names_of_files() -> None:
    assert units.file_names("prometheus-node-exporter.service") == (
        ["prometheus-node-exporter.service"],
        ["prometheus-node-exporter.service.d", "prometheus-node-.service.d", "prometheus-.service.d", "service.d"],
    )
    assert units.file_names("stunnel@shop-logs.service") == (
        ["stunnel@shop-logs.service", "stunnel@.service"],
        ["stunnel@shop-logs.service.d", "stunnel@.service.d", "service.d"],
    )
    assert units.file_names("a-b@c.service")[1] == [
        "a-b@c.service.d",
        "a-@c.service.d",
        "a-b@.service.d",
        "a-@.service.d",
        "service.d",
    ]
    assert units.full_name("web") == "web.service" and units.full_name("shop-1.2") == "shop-1.2.service"
    assert units.full_name("web.timer") == "web.timer"


def test_the_first_unit_file_and_all_drop_ins_are_its_own(tmp_path: Path) -> None:
    etc, usr = tmp_path / "etc", tmp_path / "usr"
    for name in (
        "etc/a-b.service",
        "usr/a-b.service",
        "usr/a-b.service.d/x.conf",
        "etc/a-.service.d/y.conf",
        "etc/a-b.service.d/no.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "lib").symlink_to("usr")
    found = units.own_files("a-b.service", [str(etc), str(usr), str(tmp_path / "lib")])
    assert [os.path.relpath(path, tmp_path) for path in found] == [
        "etc/a-b.service",
        "usr/a-b.service.d/x.conf",
        "etc/a-.service.d/y.conf",
    ]


def test_what_systemctl_shows_is_read() -> None:
    text = (
        "Type=simple\nRemainAfterExit=no\nCanReload=yes\nId=web.service\nLoadState=loaded\nActiveState=active\n"
        "UnitFileState=enabled\nNeedDaemonReload=yes\nInactiveExitTimestampMonotonic=5000000\n\n"
        "CanReload=no\nId=web.timer\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\n"
        "InactiveExitTimestampMonotonic=0\n\n"
        "Type=oneshot\nRemainAfterExit=no\nId=x.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=static\n"
    )
    web, timer, once = units.parse(text, now=1000, monotonic=100)
    assert web == seen(stale=True, since=905)
    assert timer == units.Seen(False, "inactive", "", False, False, False, 0)
    assert once.oneshot and once.state == "failed"


def test_a_declared_unit_is_enabled_as_it_is_started() -> None:
    assert units.declared({"name": "web", "state": "started"}) == units.Unit("web.service")
    assert units.declared({"name": "web", "state": "stopped"}) == units.Unit("web.service", False, False)
    assert units.declared({"name": "web", "state": "started", "enabled": False, "files": ["/a"]}) == units.Unit(
        "web.service", True, False, ("/a",)
    )


def test_a_step_in_words() -> None:
    assert (
        units.sentence("web.service", units.Step("restart", (CONFIG,), True)) == "web.service: enable and restart (/etc/web.conf)"
    )
    assert units.sentence("web.service", units.Step(enable=False)) == "web.service: disable"
