# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process owns a run, and whether it lives: of an invented /proc, and of this process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import owner as release_owner

BOOT, NAMESPACE = "0b5e6f2a-1111-2222-3333-444455556666", "pid:[4026531836]"
PLAY = ["/usr/bin/python3", "/usr/bin/ansible-playbook", "site.yml"]


class Proc:
    """A /proc with invented processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sys/kernel/random").mkdir(parents=True)
        (folder / "sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
        (folder / "self/ns").mkdir(parents=True)
        (folder / "self/ns/pid").symlink_to(NAMESPACE)
        self.mounted("rw,nosuid,nodev,noexec,relatime")

    def mounted(self, options: str) -> None:
        """How it is mounted, among others."""
        lines = ["proc /chroot/proc proc rw,hidepid=2 0 0", f"proc {self.folder} proc {options} 0 0", "tmpfs /tmp tmpfs rw 0 0"]
        (self.folder / "self/mounts").write_text("\n".join(lines) + "\n")

    def add(self, pid: int, parent: int, command: list[str], started: int = 100, state: str = "S", name: str = "x") -> None:
        """Let a process live."""
        (self.folder / str(pid)).mkdir(exist_ok=True)
        (self.folder / str(pid) / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in command))
        numbers = " ".join(str(number) for number in range(5, 22))  # fields 5 to 21
        (self.folder / str(pid) / "stat").write_text(f"{pid} ({name}) {state} {parent} {numbers} {started} 23 24\n")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """A shell that runs ansible-playbook, which has forked this process."""
    proc, me = Proc(tmp_path), os.getpid()
    proc.add(1, 0, ["/sbin/init"])
    proc.add(10, 1, ["-bash"])
    proc.add(20, 10, PLAY, started=200)
    proc.add(me, 20, PLAY, started=300)
    return proc


def describe(proc: Proc) -> dict[str, Any]:
    return release_owner.describe("yuki", "laptop", proc.folder)


def test_the_owner_is_the_playbook_and_not_its_worker(proc: Proc) -> None:
    assert describe(proc) == {"user": "yuki", "host": "laptop", "pid": 20, "started": "200", "boot": BOOT, "namespace": NAMESPACE}


@pytest.mark.parametrize(
    ("command", "pid"),
    [
        (PLAY, 20),
        (["/venv/bin/ansible-playbook", "site.yml"], 20),
        (["/usr/bin/python3", "/usr/bin/ansible", "all"], 20),
        (["ansible-playbook: worker"], 20),
        (["/usr/bin/vim", "site.yml"], None),
        (["/usr/bin/make", "deploy"], None),
        (["/bin/sh", "-c", "ansible-playbook site.yml"], None),  # it only starts one
        ([], None),
    ],
)
def test_what_belongs_to_a_playbook(proc: Proc, command: list[str], pid: int | None) -> None:
    proc.add(20, 10, command, started=200)
    assert describe(proc)["pid"] == (pid or os.getpid())


def test_a_playbook_started_by_a_playbook_belongs_to_the_outer_one(proc: Proc) -> None:
    proc.add(10, 1, PLAY, started=50)
    assert describe(proc)["pid"] == 10


def test_a_parent_that_is_hidden_is_the_end(proc: Proc) -> None:
    (proc.folder / "20" / "cmdline").unlink()
    assert describe(proc)["pid"] == os.getpid()


OWNER = {"user": "yuki", "host": "laptop", "pid": 20, "started": "200", "boot": BOOT, "namespace": NAMESPACE}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"user": "another"}, True),  # the process is what counts
        ({"host": "other"}, None),
        ({"host": None}, None),
        ({"boot": "another"}, None),  # an earlier one, or that of a second machine with this name
        ({"boot": ""}, None),
        ({"namespace": "pid:[4026532999]"}, None),  # a container's
        ({"namespace": None}, None),  # written by an older version
        ({"started": ""}, None),  # nobody could see it when it began
        ({"started": None}, None),
        ({"pid": 21}, False),
        ({"started": "199"}, False),  # the number was used again
        ({"pid": "20"}, True),
    ],
)
def test_alive(proc: Proc, change: dict[str, Any], expected: bool | None) -> None:
    assert release_owner.alive({**OWNER, **change}, describe(proc), proc.folder) is expected


@pytest.mark.parametrize(("state", "expected"), [("S", True), ("R", True), ("D", True), ("T", True), ("Z", False), ("X", False)])
def test_a_process_that_is_dead_and_not_buried_is_dead(proc: Proc, state: str, expected: bool) -> None:
    proc.add(20, 10, PLAY, started=200, state=state)
    assert release_owner.alive(OWNER, describe(proc), proc.folder) is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("rw,relatime", False),
        ("rw,hidepid=0", False),
        ("rw,hidepid=off,gid=4", False),
        ("rw,relatime,hidepid=2", None),
        ("rw,hidepid=1", None),
        ("rw,hidepid=4,relatime", None),
        ("rw,gid=4,hidepid=invisible", None),
        ("rw,hidepid=noaccess", None),
        ("rw,hidepid=ptraceable,subset=pid", None),
    ],
)
def test_who_may_be_hidden_is_not_dead(proc: Proc, options: str, expected: bool | None) -> None:
    proc.mounted(options)
    assert release_owner.alive({**OWNER, "pid": 21}, describe(proc), proc.folder) is expected
    assert release_owner.alive(OWNER, describe(proc), proc.folder) is True  # whom one sees is not hidden
    assert release_owner.alive({**OWNER, "started": "199"}, describe(proc), proc.folder) is False
    (proc.folder / "self/mounts").unlink()  # it does not say
    assert release_owner.alive({**OWNER, "pid": 21}, describe(proc), proc.folder) is None


def test_who_may_not_be_looked_at_is_not_dead(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> list[str]:
        raise PermissionError(13, "Permission denied")

    here = describe(proc)
    monkeypatch.setattr(release_owner, "_stat", refused)
    assert release_owner.alive(OWNER, here, proc.folder) is None


def test_nobody_is_nowhere(proc: Proc) -> None:
    assert release_owner.alive({}, describe(proc), proc.folder) is None


def test_without_proc_nobody_knows(tmp_path: Path) -> None:
    here = release_owner.describe("yuki", "mac", tmp_path)
    assert (here["pid"], here["started"], here["boot"]) == (os.getpid(), "", "")
    for owner in (here, {**here, "pid": 4711}, {**here, "host": "other"}):
        assert release_owner.alive(owner, here, tmp_path) is None


@pytest.mark.parametrize("name", ["a b", "a) S 1 (", "((", ")", "Z"])
def test_a_name_may_hold_anything(proc: Proc, name: str) -> None:
    proc.add(20, 10, PLAY, started=200, name=name)
    assert describe(proc)["started"] == "200"
    assert release_owner.alive(OWNER, describe(proc), proc.folder) is True


# --- the real one ---------------------------------------------------------------------------------------

real = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc here")


@real
def test_this_process_lives() -> None:
    here = release_owner.describe("yuki", "laptop")
    assert here["pid"] > 0
    assert int(here["started"]) > 0
    assert here["boot"]
    assert here["namespace"]
    assert release_owner.alive(here, here) is True
    assert release_owner.alive({**here, "started": "1"}, here) is False


@real
def test_a_process_that_ended_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = release_owner.describe("yuki", "laptop")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        owner = {**here, "pid": child.pid, "started": fields[19]}
        assert release_owner.alive(owner, here) is True
        child.kill()
        for _unused in range(200):  # until it is a zombie: nobody has waited for it yet
            if Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
            time.sleep(0.01)
        assert release_owner.alive(owner, here) is False
    finally:
        child.kill()
        child.communicate()
    assert release_owner.alive(owner, here) is False


def test_an_owner_without_boot_is_unknown(tmp_path):
    assert release_owner.alive({"host": "h", "pid": 1, "started": "", "boot": ""}, {"host": "h", "boot": "b"}, tmp_path) is None
