# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of roles/release over three hosts, real but for the two roles that it calls, which note in files what they would do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import state
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import journal
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.fence import Fence

ROOT = Path(__file__).parent.parent.parent
V1 = {"release": "v1", "colour": "blue", "since": "2026-01-01T00:00:00Z", "services": {}, "history": [], "bad": {}}
V3 = {**V1, "release": "v3", "colour": "green", "since": "2026-06-01T00:00:00Z"}
NOTE = {"ansible.builtin.shell": "echo '{{ __did }}' >> {{ note }}", "changed_when": True}
FAULT = {
    "ansible.builtin.include_tasks": "{{ playbook_dir }}/fault.yml",
    "when": "fault[inventory_hostname] | default('') == __did",
}


def note(what: str) -> list[dict[str, Any]]:
    """A step that only notes that it was made; what is injected comes after it."""
    return [{**NOTE, "vars": {"__did": what}}, {**FAULT, "vars": {"__did": what}}]


def served(what: str) -> list[dict[str, Any]]:
    """The real module, and what is injected before it."""
    module = {
        "kasaneha.deploy.blue_green_switch": {
            "path": "{{ nginx_state_dir }}",
            "colour": "{{ nginx_target_colour }}",
            "state": "served",
        }
    }
    return [{**FAULT, "vars": {"__did": what}}, module]


ROLES = {
    "app": {
        "compare": [{"ansible.builtin.set_fact": {"app_differs": False}}],
        "install": [{"ansible.builtin.set_fact": {"app_images": {}}}],
        **{step: note(step) for step in ("configure", "service", "gate")},
        "prune": [
            {
                **NOTE,
                "vars": {"__did": "prune all but {{ app_record.colour }}"},
                "when": "app_run == (lookup('file', fence) | from_json).id",
            }
        ],
    },
    "nginx": {"switch": served("switch"), "confirm": served("confirm")},
}
FAULTS: dict[str, list[dict[str, Any]]] = {  # what becomes of a host
    "vanishes": [{"ansible.builtin.set_fact": {"ansible_connection": "ssh", "ansible_port": 1}}],
    # Another run has begun in between, here without a real one: its lock, its fence, its commit.
    "loses the lock": [
        {"ansible.builtin.copy": {"src": "{{ app_name }}/../" + source, "dest": "{{ app_name }}/" + target, "remote_src": True}}
        for source, target in (("later.json", "run.json"), ("later.json", "fence.json"), ("v3.json", "release.json"))
    ],
    "is another run's": [
        {"ansible.builtin.copy": {"src": "{{ app_name }}/../later.json", "dest": "{{ app_name }}/fence.json", "remote_src": True}}
    ],
}


