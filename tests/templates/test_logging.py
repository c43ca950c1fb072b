# SPDX-License-Identifier: GPL-3.0-or-later
"""The units and the configuration of the role `logging`, and how the inventory wires it."""

from __future__ import annotations

import json
from typing import Any

import edge
import pytest
import yaml
from inventory import SECRETS, inventory
from render import ROLES, evaluate, render
from role import problems, role_tasks

USERS = {"logging_page_users": {"operator": "$6$x$y"}}


def variables(*groups: str, host: str = "server", logging: tuple[str, ...] = ("server",), **changes: Any) -> dict[str, Any]:
    """A host's variables, where the group logging has members."""
    members = {**dict.fromkeys(("app", "cache", "db", "edge"), ["server"]), "logging": list(logging), "all": ["server", "far"]}
    hosts = {"server": {"private_address": "10.0.0.1"}, "far": {"private_address": "10.0.0.2"}}
    return inventory("prod", groups, groups=members, hosts=hosts, inventory_hostname=host, **changes)


def test_the_inventory_of_production_is_sound() -> None:
    given = variables("app", "db", "edge", "logging", **USERS)
    assert problems("logging", {**given, "__logging_room": {"stdout_lines": ["2000", "Size", "20000"]}}) == []
    config = evaluate("logging", "_logging_config", given)
    assert [entry["path"] for entry in config["files"]] == ["/var/log/nginx/access.log", "/var/log/nginx/error.log"]
    assert config["secret_dirs"] == ["/etc/kasaneha/secrets"] and not [
        secret for secret in SECRETS.values() if secret in json.dumps(config)
    ]


def listed(kind: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The files that the role writes, or the units that it runs, on such a host."""
    [task] = [
        task
        for file, task in role_tasks("logging")
        if f"kasaneha.deploy.{kind}" in task and file in ("configure.yml", "service.yml")
    ]
    entries = evaluate("logging", "entries", {**given, "entries": task[f"kasaneha.deploy.{kind}"][kind]})
    return [entry for entry in entries if entry.get("when", True)]


def running(given: dict[str, Any]) -> list[str]:
    """Units of ours that run there, beside the journal itself."""
    return [entry["name"] for entry in listed("units", given) if entry["name"] != "systemd-journald"]


def test_one_host_neither_sends_nor_receives() -> None:
    given = variables("app", "db", "edge", "logging")
    assert running(given) == ["kasaneha-logs"] and evaluate("logging", "_logging_packages", given) == []
    given = variables("app", "db", "edge", "logging", **USERS)
    assert running(given) == ["kasaneha-logs", "systemd-journal-gatewayd.socket"]


def test_with_two_hosts_one_sends_and_one_receives() -> None:
    server = running(variables("app", "logging", logging=("server", "far")))
    far = running(variables("logging", host="far", logging=("server", "far")))
    assert server[1:] == ["systemd-journal-remote.socket", "systemd-journal-remote", "stunnel@kasaneha-logs.service"]
    assert far[1:] == ["systemd-journal-upload"]
    assert not evaluate("logging", "_logging_config", variables("logging", host="far", logging=("server", "far")))["files"]


@pytest.mark.parametrize("group", [True, False])
def test_containers_log_where_somebody_reads(group: bool) -> None:
    given = variables("app", logging=("server",) if group else ())
    found = evaluate("app", "_app_logging", given)
    assert found["driver"] == ("local" if group else "journald")
    if not group:
        assert (
            found["options"]["labels"]
            == "kasaneha.deploy.app,kasaneha.deploy.service,kasaneha.deploy.colour,kasaneha.deploy.release"
        )


@pytest.mark.parametrize(
    "given",
    [
        variables("app", "logging", logging=("server", "far")),
        variables("logging", host="far", logging=("server", "far")),
        variables("edge", "logging", **USERS),
    ],
)
def test_where_the_package_is_both_of_its_sockets_are_bound(given: dict[str, Any]) -> None:
    assert "systemd-journal-remote" in evaluate("logging", "_logging_packages", given)
    paths = [entry["path"] for entry in listed("files", given)]
    for name in ("gatewayd", "remote"):
        assert f"/etc/systemd/system/systemd-journal-{name}.socket.d/kasaneha.conf" in paths


def test_what_holds_passwords_is_no_bodys_to_read() -> None:
    given = variables("app", "db", "edge", "logging", **USERS)
    [users] = [entry for entry in listed("files", given) if entry["path"] == "/etc/nginx/logs.htpasswd"]
    assert users["content"] == "operator:$6$x$y\n"
    assert users["secret"] is True and (users["group"], users["mode"]) == ("www-data", "0640")


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


def test_the_page_is_in_a_directory_of_the_application() -> None:
    assert evaluate("logging", "logging_page_dir", {"logging_app": "shop"}) == "/usr/local/share/shop-logs"
    [server] = edge.servers(group_names=("app", "cache", "db", "edge", "logging"), **USERS, app_name="shop")
    [page] = edge.blocks(server, "location", "^~", "/_logs/")
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
            for server in edge.servers(group_names=("app", "cache", "db", "edge", "logging"), **changes)
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


def test_verify_asks_for_logs_where_site_collects_them() -> None:
    plays = {file: yaml.safe_load((ROLES.parent / f"playbooks/{file}.yml").read_text()) for file in ("site", "verify")}
    [collects] = [play["hosts"].split("{{")[0].split(":") for play in plays["site"] if play.get("name") == "Logging"]
    [asked] = [play["vars"]["verify_roles"] for play in plays["verify"] if play.get("name") == "Verify"]
    [needed] = [entry["needed"] for entry in asked if entry["role"] == "logging"]

    def asks(group: str, **groups: list[str]) -> bool:
        return bool(evaluate("logging", "needed", {"needed": needed, "group_names": [group], "groups": groups}))

    every = ("app", "db", "cache", "edge", "logging", "monitoring", "backup")
    assert [group for group in every if asks(group, logging=["far"])] == collects
    assert not asks("app")
