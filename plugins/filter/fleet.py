# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that join, are absent and come back, as filters; the rules stand in module_utils/release/hosts.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import sites
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import hosts as release_hosts
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import record as release_record


def fleet_record(hosts: Mapping[str, Mapping[str, Any]], record_host: str) -> dict[str, Any]:
    """The record that a host which joins is brought to; empty where nothing was released, or where it cannot be told."""
    return release_record.found_record(hosts, record_host)[0] if record_host in hosts else {}


def release_behind(hosts: Mapping[str, Mapping[str, Any]], record_host: str) -> list[str]:
    """The app hosts whose files say nothing about the fleet."""
    record, tell = release_record.found_record(hosts, record_host)[0], release_hosts.copies_tell(hosts, record_host)
    return [host for host, shown in hosts.items() if release_hosts.behind(shown, record, tell)]


class FilterModule:
    """The filters of fleets."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "absent_problems": release_hosts.absent_problems,
            "by_colour": sites.by_colour,
            "fleet_record": fleet_record,
            "release_behind": release_behind,
            "untold_hosts": release_hosts.untold,
            "upstreams_told": release_hosts.told,
            "upstreams_without": release_hosts.without,
        }
