#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let a release pass only if it proves itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green_gate
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Wait until the containers of one colour prove that they are the release that is wanted
description:
  - Asks every service of a colour in rounds, until so many rounds in a row were good.
  - A round is good when each container runs the image that is recorded for it, has not started again since the last round and,
    where it publishes a port, answers as C(health) says (200 or 204, if that is a path) and names the release (if it can).
  - Gives up early where waiting is of no use, such as for a container that keeps ending.
  - A failure shows the history of answers, the container's own health checks and its last log lines.
options:
  app:
    description: Name of the application, as in C(app_name).
    type: str
    required: true
  colour:
    description: The colour to ask; empty where the application has none.
    type: str
    required: true
  release:
    description: The release that the answers must name.
    type: str
    required: true
  services:
    description:
      - The services of the release, by name.
      - Their C(health) is a path, or a mapping of C(path), C(host), C(status), C(headers), C(body) and C(timeout).
    type: dict
    required: true
  images:
    description: Service to ID of the image that its container must run; a service that is left out may run any.
    type: dict
    default: {}
  address:
    description: Where the ports are published.
    type: str
    default: 127.0.0.1
  started:
    description:
      - Service to the time at which its container started, as an earlier gate returned it. A container that started again since is refused.
    type: dict
    default: {}
  answers:
    description: How many good rounds in a row pass the gate.
    type: int
    default: 3
  interval:
    description: Seconds between two rounds.
    type: float
    default: 0.5
  timeout:
    description: Seconds until the release is given up.
    type: int
    default: 60
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check that the release answers
  kasaneha.deploy.blue_green_gate:
    app: kasaneha
    colour: green
    release: v1.1.0
    services:
      backend: {publish: {blue: 18080, green: 18180}, health: /health, release_key: release}
      shop: {publish: {blue: 18081, green: 18181}, health: {path: /, host: shop.example.org, status: [200, 401], body: Welcome}}
"""

RETURN = r"""
seconds:
  description: How long the release took to pass.
  returned: always
  type: float
history:
  description: What the rounds said, equal ones in a row once.
  returned: always
  type: list
  elements: str
  sample: ["backend: [Errno 111] Connection refused", good]
started:
  description: When the container of each service started.
  returned: always
  type: dict
  sample: {backend: "2026-11-25T03:18:01.123456789Z"}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import bracketed
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import containers as release_containers
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import gate as release_gate
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health, images


def one_round(module: AnsibleModule, started: dict[str, str], restarts: dict[str, int]) -> tuple[list[str], bool]:
    """Look at every service once: one sentence each, and whether waiting is of no use."""
    params = module.params
    containers = release_containers.observe(module.run_command, params["app"])
    sentences, hopeless = [], False
    for name, service in params["services"].items():
        container = release_containers.by_service(containers, name, params["colour"])
        since = params["started"].get(name, "")
        restarts.setdefault(name, container["restarts"] if container else 0)
        problem, useless = release_gate.container_problem(
            container, params["images"].get(name, ""), since or started.get(name, ""), restarts.get(name, 0)
        )
        hopeless = hopeless or useless or bool(since and container and container["started"] != since)
        if container:
            started[name] = container["started"]
        if not problem and service.get("publish"):
            check = health.health_check(service.get("health"))
            url = f"http://{bracketed(params['address'])}:{images.published_port(service, params['colour'])}{check['path']}"
            _status, problem = health.ask(url, check, service.get("release_key", ""), params["release"])
            problem = f"{url}: {problem}" if problem else ""
        elif not problem and container and container["health"] == "starting":
            problem = "its own health check has not passed yet"  # without a port, this is all it can show
        sentences.append(f"{name}: {problem}" if problem else "")
    return sentences, hopeless


def last_words(module: AnsibleModule, sentences: list[str]) -> str:
    """What the failing containers have to say."""
    containers = release_containers.observe(module.run_command, module.params["app"])
    text = ""
    for name, sentence in zip(module.params["services"], sentences):
        container = release_containers.by_service(containers, name, module.params["colour"])
        if sentence and container:
            if container["health_log"]:
                text += f"\nIts own health checks ({container['health']}): " + " / ".join(container["health_log"])
            text += f"\nLast log lines of {container['name']}:\n{release_containers.last_words(module.run_command, container['name'])}"
    return text


def main() -> None:
    """Ask until it is proven or hopeless."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "str", "required": True},
            "colour": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "services": {"type": "dict", "required": True},
            "images": {"type": "dict", "default": {}},
            "address": {"type": "str", "default": "127.0.0.1"},
            "started": {"type": "dict", "default": {}},
            "answers": {"type": "int", "default": 3},
            "interval": {"type": "float", "default": 0.5},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    mistakes = [
        problem
        for name, service in module.params["services"].items()
        for problem in health.health_problems(f"services.{name}.health", service.get("health"))
    ]
    if mistakes:
        module.fail_json(msg="\n".join(mistakes))
    gate, began = release_gate.Gate(module.params["answers"]), time.monotonic()
    started: dict[str, str] = {}
    restarts: dict[str, int] = {}
    while True:
        try:
            sentences, hopeless = one_round(module, started, restarts)
        except RuntimeError as error:
            sentences, hopeless = [f"the containers cannot be seen: {error}"], False
        passed = gate.round(sentences)
        result: dict[str, Any] = {
            "seconds": round(time.monotonic() - began, 1),
            "history": gate.history[-10:],
            "started": started,
        }
        if passed:
            module.exit_json(changed=False, **result)
        if hopeless or result["seconds"] > module.params["timeout"]:
            wait = "" if hopeless else f" within {module.params['timeout']} s (app_start_timeout)"
            problems = "; ".join(filter(None, sentences)) or f"not {gate.wanted} good answers in a row"
            module.fail_json(
                msg=f"Release {module.params['release']} ({module.params['colour']}) did not prove itself{wait}: {problems}\n"
                f"What it said in turn: {' -> '.join(gate.history[-5:])}{last_words(module, sentences)}",
                **result,
            )
        time.sleep(module.params["interval"])


if __name__ == "__main__":
    main()
