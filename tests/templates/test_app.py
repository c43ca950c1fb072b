# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the role `app` writes: what is reachable, what containers may do, and where secrets stand."""

from __future__ import annotations

import copy
import hashlib
import re
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io.files import problems as files_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.containers import described
from compose import BACKEND, DIGEST, data, data_text, release, release_text, service
from inventory import SECRETS, inventory
from render import evaluate


def everything() -> list[dict[str, Any]]:
    """Every Compose file of one server."""
    return [release("blue"), release("green"), data()]


def test_names() -> None:
    compose = release("green")
    assert compose["name"] == "kasaneha-green"
    assert sorted(compose["services"]) == ["backend-green", "frontend-green"]
    assert compose["services"]["backend-green"]["container_name"] == "kasaneha-backend-green"
    assert compose["networks"]["default"]["name"] == "kasaneha-green"
    assert data()["name"] == "kasaneha-data"


def test_what_runs_is_the_digest() -> None:
    assert service()["image"] == f"registry.test/backend@{DIGEST}"


def test_an_image_that_is_not_here_yet_stands_there_by_name() -> None:
    services = release("green", missing=["frontend"])["services"]
    assert {name: entry["image"] for name, entry in services.items()} == {
        "backend-green": f"registry.test/backend@{DIGEST}",
        "frontend-green": "registry.test/frontend:v1",
    }


def test_the_engine_knows_its_containers_by_their_labels() -> None:
    for name, entry in release("green")["services"].items():
        found = described(
            {"Name": f"/{entry['container_name']}", "Image": "sha256:1", "Config": {"Image": entry["image"], "Labels": entry["labels"]},
             "State": {"Status": "running", "ExitCode": 0, "StartedAt": "now"}}
        )  # fmt: skip
        assert f"{found['service']}-{found['colour']}" == name
        assert found["colour"] == "green"
        assert found["release"] == "v1"
        assert entry["labels"]["kasaneha.deploy.app"] == "kasaneha"
    for entry in data()["services"].values():  # no release stops or removes a database
        assert "kasaneha.deploy.colour" not in entry["labels"]


# --- what is reachable --------------------------------------------------------------------------------


def ports(compose: dict[str, Any]) -> list[str]:
    """Every published port of a Compose file."""
    return [str(port) for entry in compose["services"].values() for port in entry.get("ports", [])]


def exposed(compose: dict[str, Any], address: str) -> list[str]:
    """Published ports that listen anywhere but on one address."""
    return [port for port in ports(compose) if not re.fullmatch(rf"{re.escape(address)}:\d+:\d+", port)]


@pytest.mark.parametrize(("bind", "address"), [("127.0.0.1",) * 2, ("10.0.0.4",) * 2, ("::1", "[::1]"), ("fd00::4", "[fd00::4]")])
def test_ports_listen_on_the_bind_address_only(bind: str, address: str) -> None:
    for colour, expected in (("blue", ["18080:8080", "18081:80"]), ("green", ["18180:8080", "18181:80"])):
        compose = release(colour, app_bind_address=bind)
        assert sorted(ports(compose)) == [f"{address}:{port}" for port in expected]
        assert exposed(compose, address) == []
    assert ports(data()) == []
    compose = data(app_postgres_bind_address=bind, app_redis_bind_address=bind)
    assert sorted(ports(compose)) == [f"{address}:5432:5432", f"{address}:6379:6379"]


@pytest.mark.parametrize("port", ["8080:80", "0.0.0.0:8080:80", ":8080:80", "[::]:8080:80", "10.0.0.1:8080:80", 8080])
def test_an_exposed_port_would_be_noticed(port: object) -> None:
    assert exposed({"services": {"backend": {"ports": [port]}}}, "127.0.0.1") == [str(port)]


def test_a_worker_publishes_nothing() -> None:
    worker = release(app_services={"worker": {"image": "w"}})["services"]["worker-blue"]
    assert "ports" not in worker


