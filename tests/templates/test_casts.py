# SPDX-License-Identifier: GPL-3.0-or-later
"""A boolean of ``-e name=false`` or of an INI inventory is a string, and so is a number: each is cast where it is read.

``when: name`` would take "false" for true (or be refused by Ansible), ``name + 1`` would fail. So every place that reads an option
of the type bool or int says ``| bool`` or ``| int``; a number that merely becomes part of a text needs no cast.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.module_utils.common.validation import check_type_bool, check_type_int
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems
from jinja2 import nodes
from render import ROLES
from role import JUDGING, NAMES, engine, options, template

ROOT = ROLES.parent
CASTS = {"bool": {"bool"}, "int": {"int"}, "float": {"float"}}
# Settings of playbooks, which no role has in its specification.
MORE = {"monitoring_enabled": "bool", "docker_enabled": "bool", "force": "bool"}
EXPRESSIONS = {"when", "until", "failed_when", "changed_when", "that"}


@functools.cache
def typed() -> dict[str, str]:
    """Every option whose type asks for a cast."""
    found = dict(MORE)
    for file in ROLES.glob("*/meta/argument_specs.yml"):
        entries = yaml.safe_load(file.read_text())["argument_specs"]
        for name in set(entries) - set(
            entries["main"]["options"]
        ):  # the others are values, judged so that they need no cast (_spec.py)
            found |= {
                key: option["type"] for key, option in entries[name].get("options", {}).items() if option.get("type") in CASTS
            }
    return found


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each string of a YAML document with the key that it stands under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from strings(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, key)
    elif isinstance(value, str):
        yield key, value


def templates(file: Path) -> Iterator[tuple[str, bool]]:
    """What Jinja reads in a file, and whether it is a text as a whole."""
    if file.suffix == ".j2":
        yield file.read_text(), True
        return
    for key, text in strings(yaml.safe_load(file.read_text())):
        yield (text, False) if "{{" in text or "{%" in text else (f"{{{{ {text} }}}}" if key in EXPRESSIONS else "", False)


def uncast(node: nodes.Node, text: bool, above: tuple[nodes.Node, ...] = ()) -> Iterator[str]:
    """Options that a template reads as they are."""
    name = node.name if isinstance(node, nodes.Name) else node.attr if isinstance(node, nodes.Getattr) else ""
    if name in typed() and not (isinstance(node, nodes.Name) and node.ctx != "load"):
        around = list(reversed(above))
        while around and isinstance(around[0], nodes.Filter) and around[0].name in ("default", "d"):
            around.pop(0)
        reader, kind = around[0], typed()[name]
        cast = isinstance(reader, nodes.Filter) and reader.name in CASTS[kind]
        asked = isinstance(reader, nodes.Test) and reader.name in ("defined", "undefined")
        alone = isinstance(reader, nodes.Output) and len(reader.nodes) == 1 and not text
        part = isinstance(reader, nodes.Concat) or (isinstance(reader, nodes.Output) and not alone)
        if not (cast or asked or (part and kind != "bool")):
            yield name
    for child in node.iter_child_nodes():
        yield from uncast(child, text, (*above, node))


def read_as_they_are(file: Path) -> list[str]:
    """The options that a file reads without a cast."""
    return [name for source, text in templates(file) for name in uncast(jinja2.Environment().parse(source), text)]


FILES = [
    *(file for part in ("tasks", "handlers", "vars", "defaults") for file in sorted(ROLES.glob(f"*/{part}/**/*.yml"))),
    *sorted(ROLES.glob("*/templates/**/*.j2")),
    *sorted((ROOT / "playbooks").rglob("*.yml")),
    *sorted(file for file in (ROOT / "inventories").rglob("*.yml") if not file.is_symlink()),
]


def test_every_option_is_cast_where_it_is_read() -> None:
    found = {str(file.relative_to(ROOT)): names for file in FILES if (names := read_as_they_are(file))}
    assert found == {}
    assert len(typed()) > 70 and len(FILES) > 150


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ nginx_http3 }}", ["nginx_http3"]),
        ("{{ nginx_http3 | bool }}", []),
        ("{% if a and nginx_http3 %}x{% endif %}", ["nginx_http3"]),
        ("{{ not certbot_staging | default(false) }}", ["certbot_staging"]),
        ("{{ not certbot_staging | default(false) | bool }}", []),
        ("{{ hostvars['a'].monitoring_enabled | default(true) | to_json }}", ["monitoring_enabled"]),
        ("{{ force is defined }}", []),
        ("listen {{ nginx_status_port }};", []),
        ("{{ nginx_status_port }}", ["nginx_status_port"]),  # a number of a dictionary, in YAML
        ("{{ 'x' ~ nginx_status_port }}", []),
        ("{{ nginx_status_port + 1 }} x", ["nginx_status_port"]),
        ("{{ nginx_status_port | int + 1 }} x", []),
        ("is {{ nginx_http3 }}", ["nginx_http3"]),  # True and "true" are not the same text
    ],
)
def test_what_counts_as_cast(source: str, found: list[str]) -> None:
    assert list(uncast(jinja2.Environment().parse(source), text=False)) == found


def values(role: str, **changes: Any) -> dict[str, Any]:
    """What the variables of a role become, where no run has to tell something first."""
    run = engine(role, **changes)
    names = [name for file in sorted((ROLES / role / "vars").glob("*.yml")) for name in yaml.safe_load(file.read_text())]
    return {name: template(run, f"{{{{ {name} }}}}") for name in names}


# Of those roles no variable depends on a boolean or a number, without what a run finds out: their tasks and templates read it.
QUIET = {"docker", "firewall"}


@pytest.mark.parametrize("role", NAMES)
def test_a_string_acts_as_its_value(role: str) -> None:
    """All at once, another one than the default each."""
    usual = {name: option.get("default") for name, option in options(role).items() if option["type"] in CASTS}
    other = {
        name: not value if isinstance(value, bool) else value + 7 if isinstance(value, int) else 0.75
        for name, value in usual.items()
    }
    typed_ones, strings_of = values(role, **other), values(role, **{name: str(value).lower() for name, value in other.items()})
    assert strings_of == typed_ones
    assert (typed_ones != values(role, **usual)) is (role not in QUIET)


TEXTS = ("true", "True", "yes", "on", "1", "y", "T", "false", "no", "off", "0", "n", "f", "F", " true", "1.0", "maybe", "",
         "80", "080", " 80", "8_0", "8e1", "80.0", "80.5", "0x50", "-1", "eighty")  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_cast_means_what_the_specification_means_or_is_refused(text: str) -> None:
    for kind, check, cast in (("bool", check_type_bool, "bool"), ("int", check_type_int, "int")):
        refused = bool(inventory_problems.cast_problems({"x": {"type": kind}}, {"x": text}))
        try:
            means = check(text)
        except TypeError:
            assert not refused  # the specification says so already
            continue
        same = template(engine("docker", x=text), f"{{{{ x | {cast} }}}}") == means and (kind == "bool" or str(means) == text)
        assert refused or same, (
            kind,
            text,
        )  # `n` and `f` are refused beside `y` and `t`, though the filter takes all of them for false
        assert not (refused and text.lower() in ("true", "false", "yes", "no", "on", "off", "1", "0", "80", "-1")), (kind, text)


def test_what_yaml_made_a_value_already() -> None:
    fine = {"a": True, "b": False, "c": 1, "d": 80, "e": -1}
    specs = {"a": "bool", "b": "bool", "c": "bool", "d": "int", "e": "int"}
    options_of = {name: {"type": kind} for name, kind in specs.items()}
    assert inventory_problems.cast_problems(options_of, fine) == []
    [problem] = inventory_problems.cast_problems(options_of, {"d": 80.0})
    assert problem == "d: 80.0 is no number in plain digits. Write 80."
    [problem] = inventory_problems.cast_problems(options_of, {"a": "y"})
    assert problem.startswith("a: 'y' is read") and "true or false" in problem


@pytest.mark.parametrize(("value", "problems"), [("false", 0), ("y", 1), (False, 0)])
def test_every_role_asks_for_it_before_anything_is_changed(value: Any, problems: int) -> None:
    asked = "{{ lookup('kasaneha.deploy.cast_problems', role_path) + [] }}"
    assert len(template(engine("certbot", certbot_staging=value), asked)) == problems
    for role in JUDGING:
        assert "lookup('kasaneha.deploy.cast_problems', role_path)" in (ROLES / role / "tasks/problems.yml").read_text()
