#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the settings of Docker's daemon to those that are declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Bring the settings of Docker's daemon to those that are declared
description:
  - Merges settings into C(/etc/docker/daemon.json) and makes the daemon run with them. Keys that are not named stay. Options of a log
    driver go when the driver changes, C(live-restore) is left out where Swarm is active, and what a flag of the unit says already
    is not said again.
  - The new file is tried before it is used, with the flags of the unit and its environment files. C(live-restore) is turned on by a
    reload before the daemon is restarted, so that containers keep running.
  - If the daemon does not start with the new file, the old one returns, the daemon is started with it, and the module fails with the
    reason from the journal.
  - Changes nothing and fails if a flag contradicts a setting, if options belong to another log driver, or if containers would stop for
    good. In check mode these are returned as RV(problems), and are no failure.
options:
  options:
    description: Settings, as in C(daemon.json); V(null) removes one. Without any, they stay as they are.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows the file, without what may be secret.
    support: full
"""

EXAMPLES = r"""
- name: Log to the journal
  kasaneha.deploy.docker_daemon:
    options:
      live-restore: true
      log-driver: journald
"""

RETURN = r"""
problems:
  description: Why nothing was done; in check mode they are no failure.
  returned: always
  type: list
  elements: str
reloaded:
  description: Whether C(live-restore) was turned on or off by a reload, or would be.
  returned: always
  type: bool
restarted:
  description: Whether the daemon was restarted, or would be.
  returned: always
  type: bool
settings:
  description: Settings before, of the file and of the flags, without what may be secret.
  returned: always
  type: dict
  sample: {hosts: "fd://", live-restore: true}
"""

import contextlib
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.docker import daemon
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import docker, statefile

UNIT = "docker.service"
CONFIG = Path(daemon.CONFIG)
BEFORE = CONFIG.with_name("daemon.json.before")  # there while it is not known whether the daemon starts with the new one
DIRECTORIES = [Path(directory, "systemd/system") for directory in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")]
STOP = "300"  # seconds; the daemon gives each container the time that it was promised


class Host:
    """What is read of a host and done to it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        unit = unit_text()
        files = {path: read(Path(path)) for path in daemon.environment_files(unit)}
        self.command = daemon.command(unit, files)

    def run(self, *argv: str) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        return self.module.run_command(list(argv), environ_update={"LC_ALL": "C"}, handle_exceptions=False)

    def out(self, *argv: str) -> str:
        """The output; empty where there is no such program."""
        with contextlib.suppress(OSError):
            return self.run(*argv)[1]
        return ""

    def info(self) -> dict[str, Any]:
        """What the daemon says; nothing when it does not run. The question would start it by its socket."""
        if self.out("systemctl", "is-active", UNIT).strip() not in ("active", "reloading"):
            return {}
        with contextlib.suppress(ValueError):
            said = json.loads(self.out("docker", "info", "--format", "{{json .}}"))
            return said if said.get("ServerVersion") else {}
        return {}

    def observe(self) -> daemon.State:
        """What there is; containers are looked at by `containers`."""
        info = self.info()
        root = Path(str(info.get("DockerRootDir") or "/var/lib/docker"))
        swarm = (
            (info.get("Swarm") or {}).get("LocalNodeState", "inactive") != "inactive"
            if info
            else (root / "swarm/docker-state.json").exists()
        )
        return daemon.State(
            text=read(CONFIG),
            flags=daemon.flags(self.command[1:]),
            running=bool(info),
            live_restore=bool(info.get("LiveRestoreEnabled")),
            swarm=swarm,
            unfinished=BEFORE.exists(),
        )

    def containers(self) -> list[daemon.Container]:
        """All that run."""
        try:
            found = docker.inspected(lambda argv: self.run(*argv))
        except (OSError, RuntimeError):
            return []
        return [
            daemon.Container(
                entry["Name"].lstrip("/"),
                entry["HostConfig"]["RestartPolicy"]["Name"],
                bool((entry["Config"]["Labels"] or {}).get("com.docker.swarm.task.id")),
            )
            for entry in found
        ]

    def refused(self, text: str) -> list[str]:
        """What dockerd says against a file. It can be asked since version 23; one that is not there says nothing."""
        if not self.command:
            return []
        with tempfile.NamedTemporaryFile("w", suffix=".json", dir=self.module.tmpdir, encoding="utf-8") as file:
            file.write(text)
            file.flush()
            with contextlib.suppress(OSError):
                code, out, err = self.run(*self.command, "--validate", "--config-file", file.name)
                if code and "unknown flag" not in out + err:
                    said = daemon.hidden((err or out).strip().replace(file.name, daemon.CONFIG))
                    return [f"docker_daemon_options: dockerd would not start with them: {said}. Correct or remove the setting."]
        return []

    def write(self, text: str) -> None:
        """Replace the file at once; without a text, remove it."""
        if text:
            replace_file(CONFIG, text)
        else:
            statefile.remove(CONFIG)

    def reload(self, wanted: bool) -> bool:
        """Let the daemon take live-restore; whether it did."""
        self.run("systemctl", "reload", UNIT)
        for _attempt in range(40):
            if self.info().get("LiveRestoreEnabled") == wanted:
                return True
            time.sleep(0.25)
        return False

    def restart(self) -> str:
        """Restart the daemon; why it does not run, empty when it does."""
        start = time.time()
        self.run("systemctl", "daemon-reload")  # what was judged is what stands on the disk
        self.run("systemctl", "reset-failed", UNIT, "docker.socket")  # or too many failures would be one of its own
        code, _out, err = self.run("timeout", STOP, "systemctl", "restart", UNIT)
        if not code:
            return ""
        lines = self.out("journalctl", "--unit", UNIT, "--since", f"@{int(start)}", "--output", "cat", "--no-pager").splitlines()
        return daemon.reason(lines or err.strip().splitlines())

    def apply(self, state: daemon.State, plan: daemon.Plan) -> None:
        """Carry a plan out.

        :raises RuntimeError: the old file is back; the message says why, and what runs.
        """
        before = read(BEFORE) if state.unfinished else state.text
        if plan.restart and not state.unfinished:
            replace_file(BEFORE, before or "{}\n")
        if plan.reload:
            self.write(plan.safe if plan.restart else plan.text)
            if not self.reload(plan.live):
                self.write(before)
                statefile.remove(BEFORE)
                raise RuntimeError(
                    "Docker did not take live-restore by a reload (journalctl -u docker tells why), and a restart without it would stop"
                    " containers. The old daemon.json is back; Docker was not restarted."
                )
        self.write(plan.text)
        if not plan.restart:
            return
        problem = self.restart()
        if problem:
            self.write(plan.safe)
            again = self.restart()
            self.write(before)
            statefile.remove(BEFORE)
            after = (
                f"With the old one it does not start either: {again}."
                if again
                else "The old file is back, and Docker runs with it."
            )
            raise RuntimeError(f"dockerd does not start with the new {daemon.CONFIG}: {problem}. {after}")
        statefile.remove(BEFORE)


