# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory of a shop says, on one host and on several, and what is derived of it."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import wiring

SHOP: dict[str, Any] = {
    "app_name": "shop-x",
    "app_registry": "registry.test/shop",
    "app_release_label": "org.test.version",
    "app_services": {
        "web": {"port": 80, "assets": "/srv/www/_astro/"},
        "api": {
            "port": 8080, "health": "/health", "metrics": "/metrics", "volumes": ["uploads:/app/uploads", "config:/app/config:ro"],
            "secrets": {"DATABASE_URL": "postgres_url", "REDIS_URL": "redis_url"}, "environment": {"ENV": "production", "PORT": 8080},
        },
        "worker": {"image": "other.test/worker", "volumes": ["uploads:/app/uploads", "queue:/queue"], "secrets": {"KEY": "key"}},
    },
    "app_secrets": {"postgres_password": "p", "key": "k"},
    "nginx_sites": [{"names": ["shop.test", "shop.example"], "redirect_names": ["www.shop.test"], "upstream": "web"}],
}  # fmt: skip
ONE: dict[str, list[str]] = {group: ["s1"] for group in ("all", *wiring.GROUPS)}
SPREAD = {
    "all": ["e1", "a1", "a2", "d1", "c1", "m1", "l1"], "edge": ["e1"], "app": ["a1", "a2"], "db": ["d1"], "cache": ["c1"], "backup": ["d1"],
    "monitoring": ["m1"], "logging": ["l1"],
}  # fmt: skip
# Values that are not what is asked for.
WRONG: list[Any] = [
    None, 0, 7, True, False, "", "text", [], ["text"], [7], [None], {}, {"a": 7}, {"a": None}, {"a": {"b": 7}}, [{"a": 7}],
]  # fmt: skip
ADDRESSES = {host: f"10.0.0.{number}" for number, host in enumerate([*SPREAD["all"], "e2"], 1)}


def shop(**changes: Any) -> dict[str, Any]:
    """What the inventory of a shop says; None takes a variable away."""
    return {name: value for name, value in {**copy.deepcopy(SHOP), **changes}.items() if value is not None}


def wired(part: str, host: str = "s1", groups: Any = None, own: Any = None, **changes: Any) -> Any:
    """A part of the wiring on one host of all. Where there are several, each has its own address in a private network."""
    groups = groups or ONE
    hosts = groups["all"]
    private = {name: {"private_address": ADDRESSES[name]} if hosts[1:] else {} for name in hosts}
    return wiring.wired(
        {name: {**shop(**changes), **private[name], **(own or {}).get(name, {})} for name in hosts}, part, host, groups
    )