def test_networks() -> None:
    together = release()
    assert together["services"]["backend-blue"]["networks"] == ["default", "data"]
    assert together["networks"]["data"] == {"name": "kasaneha-data", "external": True}
    apart = release(group_names=["app"], app_extra_hosts={"postgres": "10.0.0.5"})
    assert apart["services"]["backend-blue"]["networks"] == ["default"]
    assert list(apart["networks"]) == ["default"]
    assert apart["services"]["backend-blue"]["extra_hosts"] == {"postgres": "10.0.0.5"}
    assert "extra_hosts" not in together["services"]["backend-blue"]


def test_databases_have_no_way_out() -> None:
    assert data()["networks"] == {"data": {"name": "kasaneha-data", "internal": True}}
    outside = data(app_postgres_bind_address="10.0.0.5")
    assert outside["networks"]["data"]["internal"] is True
    assert outside["services"]["postgres"]["networks"] == ["data", "outside"]
    assert outside["services"]["redis"]["networks"] == ["data"]


@pytest.mark.parametrize(
    ("groups", "expected"), [(["db"], ["postgres"]), (["cache"], ["redis"]), (["db", "cache"], ["postgres", "redis"])]
)
def test_each_database_runs_where_its_group_is(groups: list[str], expected: list[str]) -> None:
    compose = data(group_names=groups)
    assert list(compose["services"]) == list(compose["volumes"]) == expected


# --- what containers may do -----------------------------------------------------------------------------


def soft_spots(entry: dict[str, Any]) -> list[str]:
    """What a hardened service of a Compose file has and this one has not."""
    limits = entry.get("deploy", {}).get("resources", {}).get("limits", {})
    checks = {
        "cap_drop": entry.get("cap_drop") == ["ALL"],
        "security_opt": "no-new-privileges:true" in entry.get("security_opt", []),
        "read_only": entry.get("read_only") is True,
        "memory": re.fullmatch(r"\d+[mg]", str(limits.get("memory"))),
        "pids": isinstance(limits.get("pids"), int),
        "restart": entry.get("restart") == "unless-stopped",
        "logging": entry.get("logging", {}).get("driver") == "journald",
        "user": re.fullmatch(r"[1-9]\d*:[1-9]\d*", str(entry.get("user"))),
        "stop_grace_period": entry.get("stop_grace_period"),
        "privileged": not {"privileged", "network_mode", "pid", "ipc", "devices", "cap_add"} & set(entry),
        "docker.sock": "docker.sock" not in str(entry.get("volumes")),
    }
    return [name for name, good in checks.items() if not good]


def test_every_container_is_hardened() -> None:
    for compose in everything():
        assert {name: soft_spots(entry) for name, entry in compose["services"].items()} == {
            name: [] for name in compose["services"]
        }


def test_every_service_of_a_release_has_a_limit_of_processors() -> None:
    assert [entry["deploy"]["resources"]["limits"]["cpus"] for entry in release()["services"].values()] == ["1.0", "1.0"]


@pytest.mark.parametrize("key", ["cap_drop", "security_opt", "read_only", "restart", "logging", "user", "stop_grace_period"])
def test_a_soft_container_would_be_noticed(key: str) -> None:
    soft = copy.deepcopy(service())
    del soft[key]
    assert soft_spots(soft) == [key]
    assert soft_spots({**service(), "privileged": True, "volumes": ["/run/docker.sock:/s"]}) == ["privileged", "docker.sock"]


def test_keys_of_a_service_arrive() -> None:
    entry = service(
        user="101:101", read_only=False, tmpfs=["/run"], cap_add=["NET_BIND_SERVICE"], memory="64m", cpus=0.5, pids=9, stop_timeout=7,
        volumes=["uploads:/app/uploads"],
    )  # fmt: skip
    assert (entry["user"], entry["read_only"], entry["tmpfs"], entry["cap_add"]) == (
        "101:101",
        False,
        ["/run"],
        ["NET_BIND_SERVICE"],
    )
    assert entry["deploy"]["resources"]["limits"] == {"memory": "64m", "cpus": "0.5", "pids": 9}
    assert entry["stop_grace_period"] == "7s"
    assert "/var/lib/kasaneha/uploads:/app/uploads" in entry["volumes"]


