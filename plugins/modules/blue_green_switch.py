#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switch what an edge serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green_switch
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Switch what an edge serves, prove it, watch it, and go back by itself
description:
  - What an edge serves is a directory behind one symbolic link. A switch is one C(rename(2)) of that link, which nginx follows with
    the next request; nothing is reloaded.
  - O(state=tried) is for a new release. It arms a timer that goes back even if nobody is left to do it, switches, proves by
    requests on the public path that the new colour answers, watches it, and goes back by itself if it does not do well.
    It has to be confirmed by O(state=served) in time.
  - O(state=served) serves a colour for good. If it is served already, nothing changes but that the timer is disarmed.
options:
  path:
    description: Directory with the state of the edge, as in C(nginx_state_dir).
    type: path
    required: true
  app:
    description: Name of the application, as in C(app_name); with O(run).
    type: str
    default: ""
  run:
    description:
      - The run of a release that does this. One that lost its lock switches nothing, and goes back from nothing. Left out, nobody is asked.
    type: str
    default: ""
  colour:
    description: The colour to serve; empty for none, which is maintenance.
    type: str
    required: true
  state:
    description: Whether the switch is on trial.
    type: str
    choices: [tried, served]
    required: true
  maintenance:
    description: Keep users out, with 503 and a page that says so; left out, it stays as it is.
    type: bool
  release:
    description: The release that probes must be answered by, where their C(release_key) is given.
    type: str
    default: ""
  upstreams:
    description: Colour to list of C(address:port) of its containers.
    type: dict
    default: {}
  probes:
    description: What to ask on the public path; each with C(name) of the site, C(path) and optionally C(release_key).
    type: list
    elements: dict
    default: []
  proofs:
    description: How often in a row each probe must be answered by the new colour before it is watched.
    type: int
    default: 3
  watch_seconds:
    description: How long the new colour is watched.
    type: int
    default: 15
  max_error_ratio:
    description: Share of requests that may fail in this time, unless more than half of that was usual before.
    type: float
    default: 0.01
  log:
    description: The log that the edge writes, a line of JSON for each request; C(colour), C(status) and C(upstream) of it are read.
    type: path
    default: /var/log/nginx/access.log
  revert_unit:
    description: The systemd service that goes back; a timer of its name is armed for O(state=tried).
    type: str
    default: nginx-edge-revert
  revert_seconds:
    description: After how long it goes back, unless O(state=served) comes before.
    type: int
    default: 120
  drain_timeout:
    description:
      - For O(state=served), for how many seconds at most to wait until nginx has no connection to the other colours left.
      - 0 counts them and does not wait.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says what would be served.
    support: full
  diff_mode:
    description: Shows what is and what would be served.
    support: full
"""

EXAMPLES = r"""
- name: Try the new colour
  kasaneha.deploy.blue_green_switch:
    path: /var/lib/kasaneha/edge
    colour: green
    state: tried
    release: v1.1.0
    upstreams: {blue: ["127.0.0.1:18080"], green: ["127.0.0.1:18180"]}
    probes:
      - {name: kasaneha.app, path: /}
      - {name: kasaneha.app, path: /api/v1/info, release_key: release}

- name: Keep it, and wait until nothing goes to the other one any more
  kasaneha.deploy.blue_green_switch:
    path: /var/lib/kasaneha/edge
    colour: green
    state: served
    upstreams: {blue: ["127.0.0.1:18080"], green: ["127.0.0.1:18180"]}
    drain_timeout: 60
"""

RETURN = r"""
before:
  description: What was served before.
  returned: always
  type: dict
switched_at:
  description: When the link was renamed, in seconds since the epoch; 0 if it was not.
  returned: always
  type: float
proof_seconds:
  description: How long after that the proof was complete.
  returned: when it was on trial
  type: float
watch_seconds:
  description: How long it was watched.
  returned: when it was on trial
  type: int
watched:
  description: Requests that were meant for the new colour while it was watched, errors, and those the other colour had to answer.
  returned: when it was on trial
  type: dict
drain_seconds:
  description: How many seconds it took until nginx had no connection to the other colours left.
  returned: for O(state=served)
  type: float
