# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Whether a run can do what its options ask for: ``--tags``, ``--skip-tags``, ``--limit``, ``--start-at-task``, the strategy. Pure functions.

``options`` is what the lookup ``run_options`` returns: ``playbook`` as it was started (empty for one that is not of this collection),
``start_at_task``, ``tags``, ``skip_tags``, ``strategy``. ``takes`` is what a playbook says of itself: its ``tags``, and ``groups`` on whose
hosts it works; with ``record: true`` it needs the host of the record, too. A playbook that says nothing of the kind is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.names import meant

STRATEGIES = ("linear", "mitogen_linear")  # with which a task begins when all hosts are done with the one before
CHECKS = {"always", "tagged"}  # one of these in --skip-tags leaves the checks out
LEFT_OUT = "leaves out the checks that everything after them relies on."


def refused(options: Mapping[str, Any]) -> str:
    """Why a run must not begin: it would leave out the very tasks that judge the other options. Empty if it may."""
    if options["start_at_task"] and options["playbook"]:
        return f"--start-at-task: {LEFT_OUT} Run {options['playbook']} from its start: what is done already is not done again."
    named = sorted(CHECKS.intersection(options["skip_tags"]))
    return f"--skip-tags: {named[0]} {LEFT_OUT} Name parts instead, or none." if named else ""


def problems(
    options: Mapping[str, Any],
    takes: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    record_host: str = "",
    absent: Sequence[str] = (),
) -> list[str]:
    """Why a run must not go on.

    :param groups: of the inventory; ``hosts`` are those of it that the run has to do with.
    :param record_host: which keeps the record of releases; ``absent`` hosts are left out by the inventory itself.
    :returns: one sentence for each problem: the option, the host or tag, what to do.
    """
    found = strategy_problems(options["strategy"])
    if not takes:
        return found
    if options["playbook"]:
        found += _tag_problems(options["playbook"], options, takes["tags"])
    found += _limit_problems(options["playbook"], takes, groups, hosts, record_host, absent)
    return found + _edge_problems(options, takes["tags"], groups, hosts, absent)


def has(options: Mapping[str, Any], tag: str) -> bool:
    """Whether a phase of a role is run, by its tag (``logging_configure``), or a role (``app``)."""
    return _runs(options, [tag, tag.partition("_")[0]], [tag, tag.partition("_")[0]])


def strategy_problems(strategy: str) -> list[str]:
    """Refuse strategies with which checks of all hosts, and steps of a release, are not done before the next ones begin."""
    if strategy.rpartition(".")[2] in STRATEGIES:
        return []
    return [
        f"strategy: is {strategy}, with which hosts do not wait for each other. Use linear (with Mitogen: mitogen_linear): "
        "see ANSIBLE_STRATEGY and `strategy` in ansible.cfg."
    ]


def _tag_problems(playbook: str, options: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """Tags that nothing has: the run would do nothing, or what was to be left out."""
    usual = {"all", "always", "untagged", *(["tagged"] if known else [])}
    parts = ", ".join(name for name in known if "_" not in name)
    phases = ", and phases such as nginx_configure" if "nginx_configure" in known else ""
    found = []
    for tag in sorted({*options["tags"]} - {*known, *usual}):
        other = meant(tag, known) or f" It has {parts}{phases}." if known else " It has none: run it without --tags."
        found.append(f"--tags: {playbook} has no tag {tag}.{other}")
    # What wraps Ansible skips tags of its own everywhere, as molecule does: only what is nearly one of these is a mistake.
    near = {tag: meant(tag, known) for tag in sorted({*options["skip_tags"]} - {*known})}
    return found + [f"--skip-tags: {playbook} has no tag {tag}.{other}" for tag, other in near.items() if other or tag in usual]


def _limit_problems(
    playbook: str,
    takes: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    record_host: str,
    absent: Sequence[str],
) -> list[str]:
    """Hosts without which nothing, or not all that is needed, would be done."""
    names = takes["groups"]
    if not names:
        return []  # the role release judges it
    works = [host for host in dict.fromkeys(host for name in names for host in groups.get(name) or []) if host not in absent]
    where = f"group{'s' if names[1:] else ''} {', '.join(names)}"
    if not set(works) & set(hosts):
        if not playbook:
            return []  # of a playbook around it, which may have other hosts
        if not works:
            return [
                f"groups: no host of the inventory is in the {where}, so {playbook} has nothing to do. Put one there, if it should."
            ]
        return [
            f"--limit: leaves out {', '.join(works)} ({where}), where {playbook} does its work. Run it without --limit, or name one of them."
        ]
    if takes.get("record") and record_host and record_host not in hosts:
        return [
            f"--limit: leaves out {record_host}, which keeps the record of releases and knows whether one is under way. "
            "Run it without --limit, or name this host, too."
        ]
    return []


def _edge_problems(
    options: Mapping[str, Any],
    known: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    absent: Sequence[str],
) -> list[str]:
    """An edge is configured beside the app hosts, for they say what it serves, and which of them may get requests.

    Where the release is part of the run, that needs all of these hosts anyhow, and says so itself.
    """
    edges = [host for host in groups.get("edge") or [] if host in hosts]
    missing = [host for host in groups.get("app") or [] if host not in (*hosts, *absent)]
    nginx = [tag for tag in known if tag == "nginx" or tag.startswith("nginx_")]
    release = ["app", "release"]
    if not edges or not missing or not _runs(options, nginx, nginx[:1]) or _runs(options, release, release):
        return []
    return [
        f"--limit: {', '.join(missing)} would be left out, and nginx on {', '.join(edges)} depends on what runs there. "
        "Name these hosts, too, or leave nginx out: --skip-tags nginx."
    ]


def _runs(options: Mapping[str, Any], tags: Sequence[str], skipped: Sequence[str]) -> bool:
    """Whether what bears these tags is run; what bears none is not judged. With one of ``skipped`` in ``--skip-tags`` it is not."""
    named = {"all", "tagged", *tags}.intersection(options["tags"])
    return bool(tags and named) and not set(skipped).intersection(options["skip_tags"])
