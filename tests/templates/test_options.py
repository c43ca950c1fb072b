# SPDX-License-Identifier: GPL-3.0-or-later
"""--limit and --tags of every playbook on the shipped inventories: something is done, or the run is refused in a sentence. No host is asked."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.template import trust_as_template
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import options, wiring
from inventory import INVENTORIES, said
from render import ROLES
from scope import PLAYBOOKS, Scope

ROOT = ROLES.parent
# Parts of others, and the one that contacts no host.
NAMES = sorted(path.stem for path in PLAYBOOKS.glob("*.yml") if path.stem not in ("hosts", "preflight", "release", "new"))
SHIPPED = ["prod", "staging", "example", "example-fleet", "local"]
BUILT_IN = {"always", "all", "tagged", "untagged", "never"}


@functools.cache
def scope(environment: str) -> Scope:
    """A shipped inventory, whose hosts are in groups: those that it names, or that the first play would add."""
    found = Scope(INVENTORIES / environment)
    groups = found.hosts.get_groups_dict()
    if not any(groups.get(group) for group in wiring.GROUPS):
        for group in wiring.needed_groups(said(environment)):
            found.hosts.add_group(group)
            for host in groups["all"]:
                found.hosts.add_host(host, group)
        found.hosts.reconcile_inventory()
    return found


@functools.cache
def plays(name: str) -> tuple[Play, ...]:
    """The plays of a playbook, with those that it imports."""
    here = scope("prod")
    return tuple(Playbook.load(str(PLAYBOOKS / f"{name}.yml"), variable_manager=here.manager, loader=here.loader).get_plays())


def takes(name: str) -> dict[str, Any]:
    """What a playbook says that --tags and --limit may name."""
    play = plays(name)[0]
    engine = scope("prod").engine("kasaneha-prod")
    engine.available_variables = {**engine.available_variables, **play.vars}
    found: dict[str, Any] = engine.template(trust_as_template("{{ run_takes }}"))
    return found


def tasks(blocks: list[Any]) -> Iterator[Any]:
    for entry in blocks:
        yield from tasks([*entry.block, *entry.rescue, *entry.always]) if isinstance(entry, Block) else [entry]


def tags_of(name: str) -> set[str]:
    """The tags that tasks of a playbook have, those of roles that it includes itself as well."""
    found: set[str] = set()
    for play in plays(name):
        for task in tasks(play.compile()):
            found |= set(task.tags)
            role = (
                str(task.args.get("name") or task.args.get("_raw_params") or "") if task.action.endswith("include_role") else ""
            )
            if role and not task._role and not task.args.get("tasks_from") and "always" in task.tags:
                main = yaml.safe_load((ROLES / role.removeprefix("kasaneha.deploy.") / "tasks/main.yml").read_text())
                found |= {tag for entry in main for tag in entry["tags"]}
    return found - BUILT_IN


@pytest.mark.parametrize("name", NAMES)
def test_a_playbook_names_the_tags_that_it_has(name: str) -> None:
    expected = {
        "adopt": set(),  # it ends with site.yml, no part of which can be had
        "site": tags_of(name) | {"app_verify"},  # where there are no colours, as on a developer's machine
    }
    assert set(takes(name)["tags"]) == expected.get(name, tags_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_run_is_run_by_a_tag(name: str) -> None:
    """Where there are tags, each task has one: a part that none of them names would be left out of every run with --tags."""
    if not takes(name)["tags"]:
        return
    assert [task.name for play in plays(name) for task in tasks(play.compile()) if not task.tags and task.implicit is False] == []


def limits(environment: str) -> Iterator[str]:
    groups = scope(environment).hosts.get_groups_dict()
    yield from groups["all"]
    yield from (group for group in wiring.GROUPS if groups.get(group))
    if groups["all"][1:]:
        yield from (f"all:!{host}" for host in groups["all"])


def matched(play: Play, here: Scope) -> bool:
    """Whether a play has a host, as far as the inventory is limited."""
    pattern = here.engine(here.hosts.get_groups_dict()["all"][0]).template(
        trust_as_template(play.hosts if isinstance(play.hosts, str) else play.hosts[0])
    )
    return bool(here.hosts.get_hosts(pattern))


@pytest.mark.parametrize("environment", SHIPPED)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("deploy", "rollback")])  # the role release judges these
def test_a_part_of_the_hosts_is_worked_on_or_refused(environment: str, name: str) -> None:
    here = scope(environment)
    groups = {group: list(hosts) for group, hosts in here.hosts.get_groups_dict().items()}
    record_host = (groups.get("app") or [""])[0]
    given = {"playbook": f"{name}.yml", "start_at_task": "", "tags": ["all"], "skip_tags": [], "strategy": "linear"}
    declared, own = (
        takes(name),
        [play for play in plays(name) if "run_takes" not in play.vars and play.name != "Reach the servers"],
    )
    for limit in limits(environment):
        here.hosts.subset(limit)
        hosts = [host.name for host in here.hosts.get_hosts("all")]
        problems = options.problems(given, declared, groups, hosts, record_host)
        done = [play.name for play in own if matched(play, here)]
        here.hosts.subset(None)
        assert problems or done, f"{name}.yml --limit {limit} would do nothing, and say nothing"
        if name in ("restore", "freeze") and record_host not in hosts and record_host:
            assert problems, f"{name}.yml --limit {limit}"
        assert all(sentence.startswith(("--limit: ", "groups: ")) and sentence.endswith(".") for sentence in problems)


# Nobody is there: what is refused is refused before a host is asked.
HOSTS = """
all:
  vars: {ansible_host: 127.0.0.1, ansible_port: 1, app_name: shop, app_release: v2}
  children:
    app: {hosts: {app1: , app2: }}
    edge: {hosts: {edge1: }}
    db: {hosts: {db1: }}
    backup: {hosts: {db1: }}
"""
REFUSED = {
    "a backup of nothing": (
        "playbooks/backup.yml --limit app1",
        "--limit: leaves out db1 (group backup), where backup.yml does its work.",
    ),
    "a restore beside a release": (
        "playbooks/restore.yml --limit db1",
        "--limit: leaves out app1, which keeps the record of releases",
    ),
    "a tag that is none": ("site.yml --tags ngnix", "--tags: site.yml has no tag ngnix. Did you mean nginx?"),
    "an edge alone": (
        "playbooks/site.yml --limit edge1 --tags nginx",
        "--limit: app1, app2 would be left out, and nginx on edge1",
    ),
    "a middle": ("site.yml --start-at-task *packages*", "--start-at-task: leaves out the checks"),
    "no checks": ("playbooks/certificates.yml --skip-tags always", "--skip-tags: always leaves out the checks"),
    "a part that is one": ("site.yml --limit db1 --tags firewall", "UNREACHABLE"),  # the negative control
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_before_a_host_is_asked(case: str, tmp_path: Path) -> None:
    order, sentence = REFUSED[case]
    (tmp_path / "hosts.yml").write_text(HOSTS)
    done = subprocess.run(
        ["ansible-playbook", *order.split(), "-i", str(tmp_path / "hosts.yml")],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and sentence in said, said[-2000:]
    assert ("UNREACHABLE" in said) is (sentence == "UNREACHABLE")
