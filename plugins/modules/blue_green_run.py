#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock, the journal and the record of releases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green_run
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Begin, journal, commit and end the run of a release
description:
  - One run at a time may release an application. It is a file on the host that keeps the record, which is the lock and the
    journal in one.
  - The run whose owner died is taken over by the next one. Who cannot be seen counts as alive until its time is over.
  - O(state=fenced) lets a run change this host, and none before it. O(state=begun) does the same for the host that keeps the record.
    A run that lost its lock fails, with every module of a release that has its O(id).
  - O(state=renewed) says that the run lives; so do O(state=begun) and O(state=entered).
  - O(state=entered) with O(record) is the commit.
  - O(state=shown) changes nothing; it returns the run and the record.
  - O(state=copied) writes the record and a line of the log to a host that only keeps copies.
  - O(state=frozen) and O(state=thawed) forbid and allow releases.
options:
  app:
    description: Name of the application, as in C(app_name).
    type: str
    required: true
  state:
    description: What is to be noted.
    type: str
    choices: [begun, fenced, renewed, entered, shown, ended, copied, frozen, thawed]
    required: true
  id:
    description: The run, as O(state=begun) returned it. With O(state=copied) it may be left out.
    type: str
    default: ""
  command:
    description: Where to install Docker's command for releases, which refuses a run that lost its lock, for O(state=begun) and O(state=fenced).
    type: path
  run:
    description: What the run is to do and who does it, for O(state=begun).
    type: dict
    default: {}
  instead_of:
    description:
      - The dead run that this one takes over from, as M(kasaneha.deploy.blue_green_info) showed it, for O(state=begun). If it said
        something since, it is not dead.
    type: dict
    default: {}
  fences:
    description: The runs that may change the other hosts, as M(kasaneha.deploy.blue_green_info) showed them, for O(state=begun).
    type: list
    elements: str
    default: []
  since:
    description: C(since) of the record that the run was planned with, for O(state=begun); empty if there was none.
    type: str
  phase:
    description: The phase that begins, for O(state=entered).
    type: str
    choices: [prepare, migrate, start, switch, commit]
  limit:
    description: Seconds after which the run counts as dead unless it notes something again.
    type: int
    default: 300
  record:
    description: The record from now on.
    type: dict
  outcome:
    description: How the run ended.
    type: str
    choices: [done, failed, repaired]
    default: done
  reason:
    description: Why it ended so, or why releases are frozen.
    type: str
    default: ""
  details:
    description: Durations and counts that belong into the log, for O(state=ended).
    type: dict
    default: {}
  line:
    description: The line that the log of the record's host got, for O(state=copied).
    type: dict
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: Shows the record before and after.
    support: full
"""

EXAMPLES = r"""
- name: Take the lock
  kasaneha.deploy.blue_green_run:
    app: kasaneha
    state: begun
    run: {action: release, to_release: v1.1.0, owner: "{{ lookup('kasaneha.deploy.run_owner') }}"}
  register: begun

- name: Commit
  kasaneha.deploy.blue_green_run:
    app: kasaneha
    state: entered
    id: "{{ begun.run.id }}"
    phase: commit
    record: "{{ new_record }}"
"""

RETURN = r"""
run:
  description: The run as it stands now; empty when it ended.
  returned: always
  type: dict
record:
  description: The record as it stands now; empty when there is none, or it cannot be read.
  returned: for O(state=shown)
  type: dict
line:
  description: The line that the log got.
  returned: when the run ended
  type: dict
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import fence
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.decide import PHASES
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.journal import HeldError, Releases, iso


