# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of ``inventories/<environment>`` as one host sees them, with secrets that are easy to find again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

INVENTORIES = Path(__file__).parent.parent.parent / "inventories"
SECRETS = {
    "vault_postgres_password": "CANARY/postgres$HOME+0123456789",
    "vault_jwt_secret": "CANARY-jwt-0123456789",
    "vault_gemini_api_key": "CANARY-gemini-0123456789",
}


def inventory(
    environment: str = "local",
    group_names: Sequence[str] = ("app", "cache", "db", "edge"),
    app_addresses: Sequence[str] = ("127.0.0.1",),
    **overrides: Any,
) -> dict[str, Any]:
    """Return the variables of a host in ``group_names``; ``overrides`` win."""
    variables: dict[str, Any] = {}
    for file in sorted((INVENTORIES / environment / "group_vars" / "all").glob("*.yml")):
        variables |= yaml.safe_load(file.read_text()) if file.name != "vault.yml" else {}
    hostvars = {f"app{number}": {"app_bind_address": address} for number, address in enumerate(app_addresses)}
    groups = {"app": list(hostvars), "db": ["db1"], "cache": ["db1"], "edge": ["server"]}
    hostvars["server"] = {}
    if "monitoring" in group_names:  # one host for everything
        groups = {**dict.fromkeys(groups, ["server"]), "monitoring": ["server"], "backup": ["server"], "all": ["server"]}
        hostvars = {"server": {"app_bind_address": "127.0.0.1", "monitoring_address": "127.0.0.1"}}
    return {**variables, **SECRETS, "group_names": list(group_names), "groups": groups, "hostvars": hostvars, **overrides}
