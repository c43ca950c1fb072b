# SPDX-License-Identifier: GPL-3.0-or-later
"""The units and the configuration of the role `logging`, and how the inventory wires it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import edge
import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils._logs_plan import role_problems
from inventory import SECRETS, inventory
from render import ROLES, render

USERS = {"vault_logging_page_users": {"operator": "$6$x$y"}}


def variables(*groups: str, host: str = "server", logging: tuple[str, ...] = ("server",), **changes: Any) -> dict[str, Any]:
    """A host's variables, where the group logging has members."""
    found = inventory("prod", group_names=groups, **changes)
    found["groups"] = {
        **found["groups"],
        "app": ["server"],
        "db": ["server"],
        "cache": ["server"],
        "logging": list(logging),
        "all": ["server", "far"],
    }
    found["hostvars"] = {
        "server": {"app_bind_address": "127.0.0.1", "private_address": "10.0.0.1"},
        "far": {"private_address": "10.0.0.2"},
    }
    return {**found, "inventory_hostname": host}


def value(name: str, given: dict[str, Any], tmp_path: Path, role: str = "logging") -> Any:
    """What a variable of the role becomes."""
    (tmp_path / role / "templates").mkdir(parents=True, exist_ok=True)
    for folder in ("defaults", "vars"):
        link = tmp_path / role / folder
        if not link.exists():
            link.symlink_to(ROLES / role / folder)
    (tmp_path / role / "templates/x.j2").write_text("{{ " + name + " | to_json }}")
    return json.loads(render(tmp_path / role, "x.j2", given))


def test_the_inventory_of_production_is_sound(tmp_path: Path) -> None:
    given = variables("app", "db", "edge", "logging", **USERS)
    settings = value("_logging_settings", given, tmp_path)
    assert role_problems({**settings, "memory_mb": 2000, "disk_mb": 20000}) == []
    config = value("_logging_config", given, tmp_path)
    assert [entry["path"] for entry in config["files"]] == ["/var/log/nginx/access.log", "/var/log/nginx/error.log"]
    assert config["secret_dirs"] == ["/etc/kasaneha/secrets"] and not [
        secret for secret in SECRETS.values() if secret in json.dumps(config)
    ]


def test_one_host_neither_sends_nor_receives(tmp_path: Path) -> None:
    given = variables("app", "db", "edge", "logging")
    wanted = [entry["unit"] for entry in value("_logging_services", given, tmp_path) if entry["wanted"]]
    assert wanted == ["kasaneha-logs.service"] and value("_logging_packages", given, tmp_path) == []
    given = variables("app", "db", "edge", "logging", **USERS)
    wanted = [entry["unit"] for entry in value("_logging_services", given, tmp_path) if entry["wanted"]]
    assert wanted == ["kasaneha-logs.service", "systemd-journal-gatewayd.socket"]


def test_with_two_hosts_one_sends_and_one_receives(tmp_path: Path) -> None:
    hub = value("_logging_services", variables("app", "logging", logging=("server", "far")), tmp_path)
    far = value("_logging_services", variables("logging", host="far", logging=("server", "far")), tmp_path)
    assert [entry["unit"] for entry in hub if entry["wanted"]][1:] == [
        "systemd-journal-remote.socket",
        "systemd-journal-remote.service",
        "stunnel@kasaneha-logs.service",
    ]
    assert [entry["unit"] for entry in far if entry["wanted"]][1:] == ["systemd-journal-upload.service"]
    assert not value("_logging_config", variables("logging", host="far", logging=("server", "far")), tmp_path)["files"]


@pytest.mark.parametrize("group", [True, False])
def test_containers_log_where_somebody_reads(group: bool, tmp_path: Path) -> None:
    given = variables("app", logging=("server",) if group else ())
    found = value("_app_logging", given, tmp_path, "app")
    assert found["driver"] == ("local" if group else "journald")
    if not group:
        assert (
            found["options"]["labels"]
            == "kasaneha.deploy.app,kasaneha.deploy.service,kasaneha.deploy.colour,kasaneha.deploy.release"
        )


def test_nothing_listens_to_everybody() -> None:
    given = variables("app", "logging", logging=("server", "far"), **USERS)
    assert "ListenStream=\nListenStream=127.0.0.1:19531\n" in render("logging", "gatewayd.socket.conf.j2", given)
    assert "ListenStream=\nListenStream=127.0.0.1:19532\n" in render("logging", "remote.socket.conf.j2", given)
    assert "\naccept = 10.0.0.1:19532\nconnect = 127.0.0.1:19532\n" in render("logging", "stunnel.conf.j2", given)
    assert "ListenStream=\nListenStream=[fd00::1]:19531\n" in render(
        "logging", "gatewayd.socket.conf.j2", {**given, "logging_page_address": "fd00::1"}
    )


def test_the_way_between_hosts_needs_certificates_of_our_own() -> None:
    given = variables("logging", host="far", logging=("server", "far"))
    upload = render("logging", "upload.service.conf.j2", given)
    assert (
        "--url=https://10.0.0.1:19532" in upload
        and "--save-state" in upload
        and "Restart=always" in upload
        and "StartLimitIntervalSec=0" in upload
    )
    assert "--trust=/etc/kasaneha-logs/ca.crt" in upload and "SupplementaryGroups=kasaneha-logs\n" in upload
    tunnel = render("logging", "stunnel.conf.j2", {**given, "inventory_hostname": "server"})
    assert "\nverifyChain = yes\n" in tunnel and "\nCAfile = /etc/kasaneha-logs/ca.crt\n" in tunnel


def test_the_page_is_in_a_directory_of_the_application(tmp_path: Path) -> None:
    assert value("logging_page_dir", {"logging_app": "shop"}, tmp_path) == "/usr/local/share/shop-logs"
    [site] = edge.servers(kasaneha_log_hub="server", **USERS, logging_app="shop")[-1:]
    [page] = edge.blocks(site, "location", "^~", "/_logs/")
    assert edge.values(page, "alias") == [["/usr/local/share/shop-logs/"]]


def test_limits() -> None:
    text = render(
        "logging",
        "journald.conf.j2",
        {"logging_max_mb": 300, "logging_keep_days": 5, "logging_burst_lines": 7, "logging_burst_seconds": 9},
    )
    for line in (
        "SystemMaxUse=300M",
        "SystemKeepFree=1024M",
        "MaxRetentionSec=5day",
        "RateLimitIntervalSec=9s",
        "RateLimitBurst=7",
        "Storage=persistent",
    ):
        assert f"\n{line}\n" in text
    # 0 would be the journal's own.
    assert "\nLogRateLimitIntervalSec=1s\nLogRateLimitBurst=10000000\n" in render("logging", "collector.service.j2", {})


def test_the_page_is_behind_a_login_and_there_only_with_users() -> None:
    def pages(**changes: Any) -> list[Any]:
        return [
            block
            for server in edge.servers(kasaneha_log_hub="server", **changes)
            for block in edge.blocks(server, "location", "^~", "/_logs/")
        ]

    assert pages() == [] and edge.values(edge.http(), "auth_basic") == []
    [page] = pages(logging_page_users={"operator": "$6$x$y"})
    assert edge.values(page, "auth_basic_user_file") == [["/etc/nginx/logs.htpasswd"]] and edge.values(page, "limit_req")
    [journal] = edge.blocks(page, "location", "^~", "/_logs/journal/")
    assert edge.values(journal, "proxy_pass") == [["http://127.0.0.1:19531/"]]
    assert ["Authorization", ""] in edge.values(journal, "proxy_set_header") and ["Cookie", ""] in edge.values(
        journal, "proxy_set_header"
    )
