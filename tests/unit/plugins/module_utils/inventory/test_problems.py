# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check says the variable, what is wrong and what to do; what is right is passed over in silence."""

from __future__ import annotations

import json
from itertools import zip_longest

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems

GOOD = "3f9a7c1e5b8d2046af13"
USE_ADDRESS = "Use 127.0.0.1, or the server's address in a private network."


@pytest.mark.parametrize(
    ("value", "lax", "strict"),
    [
        (GOOD, "", ""),
        ("0123456789abcdef", "", ""),  # as short as allowed
        ("0123456789abcde", "", "is shorter than 16"),
        ("日本語のとても長い秘密の言葉です", "", ""),
        ("$" * 16, "", ""),
        ("your_jwt_secret_here", "", "is a placeholder"),
        ("YOUR-GEMINI-KEY-HERE", "", "is a placeholder"),
        ("password", "", "is a placeholder"),
        ("ChangeMe", "", "is a placeholder"),
        ("xxxxxxxxxxxxxxxxxxxxxxxx", "", "is a placeholder"),
        ("$(cat /run/secrets/jwt_secret)", "", "is a placeholder"),
        ("<put the key in here, please>", "", "is a placeholder"),
        # Only the whole value makes a placeholder of a word.
        ("password-9f31c07be4a2d581", "", ""),
        ("not-your_secret_here-9f31c07be4a2", "", ""),
        ("x8<Kd92;qL>04hs$(Jpz0)7", "", ""),
        ("", "is not set", "is not set"),
        (None, "is not set", "is not set"),
        (1234567890123456, "is not a string", "is not a string"),
        (["a"], "is not a string", "is not a string"),
        (f"{GOOD}\n", "holds a line break", "holds a line break"),
        (f"{GOOD}\n{GOOD}", "holds a line break", "holds a line break"),
        (f"{GOOD}\0{GOOD}", "holds a byte 0", "holds a byte 0"),
    ],
)
def test_secret(value: object, lax: str, strict: str) -> None:
    for mode, expected in ((False, lax), (True, strict)):
        problems = inventory_problems.secret_problems({"key": value}, ["key"], strict=mode)
        assert len(problems) == bool(expected)
        assert all(problem.startswith(f"app_secrets.key: {expected}") for problem in problems)


@pytest.mark.parametrize(
    ("value", "single", "several"),
    [
        (GOOD, "", ""),
        (f"{GOOD}\n{GOOD}", "holds a line break", ""),
        (f"-----BEGIN X-----\n{GOOD}\n-----END X-----\n", "holds a line break", ""),
        ('{\n  "key": 1234567\n}\n', "holds a line break", ""),
        (f"{GOOD}\r", "", ""),
        (f"{GOOD}\n", "holds a line break", "is one line with a line break behind it"),
        (f"{GOOD}\n\n", "holds a line break", ""),
        (f"{GOOD}\n\0", "holds a byte 0", "holds a byte 0"),
    ],
)
def test_only_some_secrets_have_to_be_one_line(value: str, single: str, several: str) -> None:
    secrets = {"password": value, "key": value}
    said = {"password": single, "key": several}
    found = inventory_problems.secret_problems(secrets, [], True, one_line=iter(["password"]))
    assert {problem.split(":")[0] for problem in found} == {f"app_secrets.{name}" for name, sentence in said.items() if sentence}
    assert all(said[problem.split(":")[0].rpartition(".")[2]] in problem and GOOD not in problem for problem in found)


def test_secret_that_is_needed_and_missing() -> None:
    assert inventory_problems.secret_problems({}, ["key"], strict=False)[0].startswith("app_secrets.key: is not set")
    assert inventory_problems.secret_problems({}, [], strict=True) == []


def test_a_secret_that_is_missing_is_told_with_its_remedy() -> None:
    assert inventory_problems.secret_problems({"postgres_password": GOOD}, ["redis_password"], strict=True) == [
        "app_secrets.redis_password: is not set. Add it to vault.yml: ansible-vault edit <inventory>/group_vars/all/vault.yml "
        "(openssl rand -hex 32 makes a good one)."
    ]
    # One that is nearly there is there by another name; the same word for another service is not.
    assert inventory_problems.secret_problems({"jwt_secret": GOOD}, ["jwt_secert"], strict=True) == [
        "app_secrets.jwt_secert: is not set. Did you mean jwt_secret? If not, add it to vault.yml: "
        "ansible-vault edit <inventory>/group_vars/all/vault.yml (openssl rand -hex 32 makes a good one)."
    ]
    [problem] = inventory_problems.secret_problems({"jwt_secret": "", "jwt_secrets": GOOD}, ["jwt_secret"], strict=True)
    assert "Did you mean" not in problem  # it stands there, empty


