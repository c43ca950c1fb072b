# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is refused on a part of its hosts, and with a strategy by which they do not wait, before any host is asked anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Nothing listens there: whoever gets past the check cannot reach a host.
INVENTORY = """
all:
  vars: {ansible_host: 127.0.0.1, ansible_port: 1, app_name: shop, app_release: v2}
  children:
    app: {hosts: {app1: , app2: }}
    edge: {hosts: {app1: , edge1: }}
    db: {hosts: {db1: }}
"""
LEFT_OUT = "--limit: a release is one step on all hosts of the groups app and edge, and {} would be left out"
PAST = "UNREACHABLE"  # the check let it through, to the first look at a host


@pytest.mark.parametrize(
    ("playbook", "options", "strategy", "said"),
    [
        ("playbooks/deploy.yml", ["--limit", "app1,edge1"], "linear", LEFT_OUT.format("app2")),
        ("playbooks/rollback.yml", ["--limit", "app"], "linear", LEFT_OUT.format("edge1")),
        ("playbooks/release.yml", ["--limit", "edge1"], "linear", LEFT_OUT.format("app1, app2")),
        ("playbooks/deploy.yml", ["--limit", "db1"], "linear", LEFT_OUT.format("app1, app2, edge1")),
        ("playbooks/deploy.yml", [], "free", "strategy: is free"),
        ("playbooks/release.yml", [], "host_pinned", "strategy: is host_pinned"),
        ("playbooks/deploy.yml", [], "linear", PAST),
        ("playbooks/release.yml", [], "linear", PAST),
        ("playbooks/site.yml", ["--limit", "db1"], "linear", PAST),
        ("playbooks/preflight.yml", ["--limit", "app1", "-e", "preflight_roles=[app]"], "linear", LEFT_OUT.format("app2, edge1")),
    ],
)
def test_on_which_hosts_a_release_runs(tmp_path: Path, playbook: str, options: list[str], strategy: str, said: str) -> None:
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STRATEGY": strategy,
    }
    done = subprocess.run(
        ["ansible-playbook", playbook, "-i", str(tmp_path / "hosts.yml"), *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    words = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and said in words, words[-3000:]
    refused = any(text in words for text in ("Nothing was changed:", "to solve first; nothing was changed:"))
    assert refused is (said != PAST)
    if said != PAST:
        assert PAST not in words  # no host was asked


def test_edges_without_an_application_are_no_part_of_a_release(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(
        "all: {vars: {ansible_host: 127.0.0.1, ansible_port: 1, app_name: shop}, children: {edge: {hosts: {edge1: , edge2: }}}}\n"
    )
    done = subprocess.run(
        ["ansible-playbook", "playbooks/preflight.yml", "-i", str(hosts), "--limit", "edge1"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert PAST in done.stdout + done.stderr and "would be left out" not in done.stdout, done.stdout[-3000:]
