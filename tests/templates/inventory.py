# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of ``inventories/<environment>`` as one host sees them, with secrets that are easy to find again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

INVENTORIES = Path(__file__).parent.parent.parent / "inventories"
WIRING = INVENTORIES.parent / "playbooks" / "group_vars" / "all" / "fleet.yml"
SECRETS = {
    "postgres_password": "CANARY/postgres$HOME+0123456789",
    "jwt_secret": "CANARY-jwt-0123456789",
    "gemini_api_key": "CANARY-gemini-0123456789",
}


def said(environment: str, **overrides: Any) -> dict[str, Any]:
    """What an inventory says of every host; ``overrides`` win."""
    found: dict[str, Any] = {}
    for file in sorted((INVENTORIES / environment / "group_vars" / "all").glob("*.yml")):
        found |= yaml.safe_load(file.read_text()) if file.name not in ("vault.yml", "own.yml") else {}
    return {**found, "app_secrets": SECRETS, **overrides}


def wiring() -> dict[str, str]:
    """The variables that join the roles, as the playbooks have them."""
    found: dict[str, str] = yaml.safe_load(WIRING.read_text())
    return found


def layout(me: str, group_names: Sequence[str], app_addresses: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """The groups of an inventory with as few hosts as there can be, and what it says of each host.

    :param me: the host that is in ``group_names``; in a group that there must be and that it is not in is another host.
    """
    apps = [me if "app" in group_names and not number else f"app{number}" for number in range(len(app_addresses))]
    groups = {
        **{group: [me] for group in group_names},
        **{group: [me if group in group_names else f"{group}1"] for group in ("cache", "db", "edge")},
        "app": apps,
    }
    hosts = list(dict.fromkeys([me, *(host for members in groups.values() for host in members)]))
    private = {host: {"private_address": f"10.9.0.{number}"} if hosts[1:] else {} for number, host in enumerate(hosts, 1)}
    listening = {host: {"app_bind_address": address} for host, address in zip(apps, app_addresses, strict=True)}
    return {**groups, "all": hosts}, {host: {**private[host], **listening.get(host, {})} for host in hosts}


def inventory(
    environment: str = "local",
    group_names: Sequence[str] = ("app", "cache", "db", "edge"),
    app_addresses: Sequence[str] = ("127.0.0.1",),
    groups: Mapping[str, Sequence[str]] | None = None,
    hosts: Mapping[str, Mapping[str, Any]] | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Return the variables of a host in ``group_names``; ``overrides`` win, on every host.

    :param app_addresses: where the services of each app host listen; this host is the first of them if it is one.
    :param groups: instead of those that follow from ``group_names``; ``hosts`` then says what the inventory says of each host.
    """
    me = overrides.get("inventory_hostname", "server")
    if groups is None:
        groups, hosts = layout(me, group_names, app_addresses)
    variables = said(environment, **overrides)
    hostvars = {host: {**variables, **(hosts or {}).get(host, {}), "inventory_hostname": host} for host in groups["all"]}
    here = {"group_names": list(group_names), "groups": groups, "hostvars": hostvars}
    return {**wiring(), **hostvars[me], **here, **overrides}
