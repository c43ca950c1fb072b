# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run of a playbook shows of monitoring, logging and backups together, on a server where nothing is broken."""

from __future__ import annotations

from .playbook import play


def test_verify_and_status_ask_all_of_them():
    roles = [{"role": role, "needed": True} for role in ("monitoring", "logging")]
    done = play("playbooks/verify.yml", "--limit", "ready", verify_roles=roles)
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and " 0 FAILED, 0 skipped" in said, done.stdout
    for check in (
        "every target answers Prometheus",
        "no alert fires",
        "the page asks for a password",
        "logs: a line is found within 10 s",
    ):
        assert f"ok {check}" in said, check
    done = play("playbooks/status.yml")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout
    for part in ("alerts: none", "logs: collector active", "backup: 2"):
        assert part in said, part