def unit_text() -> str:
    """The unit and its drop-ins from the disk: systemctl tells of those only that systemd has read."""
    unit = [directory / UNIT for directory in DIRECTORIES if (directory / UNIT).is_file()][:1]
    drop_ins = {path.name: path for directory in reversed(DIRECTORIES) for path in (directory / f"{UNIT}.d").glob("*.conf")}
    return "\n".join(read(path) for path in (*unit, *(drop_ins[name] for name in sorted(drop_ins))))


def read(path: Path) -> str:
    """What a file contains; empty without one."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def replace_file(path: Path, text: str) -> None:
    """Replace a file by one rename, after its bytes are on the disk, with the rights that daemon.json had."""
    path.parent.mkdir(mode=0o755, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), CONFIG.stat().st_mode & 0o777 if CONFIG.exists() else 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    statefile.sync_directory(path.parent)


def main() -> None:
    """Look, decide, do."""
    module = AnsibleModule(argument_spec={"options": {"type": "dict", "default": {}}}, supports_check_mode=True)
    host, options = Host(module), module.params["options"]
    state = host.observe()
    plan = daemon.plan(state, options)
    if plan.restart:
        state = replace(state, containers=host.containers() if state.running else [])
        plan = daemon.plan(state, options)
    problems = plan.problems or (host.refused(plan.text) if plan.changed else [])
    result = {
        "changed": plan.changed,
        "problems": problems,
        "reloaded": plan.reload,
        "restarted": plan.restart,
        "settings": daemon.in_force(state),
    }
    if module._diff:
        path = daemon.CONFIG
        result["diff"] = {
            "before": daemon.hidden(state.text), "after": daemon.hidden(plan.text), "before_header": path, "after_header": path,
        }  # fmt: skip
    if module.check_mode:
        module.exit_json(**result)
    if problems:
        module.fail_json(msg="\n".join(problems), **{**result, "changed": False})
    try:
        if plan.changed:
            host.apply(state, plan)
    except (RuntimeError, OSError) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
