# SPDX-License-Identifier: GPL-3.0-or-later
"""A variable that is nearly one of ours is refused, and none that this collection, its inventories or Ansible itself have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.lookup import undeclared_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import description, new, wiring
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names as inventory_names
from inventory import inventory
from jinja2 import nodes
from render import ROLES, evaluate
from role import GROUPS, engine, template

ROOT = ROLES.parent
PLAYBOOKS = [ROOT / "site.yml", *sorted((ROOT / "playbooks").rglob("*.yml"))]
ROLE_FILES = [file for part in ("tasks", "handlers", "vars") for file in sorted(ROLES.glob(f"*/{part}/**/*.yml"))]
INVENTORIES = sorted(
    file
    for pattern in ("inventories/**/*", "molecule/*/inventory/**/*", "lab/ready/**/*")
    for file in ROOT.glob(pattern)
    if file.is_file() and file.suffix in (".yml", ".example")
)
EXPRESSIONS = {"when", "until", "failed_when", "changed_when", "that"}
MAGIC = frozenset(
    "group_names groups hostvars inventory_dir inventory_file inventory_hostname inventory_hostname_short item lookup loop now omit"
    " play_hosts playbook_dir query range role_name role_names role_path dict environment undef vars".split()
)


class Loader(yaml.SafeLoader):
    """Knows that ``!vault`` and ``!unsafe`` exist."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))


def load(file: Path) -> Any:
    return yaml.load(file.read_text(), Loader)  # noqa: S506 - a safe loader


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from mappings(child)


def strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a document with the key that it stands under."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from strings(child, str(name))
    elif isinstance(node, list):
        for child in node:
            yield from strings(child, key)
    elif isinstance(node, str):
        yield key, node


def set_by(files: Iterable[Path]) -> set[str]:
    """What tasks and plays set: facts, registered results, variables, and those of loops."""
    found: set[str] = set()
    for file in files:
        for mapping in mappings(load(file)):
            names = [mapping.get("register"), (mapping.get("loop_control") or {}).get("loop_var")]
            for key in ("ansible.builtin.set_fact", "vars"):
                names += mapping[key] if isinstance(mapping.get(key), dict) else []
            found |= {name for name in names if isinstance(name, str)}
        if file.parent.name in ("vars", "adopt", "all"):  # files of variables
            found |= set(load(file) or {})
    return found


def read_by(files: Iterable[Path]) -> set[str]:
    """What templates and expressions read."""
    found: set[str] = set()
    for file in files:
        for key, text in strings(load(file)):
            if "{{" in text or "{%" in text or key in EXPRESSIONS:
                tree = jinja2.Environment().parse(text if "{{" in text or "{%" in text else f"{{{{ {text} }}}}")
                own = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
                found |= {node.name for node in tree.find_all(nodes.Name)} - own
    return found


def inventory_variables() -> set[str]:
    """Every variable of an inventory, of its groups and of its hosts."""
    found: set[str] = set()
    for file in INVENTORIES:
        document = load(file) or {}
        if isinstance(document.get("all"), dict):
            for mapping in mappings(document):
                found |= set(mapping.get("vars") or {})
                found |= {name for host in (mapping.get("hosts") or {}).values() for name in host or {}}
        else:
            found |= set(document)
    return found


DECLARED = undeclared_problems.declared()


def refused(names: Iterable[str]) -> list[str]:
    """What the lookup says of names."""
    return inventory_names.undeclared_problems(names, DECLARED, undeclared_problems.facts())


def test_nothing_that_a_run_sets_is_refused() -> None:
    names = set_by([*PLAYBOOKS, *ROLE_FILES])
    assert refused(names) == []
    assert len(names) > 200 and {"app_problems", "release_shown", "__app_spec", "adopt_names", "_app_state_dir"} <= names


def test_no_variable_of_an_inventory_is_refused() -> None:
    names = inventory_variables()
    assert refused(names) == []
    assert len(names) > 100 and {"app_services", "ansible_host", "lab_release", "app_secrets"} <= names


def test_nothing_of_ansible_s_own_is_refused() -> None:
    assert refused(MAGIC) == []


def test_what_playbooks_read_without_a_role_is_listed() -> None:
    """And nothing else is."""
    read = {name for name in read_by(PLAYBOOKS) if not name.startswith(("_", "ansible_", "fleet_"))} - MAGIC
    read -= new.OPTIONS.keys() - {"app_name"}  # new.yml has no inventory, and judges its own
    options = DECLARED - inventory_names.PLAYBOOK_VARIABLES
    assert sorted(read - set_by([*PLAYBOOKS, *ROLE_FILES]) - options - inventory_names.PLAYBOOK_VARIABLES) == []
    wired = {
        name for module in (description, wiring) for name in re.findall(r'said\.get\("(\w+)"', Path(module.__file__).read_text())
    }
    assert wired - {name for name in wired if name.startswith("ansible_")} - DECLARED == set()
    assert sorted(inventory_names.PLAYBOOK_VARIABLES - read - wired) == []
    assert not inventory_names.PLAYBOOK_VARIABLES & options


def test_every_role_s_variables_are_declared() -> None:
    assert {"app_release", "nginx_sites", "firewall_rules", "backup_dir", "monitoring_receivers", "force"} <= DECLARED
    assert len(DECLARED) > 250


@pytest.mark.parametrize(("changes", "expected"), [({"app_relase": "v1"}, ["app_release"]), ({"site_domains": []}, [])])
def test_the_lookup_judges_the_host_s_variables(changes: dict[str, Any], expected: list[str]) -> None:
    found = template(engine("docker", **changes), "{{ lookup('kasaneha.deploy.undeclared_problems') + [] }}")
    assert [problem.split()[-1] for problem in found] == [f"{name}?" for name in expected]


def test_it_is_asked_before_anything_is_changed() -> None:
    (play,) = [play for play in load(ROOT / "playbooks/preflight.yml") if play["name"] == "Preflight"]
    tasks = play["tasks"]
    [task] = [task for task in tasks if "undeclared_problems" in str(task.get("ansible.builtin.set_fact", {}))]
    assert set(task["ansible.builtin.set_fact"]) == {"variable_problems"} and task["tags"] == ["always"]
    given = {**inventory("prod", GROUPS, frce=1, app_name="Shop"), **task["vars"], "preflight_roles": ["monitoring"]}
    assert [
        problem.split(".")[0]
        for problem in evaluate("docker", task["ansible.builtin.set_fact"]["variable_problems"][2:-2], given)
    ] == [
        "frce: is no variable of this collection",
        "app_name: 'Shop' is no name for an application",
    ]