leftovers:
  description: Connections of nginx to the other colours that were still open when the time was over.
  returned: for O(state=served)
  type: int
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import state
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import fence, gate, traffic
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.fence import HeldError

PAUSE = 1.0  # seconds between two looks while watching


class Trial:
    """One switch on trial, on this edge."""

    def __init__(self, module: AnsibleModule, directory: Path) -> None:
        self.module, self.params, self.directory = module, module.params, directory
        self.log = traffic.Log(module.params["log"])
        self.result: dict[str, Any] = {}

    def run(self, before: dict[str, Any], maintenance: bool) -> dict[str, Any]:
        """Arm, switch, prove, watch.

        :raises RuntimeError: the colour does not do well; the edge went back.
        """
        usual = traffic.count_requests(self.log.before(), before["colour"], self.params["upstreams"])
        try:
            with allowed(self.module):
                # Armed first: from here on there is a way back that needs nobody.
                self.arm()
                at = state.switch(self.directory, self.params["colour"], maintenance)
            self.result["switched_at"] = at
            self.prove(at)
            self.watch(usual)
        except HeldError:
            raise  # whatever is served and armed now is another run's
        except BaseException:
            with allowed(self.module):
                state.revert(self.directory)
                disarm(self.module)
            raise
        return self.result

    def arm(self) -> None:
        unit = self.params["revert_unit"]
        self.module.run_command(["systemctl", "stop", f"{unit}.timer"])  # one of an earlier run
        state.arm(self.directory)
        code, _out, err = self.module.run_command(
            [
                "systemd-run",
                f"--unit={unit}",
                f"--on-active={self.params['revert_seconds']}",
                "--timer-property=AccuracySec=100ms",
            ]
        )
        if code:
            state.commit(self.directory)  # nothing was switched: nothing to go back from
            raise RuntimeError(f"the timer that goes back by itself cannot be armed: {err.strip()}")

    def probe(self) -> str:
        """Ask everything once; what is wrong, empty for nothing."""
        for probe in self.params["probes"]:
            status, body, headers = http.ask_site(probe["name"], probe["path"])
            problem = gate.answer_problem(status, body, probe.get("release_key", ""), self.params["release"])
            colour = headers.get("x-colour", "")
            if not problem and colour != self.params["colour"]:
                problem = f"it was answered by {colour or 'no colour'}"
            if problem:
                return f"https://{probe['name']}{probe['path']}: {problem}"
        return ""

    def prove(self, at: float) -> None:
        """The first answers on the public path. One bad one may be bad luck; a second in a row is not."""
        good, bad = 0, 0
        while good < self.params["proofs"]:
            problem = self.probe()
            good, bad = (0, bad + 1) if problem else (good + 1, 0)
            if bad == 2:
                raise RuntimeError(f"the public path does not serve it: {problem}")
        self.result["proof_seconds"] = round(time.time() - at, 3)

    def watch(self, usual: dict[str, int]) -> None:
        """Look each second at what users got, and ask as they do; at least once."""
        counted, failed, said = {"requests": 0, "errors": 0, "elsewhere": 0}, 0, ""
        self.result["watch_seconds"] = self.params["watch_seconds"]
        end = time.monotonic() + self.params["watch_seconds"]
        while True:
            new = traffic.count_requests(self.log.new(), self.params["colour"], self.params["upstreams"])
            counted = {key: counted[key] + new[key] for key in counted}
            self.result["watched"] = counted
            problem = self.probe()
            failed, said = (failed + 1, problem) if problem else (0, said)
            verdict = traffic.watch_problem(usual, counted, failed, self.params["max_error_ratio"])
            if verdict:
                raise RuntimeError(f"while it was watched, {verdict}" + (f", the last: {said}" if failed else ""))
            if time.monotonic() >= end:
                return
            time.sleep(min(PAUSE, max(0.0, end - time.monotonic())))


def warn_of_configuration(module: AnsibleModule) -> None:
    """A switch reloads nothing, so it works whatever became of nginx's files; a restart of nginx would not."""
    code, _out, err = module.run_command([module.get_bin_path("nginx", True, ["/usr/sbin"]), "-t", "-q"])
    if code:
        module.warn(f"nginx would not start with its configuration, fix it before a reboot does: {err.strip()}")


