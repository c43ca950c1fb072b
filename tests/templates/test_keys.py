# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of services, sites and locations: what the argument specifications declare is what templates read, with the same defaults."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs
from inventory import inventory
from jinja2 import nodes
from render import ROLES
from role import GROUPS, engine, options, problems, template

SERVICE = _argument_specs.keys("app", "app_services")
SITE = _argument_specs.keys("nginx", "nginx_sites")
MIGRATIONS = _argument_specs.keys("app", "app_migrations")
# Loop variable of the templates -> role, keys, and those that plugins, tasks and playbooks read.
KINDS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "service": (
        "app",
        SERVICE,
        {"image", "build", "health", "release_key", "release_label", "metrics", "assets", "optional_secrets"},
    ),
    "__build": ("app", SERVICE["build"]["options"], set()),
    "site": ("nginx", SITE, {"probes"}),
    "location": ("nginx", SITE["locations"]["options"], set()),
    "app_migrations": ("app", MIGRATIONS, {"rollback"}),
}


def read(role: str, name: str) -> dict[str, set[str]]:
    """What the files of a role read of a loop variable: key -> defaults that they give it, as far as these are plain values, as text."""
    found: dict[str, set[str]] = {}
    for file in [*(ROLES / role).rglob("*.j2"), *(ROLES / role / "vars").glob("*.yml"), *(ROLES / role / "tasks").glob("*.yml")]:
        tree = jinja2.Environment().parse(file.read_text())
        for node in tree.find_all(nodes.Getattr):
            if isinstance(node.node, nodes.Name) and node.node.name == name:
                found.setdefault(node.attr, set())
        for node in tree.find_all(nodes.Filter):
            of, default = node.node, node.args[0] if node.args else None
            own = isinstance(of, nodes.Getattr) and isinstance(of.node, nodes.Name) and of.node.name == name
            if own and node.name == "default" and isinstance(default, (nodes.Const, nodes.List, nodes.Dict)):
                found[of.attr].add(str(default.as_const()))
    return found


@pytest.mark.parametrize("name", KINDS)
def test_what_is_declared_is_what_is_read(name: str) -> None:
    role, keys, elsewhere = KINDS[name]
    found = set(read(role, name))
    assert found | elsewhere == set(keys)
    assert not found & elsewhere


# An absent value of these means something else than the empty one, which the templates give themselves to go on.
ABSENT = {("location", "allow"): {"[]"}, ("service", "source"): {"{}"}}


@pytest.mark.parametrize("name", KINDS)
def test_a_default_is_the_template_s(name: str) -> None:
    role, keys, _elsewhere = KINDS[name]
    for key, means in read(role, name).items():
        declared = {str(keys[key]["default"])} if "default" in keys[key] else set()
        if key == "user":  # its first half is enough for files
            declared.add("10001")
        assert means <= (declared | ABSENT.get((name, key), set())), (key, means, declared)
        assert not (declared and (name, key) in ABSENT)
    assert sum(map(bool, read(role, name).values())) > 1


@pytest.mark.parametrize(
    ("role", "wrong"),
    [("app", {"app_services": {"web": {"prot": 1, "image": "x"}}}), ("nginx", {"nginx_sites": [{"name": "x", "nmaes": [1]}]})],
)
def test_the_filters_know_them(role: str, wrong: dict[str, Any]) -> None:
    found = problems(role, {**inventory("prod", GROUPS), **wrong})
    assert any("Did you mean " in problem for problem in found), found


@pytest.mark.parametrize("role", ["app", "nginx"])
def test_ansible_does_not_say_again_what_is_said_of_keys(role: str) -> None:
    task = next(task for task in yaml.safe_load((ROLES / role / "tasks/problems.yml").read_text()) if "register" in task)
    text = task["ansible.builtin.validate_argument_spec"]["argument_spec"]
    asked = template(engine(role), text)
    assert asked.keys() == options(role).keys()
    assert any("options" in option for option in options(role).values())
    assert not any("options" in option for option in asked.values())
