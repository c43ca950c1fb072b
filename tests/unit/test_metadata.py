# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of metadata.py hold here, and each of them notices the defects it is made for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import metadata
import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
HEADER = f"# {metadata.SPDX}\n"

SPEC = """
argument_specs:
  main:
    options:
      toy_port: {type: int, description: A port., default: 80}
      toy_url: {type: str, description: Made of others.}
      toy_names: {type: list, elements: str, description: Names., default: []}
      toy_secret: {type: str, description: From the vault., required: true}
      toy_sites:
        type: list
        elements: dict
        description: Sites.
        default: []
        options: {port: {type: int, description: Its port., default: 80}}
      toy_services: {type: dict, description: What each may have is another entry point., default: {}}
  data:
    description: "Result: C(toy_data)."
    options:
      toy_mode: {type: str, description: A mode., choices: [a, b], default: a}
      toy_map: {type: dict, description: In any order., default: {a: 1, b: 2}}
  toy_services:
    options:
      build: {type: dict, description: Where., options: {context: {type: str, description: A folder., required: true}}}
"""
DEFAULTS = "toy_port: 80\ntoy_url: 'http://{{ toy_host }}'\ntoy_names: []\ntoy_mode: a\ntoy_map: {b: 2, a: 1}\n"
DEFAULTS += "toy_sites: []\ntoy_services: {}\n"
MAIN = """
- name: Preflight
  ansible.builtin.import_tasks: preflight.yml
  tags: [toy, toy_preflight, always]
- name: Service
  ansible.builtin.import_tasks: service.yml
  tags: [toy, toy_service]
"""
PREFLIGHT = """
- name: Look
  block:
    - name: Look closer
      ansible.builtin.stat: {path: /}
      register: __toy_root
    - name: Remember
      ansible.builtin.set_fact: {toy_problems: [], _toy_root: 1, cacheable: false}
"""
MODULE = 'DOCUMENTATION = "module: toy"\nEXAMPLES = "- toy:"\nRETURN = "toy: {}"\n'
SOUND = {
    "galaxy.yml": "dependencies: {a.b: '>=1.0.0'}\n",
    "requirements.yml": "collections: [{name: a.b, version: '>=1.0.0'}]\n",
    "meta/runtime.yml": "action_groups: {deploy: [toy]}\n",
    "docs/toys.md": "Use `kasaneha.deploy.toy_name`.\n",
    "playbooks/site.yml": "- hosts: all\n",
    "plugins/filter/toy_name.yml": "DOCUMENTATION: {description: [Names a toy.]}\n",
    "plugins/filter/toy_rest.yml": f"DOCUMENTATION: {{description: [Hides one., '{metadata.PRIVATE}']}}\n",
    "plugins/modules/toy.py": MODULE,
    "roles/toy/README.md": "# toy\n\nA toy.\n",
    "roles/toy/defaults/main.yml": DEFAULTS,
    "roles/toy/meta/argument_specs.yml": SPEC,
    "roles/toy/tasks/data.yml": "- name: Nothing\n  register: toy_data\n",
    "roles/toy/tasks/main.yml": MAIN,
    "roles/toy/tasks/preflight.yml": PREFLIGHT,
    "roles/toy/vars/main.yml": "_toy_secret: !unsafe '{{ x }}'\n",
    "lab/Dockerfile": "ARG BASE=debian:12\nFROM $BASE AS build\nFROM debian:12\nCOPY --from=build /a /a\nFROM build\n",
    "README.md": "# A collection\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout in which all is well."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name, content in SOUND.items():
        write(tmp_path, name, HEADER + content)
    folder = tmp_path / "collections/ansible_collections/kasaneha/deploy"
    folder.mkdir(parents=True)
    for name in metadata.LINKS:
        (folder / name).symlink_to(f"../../../../{name}")
    return tmp_path


def write(root: Path, name: str, content: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.mark.parametrize("check", metadata.CHECKS, ids=lambda check: check.__name__)
def test_this_collection_keeps_the_rule(check) -> None:
    found = check(ROOT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("check", metadata.CHECKS, ids=lambda check: check.__name__)
def test_a_sound_tree_is_accepted(check, tree: Path) -> None:
    assert check(tree) == []


# check, file, what stands there instead of what (None: the whole file), what the check says
DEFECTS = [
    ("argument_specs", "roles/toy/meta/argument_specs.yml", None, "argument_specs: {}", "no entry point main"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "default: 80", "default: 81", "toy_port has default 81"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "type: int", "type: bool", "toy_port has a default of type int"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "type: int, ", "", "toy_port has type None"),
    (
        "argument_specs",
        "roles/toy/meta/argument_specs.yml",
        ", default: 80",
        "",
        "toy_port has a default in defaults/main.yml only",
    ),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "elements: str, ", "", "toy_names is a list without elements"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "description: A port., ", "", "toy_port has no description"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "[a, b]", "[b, c]", "none of its choices"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "required: true", "default: x", "toy_secret has no default in"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "toy_secret", "secret", "secret does not begin with toy_"),
    ("argument_specs", "roles/toy/meta/argument_specs.yml", "  data:", "  gone:", "entry point gone has no tasks/gone.yml"),
    (
        "argument_specs",
        "roles/toy/meta/argument_specs.yml",
        "  toy_services:\n    o",
        "  gone:\n    o",
        "gone has no tasks/gone.yml",
    ),
    (
        "argument_specs",
        "roles/toy/meta/argument_specs.yml",
        "description: A folder., ",
        "",
        "toy_services: build.context has no desc",
    ),
    (
        "argument_specs",
        "roles/toy/meta/argument_specs.yml",
        "description: Where., ",
        "",
        "toy_services: build has no description",
    ),
    (
        "argument_specs",
        "roles/toy/meta/argument_specs.yml",
        "{type: int, description: Its",
        "{description: Its",
        "toy_sites.port has",
    ),
    (
        "argument_specs",
        "roles/toy/meta/argument_specs.yml",
        "elements: dict",
        "elements: str",
        "toy_sites has keys, but no mapping",
    ),
    (
        "argument_specs",
        "roles/toy/tasks/toy_services.yml",
        None,
        "- name: x\n",
        "toy_services describes values, but there are tasks",
    ),
    ("argument_specs", "roles/toy/defaults/main.yml", "toy_port: 80", "toy_port: true", "defaults/main.yml says True"),
    (
        "argument_specs",
        "roles/toy/defaults/main.yml",
        "toy_mode: a",
        "toy_mode: a\ntoy_more: 1",
        "toy_more is in defaults/main.yml only",
    ),
    ("argument_specs", "roles/toy/defaults/main.yml", "toy_mode: a", "toy_mode: a\ntoy_secret: x", "toy_secret is required, but"),
    ("role_layout", "roles/toy/README.md", None, "# toy", "README.md is missing"),
    ("role_layout", "roles/toy/tasks/main.yml", "preflight.yml", "check.yml", "'Preflight' is not one of the phases"),
    (
        "role_layout",
        "roles/toy/tasks/main.yml",
        "  tags: [toy, toy_service]",
        "  when: true",
        "'Service' is not one of the phases",
    ),
    ("role_layout", "roles/toy/tasks/main.yml", "preflight", "verify", "phases in the order ['verify', 'service']"),
    ("role_layout", "roles/toy/tasks/main.yml", "toy_service", "toy_run", "service lacks the tags toy and toy_service"),
    ("role_layout", "roles/toy/tasks/main.yml", None, "", "phases in the order []"),
    ("role_prefixes", "roles/toy/defaults/main.yml", "toy_mode", "mode", "defaults/main.yml: mode does not begin with toy_"),
    ("role_prefixes", "roles/toy/vars/main.yml", "_toy_secret", "toy_secret", "toy_secret does not begin with _toy_"),
    ("role_prefixes", "roles/toy/tasks/preflight.yml", "__toy_root", "result", "registered result does not begin with __toy_"),
    (
        "role_prefixes",
        "roles/toy/tasks/preflight.yml",
        "__toy_root",
        "toy_root",
        "registered toy_root does not begin with __toy_",
    ),
    ("role_prefixes", "roles/toy/tasks/data.yml", "toy_data", "toy_more", "registered toy_more does not begin with __toy_"),
    ("role_prefixes", "roles/toy/tasks/preflight.yml", "toy_problems", "problems", "fact problems is not of this role"),
    ("dependencies", "galaxy.yml", ">=1.0.0", ">=2.0.0", "a.b: >=2.0.0 in galaxy.yml, >=1.0.0 in requirements.yml"),
    ("dependencies", "requirements.yml", "a.b", "c.d", "c.d: None in galaxy.yml"),
    ("module_docs", "plugins/modules/toy.py", "RETURN", "RETURNS", "toy.py: has no RETURN"),
    ("module_docs", "plugins/modules/toy.py", "toy: {}", "{", "RETURN is no YAML"),
    ("action_group", "meta/runtime.yml", "toy", "gone", "gone: is in plugins/modules or"),
    ("action_group", "plugins/modules/more.py", None, MODULE, "more: is in plugins/modules or"),
    (
        "private_filters",
        "plugins/filter/toy_rest.yml",
        metadata.PRIVATE,
        "Ours.",
        "toy_rest.yml: no documentation for users tells",
    ),
    (
        "private_filters",
        "plugins/filter/toy_name.yml",
        "Names a toy.",
        f"'{metadata.PRIVATE}'",
        "toy_name.yml: the documentation",
    ),
    ("private_filters", "docs/toys.md", "toy_name", "toy_rest", "toy_rest.yml: the documentation for users tells of it"),
    ("licence_headers", "playbooks/bare.yml", None, "- hosts: all\n", "playbooks/bare.yml: no 'SPDX"),
    ("licence_headers", "playbooks/late.yml", None, "\n\n\n" + HEADER, "playbooks/late.yml: no 'SPDX"),
    ("file_lengths", "playbooks/long.yml", None, "- hosts: all\n" * 401, "playbooks/long.yml: 401 lines"),
    ("pinned_images", "lab/vars.yml", None, "image: registry:5000/a:latest", "lab/vars.yml:1: image"),
    ("pinned_images", "roles/toy/templates/a.j2", None, "image: {{ name }}:latest", "a.j2:1: image"),
    ("pinned_images", "lab/Dockerfile", "debian:12\nC", "registry:5000/debian\nC", "lab/Dockerfile:4: FROM registry:5000/debian"),
]


@pytest.mark.parametrize(("check", "name", "old", "new", "expected"), DEFECTS)
def test_a_defect_is_found(tree: Path, check: str, name: str, old: str | None, new: str, expected: str) -> None:
    if old is not None:
        before = (tree / name).read_text()
        assert old in before
        new = before.replace(old, new)
    write(tree, name, new)
    assert expected in "\n".join(getattr(metadata, check)(tree))


@pytest.mark.parametrize("target", [None, "../../../../meta", "/etc"])
def test_a_missing_or_wrong_link_is_found(tree: Path, target: str | None) -> None:
    link = tree / "collections/ansible_collections/kasaneha/deploy/roles"
    link.unlink()
    if target:
        link.symlink_to(target)
    assert "roles: " in "\n".join(metadata.collection_links(tree))


def test_every_rule_has_a_defect() -> None:
    assert {check.__name__ for check in metadata.CHECKS} == {check for check, *_ in DEFECTS} | {"collection_links"}


def test_a_role_with_a_table_of_steps_has_its_order_there(tree: Path) -> None:
    write(tree, "roles/toy/tasks/main.yml", "- name: Plan\n  ansible.builtin.import_tasks: plan.yml\n")
    assert metadata.role_layout(tree)
    write(tree, "roles/toy/vars/steps.yml", "_toy_steps: []\n")
    assert metadata.role_layout(tree) == []


def unguarded(task: dict[str, Any]) -> list[str]:
    """Variables that a condition takes for missing and the message of its refusal does not: Ansible renders the message in any case."""
    options = task.get("ansible.builtin.assert") or {}
    rendered = " ".join(re.findall(r"\{\{.*?\}\}", str(options.get("fail_msg")), re.DOTALL))
    names = sorted(set(re.findall(r"\b(\w+) \| default\(", str(options.get("that")))))
    return [name for name in names if re.search(rf"\b{name}\b(?! \| default\()", rendered)]


def test_a_refusal_can_be_rendered_where_nothing_is_refused() -> None:
    files = [
        *(ROOT / "roles").glob("*/tasks/*.yml"),
        *(ROOT / "playbooks").glob("*.yml"),
        *(ROOT / "playbooks/tasks").glob("*.yml"),
    ]
    found = {
        str(file.relative_to(ROOT)): unguarded(task)
        for file in files
        for task in metadata.walk(yaml.safe_load(file.read_text()))
        if unguarded(task)
    }
    assert found == {}
    task = {"that": "problems | default([]) | length == 0", "fail_msg": "{{ problems | join }}"}
    assert unguarded({"ansible.builtin.assert": task}) == ["problems"]  # one that is not is noticed
    assert unguarded({"ansible.builtin.assert": {**task, "fail_msg": "{{ problems | default([]) | join }}: problems"}}) == []
