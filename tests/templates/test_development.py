# SPDX-License-Identifier: GPL-3.0-or-later
"""The same templates without colours: what `inventories/dev` makes of them."""

from __future__ import annotations

from typing import Any

from compose import data, release_text
from inventory import inventory
from render import evaluate, render
from yaml import safe_load

DEV: dict[str, Any] = {
    "environment": "dev",
    "inventory_dir": "/home/me/kasaneha.deploy/inventories/dev",
    "inventory_hostname": "dev",
    "dev_user": "1000",
    "dev_group": "1000",
    "dev_backend": "/home/me/back end",
}


def release() -> dict[str, Any]:
    return safe_load(release_text("", **DEV))


def test_names_without_colours() -> None:
    compose = release()
    assert compose["name"] == compose["networks"]["default"]["name"] == "kasaneha"
    assert {name: entry["container_name"] for name, entry in compose["services"].items()} == {
        "backend": "kasaneha-backend",
        "frontend": "kasaneha-frontend",
    }
    assert {entry["labels"]["kasaneha.deploy.colour"] for entry in compose["services"].values()} == {""}
    assert "DEPLOY_COLOUR" not in compose["services"]["backend"]["environment"]


def test_what_is_edited_here_need_not_say_its_release() -> None:
    assert not any(
        service.get("release_key") or service.get("release_label")
        for service in evaluate("app", "_app_services", inventory(**DEV)).values()
    )


def test_every_port_is_on_loopback() -> None:
    services = {**release()["services"], **data(**DEV)["services"]}
    assert {name: entry["ports"] for name, entry in services.items()} == {
        "backend": ["127.0.0.1:8080:8080", "127.0.0.1:6060:6060"],
        "frontend": ["127.0.0.1:4321:4321"],
        "postgres": ["127.0.0.1:5432:5432"],
        "redis": ["127.0.0.1:6379:6379"],
    }


def test_sources_are_mounted_and_node_modules_are_the_container_s() -> None:
    compose = release()
    backend, frontend = compose["services"]["backend"], compose["services"]["frontend"]
    assert {"type": "bind", "source": "/home/me/back end", "target": "/app"} in backend["volumes"]
    assert {"type": "bind", "source": "/home/me/kasaneha.deploy/frontend", "target": "/app"} in frontend["volumes"]
    assert frontend["volumes"][-1] == "frontend-1:/app/node_modules"
    # What is mounted below a source becomes a directory of root's in it.
    assert not [volume for volume in backend["volumes"] if str(volume).partition(":")[2].startswith("/app/")]
    assert backend["user"] == frontend["user"] == "1000:1000"
    assert compose["volumes"] == {"frontend-1": {"name": "kasaneha-frontend-1-dddddddddddd"}}  # of this image


def test_the_order_is_one_of_health() -> None:
    services = release()["services"]
    assert services["frontend"]["depends_on"] == {"backend": {"condition": "service_healthy"}}
    assert all(entry["healthcheck"]["interval"] == "5s" for entry in services.values())


def test_everything_is_under_one_folder() -> None:
    base = "/home/me/kasaneha.deploy/.dev"
    for kind in ("_app_release_files", "_app_data_files + _app_postgres_files + _app_redis_files"):
        entries = evaluate(
            "app",
            f"_app_base_files + (_app_common_files + {kind}) | map('combine', _app_own_attributes) | list",
            inventory(**DEV),
        )
        assert (entries[0]["path"], entries[0]["mode"], entries[0]["when"]) == (base, "0700", True)
        assert entries[1:] and all(entry["path"].startswith(f"{base}/") for entry in entries[1:])
        # All of it is this user's, and containers can read it.
        assert all(entry["owner"] is entry["group"] is entry["mode"] is None for entry in entries[1:])


def test_postgres_without_tls() -> None:
    assert "ssl" not in render("app", "postgresql.conf.j2", inventory(**DEV))
    rules = render("app", "pg_hba.conf.j2", inventory(**DEV))
    assert "hostssl" not in rules and "trust" in rules  # the socket's; everybody else has a password
    assert [line.split()[-1] for line in rules.splitlines() if line.startswith("host ")] == ["scram-sha-256"] * 3
    assert "ssl = on" in render("app", "postgresql.conf.j2", inventory()) and "hostssl" in render(
        "app", "pg_hba.conf.j2", inventory()
    )
