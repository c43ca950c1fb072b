# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `files` in a real run of Ansible: renders as ansible.builtin.template does, and no content leaves it but for the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from render import ROLES

SECRET = "CANARY-of-the-files"
TEMPLATE = """# {{ ansible_managed }} {{ template_destpath | basename }}
{% for name in names %}
  {% if name %}
{{ name }}
  {% endif %}
{% endfor %}
{% include 'part.j2' %}
\\1 {{ '{{ left }}' }} \t
{{ own | default('none') }}

"""


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A role with one template, one part that it includes, and one file."""
    for name, text in {
        "templates/main.conf.j2": TEMPLATE,
        "templates/part.j2": "part of {{ inventory_hostname }}\n",
        "files/static.conf": "{{ as it is }}\n",
    }.items():
        (tmp_path / "roles/toy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "roles/toy" / name).write_text(text)
    (tmp_path / "out").mkdir()
    return tmp_path / "roles/toy"


def play(role: Path, *tasks: dict[str, Any], options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run tasks as those of the role on this machine; exit code and all that Ansible printed."""
    (role / "tasks").mkdir(exist_ok=True)
    (role / "tasks/main.yml").write_text(yaml.safe_dump(list(tasks)))
    book = role.parents[1] / "play.yml"
    values = {"names": ["ä", "", "b"], "secret_of_play": SECRET, "out": str(role.parents[1] / "out")}
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "roles": ["toy"], "vars": values}]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(ROLES.parent / "collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_HOME": str(role.parents[1] / "home"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-c", "local", "-i", "localhost,", str(book), *options]
    done = subprocess.run(command, env=environment, cwd=book.parent, text=True, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def files(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"name": "Write the files", "kasaneha.deploy.files": {"files": list(entries)}, "register": "__toy"}


def test_a_template_becomes_what_the_action_template_makes_of_it(role: Path) -> None:
    code, said = play(
        role,
        files(
            {"path": "{{ out }}/ours.conf", "template": "main.conf.j2"},
            {"path": "{{ out }}/own.conf", "template": "main.conf.j2", "vars": {"own": "{{ names | last }}"}},
            {"path": "{{ out }}/static.conf", "src": "static.conf"},
            {"path": "{{ out }}/left.conf", "template": "no.j2", "when": False},
        ),
        {"name": "Write the same", "ansible.builtin.template": {"src": "main.conf.j2", "dest": "{{ out }}/theirs.conf"}},
    )
    out = role.parents[1] / "out"
    assert code == 0, said
    assert (out / "ours.conf").read_text().replace("ours", "theirs") == (out / "theirs.conf").read_text()
    assert "\nb\n" in (out / "own.conf").read_text() and (out / "own.conf").read_text().endswith("b\n\n")
    assert (out / "static.conf").read_text() == "{{ as it is }}\n"
    assert not (out / "left.conf").exists()


def test_check_mode_and_a_second_run_change_nothing(role: Path) -> None:
    task = files(
        {"path": "{{ out }}/d", "state": "directory", "mode": "0750"}, {"path": "{{ out }}/d/a", "template": "main.conf.j2"}
    )
    out = role.parents[1] / "out"
    code, said = play(role, task, options=("--check", "--diff"))
    assert (code, "changed=1" in said, "part of localhost" in said) == (0, True, True), said
    assert not any(out.iterdir())
    assert "changed=1" in play(role, task)[1]
    code, said = play(role, task, options=("--diff",))
    assert (code, "changed=0" in said) == (0, True), said


def test_a_secret_is_nowhere_but_in_its_file(role: Path) -> None:
    """Neither in the difference, nor in the result, nor in what the most verbose run says of the module's arguments."""
    show = {"name": "Show", "ansible.builtin.debug": {"var": "__toy"}}
    task = files(
        {"path": "{{ out }}/password", "content": "{{ secret_of_play }}", "mode": "0400", "secret": True},
        {"path": "{{ out }}/env", "template": "main.conf.j2", "vars": {"own": "{{ secret_of_play }}"}, "secret": True},
    )
    code, said = play(role, task, show, options=("--diff", "-vvv"))
    out = role.parents[1] / "out"
    assert code == 0 and SECRET not in said, said
    assert f"{out}/password" in said and "It is secret and not shown" in said and "mode: '0400'" in said
    assert (out / "password").read_text() == SECRET and SECRET in (out / "env").read_text()
    assert (out / "password").stat().st_mode & 0o777 == 0o400


def test_one_that_is_refused_leaves_all_as_they_were(role: Path) -> None:
    out = role.parents[1] / "out"
    (out / "a.conf").write_text("old\n")
    good = {"path": "{{ out }}/a.conf", "content": "new\n", "validate": "grep -q new %s"}
    code, said = play(role, files(good, {"path": "{{ out }}/b.conf", "content": "bad\n", "validate": "grep -q new %s"}))
    assert code == 2 and f"{out}/b.conf: grep refuses it (exit code 1)" in said and "Nothing was changed" in said
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a.conf": "old\n"}
    code, said = play(role, files(good, {"path": "relative", "content": "x"}))
    assert code == 2 and "relative: is not absolute" in said
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a.conf": "old\n"}


def test_the_result_names_what_changed(role: Path) -> None:
    out = role.parents[1] / "out"
    (out / "same").write_text("same\n")
    (out / "same").chmod(0o644)
    task = files({"path": "{{ out }}/same", "content": "same\n"}, {"path": "{{ out }}/new", "content": "x"})
    told = {"name": "Tell", "ansible.builtin.copy": {"content": "{{ __toy.paths | to_json }}", "dest": "{{ out }}/told"}}
    assert play(role, task, told)[0] == 0
    assert json.loads((out / "told").read_text()) == [f"{out}/new"]
