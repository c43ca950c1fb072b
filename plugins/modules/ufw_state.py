#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring UFW to the state that is declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ufw_state
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Bring UFW to the state that is declared
description:
  - Compares the rules that UFW keeps with those that are declared and runs the few commands between the two. Rules that are
    declared no longer are deleted. Rules of others stay, unless O(purge_foreign=true).
  - Everything that comes in is denied unless a rule allows it, everything that goes out is allowed, forwarding is denied.
  - A change is on trial. Before the first command a timer is armed that puts the whole configuration back, also at a reboot;
    O(state=confirmed) disarms it. Call that on a connection that is made after the change, for one that was open before proves nothing.
  - Refuses to change anything if no SSH port would stay open, or if a foreign rule would make a declared one ineffective.
options:
  state:
    description: V(tried) makes the change, V(confirmed) keeps it.
    type: str
    choices: [tried, confirmed]
    required: true
  rules:
    description: Rules as they come out of P(kasaneha.deploy.firewall_normalised#filter). Those of SSH need not be among them.
    type: list
    elements: dict
    default: []
  ssh_ports:
    description: Ports on which SSH is answered; allowed before anything else.
    type: list
    elements: int
    default: []
  ssh_from:
    description: From where; V(any), addresses, networks.
    type: list
    elements: str
    default: [any]
  tag:
    description: Begins the comment of every rule of ours, and tells them from those of others.
    type: str
    default: kasaneha
  purge_foreign:
    description: Delete the rules of others.
    type: bool
    default: false
  ipv6:
    description: Whether UFW looks after IPv6 too.
    type: bool
    default: true
  logging:
    description: What of UFW goes to the kernel's log.
    type: str
    choices: ["off", low, medium, high, full]
    default: low
  rollback_seconds:
    description: After how long a change that nobody confirms is undone.
    type: int
    default: 180
  rollback_unit:
    description: The systemd service that undoes it; a timer of its name is armed.
    type: str
    default: firewall-rollback
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows the rules that are and those that would be.
    support: full
"""

EXAMPLES = r"""
- name: Let in SSH and the web, and nothing else
  kasaneha.deploy.ufw_state:
    state: tried
    ssh_ports: [22]
    rules: "{{ [{'name': 'https', 'port': 443, 'from': 'any'}] | kasaneha.deploy.firewall_normalised }}"
  register: firewall

- name: Close the connection, so that the next task needs a new one
  ansible.builtin.meta: reset_connection

- name: Keep it
  kasaneha.deploy.ufw_state:
    state: confirmed
  when: firewall.unconfirmed
"""

RETURN = r"""
actions:
  description: What was done, or would be done, in order.
  returned: always
  type: list
  elements: str
problems:
  description: Why nothing was done; in check mode they are no failure.
  returned: always
  type: list
  elements: str
unconfirmed:
  description: Whether a change waits for O(state=confirmed), be it of this run or of one before.
  returned: always
  type: bool
foreign:
  description: Rules of others that stay.
  returned: O(state=tried)
  type: list
  elements: str
"""

import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import ufw as firewall_ufw

SNAPSHOT = "/var/lib/firewall/unconfirmed"  # the service that goes back knows it too
DEFAULTS = "/etc/default/ufw"
RULES = {False: "/etc/ufw/user.rules", True: "/etc/ufw/user6.rules"}
BEFORE = ("/etc/ufw/before.rules", "/etc/ufw/before6.rules")
CONF = "/etc/ufw/ufw.conf"


def read(path: str) -> str:
    """A file's text; one that is not there is empty."""
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


class Host:
    """The only one that looks at the host and changes it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params

    def run(self, *command: str) -> str:
        """Run a command.

        :raises RuntimeError: it failed; with what it said.
        """
        code, out, err = self.module.run_command(list(command), environ_update={"LC_ALL": "C", "LANGUAGE": "C"})
        if code:
            raise RuntimeError(f"{' '.join(command)}: {(err or out).strip()}")
        return out

    def observe(self) -> firewall_ufw.Observed:
        """UFW as it is written and as it is loaded."""
        # An installation that was cut short is none, though the command is there.
        _code, status, _err = self.module.run_command(["dpkg-query", "--show", "--showformat=${db:Status-Status}", "ufw"])
        ufw = self.module.get_bin_path("ufw") if status == "installed" else None
        active = bool(ufw) and "Status: active" in self.run("ufw", "status")
        settings = firewall_ufw.read_settings(read(DEFAULTS))
        written = {v6: read(path) for v6, path in RULES.items() if not v6 or settings.get("IPV6") == "yes"}
        loaded = {v6: self.run("ip6tables" if v6 else "iptables", "-S") for v6 in written} if active else {}
        conf = firewall_ufw.read_settings(read(CONF))
        return firewall_ufw.Observed(
            installed=bool(ufw),
            active=active,
            pending=os.path.isdir(SNAPSHOT),
            entries=tuple(entry for v6, path in RULES.items() for entry in firewall_ufw.parse(read(path), v6)),
            settings=settings,
            logging=conf.get("LOGLEVEL", ""),
            discovery=any(firewall_ufw.DISCOVERY.search(read(path)) for path in BEFORE) or not ufw,
            stale=active and firewall_ufw.is_stale(written, loaded),
        )

    def write(self, path: str, text: str) -> None:
        """Replace a file at once, with the rights it had."""
        new = f"{path}.new"
        with open(new, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, new)
        self.module.atomic_move(new, path)

    def arm(self) -> None:
        """From here on there is a way back that needs nobody. What an unconfirmed run kept is older, and better."""
        unit = self.params["rollback_unit"]
        if not os.path.isdir(SNAPSHOT):
            new = f"{SNAPSHOT}.new"
            shutil.rmtree(new, ignore_errors=True)
            os.makedirs(new, mode=0o700)
            for path in (DEFAULTS, CONF, *RULES.values(), *BEFORE):
                # /etc/default/ufw is the one that has another directory, and needs another name
                shutil.copy2(path, os.path.join(new, "default" if path == DEFAULTS else os.path.basename(path)))
            self.run("sync", "--file-system", new)
            os.rename(new, SNAPSHOT)
        self.module.run_command(["systemctl", "stop", f"{unit}.timer"])  # one of an earlier run; none is none to stop
        seconds = self.params["rollback_seconds"]
        self.run("systemd-run", f"--unit={unit}", f"--on-active={seconds}", "--timer-property=AccuracySec=100ms")

    def apply(self, plan: firewall_ufw.Plan, ssh: list[firewall_ufw.Entry]) -> None:
        """Carry a plan out. Everything that lets in comes before what closes."""
        self.arm()
        if plan.settings:
            self.write(DEFAULTS, firewall_ufw.write_settings(read(DEFAULTS), plan.settings))
        if plan.drop_discovery:
            for path in BEFORE:
                self.write(path, firewall_ufw.without_discovery(read(path)))
        if plan.first:
            self.run("ufw", plan.first)
        for entry in plan.add:
            self.run("ufw", *firewall_ufw.command(entry))
        written = {entry for v6, path in RULES.items() for entry in firewall_ufw.parse(read(path), v6)}
        missing = [firewall_ufw.shown(entry) for entry in ssh if entry not in written]
        if missing:
            raise RuntimeError(f"UFW did not take the rule that lets SSH in ({', '.join(missing)}); it was not enabled")
        for entry in plan.remove:
            self.run("ufw", "--force", *firewall_ufw.command(entry, delete=True))
        if plan.logging:
            self.run("ufw", "logging", plan.logging)
        if plan.last:
            self.run("ufw", "--force", plan.last)

    def confirm(self) -> bool:
        """Keep the change. Whoever renames the snapshot first wins, this or the timer's service.

        :returns: whether there was one to keep.
        """
        if self.module.check_mode:
            return os.path.isdir(SNAPSHOT)
        try:
            os.rename(SNAPSHOT, f"{SNAPSHOT}.kept")
        except FileNotFoundError:
            return False
        self.module.run_command(["systemctl", "stop", f"{self.params['rollback_unit']}.timer"])  # it has nothing to do any more
        shutil.rmtree(f"{SNAPSHOT}.kept")
        return True


def main() -> None:
    """Look, decide, do."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["tried", "confirmed"]},
            "rules": {"type": "list", "elements": "dict", "default": []},
            "ssh_ports": {"type": "list", "elements": "int", "default": []},
            "ssh_from": {"type": "list", "elements": "str", "default": ["any"]},
            "tag": {"type": "str", "default": "kasaneha"},
            "purge_foreign": {"type": "bool", "default": False},
            "ipv6": {"type": "bool", "default": True},
            "logging": {"type": "str", "default": "low", "choices": ["off", "low", "medium", "high", "full"]},
            "rollback_seconds": {"type": "int", "default": 180},
            "rollback_unit": {"type": "str", "default": "firewall-rollback"},
        },
        supports_check_mode=True,
    )
    params, host = module.params, Host(module)
    result: dict[str, Any] = {"changed": False, "actions": [], "problems": [], "unconfirmed": False}
    if params["state"] == "confirmed":
        if not host.confirm() and not module.check_mode:
            module.fail_json(msg="There is no change to confirm: it was undone already, for its time was over.", **result)
        module.exit_json(**{**result, "changed": True})

    ssh_rules = [{"name": "ssh", "port": port, "from": params["ssh_from"]} for port in params["ssh_ports"]]
    ssh = firewall_ufw.desired(rules.normalised(ssh_rules), params["tag"], params["ipv6"])
    try:
        now = host.observe()
        target = ssh + [
            entry for entry in firewall_ufw.desired(params["rules"], params["tag"], params["ipv6"]) if entry not in ssh
        ]
        plan = firewall_ufw.plan(now, target, params["tag"], params["purge_foreign"], params["logging"], params["ipv6"])
        problems = firewall_ufw.dead_rules(now, target, params["tag"], params["purge_foreign"])
        problems += [] if ssh else ["No SSH port would stay open: give ssh_ports and ssh_from. Nothing was changed."]
        result.update(changed=plan.changed, actions=plan.lines, problems=problems, unconfirmed=now.pending)
        result["foreign"] = [
            firewall_ufw.shown(entry)
            for entry in now.entries
            if entry not in plan.remove and not firewall_ufw.is_own(entry, params["tag"])
        ]
        if module._diff:
            result["diff"] = {"before": firewall_ufw.describe(now), "after": firewall_ufw.describe(now, plan)}
        if module.check_mode:
            module.exit_json(**result)
        if problems or not now.installed:
            module.fail_json(msg="\n".join(problems or ["UFW is not installed."]), **{**result, "changed": False})
        if plan.changed:
            host.apply(plan, ssh)
            result["unconfirmed"] = True
    except (RuntimeError, ValueError, OSError) as error:
        module.fail_json(msg=f"The firewall was not brought to the declared state: {error}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
