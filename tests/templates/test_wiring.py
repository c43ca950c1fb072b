# SPDX-License-Identifier: GPL-3.0-or-later
"""What joins the roles: it means the same everywhere, and what an inventory says of a role's own variable wins."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.template import trust_as_template
from ansible_collections.kasaneha.deploy.plugins.filter.wiring import settings
from inventory import INVENTORIES, SECRETS, wiring
from render import ROLES
from role import NAMES, options, settable
from scope import PLAYBOOKS, Scope

# Everything that can be had, on several hosts.
HOSTS = {host: {"ansible_host": f"192.0.2.{number}", "private_address": f"10.0.0.{number}"} for number, host in enumerate(
    ("edge1", "edge2", "app1", "app2", "data1", "watch1"), 1)}  # fmt: skip
GROUPS = {
    "edge": ["edge1", "edge2"], "app": ["app1", "app2"], "db": ["data1"], "cache": ["data1"], "backup": ["data1"],
    "monitoring": ["watch1"], "logging": ["watch1"],
}  # fmt: skip
MORE = {
    "app_registry_login": [{"registry": "ghcr.io", "username": "me", "password": "of-this-test-alone"}],
    "app_secrets": {**SECRETS, "redis_password": "CANARY-redis-0123456789"},
    "logging_backend": "elasticsearch",
    "logging_page_users": {"operator": "$6$x$y"},
    "monitoring_page_users": {"operator": "$6$x$y"},
    "monitoring_grafana_enabled": True,
    "certbot_staging": True,
}


def fleet(folder: Path, **more: Any) -> Path:
    """An inventory of the application of production on several hosts."""
    (folder / "group_vars/all").mkdir(parents=True)
    for file in (INVENTORIES / "prod/group_vars/all").glob("*.yml"):
        shutil.copy(file, folder / "group_vars/all" / file.name)
    (folder / "group_vars/all/vault.yml").write_text(yaml.safe_dump({**MORE, **more}))
    children = {group: {"hosts": dict.fromkeys(hosts, {})} for group, hosts in GROUPS.items()}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": HOSTS, "children": children}}))
    return folder


def playbooks(folder: Path, **more: Any) -> Path:
    """The variables of the playbooks, and more of them."""
    shutil.copytree(PLAYBOOKS / "group_vars", folder / "group_vars")
    (folder / "group_vars/all/more.yml").write_text(yaml.safe_dump(more))
    return folder


# --- it means the same everywhere -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Scope:
    return Scope(fleet(tmp_path_factory.mktemp("fleet")))


@pytest.mark.parametrize("host", ["edge2", "app1", "data1", "watch1"])
def test_the_wiring_is_the_same_in_every_role(several: Scope, host: str) -> None:
    names = list(wiring())
    outside = several.values(names, host)
    for role in NAMES:
        inside = several.values(names, host, role)
        assert {name: inside[name] for name in names if inside[name] != outside[name]} == {}, role
    empty = {name for name, value in outside.items() if value in ("", [], {}, None, False)}
    # Nothing of it is empty here, but for what some hosts alone need, and what is not wrong about this inventory.
    assert (
        empty
        - {
            "fleet_extra_hosts",
            "fleet_data_address",
            "fleet_old_form",
            "fleet_postgres_volume",
            "fleet_runs_containers",
            "fleet_absent_addresses",
        }
        == set()
    )


def test_a_wiring_that_reads_a_role_s_own_variable_would_be_noticed(tmp_path: Path) -> None:
    told = playbooks(tmp_path / "playbooks", fleet_wrong="{{ nginx_status_port | default(1) }}")
    scope = Scope(fleet(tmp_path / "inventory"), told)
    assert [scope.values(["fleet_wrong"], "edge1", role)["fleet_wrong"] for role in ("", "app", "nginx")] == [1, 1, 8090]


def test_only_defaults_read_the_wiring() -> None:
    """An inventory that sets a role's variable changes all that the role does with it."""
    readers = {
        str(file.relative_to(ROLES))
        for file in ROLES.rglob("*")
        if file.is_file() and file.suffix in (".yml", ".j2") and any(name in file.read_text() for name in wiring())
    }
    assert readers == {f"{role}/defaults/main.yml" for role in NAMES if role != "docker"}  # which knows no other


@pytest.mark.parametrize("role", NAMES)
def test_what_is_read_of_the_wiring_is_there(role: str) -> None:
    """With ``default`` behind it, a name that is written wrong would be read as nothing."""
    assert set(re.findall(r"\bfleet_\w+", (ROLES / role / "defaults/main.yml").read_text())) <= set(wiring())


# --- Elasticsearch and Grafana on hosts of their own --------------------------------------------------------

CONTAINERS = {
    "app": "group_names | intersect(['app', 'db', 'cache']) | length > 0",
    "logging": "_logging_elasticsearch",
    "monitoring": "monitoring_server and monitoring_grafana_enabled",
}