def neutral(text: str, colour: str) -> str:
    """Take out of a Compose file what may differ between colours."""
    published = [str(entry["publish"][colour]) for entry in evaluate("app", "_app_services", inventory()).values()]
    return re.sub(rf"\b({'|'.join(published)})\b", "PORT", re.sub(rf"\b{colour}\b", "COLOUR", text))


def test_colours_differ_in_names_and_ports_only() -> None:
    blue, green = release_text("blue"), release_text("green")
    assert neutral(blue, "blue") == neutral(green, "green")
    assert blue != green
    assert not re.search("green|18180|18181", blue)


# --- values and secrets ---------------------------------------------------------------------------------


def interpolate(value: str) -> str:
    """Read a value as Compose does: `$$` is a dollar sign, and nothing else may begin with one."""
    assert "$" not in value.replace("$$", ""), f"Compose would put a variable into {value!r}"
    return value.replace("$$", "$")


VALUES = [
    "a$b",
    "${HOME}",
    "$$",
    "it's",
    'say "x"',
    "a: b # c",
    "two\nlines",
    "日本",
    "🌊 \U0001f5fb",
    "{{ no }}",
    "back\\slash",
    " ",
    "",
    "null",
    "yes",
    "0x10",
    8080,
]


@pytest.mark.parametrize("value", VALUES)
def test_values_arrive_unchanged(value: object) -> None:
    raw = f"{{% raw %}}{value}{{% endraw %}}" if "{{" in str(value) else value
    assert interpolate(service(environment={"VALUE": raw})["environment"]["VALUE"]) == str(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, "true"), (False, "false"), (None, ""), ("True", "True"), ("None", "None"), (0, "0"), (0.5, "0.5")],
)
def test_values_that_are_no_strings_are_written_as_programs_read_them(value: object, expected: str) -> None:
    assert service(environment={"VALUE": value})["environment"]["VALUE"] == expected


def test_a_lone_dollar_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="Compose would"):
        interpolate("a$b")


def test_commands_arrive_unchanged() -> None:
    for command in (["./main", "--price=$5", "🌊"], ["日本", 'say "x"', "back\\slash"]):
        for secrets_as in ("environment", "file"):
            assert [interpolate(word) for word in service(command=command, secrets_as=secrets_as)["command"]] == command
    entry = service()
    assert [interpolate(word) for word in entry["entrypoint"]] == ["/bin/sh", "/run/deploy/with-secrets", "/entry", "$1 🌊"]


def test_secrets_as_environment() -> None:
    entry = service()
    assert entry["environment"] == {"DEPLOY_SECRETS": "JWT_SECRET=jwt_secret", "DEPLOY_COLOUR": "blue", "DEPLOY_RELEASE": "v1"}
    assert entry["command"] == ["./main", "serve"]  # a new entrypoint would drop the image's own command
    assert "/etc/kasaneha/secrets/blue/backend:/run/secrets:ro" in entry["volumes"]
    assert "/opt/kasaneha/with-secrets:/run/deploy/with-secrets:ro" in entry["volumes"]


def test_secrets_as_file() -> None:
    entry = service(secrets_as="file")
    assert entry["environment"] == {"JWT_SECRET_FILE": "/run/secrets/jwt_secret", "DEPLOY_COLOUR": "blue", "DEPLOY_RELEASE": "v1"}
    assert not {"entrypoint", "command"} & set(entry)
    assert "/etc/kasaneha/secrets/blue/backend:/run/secrets:ro" in entry["volumes"]
    assert "with-secrets" not in str(entry)
    assert service(secrets_as="file", command=["./other"])["command"] == ["./other"]


def test_no_secrets() -> None:
    entry = service(secrets={})
    assert entry["environment"] == {"DEPLOY_COLOUR": "blue", "DEPLOY_RELEASE": "v1"}
    assert "entrypoint" not in entry
    assert "secrets" not in str(entry["volumes"])


def leaks(text: str) -> list[str]:
    """Secrets of the inventory that stand in a text: plain, encoded for a URL, or as a bare hash."""
    forms = {
        name: [value, quote(value, safe=""), hashlib.sha256(value.encode()).hexdigest()[:16]] for name, value in SECRETS.items()
    }
    return [name for name, values in forms.items() if any(value in text for value in values)] + re.findall("CANARY", text)


