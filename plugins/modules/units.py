#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let systemd's units run what is on the disk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.2.0
short_description: Let units of systemd run what is on the disk
description:
  - Brings units to their state, and restarts or reloads those that have not read their files as they are, in one round trip to the
    host.
  - A unit's files are its own, its drop-ins, and those that O(units[].files) and O(units[].reload_files) name. Their hashes are kept
    in C(/run) when the unit has been started with them, so that a run that is killed between writing and restarting is completed by
    the next one. Deleted files count, too. Where no hashes are kept, as after a reboot, files that are younger than the unit's start
    are what it has not read.
  - A service of type C(oneshot) counts as started when it has been run, since boot, with its files as they are.
options:
  units:
    description: The units, in the order in which they are started.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the unit; without a type, it is a service.
        type: str
        required: true
      state:
        description: What it is to be; V(any) leaves it as it is, after systemd has read what is on the disk.
        type: str
        choices: [started, stopped, any]
        default: started
      enabled:
        description:
          - Whether it starts at boot. By default V(true) if it is to be started, V(false) if it is to be stopped, and else as it is.
          - A unit that cannot be enabled stays as it is.
        type: bool
      files:
        description: Paths or patterns of files that the unit reads when it starts.
        type: list
        elements: str
        default: []
      reload_files:
        description: Paths or patterns of files that the unit also reads at a reload.
        type: list
        elements: str
        default: []
      when:
        description: V(false) leaves the entry out, and the unit as it is.
        type: bool
        default: true
  changed_files:
    description: Files that an earlier task of this run changes. In check mode they are not on the disk, but count as if they were.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows what would be done.
    support: full
"""

EXAMPLES = r"""
- name: Run the exporter and Prometheus
  become: true
  kasaneha.deploy.units:
    units:
      - {name: exporter, files: [/etc/default/exporter]}
      - {name: prometheus, files: [/etc/default/prometheus], reload_files: [/etc/prometheus/prometheus.yml, "/etc/prometheus/rules/*.yml"]}
      - {name: old.timer, state: stopped}
"""

RETURN = r"""
actions:
  description: What was done, or would be, a sentence for each unit.
  returned: always
  type: list
  elements: str
  sample: ["prometheus.service: reload (/etc/prometheus/prometheus.yml)"]
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import units

RECORDS = Path("/run/kasaneha-units")  # gone at a reboot, as what the units have read


class Host:
    """What is read of a host and done to it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def systemctl(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        return self.module.run_command(["systemctl", *words], environ_update={"LC_ALL": "C"})

    def show(self, names: list[str]) -> dict[str, units.Seen]:
        """What systemd says of the units."""
        code, out, err = self.systemctl("show", f"--property={units.PROPERTIES}", "--", *names)
        seen = units.parse(out, time.time(), time.clock_gettime(time.CLOCK_MONOTONIC))
        if code or len(seen) != len(names):
            self.module.fail_json(msg=f"systemctl show does not answer: {err.strip() or out.strip()}")
        return dict(zip(names, seen))

    def daemon_reload(self) -> None:
        """Let systemd read what is new or changed on the disk."""
        code, _out, err = self.systemctl("daemon-reload")
        if code:
            self.module.fail_json(msg=f"systemctl daemon-reload: {err.strip()}")

    def observe(self, names: list[str]) -> dict[str, units.Seen]:
        """What systemd says of the units, after it has read what is on the disk."""
        seen = self.show(names)
        unread = any(unit.stale or (not unit.loaded and units.has_file(name)) for name, unit in seen.items())
        if not unread or self.module.check_mode:
            return seen
        self.daemon_reload()
        return self.show(names)

    def perform(self, name: str, step: units.Step) -> str:
        """Do it; what systemd says against it, empty if nothing."""
        if step.enable is not None:
            code, _out, err = self.systemctl("enable" if step.enable else "disable", "--", name)
            if code:
                return err.strip()
        if step.action in ("start", "restart"):
            self.systemctl("reset-failed", "--", name)  # too many failures would be one of its own
        if step.action:
            code, _out, err = self.systemctl(step.action, "--", name)
            if code:
                return err.strip()
        return ""


def read(name: str) -> dict[str, str] | None:
    """Hashes of the files with which a unit was started; None if they are not known."""
    try:
        record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write(name: str, record: dict[str, str] | None) -> None:
    """Keep them; None: forget them. What is written half is as good as not written."""
    path = RECORDS / f"{name}.json"
    if record is None:
        path.unlink(missing_ok=True)
        return
    RECORDS.mkdir(mode=0o700, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record, sort_keys=True), encoding="utf-8")
    new.replace(path)


def apply(
    host: Host,
    declared: list[units.Unit],
    steps: dict[str, units.Step],
    files: dict[str, dict[str, units.File]],
    records: dict[str, dict[str, str] | None],
) -> list[str]:
    """Carry the steps out, and keep the hashes of what each unit was started with; sentences about those that fail."""
    failed = []
    if any(step.action in ("start", "restart") for step in steps.values()):
        host.daemon_reload()  # a socket's service, for example, is not among those that were looked at
    for unit in declared:
        problem = host.perform(unit.name, steps[unit.name])
        if problem:
            failed.append(f"{unit.name}: {problem}")
            continue
        now = {path: file.digest for path, file in files[unit.name].items()} if unit.started else None
        if now != records[unit.name]:
            write(unit.name, now)
    touched = [unit.name for unit in declared if steps[unit.name].action in ("start", "restart")]
    states = host.show(touched) if touched else {}
    return failed + [f"{name}: has failed." for name, seen in states.items() if seen.state == "failed"]


def main() -> None:
    """Look, decide, do."""
    module = AnsibleModule(
        argument_spec={
            "units": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "state": {"type": "str", "choices": ["started", "stopped", "any"], "default": "started"},
                    "enabled": {"type": "bool"},
                    "files": {"type": "list", "elements": "str", "default": []},
                    "reload_files": {"type": "list", "elements": "str", "default": []},
                    "when": {"type": "bool", "default": True},
                },
            },
            "changed_files": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    declared = [units.declared(entry) for entry in module.params["units"] if entry["when"]]
    pending = module.params["changed_files"] if module.check_mode else []
    result: dict[str, Any] = {"changed": False, "actions": []}
    names = [unit.name for unit in declared]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        module.fail_json(msg=f"units: {', '.join(twice)} is there twice. Remove one of the two entries.", **result)
    seen = host.observe(names) if names else {}
    records = {unit.name: read(unit.name) for unit in declared}
    files = {unit.name: units.observed(unit.name, (*unit.restart, *unit.reload), records[unit.name] or ()) for unit in declared}
    steps = {unit.name: units.decide(unit, seen[unit.name], files[unit.name], records[unit.name], pending) for unit in declared}
    result["actions"] = [units.sentence(name, step) for name, step in steps.items() if step]
    result["changed"] = bool(result["actions"])
    failed = [] if module.check_mode else apply(host, declared, steps, files, records)
    if module._diff:
        result["diff"] = {"before": "", "after": "".join(f"{line}\n" for line in result["actions"])}
    if failed:
        module.fail_json(msg="\n".join([*failed, "systemctl status and journalctl --unit say why."]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
