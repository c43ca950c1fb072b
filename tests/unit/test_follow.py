# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy can be followed in twenty files, nothing private crosses a border, and no role's default is repeated; each rule notices its defect."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from follow import APART, ROOT, crossings, follow, repeated_defaults

MOST = 20


def names(paths: list[Path], root: Path = ROOT) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_deploy_is_followed_in_twenty_files() -> None:
    followed, beneath = (names(paths) for paths in follow("playbooks/deploy.yml"))
    assert len(followed) <= MOST, "\n".join(followed)
    assert followed[0] == "playbooks/deploy.yml" and {"roles/release/vars/steps.yml", "roles/nginx/tasks/switch.yml"} <= set(
        followed
    )
    # The walk goes all the way down, and loses nothing on it.
    assert {"roles/app/tasks/images_pull.yml", "plugins/modules/blue_green_switch.py"} <= set(beneath)
    assert {"plugins/module_utils/release/fence.py", "plugins/module_utils/release/decide.py", "playbooks/hosts.yml"} <= set(
        beneath
    )
    assert set(beneath) >= APART and not set(beneath) & set(followed)


def test_every_row_of_the_table_names_an_entry_point_that_says_what_it_takes() -> None:
    table = yaml.safe_load((ROOT / "roles/release/vars/steps.yml").read_text())
    rows = [row for rows in table.values() if isinstance(rows, list) for row in rows]
    steps = {(row["role"], row["tasks"]) for row in rows if "role" in row}
    assert len(steps) > 8
    for role, entry in steps:
        specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
        assert specs[entry]["options"] and (ROOT / f"roles/{role}/tasks/{entry}.yml").exists()
    assert {row["hosts"] for row in rows if "role" in row} <= set(table["_release_hosts"])
    assert {row["only_if"] for row in rows if "only_if" in row} <= set(table["_release_conditions"])
    assert all("limit" in row for row in rows if "phase" in row)


def test_nothing_private_crosses_a_border() -> None:
    assert crossings() == []


def test_no_default_of_a_role_is_repeated_in_a_playbook() -> None:
    assert repeated_defaults() == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The playbooks and roles of this tree, to be spoilt."""
    for folder in ("playbooks", "roles", "plugins"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def test_one_more_file_is_counted(tree: Path) -> None:
    (tree / "roles/release/tasks/more.yml").write_text("- name: More\n  ansible.builtin.debug:\n")
    with (tree / "roles/release/tasks/plan.yml").open("a") as plan:
        plan.write("\n- name: More\n  ansible.builtin.include_tasks: more.yml\n")
    assert len(follow("playbooks/deploy.yml", tree)[0]) == len(follow("playbooks/deploy.yml")[0]) + 1


def test_a_row_without_its_file_is_noticed(tree: Path) -> None:
    (tree / "roles/app/tasks/prune.yml").unlink()
    with pytest.raises(FileNotFoundError, match=r"prune\.yml"):
        follow("playbooks/deploy.yml", tree)


@pytest.mark.parametrize(
    ("file", "line", "crossing"),
    [
        ("playbooks/status.yml", 'x: "{{ hostvars[host].__app_gate }}"', "__app_gate"),
        ("playbooks/status.yml", "vars: {__nginx_colour: blue}", "__nginx_colour"),
        ("roles/release/tasks/plan.yml", "when: _app_own", "_app_own"),
        ("roles/app/templates/release.yml.j2", "{{ _nginx_sites }}", "_nginx_sites"),
    ],
)
def test_a_private_variable_of_another_is_noticed(tree: Path, file: str, line: str, crossing: str) -> None:
    with (tree / file).open("a") as target:
        target.write(f"\n# {line}\n")
    assert crossings(tree) == [f"{file}: {crossing}"]


def test_a_repeated_default_is_noticed(tree: Path) -> None:
    with (tree / "playbooks/status.yml").open("a") as target:
        target.write("\n# {{ nginx_watch_seconds | default(15) }} {{ item.nginx_status_port | default(1) }}\n")
    assert repeated_defaults(tree) == ["playbooks/status.yml: nginx_watch_seconds"]