@pytest.mark.parametrize("secrets_as", ["environment", "file"])
def test_no_secret_stands_in_a_compose_file(secrets_as: str) -> None:
    services = copy.deepcopy(inventory()["app_services"])
    services["backend"]["secrets_as"] = secrets_as
    for text in (release_text(app_services=services), data_text(), data_text(app_redis_password_secret="jwt_secret")):  # noqa: S106 # a name
        assert leaks(text) == []


@pytest.mark.parametrize("name", SECRETS)
def test_a_leak_would_be_noticed(name: str) -> None:
    text = release_text(
        app_services={"backend": {**BACKEND, "environment": {"LEAK": f"{{{{ app_secrets.{name} | hash('sha256') }}}}"}}}
    )
    assert leaks(text) == [name]
    assert "CANARY" in leaks(
        release_text(app_services={"backend": {**BACKEND, "environment": {"LEAK": "{{ _app_secrets.postgres_url }}"}}})
    )


def test_containers_are_made_anew_when_a_secret_or_a_configuration_changes() -> None:
    label = "kasaneha.deploy.secrets"
    before, same, after = (service_label(**change) for change in ({}, {}, {"app_secrets": {**SECRETS, "jwt_secret": "another"}}))
    assert before[label] == same[label] != after[label]
    one = data()["services"]["postgres"]["labels"]["kasaneha.deploy.config"]
    assert one == hashlib.sha256(b"one").hexdigest()


def test_each_colour_mounts_its_own_secrets_and_nothing_of_the_other() -> None:
    mounted = {colour: release(colour)["services"][f"backend-{colour}"]["volumes"] for colour in ("blue", "green")}
    for colour, other in (("blue", "green"), ("green", "blue")):
        assert f"/etc/kasaneha/secrets/{colour}/backend:/run/secrets:ro" in mounted[colour]
        assert not [volume for volume in mounted[colour] if other in volume]


def service_label(**overrides: Any) -> dict[str, str]:
    """Labels of the backend."""
    return release(**overrides)["services"]["backend-blue"]["labels"]


def test_folders_of_secrets_are_closed() -> None:
    folders = {path: rest for path, *rest in written("_app_common_files + _app_release_files")}
    assert folders["/etc/kasaneha"] == folders["/etc/kasaneha/secrets"] == ["directory", "0700", None]  # None: root's
    # Those of a colour are made with its files: here, a changed user would take the serving colour's away from it.
    assert not [path for path in folders if path.startswith("/etc/kasaneha/secrets/")]
    assert folders["/var/lib/kasaneha/uploads"] == ["directory", "0750", "10001"]


def written(files: str, **overrides: Any) -> list[tuple[Any, ...]]:
    """Path, state, mode and owner of directories and files, in their order."""
    entries = evaluate("app", f"({files}) | map('combine', _app_own_attributes) | list", inventory(**overrides))
    assert files_problems({"state": "file", **entry} for entry in entries) == []
    return [tuple(entry.get(key) for key in ("path", "state", "mode", "owner")) for entry in entries]


def test_a_volume_of_several_services_is_one_folder_and_what_is_above_another_comes_first() -> None:
    services = {
        "backend": {**BACKEND, "volumes": ["files/new:/new", "uploads:/uploads"]},
        "worker": {"image": "w", "user": "7:7", "volumes": ["uploads:/in", "files:/out"]},
    }
    folders = [row for row in written("_app_release_files", app_services=services) if row[0].startswith("/var/lib")]
    assert [(path.removeprefix("/var/lib/kasaneha/"), owner) for path, _state, _mode, owner in folders] == [
        ("files", "7"), ("files/new", "10001"), ("uploads", "10001"),
    ]  # fmt: skip


def test_what_the_databases_read_is_closed() -> None:
    rows = {path: rest for path, *rest in written("_app_postgres_files + _app_redis_files")}
    assert rows["/etc/kasaneha/secrets/postgres"] == ["directory", "0500", 70]
    assert {mode for state, mode, _owner in rows.values() if state != "directory"} == {"0640"}
