# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a run on a fleet: --limit, --tags, --check. Each does what it names, or is refused in a sentence."""

from __future__ import annotations

import re
import subprocess

import pytest

from .fleet import HOSTS, on, once, one_release, record
from .playbook import play

__all__ = ["once"]
pytestmark = pytest.mark.usefixtures("once")


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("playbook", "options", "sentence"),
    [
        (
            "site.yml",
            ("--limit", "all:!fleet-app1", "--skip-tags", "release"),
            "fleet-app1 would be left out, and nginx on fleet-edge",
        ),
        (
            "playbooks/freeze.yml",
            ("--limit", "fleet-app2", "-e", "freeze=off"),
            "--limit: leaves out fleet-app1, which keeps the record",
        ),
        ("site.yml", ("--start-at-task", "Write the configuration"), "--start-at-task: leaves out the checks"),
    ],
)
def test_a_part_that_is_none_is_refused_in_a_sentence(playbook: str, options: tuple[str, ...], sentence: str):
    done = play(playbook, *options)
    assert done.returncode != 0 and sentence in words(done), words(done)[-2000:]
    assert not re.search(r"changed=[1-9]|unreachable=[1-9]", done.stdout)


@pytest.mark.parametrize(
    "options",
    [
        ("--limit", "fleet-app2", "--skip-tags", "release"),  # its own copy says which images are its release's
        ("--tags", "nginx"),
        ("--check", "--diff", "--tags", "app_service"),
    ],
    ids=" ".join,
)
def test_a_part_changes_nothing_where_nothing_is_to_do(options: tuple[str, ...]):
    done = play("site.yml", *options)
    hosts = 1 if "--limit" in options else len(HOSTS)
    assert done.returncode == 0 and len(re.findall("changed=0 ", done.stdout)) == hosts, done.stdout[-3000:]


def test_a_release_is_planned_and_not_done():
    before = record()["release"]
    done = play("playbooks/deploy.yml", "--check", "--diff", app_release="v1.2.0")
    assert done.returncode == 0 and "Release v1.2.0 as" in words(done), words(done)[-3000:]
    one_release(before)


def test_status_of_a_part_and_a_freeze_of_the_whole():
    done = play("playbooks/status.yml", "--limit", "fleet-app2")
    assert done.returncode == 0 and "fleet-app1 keeps the record, and did not answer or was not asked" in words(done)
    assert "fleet-app2: kasaneha-backend-" in words(done), words(done)[-2000:]
    try:
        assert play("playbooks/freeze.yml", freeze="on", message="the options are tried").returncode == 0
        on("fleet-app1", "test -e /var/lib/kasaneha/freeze.json")
        on("fleet-app2", "test ! -e /var/lib/kasaneha/freeze.json")
    finally:
        assert play("playbooks/freeze.yml", freeze="off").returncode == 0
    on("fleet-app1", "test ! -e /var/lib/kasaneha/freeze.json")
