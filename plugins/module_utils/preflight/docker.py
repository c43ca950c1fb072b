# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `docker` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge the variables of the role and the server.

    :param facts: ``argument_errors`` and ``cast_problems``, which Ansible and the lookup of that name found; ``system`` such as
        ``"Debian 13"``, ``memory_mb`` of the server and ``disk_mb`` that are free under /var/lib; ``daemon_problems`` of the daemon's
        settings; ``packages`` of each supported system; and the role's ``min_memory_mb``, ``min_disk_mb`` (MB), ``compose`` and
        ``source``.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    system, packages = facts["system"], facts["packages"]
    found = [
        *facts["argument_errors"],
        *facts["cast_problems"],
        *host_problems(system, packages, facts["memory_mb"], facts["disk_mb"], facts["min_memory_mb"], facts["min_disk_mb"]),
        *facts["daemon_problems"],
    ]
    if facts["compose"] and facts["source"] == "distribution" and system in packages and not packages[system]["compose"]:
        found.append(
            f"docker_source: {system} has no Compose v2 of its own. Set docker_source: docker,"
            " or docker_compose: false on hosts that run no containers."
        )
    return found


def host_problems(
    system: str, supported: Iterable[str], memory_mb: int, disk_mb: int, min_memory_mb: Any, min_disk_mb: Any
) -> list[str]:
    """Judge a server: operating system, memory, free disk.

    :param system: such as ``"Debian 13"`` or ``"Ubuntu 24.04"``.
    :param supported: the systems that the roles know.
    :param memory_mb: memory of the server in MB; ``disk_mb`` what is free under ``/var/lib`` in MB.
    :param min_memory_mb: least memory in MB; of the wrong type it is the argument specification's to report.
    """
    problems = []
    supported = list(supported)
    if system not in supported:
        problems.append(f"operating system: {system} is not supported. Use one of {', '.join(supported)}.")
    if isinstance(min_memory_mb, int) and memory_mb < min_memory_mb:
        problems.append(
            f"docker_min_memory_mb: the server has {memory_mb} MB of memory, {min_memory_mb} MB are needed. Take a larger server."
        )
    if isinstance(min_disk_mb, int) and disk_mb < min_disk_mb:
        problems.append(
            f"docker_min_disk_mb: {disk_mb} MB are free under /var/lib, {min_disk_mb} MB are needed. Make room or take a larger disk."
        )
    return problems