class Fleet:
    """One app host and two edges, each a folder here, that serve v1 in blue."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collection = folder / "ansible_collections/kasaneha/deploy"
        shutil.copytree(ROOT / "playbooks", self.collection / "playbooks")
        for name in ("plugins", "meta", "galaxy.yml"):
            (self.collection / name).symlink_to(ROOT / name)
        for path in sorted([*(ROOT / "roles").glob("*/meta"), *(ROOT / "roles").glob("*/defaults")]):
            shutil.copytree(path, self.collection / path.relative_to(ROOT))
        shutil.copytree(ROOT / "roles/release", self.collection / "roles/release", dirs_exist_ok=True)
        for role, steps in ROLES.items():
            for step, tasks in steps.items():
                path = self.collection / "roles" / role / f"tasks/{step}.yml"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(yaml.safe_dump(tasks))
        hosts = {}
        for name in ("app1", "edge1", "edge2"):
            (folder / name / "edge/states").mkdir(parents=True)
            if name != "app1":
                state.switch(folder / name / "edge", "blue")
            statefile.write(folder / name / "release.json", V1)
            hosts[name] = {"app_name": str(folder / name), "note": str(folder / name / "did")}
        variables = {
            "ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "nginx_state_dir": "{{ app_name }}/edge", "app_release": "v2", "fence": "{{ app_name }}/fence.json",
        }  # fmt: skip
        children = {"app": {"hosts": {"app1": {}}}, "edge": {"hosts": {"edge1": {}, "edge2": {}}}}
        inventory = {"all": {"hosts": hosts, "vars": variables, "children": children}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        statefile.write(
            folder / "later.json", {"id": "99-b", "phase": "start", "phases": {}, "owner": {}, "until": 9e9, "since": "now"}
        )
        statefile.write(folder / "v3.json", V3)

    def release(self, kind: str = "vanishes", **fault: str) -> str:
        """Deploy v2; what the run said. ``fault``: host and after (before) which step it happens."""
        (self.collection / "playbooks/fault.yml").write_text(yaml.safe_dump(FAULTS[kind]))
        site = str(Path(os.path.realpath(shutil.which("ansible-playbook") or "")).parent)
        environment = {
            **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_COLLECTIONS_PATH": f"{self.folder}:{site}", "ANSIBLE_SSH_ARGS": "-o BatchMode=yes",
        }  # fmt: skip
        done = subprocess.run(
            ["lab/mitogen.sh", "ansible-playbook", str(self.collection / "playbooks/release.yml"), "-i", str(self.folder / "hosts.yml"),
             "-e", json.dumps({"release_intent": "deploy", "fault": fault, "release_command": "{{ app_name }}/docker"})],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.code = done.returncode
        return " ".join((done.stdout + done.stderr).split())

    def did(self) -> list[str]:
        """The steps of the app host, in turn."""
        path = self.folder / "app1/did"
        return path.read_text().splitlines() if path.exists() else []

    def shown(self) -> tuple[str, list[str]]:
        """The release of the record, and what both edges serve."""
        record = journal.Releases(self.folder / "app1").record() or {}
        return record["release"], [state.observe(self.folder / name / "edge")["colour"] for name in ("edge1", "edge2")]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


STARTED = ["configure", "service", "gate"]


def test_an_edge_that_vanishes_before_the_commit_keeps_both_colours(fleet: Fleet) -> None:
    said = fleet.release("vanishes", edge2="switch")
    assert fleet.code != 0 and "v2 was not released" in said, said[-3000:]
    assert "Both colours run on, until edge2 says what it serves" in said
    assert fleet.shown()[0] == "v1" and fleet.did() == STARTED


def test_an_edge_that_vanishes_after_the_commit_keeps_both_colours_and_the_next_run_finishes(fleet: Fleet) -> None:
    said = fleet.release("vanishes", edge2="confirm")
    assert fleet.code != 0, said[-3000:]
    assert "v2 serves, but not everything could be finished" in said
    assert "Both colours run on, until edge2 has confirmed the new one" in said
    assert fleet.shown()[0] == "v2" and fleet.did() == STARTED
    state.switch(fleet.folder / "edge2/edge", "blue")  # its timer went back
    said = fleet.release()
    assert fleet.code == 0, said[-3000:]
    assert fleet.shown() == ("v2", ["green", "green"]) and fleet.did() == [*STARTED, "prune all but green"]


def test_a_run_that_lost_its_lock_changes_nothing_more_not_even_back(fleet: Fleet) -> None:
    said = fleet.release("loses the lock", app1="service")
    assert fleet.code != 0 and "This run lost its lock" in said, said[-3000:]
    assert "Nothing more was changed, not even back" in said
    assert fleet.shown() == ("v3", ["blue", "blue"])  # the edges are as the later run finds them
    assert fleet.did() == ["configure", "service"]
    assert (journal.Releases(fleet.folder / "app1").run() or {})["id"] == "99-b"


def test_what_changes_a_host_is_told_of_the_run_however_deep_it_is_included(fleet: Fleet) -> None:
    """The module that switches is given the run by the role that releases, and refuses where another one holds the host."""
    said = fleet.release("is another run's", edge2="switch")
    assert fleet.code != 0 and "v2 was not released" in said, said[-3000:]
    assert "edge2: Switch: This run lost its lock" in said, said[-3000:]
    assert fleet.shown() == ("v1", ["blue", "blue"])


def test_a_commit_that_was_written_stays_whatever_became_of_its_answer(fleet: Fleet) -> None:
    """The record is written, and the journal cannot be."""
    path = fleet.collection / "roles/release/tasks/step.yml"
    tasks = yaml.safe_load(path.read_text())
    (note,) = [task for task in tasks if "blue_green_run" in str(task.get("block"))]
    note["block"].append(
        {
            "ansible.builtin.fail": {"msg": "the answer is lost"},
            "when": "release_step.phase == 'commit' and inventory_hostname == release_record_host",
        }
    )
    path.write_text(yaml.safe_dump(tasks))
    said = fleet.release()
    assert fleet.code == 0 and "the answer is lost" in said and "it stays" in said, said[-3000:]
    assert fleet.shown() == ("v2", ["green", "green"]) and fleet.did() == [*STARTED, "prune all but green"]
    assert journal.Releases(fleet.folder / "app1").run() is None
    assert len({Fence(fleet.folder / name).id() for name in ("app1", "edge1", "edge2")}) == 1


def test_a_host_that_cannot_be_told_of_the_run_stops_it_before_it_changed_anything(fleet: Fleet) -> None:
    statefile.write(fleet.folder / "edge2/fence.json", {"id": "7-x"})
    tasks = fleet.collection / "roles/release/tasks/step.yml"
    tasks.write_text(
        "---\n- ansible.builtin.set_fact: {ansible_connection: ssh, ansible_port: 1}\n  when: inventory_hostname == 'edge2'\n"
        + tasks.read_text()
    )
    said = fleet.release()
    assert fleet.code != 0 and "edge2: cannot be reached" in said, said[-3000:]
    assert fleet.shown() == ("v1", ["blue", "blue"]) and fleet.did() == []
    assert journal.Releases(fleet.folder / "app1").run() is None  # the lock is given back
