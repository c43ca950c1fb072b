# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal is going to do, and what it refuses to do: everything that is decided before a server is made."""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml
from rehearsal import inventory, reading, standins
from rehearsal.inventory import RehearsalError

ROOT = Path(__file__).parent.parent.parent
PREFIX, FIRST, LAST = "198.51.100.", 100, 127  # of the lab's network; users have others (tests/testinfra/load.py)


def docker(*arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Ask Docker, as nobody: without the logins of whoever runs this. What takes longer than `timeout` seconds has failed."""
    command = ["docker", *arguments]
    with tempfile.TemporaryDirectory() as nobody:
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=timeout, env={**os.environ, "DOCKER_CONFIG": nobody}
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(command, 1, "", str(error))


class Plan:
    """The plan of one rehearsal, and the files that it needs.

    Attributes:
        place: where the report and the logs go.
        work: the copy of the inventory, the secrets, the stand-ins; removed at the end.
        hosts: the hosts, and `addresses` theirs in the lab.
        groups: hosts of each group of the collection.
        sources: inventories for Ansible, of which the last one wins.
        said: variables of the first app host, rendered.
        sites: complete sites, and `probes` what proves them.
        release: the first one, and `next` the one that is released after it.
        put: the stand-ins.
        left: what was left out of the copy.
    """

    def __init__(self, chosen: argparse.Namespace, place: Path | None = None) -> None:
        self.chosen = chosen
        source = chosen.inventory.resolve()
        self.name = re.sub(r"[^\w.-]", "-", source.stem if source.is_file() else source.name)
        self.place = place or ROOT / ".cache/rehearsal" / self.name
        self.work = Path()
        self.left: list[str] = []

    def judge(self) -> None:
        """Copy the inventory, read it, and choose what stands in.

        Raises:
            RehearsalError: for what cannot be rehearsed, in one sentence.
        """
        self.place.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix=f"work-{os.getpid()}-", dir=self.place))
        copied = self.work / "inventories" / self.name
        self.left = inventory.copy(self.chosen.inventory, copied)
        self.given = self.extra()
        self.read([copied])
        self.hosts = self.reading.groups["all"]
        self.judge_hosts()
        self.reach(copied)
        self.read([copied, self.work / "reach"])
        self.groups = self.groups_of()
        self.choose()

    def judge_hosts(self) -> None:
        """Refuse hosts that no server can be made of, and what is only at the real place."""
        if not self.hosts:
            raise RehearsalError(
                f"{self.chosen.inventory}: has no hosts, so there is nothing to make servers of. Name at least one in hosts.yml."
            )
        written = self.reading.written
        problems = inventory.group_problems(self.reading.groups) + host_problems(self.hosts, written)
        problems += [one for host in self.hosts for one in inventory.connection_problems(host, written[host])]
        for host in self.hosts if not problems else []:
            problems += [f"{host}: {one}" for one in inventory.place_problems(written[host], self.read_by_roles(host))]
        self.refuse(problems)

    def read_by_roles(self, host: str) -> list[str]:
        """The variables of a host that a run would read, without what the rehearsal sets."""
        return inventory.reachable(self.reading.written[host], reading.roots(), [*standins.ALWAYS, *inventory.CONNECTION.split()])

    def refuse(self, problems: list[str]) -> None:
        """Say what cannot be rehearsed; of several, the first one and how many there are."""
        if problems:
            raise RehearsalError(problems[0] + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))

    def extra(self) -> dict[str, Any]:
        """The variables of --extra."""
        if not self.chosen.extra:
            return {}
        try:
            found = yaml.safe_load(self.chosen.extra.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise RehearsalError(f"EXTRA: {self.chosen.extra} cannot be read: {' '.join(str(error).split())}") from error
        if not isinstance(found, dict):
            raise RehearsalError(f"EXTRA: {self.chosen.extra} holds no variables. Write `name: value` into it.")
        return found

    def read(self, sources: list[Path]) -> None:
        """Read the inventory; nothing of it is rendered that can be had only at the real place."""
        self.sources = sources
        try:
            found = reading.read(sources, self.given, render=())
            names = {name for said in found.written.values() for name in said}
            unread = {name for said in found.written.values() for name in said if inventory.place_problems(said, [name])}
            self.reading = reading.read(sources, self.given, render=names - unread)
        except ValueError as error:
            raise RehearsalError(f"{self.chosen.inventory}: Ansible cannot read it: {error}") from error

    def reach(self, copied: Path) -> None:
        """Write how the servers are reached, beside the copy and into it."""
        written = self.reading.written
        self.addresses = {host: f"{PREFIX}{FIRST + number}" for number, host in enumerate(sorted(self.hosts))}
        inventory.readdress(copied, inventory.addresses(written, self.addresses))
        reach, state = self.work / "reach", ROOT / "lab/state"
        storage, groups = self.storage(), self.groups_of()
        (reach / "host_vars").mkdir(parents=True)
        (reach / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(self.hosts)}}))
        for host, address in self.addresses.items():
            own: dict[str, Any] = {name: "" for name in inventory.CONNECTION.split() if name in written[host] and "pass" in name}
            own |= {
                "ansible_host": address, "ansible_port": 22, "ansible_user": "debian", "ansible_connection": "ssh",
                "ansible_ssh_private_key_file": str(state / "id_ed25519"), "ansible_ssh_extra_args": "", "ansible_become_method": "sudo",
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={state}/known_hosts", "ansible_python_interpreter": "/usr/bin/python3",
                "lab_server": f"rehearsal-{host}", "lab_publish": [], "lab_ready": False,
                "lab_mounts": storage if host in (*groups["app"], *groups["backup"]) else [],
            }  # fmt: skip
            own |= {"private_address": address} if "private_address" in written[host] else {}
            (reach / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(own))

    def storage(self) -> list[str]:
        """What hosts share, as mounts for servers of the groups app and backup; at the real place somebody mounted it."""
        first = (self.groups_of()["app"] or self.hosts)[0]
        said, services = self.reading.said[first], self.reading.wired[first].get("services") or {}
        if not said.get("app_shared_volumes"):
            return []
        names = {str(volume).partition(":")[0] for service in services.values() for volume in service.get("volumes") or []}
        return [f"kasaneha-lab-rehearsal-shared-{name}:/var/lib/{said.get('app_name')}/{name}" for name in sorted(names)]

    def choose(self) -> None:
        """Secrets and stand-ins, as files beside the copy."""
        first = (self.groups["app"] or self.hosts)[0]
        self.said, wired = self.reading.said[first], self.reading.wired[first]
        services = wired.get("services") or {}
        self.release = str(self.said.get("app_release") or "")
        self.next = self.chosen.release or (standins.next_release(self.release) if self.release else "")
        names = standins.secret_names(self.said, services, bool(self.groups["db"]), len(self.hosts) > 1)
        invented = {name: secrets.token_hex(20) for name in names}
        invented |= {str(name): str(value) for name, value in (self.given.get("app_secrets") or {}).items()}
        self.judge_values(invented)
        facing = self.reading.wired[(self.groups["edge"] or self.hosts)[0]]
        self.sites, self.probes = facing.get("sites") or [], facing.get("probes") or []
        recipient = self.recipient() if self.said.get("backup_recipients") else ""
        here = [group for group, members in self.groups.items() if members]
        self.put = standins.choose(
            self.said, services, self.sites, [self.release, self.next], invented, here, self.pulled, recipient
        )
        self.put.instead += [
            (f"storage of several hosts at {mount.partition(':')[2]}", "a directory of this machine") for mount in self.storage()
        ]
        for name in standins.LOGINS:
            if name in self.reading.written[first]:
                self.put.variables[name] = []
                self.put.instead.append((name, "nothing: nobody logs in"))
        if self.reading.written[first].get("certbot_own_certificates"):
            self.put.variables |= {"certbot_enabled": True, "certbot_own_certificates": {}}
            self.put.instead.append(("certbot_own_certificates", "certificates of the authority inside the lab"))
        self.refuse(self.put.missing)
        self.judge_data()
        self.secrets = self.work / "secrets"
        self.secrets.mkdir(mode=0o700)
        for name, value in invented.items():
            (self.secrets / name).write_text(value + "\n")
        variables = {**self.given, **self.put.variables}
        (self.work / "standins.json").write_text(json.dumps(variables, indent=1))  # the directory is its owner's alone

    def groups_of(self) -> dict[str, list[str]]:
        """The hosts of each group of the collection, also where the inventory names none of them."""
        named = {group: self.reading.groups.get(group, []) for group in inventory.GROUPS}
        if any(group in self.reading.groups for group in inventory.GROUPS):
            return named
        derived = {host: self.reading.wired[host].get("groups", {}).get(host, []) for host in self.reading.groups["all"]}
        return {group: [host for host, groups in derived.items() if group in groups] for group in inventory.GROUPS}

    def judge_values(self, invented: dict[str, str]) -> None:
        """Refuse values that nobody can know here."""
        problems = []
        known = reading.defined_elsewhere()
        for host in self.hosts:
            read = self.read_by_roles(host)
            problems += [f"{host}: {one}" for one in inventory.secret_references(self.reading.written[host], read, invented)]
            for name in read:
                missing = inventory.UNDEFINED.search(self.reading.errors[host].get(name, ""))
                if missing and missing[1] not in known and not missing[1].startswith(("ansible_", "fleet_")):
                    problems.append(
                        f"{host}: {name}: {missing[1]} is not defined in what is left of the inventory"
                        f"{' without ' + self.left[0] if self.left else ''}. Give {missing[1]} a value for the rehearsal in EXTRA=<file>."
                    )
        self.refuse(list(dict.fromkeys(problems)))

    def pulled(self, image: str) -> bool:
        """Whether an image can be had from its registry without a login."""
        return docker("manifest", "inspect", image, timeout=30).returncode == 0

    def recipient(self) -> str:
        """The public key of a pair that is made for this rehearsal."""
        key = self.work / "age.txt"
        command = ["age-keygen", "-o", str(key)]
        if not shutil.which("age-keygen") or subprocess.run(command, capture_output=True, check=False).returncode:
            raise RehearsalError(
                "The inventory encrypts its backups, and age-keygen is not on this machine to make a key for the rehearsal. Install age."
            )
        return re.findall(r"age1\w+", key.read_text())[0]

    def judge_data(self) -> None:
        """Check what the data of --data are."""
        data = self.chosen.data
        if not data:
            if self.chosen.identity:
                raise RehearsalError("IDENTITY opens the set that DATA names, and DATA is not set.")
            return
        try:
            manifest = json.loads((data / "manifest.json").read_text())
        except (OSError, ValueError) as error:
            raise RehearsalError(f"DATA: {data} is no directory of a backup set: its manifest.json cannot be read.") from error
        if not self.groups["backup"]:
            raise RehearsalError("DATA: no host of the inventory is in the group backup, so nothing could restore the set.")
        if manifest.get("instance") not in (None, self.said.get("app_name")):
            raise RehearsalError(
                f"DATA: the set is one of {manifest['instance']}, and the inventory's application is {self.said.get('app_name')}."
            )
        if manifest.get("recipients") and not (self.chosen.identity and self.chosen.identity.is_file()):
            raise RehearsalError("DATA: the set is encrypted. Name the file with the private key of age: IDENTITY=<file>.")
        put = self.put.variables
        put["backup_remotes"] = ["rehearsal-data:sets", *put["backup_remotes"]]
        put["backup_rclone_config"] = (
            f"[rehearsal-data]\ntype = alias\nremote = {standins.REMOTES}/data\n" + put["backup_rclone_config"]
        )
        self.put.real.append(f"data: the set {data.resolve().name}")

    # --- what the run asks for ----------------------------------------------------------------------------------------
    def arguments(self) -> list[str]:
        """What every ansible-playbook gets."""
        return [*(word for source in self.sources for word in ("-i", str(source))), "-e", f"@{self.work}/standins.json"]

    def lab(self) -> str:
        """Variables of the lab's own playbooks: the images that it builds."""
        bases = {"trixie"} | {str(self.reading.written[host].get("lab_release", "trixie")) for host in self.hosts}
        images = [
            *({"tag": f"kasaneha-lab/server:{base}", "folder": "images/server", "base": base} for base in sorted(bases)),
            {"tag": "kasaneha-lab/registry:2", "folder": "images/registry", "base": "bookworm"},
            {"tag": "kasaneha-lab/acme:2", "folder": "images/acme", "base": "trixie"},
            {"tag": "kasaneha-lab/load:1", "folder": "images/load", "base": "trixie"},
            *self.put.images,
        ]
        return json.dumps(
            {"lab_images": images, "lab_releases": {one: faults(one) for one in self.put.examples}, "lab_tests": False}
        )

    def names(self) -> list[str]:
        """Every name of the sites."""
        return [str(name) for site in self.sites for key in ("names", "redirect_names") for name in site.get(key) or []]

    def tidy(self, others: bool = False) -> None:
        """Remove the copy and the secrets; or what rehearsals left of theirs that were killed, or were to keep it."""
        for path in self.place.glob("work-*"):
            alive = Path("/proc", path.name.split("-")[1]).exists()
            if not alive if others else path == self.work:
                shutil.rmtree(path, ignore_errors=True)


def host_problems(hosts: list[str], variables: dict[str, dict[str, Any]]) -> list[str]:
    """Judge what servers cannot be made of."""
    problems = [
        f"{host}: no server can have this name. Write a name of letters, digits, dots and dashes, 50 at most."
        for host in hosts
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,48}[A-Za-z0-9])?", host)
    ]
    if len(hosts) > LAST - FIRST + 1:
        problems.append(
            f"The inventory has {len(hosts)} hosts, and the lab has addresses for {LAST - FIRST + 1} servers. Rehearse a part of it in an inventory of its own."
        )
    bases = yaml.safe_load((ROOT / "lab/vars.yml").read_text())["lab_bases"]
    for host in hosts:
        wanted = variables[host].get("lab_release")
        if wanted and wanted not in bases:
            problems.append(f"{host}: lab_release is {wanted}, and the lab makes servers of {' and '.join(sorted(bases))} only.")
    return problems


def faults(release: str) -> dict[str, str]:
    """Build arguments of a release of the example application: those of the lab's own releases, none of others."""
    known = yaml.safe_load((ROOT / "lab/vars.yml").read_text())
    return {**known["lab_releases"], **known["lab_test_releases"]}.get(release, {})