def test_a_host_that_runs_containers_gets_docker_and_is_checked_for_it(several: Scope) -> None:
    [play] = [play for play in yaml.safe_load((PLAYBOOKS / "site.yml").read_text()) if play["name"] == "Container engine"]
    [checks] = [
        task["loop"]
        for play in yaml.safe_load((PLAYBOOKS / "preflight.yml").read_text())
        for task in play.get("tasks", [])
        if task["name"] == "Check the roles of this host"
    ]
    judged = next(check["needed"] for check in checks if check["role"] == "docker")
    needs, gets, checked = set(), set(), set()
    for host in HOSTS:
        engine = several.engine(host)
        matched = several.hosts.get_hosts(engine.template(trust_as_template(play["hosts"])))
        if any(several.values([needed], host, role)[needed] for role, needed in CONTAINERS.items()):
            needs.add(host)
        when = trust_as_template(f"{{{{ {play['tasks'][0]['when']} }}}}")
        if host in [found.name for found in matched] and engine.template(when):
            gets.add(host)
        if engine.template(trust_as_template(judged)):
            checked.add(host)
    assert needs == gets == checked == {"app1", "app2", "data1", "watch1"}


def test_an_edge_asks_where_the_pages_listen(several: Scope) -> None:
    listens = {
        "logs": ("logging", "logging_page_address ~ ':' ~ logging_page_port"),
        "kibana": ("logging", "logging_page_address ~ ':' ~ logging_kibana_port"),
        "monitoring": ("monitoring", "monitoring_address ~ ':9090'"),
        "grafana": ("monitoring", "monitoring_address ~ ':3000'"),
    }
    found = {page: several.values([where], "watch1", role)[where] for page, (role, where) in listens.items()}
    for edge in GROUPS["edge"]:
        assert several.values(["nginx_pages"], edge, "nginx")["nginx_pages"] == found
    assert not [at for at in found.values() if at.startswith("127.")]


# --- an inventory wins ----------------------------------------------------------------------------------------


def other(name: str, option: dict[str, Any]) -> Any:
    """A value of an option that is not its default, of the right type."""
    kind = option["type"]
    if kind == "list":
        return [{"own": name} if option["elements"] == "dict" else f"own {name}"]
    if "choices" in option:
        return [choice for choice in option["choices"] if choice != option.get("default")][-1]
    return {"bool": option.get("default") is False, "int": 4242, "float": 0.4242, "dict": {"own": name}}.get(kind, f"own {name}")


OWN = {role: {name: other(name, option) for name, option in settable(role).items()} for role in NAMES}


def defaults(role: str) -> dict[str, Any]:
    """The variables of a role as it ships them."""
    found: dict[str, Any] = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
    return found


@pytest.fixture(scope="module")
def overridden(tmp_path_factory: pytest.TempPathFactory) -> Scope:
    more = {name: value for role in NAMES for name, value in OWN[role].items()}
    return Scope(fleet(tmp_path_factory.mktemp("overridden"), **more))


@pytest.mark.parametrize("role", NAMES)
def test_a_role_reads_what_the_inventory_says(overridden: Scope, role: str) -> None:
    names = [name for name in defaults(role) if name in OWN[role]]  # what only an entry point takes is a playbook's to say
    assert overridden.values(names, "edge1", role) == {name: OWN[role][name] for name in names}
    assert names and not {name for name in names if defaults(role)[name] == OWN[role][name]}


def test_a_variable_that_the_playbooks_set_would_be_noticed(tmp_path: Path) -> None:
    scope = Scope(
        fleet(tmp_path / "inventory", nginx_state_dir="/own"), playbooks(tmp_path / "playbooks", nginx_state_dir="/theirs")
    )
    assert scope.values(["nginx_state_dir"], "edge1", "nginx") == {"nginx_state_dir": "/theirs"}


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("app_start_timeout", {}, 60),
        ("app_start_timeout", {"app_start_timeout": 5}, 5),
        ("app_migrations", {"app_migrations": {}}, {}),
    ],
)
def test_a_setting_is_the_inventory_s_or_the_role_s_default(
    tmp_path: Path, name: str, said: dict[str, Any], expected: Any
) -> None:
    scope = Scope(fleet(tmp_path / "inventory", **said))
    for role in ("", "app", "release"):
        assert scope.values(["fleet_settings"], "app1", role)["fleet_settings"][name] == expected


def test_a_setting_that_no_role_declares_is_an_error() -> None:
    with pytest.raises(KeyError):
        settings({"app1": {}}, "app1", ["app_start_timeot"])


# --- each default is of its type, with the wiring and without -----------------------------------------------------

TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "bool": bool, "int": int, "float": (int, float), "list": list, "dict": dict, "path": str, "raw": object,
}  # fmt: skip


def optional(role: str) -> dict[str, dict[str, Any]]:
    """The options of a role that have a default."""
    return {name: option for name, option in options(role).items() if not option.get("required")}


@pytest.mark.parametrize("role", NAMES)
def test_defaults_with_the_wiring(several: Scope, role: str) -> None:
    for host in ("edge2", "data1"):
        found = several.values(list(optional(role)), host, role)
        assert {name: value for name, value in found.items() if not isinstance(value, TYPES[options(role)[name]["type"]])} == {}


@pytest.mark.parametrize("role", NAMES)
def test_defaults_without_the_wiring_are_those_of_the_specification(role: str, tmp_path: Path) -> None:
    """A role stands alone: in another playbook, whose inventory knows none of our groups."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"server": {}}}}))
    scope = Scope(tmp_path / "hosts.yml", tmp_path / "playbooks")
    said = {name: option["default"] for name, option in optional(role).items()}
    written = scope.loader.load(trust_as_template(json.dumps(said)))
    assert scope.values(list(said), "server", role) == scope.engine("server", role).template(written)