def disarm(module: AnsibleModule) -> None:
    """Stop the timer; one that is not there is none to stop."""
    module.run_command(["systemctl", "stop", f"{module.params['revert_unit']}.timer"])


def allowed(module: AnsibleModule) -> contextlib.AbstractContextManager[None]:
    """Change the edge alone, and as the run that may.

    :raises HeldError: on entry; another run may.
    """
    return fence.allowed(module.params["app"], module.params["run"])


def drain(params: dict[str, Any]) -> dict[str, Any]:
    """Wait until nginx holds no connection to the other colours; idle ones it closes after a few seconds by itself."""
    others = [address for colour, addresses in params["upstreams"].items() if colour != params["colour"] for address in addresses]
    began = time.monotonic()
    while True:
        left, seconds = traffic.open_connections(others), round(time.monotonic() - began, 1)
        if not left or seconds >= params["drain_timeout"]:
            return {"drain_seconds": seconds, "leftovers": left}
        time.sleep(0.1)


def change(module: AnsibleModule, directory: Path) -> dict[str, Any]:
    """Switch, or find out what would be switched; what the module returns.

    :raises HeldError: another run may.
    """
    params = module.params
    if params["state"] == "served" and not module.check_mode and state.observe(directory)["uncommitted"]:
        disarm(module)  # before the look that decides: the timer must not go back in between
    before = state.observe(directory)
    # Maintenance that stands there because there was no colour yet ends with the first one.
    maintenance = bool(before["maintenance"] and before["colour"]) if params["maintenance"] is None else params["maintenance"]
    wanted = {"colour": params["colour"], "maintenance": maintenance or not params["colour"]}
    shown = {key: before[key] for key in wanted}
    moves = shown != wanted or not before["state"]
    changed = moves or params["state"] == "tried" or bool(before["uncommitted"])
    result: dict[str, Any] = {"changed": changed, "before": before, "switched_at": 0.0}
    if changed and not module.check_mode:
        try:
            if params["state"] == "tried":
                warn_of_configuration(module)
                result.update(Trial(module, directory).run(before, maintenance))
            else:
                if moves:
                    result["switched_at"] = state.switch(directory, params["colour"], maintenance)
                state.commit(directory)
        except RuntimeError as error:
            module.fail_json(
                msg=f"{params['colour']} ({params['release']}): {error}. The edge serves {before['colour'] or 'nothing'} again.",
                **result,
            )
        except OSError as error:
            module.fail_json(
                msg=f"{error.filename or directory}: {error.strerror}. Is the disk full, or the directory gone?", **result
            )
    return {**result, **({"diff": {"before": shown, "after": wanted}} if module._diff else {})}


def main() -> None:
    """Switch, or say what would be switched."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "app": {"type": "str", "default": ""},
            "run": {"type": "str", "default": ""},
            "colour": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["tried", "served"]},
            "maintenance": {"type": "bool"},
            "release": {"type": "str", "default": ""},
            "upstreams": {"type": "dict", "default": {}},
            "probes": {"type": "list", "elements": "dict", "default": []},
            "proofs": {"type": "int", "default": 3},
            "watch_seconds": {"type": "int", "default": 15},
            "max_error_ratio": {"type": "float", "default": 0.01},
            "log": {"type": "path", "default": "/var/log/nginx/access.log"},
            "revert_unit": {"type": "str", "default": "nginx-edge-revert"},
            "revert_seconds": {"type": "int", "default": 120},
            "drain_timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params, directory = module.params, Path(module.params["path"])
    if params["run"] and not params["app"]:
        module.fail_json(msg="app is needed with run.")
    try:
        # A trial takes long, and asks for each of its changes.
        with allowed(module) if params["state"] == "served" and not module.check_mode else contextlib.nullcontext():
            result = change(module, directory)
    except HeldError as error:
        module.fail_json(msg=str(error))
    if params["state"] == "served" and not module.check_mode:
        result.update(drain(params))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