def test_secret_names_its_variable_and_comes_in_order() -> None:
    problems = inventory_problems.secret_problems({"b": "", "a": ""}, ["c"], strict=False, variable="backup_secrets")
    assert [problem.split(":")[0] for problem in problems] == ["backup_secrets.a", "backup_secrets.b", "backup_secrets.c"]


@pytest.mark.parametrize(
    "value",
    [
        "CANARY-1\nCANARY-2",
        "CANARY",
        "your_CANARY_here",
        "$(CANARY and what makes it long)",
        "<CANARY and what makes it long>",
        ["CANARY"],
    ],
)
def test_secret_is_never_repeated(value: object) -> None:
    problems = inventory_problems.secret_problems({"key": value}, ["key"], strict=True)
    assert problems and "CANARY" not in " ".join(problems)


def test_secrets_of_the_wrong_type_are_passed_over() -> None:
    assert inventory_problems.secret_problems(["key"], ["key"], strict=True) == []


def entry(port: int, name: str, pid: int = 7, address: str = "0.0.0.0") -> dict[str, object]:
    """One row of ``ansible_facts.tcp_listen``."""
    return {"address": address, "port": port, "name": name, "pid": pid, "protocol": "tcp", "user": "root"}


@pytest.mark.parametrize(
    ("wanted", "listening", "own", "expected"),
    [
        ({}, [entry(80, "apache2")], [], []),
        ({"a": 80}, [], [], []),
        ({"a": 80, "b": "443"}, [entry(22, "sshd")], [], []),
        ({"a": 80}, [entry(80, "nginx")], ["nginx"], []),
        ({"a": 80}, [entry(80, "apache2", 31)], ["nginx"], ["a: port 80 is taken by apache2 (pid 31)"]),
        ({"a": 80}, [entry(80, "")], ["nginx"], ["a: port 80 is taken by another program"]),
        # One program of ours does not hide a foreign one on the same port, in whichever order they come.
        ({"a": 80}, [entry(80, "apache2", 31), entry(80, "nginx", address="::")], ["nginx"], ["a: port 80 is taken by apache2"]),
        ({"a": 80}, [entry(80, "nginx", address="::"), entry(80, "apache2", 31)], ["nginx"], ["a: port 80 is taken by apache2"]),
        ({"a": 80}, [entry(80, "nginx"), entry(80, "nginx", address="::")], ["nginx"], []),
        ({"a": 80}, [{"port": 80}], ["nginx"], ["a: port 80 is taken by another program (pid ?)"]),
        ({"a": 1, "b": 1}, [], [], ["a and b: all want port 1."]),
        ({"a": 9, "b": "9"}, [entry(9, "x")], [], ["a and b: all want port 9.", "a: port 9 is taken by x"]),
        ({"a": 65535}, [], [], []),
        ({"a": 65536}, [], [], ["a: 65536 is not a port"]),
        ({"a": 0}, [], [], ["a: 0 is not a port"]),
        ({"a": -1}, [], [], ["a: -1 is not a port"]),
        ({"a": "http"}, [], [], ["a: 'http' is not a port"]),
        ({"a": None}, [], [], ["a: None is not a port"]),
        ({"a": True}, [], [], ["a: True is not a port"]),
    ],
)
def test_ports(wanted: dict[str, object], listening: list[dict[str, object]], own: list[str], expected: list[str]) -> None:
    problems = inventory_problems.port_problems(wanted, listening, iter(own))
    assert [problem[: len(start)] for problem, start in zip_longest(problems, expected, fillvalue="")] == expected


def container(name: str, ports: str, app: str = "") -> str:
    """One line of ``docker ps --format '{{json .}}'``."""
    return json.dumps({"Names": name, "Ports": ports, "Labels": f"a=b,kasaneha.deploy.app={app}" if app else ""})


