# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders that a playbook refuses before it looks at a host."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from role import NAMES, role_tasks

ROOT = Path(__file__).parent.parent.parent
# Nobody is there: an order that passes gets as far as the host that cannot be reached.
HOSTS = "[app]\nnobody ansible_host=127.0.0.1 ansible_port=1\n[edge]\nnobody\n"
ORDERS = {
    "a freeze without a reason": ("freeze", {"freeze": "on"}, "Say -e freeze=on -e message='why, and until when', or -e freeze=off."),
    "no order about a freeze": ("freeze", {}, "or -e freeze=off."),
    "a freeze of a strange kind": ("freeze", {"freeze": "perhaps", "message": "x"}, "or -e freeze=off."),
    "no order about maintenance": ("maintenance", {}, "Say -e maintenance=on or -e maintenance=off."),
    "a clear order": ("freeze", {"freeze": "on", "message": "until Monday"}, "unreachable=1"),  # the negative control
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_an_order_that_is_not_clear_is_refused(case: str, tmp_path: Path) -> None:
    playbook, variables, sentence = ORDERS[case]
    (tmp_path / "hosts").write_text(HOSTS)
    done = subprocess.run(
        ["ansible-playbook", f"playbooks/{playbook}.yml", "-i", str(tmp_path / "hosts"), "-e", "app_name=shop",
         *(word for name, value in variables.items() for word in ("-e", f'{{"{name}": "{value}"}}'))],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and sentence in said, said
    assert re.search(r"changed=0 ", said)


def hopeful(role: str) -> list[str]:
    """Tasks that ask whether they succeeded, of an answer that is told so whatever happened: `failed_when: false` is judged before `until`."""
    return [
        f"{role}/tasks/{file}: {task['name']}"
        for file, task in role_tasks(role)
        if task.get("failed_when") is False and re.search(r"is succe(ss|eded)", str(task.get("until", "")))
    ]


@pytest.mark.parametrize("role", NAMES)
def test_what_is_tried_again_is_judged_by_its_answer(role: str) -> None:
    assert hopeful(role) == []


def test_a_task_that_always_succeeds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""
    task = {"name": "Wait", "until": "__a is succeeded and __a.json.b", "failed_when": False}
    monkeypatch.setitem(hopeful.__globals__, "role_tasks", lambda role: [("a.yml", task)])
    assert hopeful("app") == ["app/tasks/a.yml: Wait"]
