# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Checks of an application's running containers, and of its secrets. Pure functions: values in, checks out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.checks.firewall import check


def checks(
    containers: Sequence[Mapping[str, Any]], leaks: Iterable[str], readable: Iterable[str], secrets: bool = True
) -> list[dict[str, str]]:
    """Judge containers as ``docker inspect`` tells them.

    :param leaks: ``<place> <count>``: how often a secret was found where others can see it; nothing if there was none to search for.
    :param readable: files with secrets that others than their owner may read.
    :param secrets: whether any of the application's lie on this host.
    """
    running = [entry for entry in containers if entry["State"]["Running"]]
    counted = [(place, int(count)) for place, _blank, count in (line.rpartition(" ") for line in leaks)]
    found = [f"found in {place} ({count} times)" for place, count in counted if count]
    if secrets and not counted:
        found = ["there is no secret to search for, and services name some"]
    return [
        check("containers run and are healthy", _missing(containers, running)),
        check("containers are confined", [problem for entry in running for problem in confinement_problems(entry)]),
        check("no secret where others can see it", found, "" if secrets else "there is none on this host"),
        check("files with secrets are their owner's alone", [f"{path} can be read by others" for path in readable]),
    ]


def _missing(containers: Sequence[Mapping[str, Any]], running: Sequence[Mapping[str, Any]]) -> list[str]:
    if not running:
        return ["none runs"]
    sick = [entry for entry in running if entry["State"].get("Health", {}).get("Status", "healthy") != "healthy"]
    again = [entry for entry in containers if entry["State"].get("Restarting")]
    return [f"{_name(entry)} is {entry['State']['Health']['Status']}" for entry in sick] + [
        f"{_name(entry)} ends again and again" for entry in again
    ]


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["Name"]).lstrip("/")


def confinement_problems(entry: Mapping[str, Any]) -> list[str]:
    """What a container may do and need not."""
    config, limits = entry["Config"], entry["HostConfig"]
    user = str(config.get("User") or "").partition(":")[0]
    found = {
        "may change its own files": not limits.get("ReadonlyRootfs"),
        "keeps capabilities": limits.get("CapDrop") != ["ALL"] or bool(limits.get("CapAdd")),
        "is privileged": bool(limits.get("Privileged")),
        "may gain privileges": not any("no-new-privileges" in option for option in limits.get("SecurityOpt") or []),
        "has no limit of memory": not limits.get("Memory"),
        "has no limit of processes": (limits.get("PidsLimit") or 0) <= 0,
        "runs as root": user in ("", "0", "root"),
        "sees the host's network": limits.get("NetworkMode") == "host",
        "can command Docker": any("docker.sock" in str(mount.get("Source", "")) for mount in entry.get("Mounts") or []),
        "does not come back after a reboot": limits.get("RestartPolicy", {}).get("Name") not in ("always", "unless-stopped"),
    }
    return [f"{_name(entry)} {what}" for what, wrong in found.items() if wrong]