CONTAINERS = [
    container("shop-web", "0.0.0.0:18080->80/tcp, [::]:18080->80/tcp"),
    container("ours-blue", "127.0.0.1:18081->8080/tcp", "ours"),
    container("shop-many", "0.0.0.0:7000-7002->7000-7002/tcp, :::9000->9000/udp, 9001/tcp"),
]
DOCKER = ["docker-proxy", "dockerd"]


@pytest.mark.parametrize(
    ("port", "listening", "app", "expected"),
    [
        # Whoever listens for it, a container of somebody else is somebody else.
        (18080, [entry(18080, "docker-proxy")], "ours", ["port 18080 is taken by the container shop-web."]),
        (18080, [entry(18080, "dockerd")], "ours", ["port 18080 is taken by the container shop-web."]),
        (18080, [], "ours", ["port 18080 is taken by the container shop-web."]),
        (7001, [entry(7001, "docker-proxy")], "ours", ["port 7001 is taken by the container shop-many."]),
        (9000, [], "ours", []),  # UDP
        (9001, [], "ours", []),  # inside the container only
        (18081, [entry(18081, "docker-proxy")], "ours", []),
        (18081, [entry(18081, "docker-proxy")], "other", ["port 18081 is taken by the container ours-blue."]),
        (18081, [], "", ["port 18081 is taken by the container ours-blue."]),  # what is no container's is none of ours
        (80, [entry(80, "dockerd")], "ours", []),  # whom Docker holds it for is not known
        (18080, [entry(18080, "nginx", 9)], "ours", ["port 18080 is taken by the container shop-web."]),
        (18082, [entry(18082, "nginx", 9)], "ours", ["port 18082 is taken by nginx (pid 9)."]),
    ],
)
def test_a_port_of_a_container(port: int, listening: list[dict[str, object]], app: str, expected: list[str]) -> None:
    problems = inventory_problems.port_problems({"x": port}, listening, DOCKER, CONTAINERS, app)
    assert problems == [f"x: {problem} Stop it, or choose another port." for problem in expected]


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("10.0.0.4", True),
        ("172.16.0.4", True),
        ("192.168.1.4", True),
        ("::1", True),
        ("fd00::4", True),
        ("::ffff:10.0.0.4", True),
        # Every address of the server.
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:0.0.0.0", False),
        ("", False),
        ("*", False),
        # Addresses that everybody reaches.
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("2a01:4f8::1", False),
        ("::ffff:8.8.8.8", False),
        # No addresses.
        ("localhost", False),
        ("127.0.0.1:5432", False),
        ("[::1]", False),
        (" 127.0.0.1", False),
        ("10.0.0.0/8", False),
        (2130706433, False),
        (None, False),
        (True, False),
    ],
)
def test_address(address: object, good: bool) -> None:
    problems = inventory_problems.address_problems({"app_bind_address": address})
    assert problems == ([] if good else [f"app_bind_address: {address!r} is not a loopback or private address. {USE_ADDRESS}"])
    # Optional lets nothing else in.
    assert inventory_problems.address_problems({"app_bind_address": address}, optional=True) == (
        [] if address == "" else problems
    )


def test_every_address_is_judged() -> None:
    problems = inventory_problems.address_problems({"a": "0.0.0.0", "b": "", "c": "10.0.0.4", "d": "::"}, optional=True)
    assert [problem.split(":")[0] for problem in problems] == ["a", "d"]
    assert inventory_problems.address_problems({}) == []


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("fd00::4", "[fd00::4]"), ("db1.test", "db1.test")]
)
def test_bracketed(address: str, expected: str) -> None:
    assert inventory_problems.bracketed(address) == expected


def test_report() -> None:
    assert inventory_problems.report(["one", "two"], "web1") == "- web1: one\n- web1: two"
    assert inventory_problems.report([], "web1") == ""


@pytest.mark.parametrize(("text", "good"), [("{}", True), ('{"debug": true}', True), ("", False), ("[]", False), ("{,}", False)])
def test_a_file_to_merge_is_a_json_object(text, good):
    found = inventory_problems.json_problems(text, "/etc/docker/daemon.json")
    assert found == ([] if good else ["/etc/docker/daemon.json: is not a JSON object. Fix it, or move it away."])
