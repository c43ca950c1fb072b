# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules `files` and `units` on a server with systemd, over SSH and with the rights of root that sudo gives."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
SECRET = "CANARY-of-the-units"
SERVICE = """[Service]
ExecStartPre=/bin/sh -c '! grep -q bad /etc/web/main.conf'
ExecStart=/bin/sh -c 'echo start >>/var/log/web; exec sleep infinity'
ExecReload=/bin/sh -c 'echo reload >>/var/log/web'
[Install]
WantedBy=multi-user.target
"""
UNITS = [{"name": "web", "files": ["/etc/web/main.conf"], "reload_files": ["/etc/web/rules/*.yml"]}]
DROP_IN = "/etc/systemd/system/web.service.d/more.conf"


class Server:
    """A server of the lab, and the plays that it gets."""

    def __init__(self, place: Path, name: str) -> None:
        self.place, self.name = place, name
        self.inventory = place / "hosts.yml"
        self.inventory.write_text(f"all: {{hosts: {{{name}: {{ansible_host: 198.51.100.90}}}}}}\n")

    def lab(self, playbook: str) -> None:
        command = ["ansible-playbook", f"lab/{playbook}.yml", "-i", str(self.inventory), "--skip-tags", "lab_images"]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "LAB_KEEP": "true"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout[-3000:]

    def sh(self, command: str) -> str:
        done = subprocess.run(
            ["docker", "exec", f"kasaneha-lab-{self.name}", "sh", "-c", command], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    def play(
        self, *tasks: dict[str, Any], options: tuple[str, ...] = (), mitogen: bool = False, again: bool = False
    ) -> tuple[int, str, dict[str, Any]]:
        """Exit code, all that Ansible printed, and the result of each task by its name. With `again` all of them come twice, and
        the second time changes nothing."""
        both = [*tasks, *tasks] if again else tasks
        named = [{**task, "name": next(iter(task)), "register": f"result_{number}"} for number, task in enumerate(both)]
        told = self.place / "told.json"
        told.unlink(missing_ok=True)
        results = "{{ [" + ", ".join(task["register"] for task in named) + "] | to_json }}"
        tell = {"ansible.builtin.copy": {"content": results, "dest": str(told), "mode": "0600"}, "delegate_to": "localhost"}
        tell |= {"name": "Tell", "become": False, "check_mode": False, "diff": False, "no_log": True}
        book = self.place / "play.yml"
        book.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "become": True, "tasks": [*named, tell]}]))
        state = ["-i", str(self.inventory), "-i", str(ROOT / f"lab/state/{self.name}.yml")]
        command = [*(["lab/mitogen.sh"] if mitogen else []), "ansible-playbook", str(book), *state, *options]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}
        )
        found = json.loads(told.read_text()) if told.exists() else []
        assert not any(one["changed"] for one in found[len(tasks) :]), done.stdout
        return (
            done.returncode,
            done.stdout + done.stderr,
            {task["name"].rsplit(".", 1)[1]: one for task, one in zip(named[: len(tasks)], found, strict=False)},
        )


def files(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"kasaneha.deploy.files": {"files": list(entries)}}


def units(*changed: str, listed: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"kasaneha.deploy.units": {"units": listed or UNITS, "changed_files": list(changed)}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("units"), "units-server")
    made.lab("create")
    yield made
    made.lab("destroy")


@pytest.mark.parametrize("mitogen", [False, True], ids=["plain", "mitogen"])
def test_a_unit_runs_what_is_on_the_disk(server: Server, mitogen: bool) -> None:
    server.sh(
        "systemctl disable --now web; rm -rf /etc/web /var/log/web /etc/systemd/system/web.service*; systemctl daemon-reload"
    )
    log: list[str] = []

    def expect(*more: str, actions: list[str], entries: tuple[dict[str, Any], ...] = ()) -> None:
        """Write files, run the unit: what was done, and what the service saw of it; once more, nothing."""
        code, said, results = server.play(*([files(*entries)] if entries else []), units(), mitogen=mitogen, again=True)
        assert code == 0, said
        log.extend(more)
        assert results["units"]["actions"] == actions, said
        assert server.sh("cat /var/log/web").split() == log

    main = {"path": "/etc/web/main.conf", "content": "one\n", "mode": "0640"}
    rule = {"path": "/etc/web/rules/a.yml", "content": "one\n"}
    expect(
        "start",
        actions=["web.service: enable and start"],
        entries=({"path": "/etc/systemd/system/web.service", "content": SERVICE}, main, rule),
    )
    assert server.sh("systemctl is-enabled web; systemctl is-active web").split() == ["enabled", "active"]
    expect("start", actions=["web.service: restart (/etc/web/main.conf)"], entries=({**main, "content": "two\n"},))
    expect("reload", actions=["web.service: reload (/etc/web/rules/a.yml)"], entries=({**rule, "content": "two\n"},))
    expect("reload", actions=["web.service: reload (/etc/web/rules/b.yml)"], entries=({**rule, "path": "/etc/web/rules/b.yml"},))
    expect(
        "reload",
        actions=["web.service: reload (/etc/web/rules/b.yml)"],
        entries=({"path": "/etc/web/rules/b.yml", "state": "absent"},),
    )
    expect("start", actions=[f"web.service: restart ({DROP_IN})"], entries=({"path": DROP_IN, "content": "[Service]\nNice=7\n"},))
    assert server.sh("ps -o ni= -p $(systemctl show --value -p MainPID web)") == "7"
    expect("start", actions=[f"web.service: restart ({DROP_IN})"], entries=({"path": DROP_IN, "state": "absent"},))
    server.sh("echo by-hand >/etc/web/main.conf")  # a run that was killed between its two tasks
    expect("start", actions=["web.service: restart (/etc/web/main.conf)"])
    server.sh("systemctl stop web")
    expect("start", actions=["web.service: start"])
    server.sh("rm -rf /run/kasaneha-units")  # as after a reboot: the unit is younger than its files
    expect(actions=[])