def apply(releases: Releases, params: dict[str, Any]) -> dict[str, Any]:
    """Note what is to be noted; what the module returns."""
    state = params["state"]
    if state == "begun":
        return {"run": releases.begin(params["run"], params["limit"], params["instead_of"], params["since"], params["fences"])}
    if state == "fenced":
        return {"changed": releases.fence.claim(params["id"])}
    if state == "renewed":
        return {"run": releases.renew(params["id"], params["limit"])}
    if state == "entered":
        return {"run": releases.enter(params["id"], params["phase"], params["limit"], params["record"])}
    if state == "ended":
        return {"line": releases.end(params["id"], params["outcome"], params["reason"], params["details"])}
    if state == "copied":
        with releases.fence.only(params["id"]) if params["id"] else contextlib.nullcontext():
            if params["record"]:
                statefile.write(releases.record_file, params["record"])
            if params["line"]:
                releases.log(params["line"])
    elif state == "frozen":
        who = params["run"].get("owner", {})
        by = f"{who.get('user')}@{who.get('host')}"
        statefile.write(releases.freeze_file, {"by": by, "since": iso(time.time()), "message": params["reason"]})
    else:
        statefile.remove(releases.freeze_file)
    return {}


def show(releases: Releases) -> dict[str, Any]:
    """The run and the record as they stand."""
    try:
        record = releases.record() or {}
    except ValueError:
        record = {}
    return {"run": releases.run() or {}, "record": record}


def will_change(releases: Releases, params: dict[str, Any]) -> bool:
    """Whether there is anything to note."""
    if params["state"] == "copied":
        try:
            same = params["record"] is None or releases.record() == params["record"]
        except ValueError:
            same = False
        return bool(params["line"]) or not same
    frozen = releases.freeze()
    if params["state"] == "frozen":
        return not frozen or frozen.get("message") != params["reason"]
    if params["state"] == "thawed":
        return bool(frozen)
    return True


def main() -> None:
    """Note it, or say who is in the way."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "required": True,
                "choices": ["begun", "fenced", "renewed", "entered", "shown", "ended", "copied", "frozen", "thawed"],
            },
            "id": {"type": "str", "default": ""},
            "run": {"type": "dict", "default": {}},
            "command": {"type": "path"},
            "instead_of": {"type": "dict", "default": {}},
            "fences": {"type": "list", "elements": "str", "default": []},
            "since": {"type": "str"},
            "phase": {"type": "str", "choices": list(PHASES)},
            "limit": {"type": "int", "default": 300},
            "record": {"type": "dict"},
            "outcome": {"type": "str", "default": "done", "choices": ["done", "failed", "repaired"]},
            "reason": {"type": "str", "default": ""},
            "details": {"type": "dict", "default": {}},
            "line": {"type": "dict"},
        },
        required_if=[
            ("state", "entered", ["id", "phase"]),
            *(("state", state, ["id"]) for state in ("fenced", "renewed", "ended")),
        ],
        supports_check_mode=True,
    )
    releases = Releases(Path("/var/lib") / module.params["app"])
    if module.params["state"] == "shown":
        module.exit_json(changed=False, **show(releases))
    changed = will_change(releases, module.params)
    diff = {}
    if module.params["record"] is not None and module._diff:
        try:
            before = releases.record() or {}
        except ValueError as error:
            before = {"problem": str(error)}
        diff = {"diff": {"before": before, "after": module.params["record"], "before_header": "record", "after_header": "record"}}
    result: dict[str, Any] = {}
    if changed and not module.check_mode:
        try:
            releases.directory.mkdir(mode=0o755, parents=True, exist_ok=True)  # a host that joins has none yet
            if module.params["command"]:  # before the lock is taken: what cannot be written must not leave it behind
                fence.guard(releases.directory, Path(module.params["command"]))
            result = apply(releases, module.params)
        except HeldError as error:
            module.fail_json(msg=str(error))
        except OSError as error:
            module.fail_json(
                msg=f"{error.filename or releases.directory}: {error.strerror}. Is the disk full, or the directory gone?"
            )
    module.exit_json(**{"changed": changed, "run": {}, **result}, **diff)


if __name__ == "__main__":
    main()
