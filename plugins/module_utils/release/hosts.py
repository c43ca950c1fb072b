# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Which hosts are there, and which of them have caught up with the record. Pure functions.

A host joins, is replaced, or comes back after releases that it missed: what it lacks is read off what it shows, never off
its name. Edges are told of an app host only when it runs what the record says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import bracketed
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import record as release_record

DATA = ("db", "cache")  # groups without which nothing can be released


def missing(shown: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """What is wrong with a host's own copy of the record; empty: nothing. It is written when the host has proven itself."""
    if not record or shown.get("record", {}).get("since") == record.get("since"):
        return ""
    return "it missed the last release" if shown.get("record") else "its record of releases is lost"


def lacking(shown: Mapping[str, Any], record: Mapping[str, Any], copies_tell: bool = True) -> list[str]:
    """What an app host lacks of the recorded release, in sentences; nothing where there is none.

    :param shown: what ``blue_green_info`` found there.
    :param copies_tell: whether the host's copy of the record tells if it missed something (see `copies_tell`).
    """
    colour = record.get("colour", "")
    if not colour:
        return []
    stopped, other = _stopped(shown, record), _other(shown, record)
    found = [f"{', '.join(stopped)} of {colour} does not run"] if stopped else []
    found += [f"{', '.join(other)} of {colour} runs from another image than recorded"] if other else []
    return found + ([missing(shown, record)] if copies_tell and missing(shown, record) else [])


def behind(shown: Mapping[str, Any], record: Mapping[str, Any], copies_tell: bool = True) -> bool:
    """Whether an app host lacks something that its files do not give: it is new, was replaced, or missed a release.

    Files of what runs as recorded are never written again: where it serves alone, that would be a restart.
    """
    if not lacking(shown, record, copies_tell):
        return False
    if shown.get("record"):
        return bool(_other(shown, record)) or (copies_tell and bool(missing(shown, record)))
    return bool(_other(shown, record) or _stopped(shown, record))


def copies_tell(hosts: Mapping[str, Mapping[str, Any]], record_host: str) -> bool:
    """Whether copies of the record tell which host missed something.

    Not where all are lost and the record is read off the containers, nor after a run that was cut off behind its commit:
    there the copies are what is missing.
    """
    cut_off = (hosts[record_host].get("run") or {}).get("phase") == "commit"
    return not cut_off and any(shown.get("record") for shown in hosts.values())


def _stopped(shown: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    return sorted(set(record.get("services", {})) - set(_running(shown, record)))


def _other(shown: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    running, images = _running(shown, record), record.get("services", {})
    return sorted(name for name in set(running) & set(images) if images[name].get("id", running[name]) != running[name])


def _running(shown: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, str]:
    """Service -> ID of its image, of the recorded colour."""
    containers = [entry for entry in shown.get("containers", []) if entry["running"] and entry["colour"] == record.get("colour")]
    return {entry["service"]: entry["id"] for entry in containers}


def untold(
    hosts: Mapping[str, Mapping[str, Any]], record_host: str, app_hosts: Sequence[str], absent: Sequence[str] = ()
) -> list[str]:
    """App hosts that edges must not send requests to: those that are absent, and those that have not caught up yet.

    Where none has, edges keep them all: there is nobody else to ask.
    """
    gone = [host for host in app_hosts if host in absent]
    if record_host not in hosts:  # a play that is limited to others
        return gone
    record, tell = release_record.found_record(hosts, record_host)[0], copies_tell(hosts, record_host)
    present = [host for host in app_hosts if host not in absent]
    late = [host for host in present if host in hosts and lacking(hosts[host], record, tell)]
    return gone + (late if len(late) < len(present) else [])


def absent_problems(absent: Any, groups: Mapping[str, Sequence[str]], record_host: str) -> list[str]:
    """Judge ``absent_hosts``: a release can do without app hosts and edges, not without data, the record, or all of a kind."""
    if not isinstance(absent, (list, tuple)):
        return [
            """absent_hosts: is not a list of hosts. Write absent_hosts: [app2], or -e '{"absent_hosts": ["app2"]}' for one run."""
        ]
    problems = []
    for host in absent:
        data = [group for group in DATA if host in groups.get(group, [])]
        if not any(host in groups.get(group, []) for group in ("app", "edge")):
            problems.append(f"absent_hosts: {host} is no host of the groups app and edge. Correct its name, or take it out.")
        elif data:
            problems.append(
                f"absent_hosts: {host} is in {' and '.join(data)}, too, without which nothing can be released. Bring it back first."
            )
        elif host == record_host:
            problems.append(
                f"absent_hosts: {host} keeps the record of releases. Name an app host that is there, which has a copy: app_record_host."
            )
    problems += [
        f"absent_hosts: leaves no host of the group {group}. Take one out."
        for group in ("app", "edge")
        if groups.get(group) and set(groups[group]) <= set(absent)
    ]
    return problems


def without(upstreams: Mapping[str, Mapping[str, Sequence[str]]], addresses: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """``nginx_upstreams`` without some hosts' addresses; a service that has no other keeps them, since nginx needs one."""
    starts = tuple(f"{bracketed(address)}:" for address in addresses)
    return {
        name: {
            colour: [entry for entry in entries if not entry.startswith(starts)] or list(entries)
            for colour, entries in colours.items()
        }
        for name, colours in upstreams.items()
    }


def told(configuration: str, everything: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether nginx's configuration has the wanted ones of all addresses, and no other one of them."""
    words = configuration.replace(";", " ").split()
    named = {word for before, word in zip(words, words[1:]) if before == "server"}
    return named & set(everything) == set(wanted)