def test_a_restart_that_fails_is_made_up_for_by_the_next_run(server: Server) -> None:
    main = {"path": "/etc/web/main.conf", "content": "good\n"}
    service = {"path": "/etc/systemd/system/web.service", "content": SERVICE}
    assert server.play(files(service, main), units())[0] == 0
    code, said, _results = server.play(files({**main, "content": "bad\n"}), units())
    assert code != 0 and "web.service:" in said and "journalctl --unit" in said
    code, said, _results = server.play(units())
    assert code != 0, "a unit that does not run is no success"
    code, said, results = server.play(files(main), units())
    assert (code, results["units"]["actions"]) == (0, ["web.service: start"]), said


def test_check_mode_says_what_would_be_restarted_and_does_nothing(server: Server) -> None:
    main = {"path": "/etc/web/main.conf", "content": "good\n"}
    assert server.play(files({"path": "/etc/systemd/system/web.service", "content": SERVICE}, main), units())[0] == 0
    before = server.sh("cat /var/log/web; ls -lA /run/kasaneha-units /etc/web")
    task = units("/etc/web/main.conf")
    code, said, results = server.play(files({**main, "content": "other\n"}), task, options=("--check", "--diff"))
    assert (code, results["units"]["actions"]) == (0, ["web.service: restart (/etc/web/main.conf)"]), said
    assert "+other" in said and "+web.service: restart" in said
    absent = units(listed=[{"name": "not-there-yet"}])
    code, said, results = server.play(absent, options=("--check",))
    assert (code, results["units"]["actions"]) == (0, ["not-there-yet.service: enable and start"]), said
    assert server.sh("cat /var/log/web; ls -lA /run/kasaneha-units /etc/web") == before


def test_a_unit_is_stopped_and_disabled(server: Server) -> None:
    service = {"path": "/etc/systemd/system/web.service", "content": SERVICE}
    assert server.play(files(service, {"path": "/etc/web/main.conf", "content": "good\n"}), units())[0] == 0
    gone = units(listed=[{"name": "web", "state": "stopped"}, {"name": "never-there", "state": "stopped"}])
    code, said, results = server.play(gone)
    assert (code, results["units"]["actions"]) == (0, ["web.service: disable and stop"]), said
    assert server.sh("systemctl is-enabled web; systemctl is-active web").split() == ["disabled", "inactive"]
    assert server.play(gone)[2]["units"]["changed"] is False


@pytest.mark.parametrize("mitogen", [False, True], ids=["plain", "mitogen"])
def test_a_secret_reaches_its_file_and_no_log_of_the_server(server: Server, mitogen: bool) -> None:
    secret = {"path": "/etc/web/password", "content": SECRET, "group": "www-data", "mode": "0640", "secret": True}
    code, said, _results = server.play(files(secret), options=("--diff", "-vvv"), mitogen=mitogen)
    assert code == 0 and SECRET not in said, said
    assert server.sh("stat -c '%U %G %a' /etc/web/password; cat /etc/web/password").split() == ["root", "www-data", "640", SECRET]
    assert SECRET not in server.sh(
        "journalctl --no-pager; cat /root/.ansible -r 2>/dev/null; ls -lR /tmp /root/.ansible /home/debian/.ansible"
    )
    assert (
        "kasaneha.deploy.files" in server.sh("journalctl --no-pager") or mitogen
    )  # the negative control: invocations are logged
    server.sh("rm /etc/web/password")
