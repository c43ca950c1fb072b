#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearse an inventory as it stands on throw-away servers of this machine; the world outside them is a stand-in (docs/rehearsal.md).

Needs a clone of the collection, as the lab does: make rehearse INVENTORY=inventories/prod
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
sys.path[:0] = [str(ROOT / "lab"), str(ROOT / "tests/testinfra")]

import yaml  # noqa: E402
from rehearsal import inventory, reading, report, standins  # noqa: E402
from rehearsal.inventory import RehearsalError  # noqa: E402
from rehearsal.run import Run, checks  # noqa: E402

PREFIX, FIRST, LAST = "198.51.100.", 100, 127  # of the lab's network; users have others (tests/testinfra/load.py)
RATE = 20  # requests per second: each of the users far below every limit
LOCK = Path(tempfile.gettempdir()) / "kasaneha-rehearsal.lock"
BEFORE_AND_AFTER = 3  # seconds of load around the release and the rollback


def options(arguments: list[str]) -> argparse.Namespace:
    """The command line; every option may come as an environment variable of make."""
    parser = argparse.ArgumentParser(
        prog="lab/rehearse.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("inventory", type=Path, help="a directory such as inventories/prod, or a file with hosts")
    add("--release", default="", metavar="VERSION", help="release this version after the first one")
    add("--data", type=Path, metavar="DIRECTORY", help="start on the data of a backup: the directory of a set")
    add("--identity", type=Path, metavar="FILE", help="the private key of age that opens it")
    add("--extra", type=Path, metavar="FILE", help="variables that the inventory has only at the real place, as YAML")
    add(
        "--after-verify",
        default="",
        metavar="COMMAND",
        help="run this once the servers are verified; it fails the rehearsal if it fails",
    )
    add("--keep", action="store_true", help="leave the servers there")
    add("--down", action="store_true", help="remove what an earlier rehearsal left there, and do nothing else")
    return parser.parse_args(arguments)


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


class Rehearsal:
    """One rehearsal of one inventory."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.name = re.sub(
            r"[^\w.-]", "-", chosen.inventory.resolve().stem if chosen.inventory.is_file() else chosen.inventory.resolve().name
        )
        self.place = ROOT / ".cache/rehearsal" / self.name
        self.work = Path()  # the copy, the secrets: removed at the end
        self.left: list[str] = []
        self.load: dict[str, Any] = {}
        self.requests: list[dict[str, Any]] = []
        self.events: list[tuple[str, float, float]] = []
        self.told: list[dict[str, Any]] = []

    # --- before a server is made ----------------------------------------------------------------------------------
    def judge(self) -> None:
        """Copy the inventory and read it.

        Raises:
            RehearsalError: for what cannot be rehearsed, in one sentence.
        """
        chosen = self.chosen
        self.place.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=self.place))
        copied = self.work / "inventories" / self.name
        self.left = inventory.copy(chosen.inventory, copied)
        extra = self.extra()
        self.said = self.read([copied], extra)
        hosts = self.said.groups["all"]
        problems = (
            []
            if hosts
            else [f"{chosen.inventory}: has no hosts, so there is nothing to make servers of. Name at least one in hosts.yml."]
        )
        problems += inventory.group_problems(self.said.groups)
        problems += host_problems(hosts, self.said.written)
        given = [*standins.ALWAYS, *inventory.CONNECTION.split()]
        if not problems:
            for host in hosts:
                problems += inventory.connection_problems(host, self.said.written[host])
        for host in hosts if not problems else []:
            written = self.said.written[host]
            read = inventory.reachable(written, reading.roots(), given)
            problems += [f"{host}: {one}" for one in inventory.place_problems(written, read)]
        self.refuse(problems)
        self.prepare(copied, extra, hosts, given)

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

    def read(self, sources: list[Path], extra: dict[str, Any]) -> reading.Reading:
        """Read an inventory; nothing of it is rendered that can be had only at the real place."""
        try:
            found = reading.read(sources, extra, render=())
            unread = [name for host, said in found.written.items() for name in said if inventory.place_problems(said, [name])]
            return reading.read(sources, extra, render={name for said in found.written.values() for name in said} - set(unread))
        except ValueError as error:
            raise RehearsalError(f"{self.chosen.inventory}: Ansible cannot read it: {error}") from error

    def prepare(self, copied: Path, extra: dict[str, Any], hosts: list[str], given: list[str]) -> None:
        """Addresses, secrets and stand-ins, as files beside the copy."""
        addresses = {host: f"{PREFIX}{FIRST + number}" for number, host in enumerate(sorted(hosts))}
        inventory.readdress(copied, inventory.addresses(self.said.written, addresses))
        reach = self.work / "reach"
        (reach / "host_vars").mkdir(parents=True)
        (reach / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(hosts)}}))
        state = ROOT / "lab/state"
        for host in hosts:
            own = {name: "" for name in inventory.CONNECTION.split() if name in self.said.written[host] and "pass" in name}
            own |= {
                "ansible_host": addresses[host], "ansible_port": 22, "ansible_user": "debian", "ansible_connection": "ssh",
                "ansible_ssh_private_key_file": str(state / "id_ed25519"), "ansible_ssh_extra_args": "", "ansible_become_method": "sudo",
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={state}/known_hosts", "ansible_python_interpreter": "/usr/bin/python3",
                "lab_server": f"rehearsal-{host}", "lab_publish": [], "lab_ready": False,
            }  # fmt: skip
            if "private_address" in self.said.written[host]:
                own["private_address"] = addresses[host]
            (reach / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(own))
        self.sources = [copied, reach]
        self.said = self.read(self.sources, extra)
        self.hosts, self.addresses = hosts, addresses
        self.groups = self.groups_of()
        first = (self.groups["app"] or hosts)[0]
        said, wired = self.said.said[first], self.said.wired[first]
        services = wired.get("services") or {}
        self.release = str(said.get("app_release") or "")
        self.next = self.chosen.release or (standins.next_release(self.release) if self.release else "")
        names = standins.secret_names(said, services, bool(self.groups["db"]), len(hosts) > 1)
        invented = {name: secrets.token_hex(20) for name in names}
        invented |= {str(name): str(value) for name, value in (extra.get("app_secrets") or {}).items()}
        self.problems_of_values(hosts, given, invented)
        recipient = self.recipient() if said.get("backup_recipients") else ""
        self.sites = self.said.wired[(self.groups["edge"] or hosts)[0]].get("sites") or []
        here = [group for group, members in self.groups.items() if members]
        self.chosen_ones = standins.choose(
            said, services, self.sites, [self.release, self.next], invented, here, self.pulled, recipient
        )
        self.refuse(self.chosen_ones.missing)
        self.judge_data(said)
        self.secrets = self.work / "secrets"
        self.secrets.mkdir(mode=0o700)
        for name, value in invented.items():
            (self.secrets / name).write_text(value + "\n")
        put = {**{name: value for name, value in extra.items() if name != "app_secrets"}, **self.chosen_ones.variables}
        file = self.work / "standins.json"
        file.write_text(json.dumps(put, indent=1))
        file.chmod(0o600)
        self.said_first = said
        self.probes = self.said.wired[(self.groups["edge"] or hosts)[0]].get("probes") or []

    def groups_of(self) -> dict[str, list[str]]:
        """The hosts of each group of the collection, also where the inventory names none of them."""
        named = {group: self.said.groups.get(group, []) for group in inventory.GROUPS}
        if any(group in self.said.groups for group in inventory.GROUPS):
            return named
        derived = {host: self.said.wired[host].get("groups", {}).get(host, []) for host in self.said.groups["all"]}
        return {group: [host for host, groups in derived.items() if group in groups] for group in inventory.GROUPS}

    def problems_of_values(self, hosts: list[str], given: list[str], invented: dict[str, str]) -> None:
        """Refuse values that nobody can know here."""
        problems = []
        known = reading.defined_elsewhere()
        for host in hosts:
            written = self.said.written[host]
            read = inventory.reachable(written, reading.roots(), given)
            problems += [f"{host}: {one}" for one in inventory.secret_references(written, read, invented)]
            for name in read:
                error = self.said.errors[host].get(name, "")
                missing = inventory.UNDEFINED.search(error)
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
        made = (
            subprocess.run(["age-keygen", "-o", str(key)], capture_output=True, text=True, check=False)
            if shutil.which("age-keygen")
            else None
        )
        if not made or made.returncode:
            raise RehearsalError(
                "The inventory encrypts its backups, and age-keygen is not on this machine to make a key for the rehearsal. Install age."
            )
        return re.findall(r"age1\w+", key.read_text())[0]

    def judge_data(self, said: dict[str, Any]) -> None:
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
        if manifest.get("instance") not in (None, said.get("app_name")):
            raise RehearsalError(
                f"DATA: the set is one of {manifest['instance']}, and the inventory's application is {said.get('app_name')}."
            )
        if manifest.get("recipients") and not (self.chosen.identity and self.chosen.identity.is_file()):
            raise RehearsalError("DATA: the set is encrypted. Name the file with the private key of age: IDENTITY=<file>.")
        put = self.chosen_ones.variables
        put["backup_remotes"] = ["rehearsal-data:sets", *put["backup_remotes"]]
        put["backup_rclone_config"] = (
            f"[rehearsal-data]\ntype = alias\nremote = {standins.REMOTES}/data\n" + put["backup_rclone_config"]
        )
        self.chosen_ones.real.append(f"data: the set {data.resolve().name}")

    # --- the run --------------------------------------------------------------------------------------------------------
    def arguments(self) -> list[str]:
        """What every ansible-playbook gets."""
        return [*(word for source in self.sources for word in ("-i", str(source))), "-e", f"@{self.work}/standins.json"]

    def lab(self, **more: Any) -> str:
        """Variables of the lab's own playbooks."""
        images = [
            {"tag": "kasaneha-lab/server:trixie", "folder": "images/server", "base": "trixie"},
            {"tag": "kasaneha-lab/registry:2", "folder": "images/registry", "base": "bookworm"},
            {"tag": "kasaneha-lab/acme:2", "folder": "images/acme", "base": "trixie"},
            {"tag": "kasaneha-lab/load:1", "folder": "images/load", "base": "trixie"},
            *self.chosen_ones.images,
        ]
        return json.dumps(
            {
                "lab_images": images,
                "lab_releases": {one: faults(one) for one in self.chosen_ones.examples},
                "lab_tests": False,
                **more,
            }
        )

    def run(self) -> None:
        """All steps.

        Raises:
            RehearsalError: with the step that failed and why.
        """
        logs = self.place / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        self.steps = run = Run(logs, self.arguments())
        edge = self.addresses[self.groups["edge"][0]] if self.groups["edge"] else ""
        names = [str(name) for site in self.sites for key in ("names", "redirect_names") for name in site.get(key) or []]
        step, play, left_out = run.step, run.play, run.leave_out
        if "lab_images" in os.environ.get("ANSIBLE_SKIP_TAGS", ""):
            left_out("images", "They are there, the environment says (ANSIBLE_SKIP_TAGS).")
        else:
            step("images", lambda: done(play("lab/images.yml", "-e", self.lab())))
        self.ready = time.time()
        step("servers", lambda: done(play("lab/create.yml", "-e", self.lab(), "--skip-tags", "lab_images")))
        step("stand-ins", lambda: done(play("lab/rehearsal/prepare.yml", rehearsal_edge=edge, rehearsal_names=names)))
        step("site.yml", lambda: changes(play("site.yml")))
        step("site.yml again", lambda: unchanged(play("site.yml")))
        if self.chosen.data:
            step("real data", self.restore_data)
        step("verify.yml", lambda: verified(play("playbooks/verify.yml")))
        if self.chosen.after_verify:
            step("checks of yours", self.after_verify)
        if self.groups["app"] and self.groups["edge"]:
            step("release and rollback under load", self.release_under_load)
        else:
            left_out("release and rollback under load", "No host is in both of the groups app and edge.")
        if self.groups["backup"]:
            identity = {"identity": str(self.work / "age.txt")} if self.chosen_ones.variables["backup_recipients"] else {}
            step("backup", lambda: shown(play("playbooks/backup.yml", reason="rehearsal")))
            step("restore", lambda: shown(play("playbooks/restore.yml", **identity)))
            step("drill", lambda: shown(play("playbooks/verify_backup.yml", **identity)))
        else:
            left_out("backup, restore, drill", "No host is in the group backup.")
        step("reboot", lambda: done(play("molecule/reboot.yml")))
        step("verify.yml after the reboot", lambda: verified(play("playbooks/verify.yml")))

    def restore_data(self) -> str:
        """Put the data of --data in the place of the empty ones, as on a new machine."""
        data = self.chosen.data.resolve()
        remote = f"{standins.REMOTES}/data/sets/{self.said_first['app_name']}/{data.name}"
        self.steps.play(
            "lab/rehearsal/data.yml",
            rehearsal_set=str(data),
            rehearsal_remote=remote,
            rehearsal_backup_hosts=",".join(self.groups["backup"]),
        )
        identity = {"identity": str(self.chosen.identity.resolve())} if self.chosen.identity else {}
        return shown(self.steps.play("playbooks/restore.yml", backup=data.name, fetch=True, foreign=True, **identity))

    def after_verify(self) -> str:
        """A command of whoever rehearses, which may look at the servers."""
        first = sorted(self.hosts)[0]
        told = {
            "REHEARSAL_INVENTORY": str(ROOT / f"lab/state/rehearsal-{first}.yml"),
            "REHEARSAL_SERVER": f"kasaneha-lab-rehearsal-{first}",
            "REHEARSAL_ARGUMENTS": shlex.join(self.arguments()),
            "LAB_SECRETS": str(self.secrets),
            "SITE": str(self.sites[0]["names"][0]) if self.sites else "",
        }
        log = self.place / "logs/after-verify.log"
        with open(log, "wb") as file:
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", self.chosen.after_verify],
                cwd=ROOT,
                env={**os.environ, **told},
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if ended.returncode:
            raise RehearsalError(f"`{self.chosen.after_verify}` failed: {lines[-1] if lines else 'without a word'}")
        return lines[-1] if lines else ""

    def release_under_load(self) -> str:
        """Deploy and roll back while users ask; none of them may lose a request."""
        from load import SHORT, Load

        site = str(self.sites[0]["names"][0])
        paths = [
            str(probe["path"])
            for probe in self.probes
            if probe.get("name") == site and int(probe.get("status") or 200) in (200, 201)
        ]
        how: dict[str, Any] = (
            SHORT
            if self.chosen_ones.known
            else {"slow": 0, "streams": 0, "paths": ",".join(f"{path}=1" for path in paths or ["/"])}
        )
        edge = self.addresses[self.groups["edge"][0]]
        with Load(edge, rate=RATE, url=f"https://{site}", **how) as load:
            began = time.time()
            time.sleep(BEFORE_AND_AFTER)
            if self.next and self.next != self.release:
                self.event(f"deploy {self.next}", "playbooks/deploy.yml", app_release=self.next)
                time.sleep(BEFORE_AND_AFTER)
                self.event(f"rollback to {self.release}", "playbooks/rollback.yml")
            else:
                self.event("the same release once more", "playbooks/deploy.yml", app_release=self.release, force=True)
            time.sleep(BEFORE_AND_AFTER)
            self.load = load.stop()
            self.requests = [entry for entry in load.records if entry["start"] >= began]
        self.load["site"] = site
        if self.load["failed"]:
            first = self.load["failures"][0]
            raise RehearsalError(
                f"{self.load['failed']} of {self.load['total']} requests failed; the first was {first['method']} {first['path']}: {first['error']}."
            )
        return f"0 of {self.load['total']} requests failed"

    def event(self, name: str, playbook: str, **variables: Any) -> None:
        """Run a playbook, and note from when to when."""
        began = time.time()
        try:
            self.steps.play(playbook, **variables)
        finally:
            self.events.append((name, began, time.time()))

    # --- the end ----------------------------------------------------------------------------------------------------------
    def listen(self) -> None:
        """Read what the world outside was told."""
        with suppress(OSError):
            said = docker("logs", "kasaneha-lab-rehearsal-world").stdout
            self.told = [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def destroy(self) -> list[str]:
        """Remove servers and stand-ins; what is left all the same."""
        if getattr(self, "steps", None):
            with suppress(RehearsalError):
                self.steps.play("lab/rehearsal/destroy.yml")
        for container in self.containers():
            docker("rm", "--force", "--volumes", container)
        for host in getattr(self, "hosts", []):
            docker("volume", "rm", "--force", f"kasaneha-lab-rehearsal-{host}-docker")
        return self.containers()

    def tidy(self, others: bool = False) -> None:
        """Remove the copy and the secrets; or what killed rehearsals left of theirs."""
        for path in self.place.glob("work-*"):
            if (path == self.work) != others:
                shutil.rmtree(path, ignore_errors=True)

    def containers(self) -> list[str]:
        """Containers of a rehearsal that are there."""
        return docker("ps", "--all", "--filter", "name=^/kasaneha-lab-rehearsal-", "--format", "{{.Names}}").stdout.split()

    def result(self, reason: str, ended: float) -> dict[str, Any]:
        """Everything that the report shows."""
        steps = self.steps.as_json()
        return {
            "inventory": str(self.chosen.inventory),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": subprocess.run(
                ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            ).stdout.strip(),
            "reason": reason,
            "seconds": round(ended - self.steps.origin, 1),
            "seconds_after_images": round(ended - getattr(self, "ready", ended), 1),
            "hosts": {host: [group for group, members in self.groups.items() if host in members] for host in self.hosts},
            "releases": [self.release, self.next],
            "steps": steps,
            "load": self.load,
            "requests": report.by_second(self.requests),
            "events": [
                (name, round(began - self.requests[0]["start"], 1), round(end - self.requests[0]["start"], 1))
                for name, began, end in self.events
            ]
            if self.requests
            else [],
            "real": ["packages, from their mirrors", *self.chosen_ones.real],
            "instead": self.chosen_ones.instead + [(f"vault: {one}", "left out") for one in self.left],
            "told": report.count_told(self.told),
        }


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


def done(_: dict[str, Any]) -> str:
    """Nothing to say."""
    return ""


def changes(result: dict[str, Any]) -> str:
    """How much a run changed."""
    return f"{len(result['changed'])} tasks changed something"


def unchanged(result: dict[str, Any]) -> str:
    """A second run must change nothing."""
    if result["changed"]:
        raise RehearsalError(
            f"the second run of site.yml changed {len(result['changed'])} thing(s), the first of them `{result['changed'][0]}`."
        )
    return "changed=0"


def verified(result: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """What verify.yml found."""
    found = checks(result)
    return f"{sum(word == 'ok' for word, _ in found)} checks passed, {sum(word == 'skip' for word, _ in found)} skipped", found


def shown(result: dict[str, Any]) -> str:
    """What a playbook said last."""
    return " ".join(str(result["shown"][-1]["msg"]).split()) if result["shown"] else ""


@contextmanager
def alone() -> Iterator[None]:
    """One rehearsal at a time on a machine: their servers have the same addresses."""
    with open(LOCK, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another rehearsal is under way on this machine; this one waits for its end.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def end(number: int, _frame: object) -> None:
    """A signal ends the rehearsal as a failure does: nothing is left."""
    raise RehearsalError(f"it was ended by {signal.Signals(number).name}.")


def main(arguments: list[str]) -> int:
    """Rehearse; 0 if all went well."""
    chosen = options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
    rehearsal = Rehearsal(chosen)
    if not chosen.down:
        try:
            rehearsal.judge()
            if docker("info").returncode:
                raise RehearsalError("Docker does not answer, and servers are its containers. lab/setup.sh starts it.")
        except RehearsalError as error:
            rehearsal.tidy()
            print(f"rehearsal: {error} No server was made.", file=sys.stderr)
            return 2
    with alone():
        rehearsal.destroy()  # what a killed one left, or one that was to be kept
        rehearsal.tidy(others=True)
        if chosen.down:
            print("No server of a rehearsal is left.")
            return 0
        reason = ""
        try:
            rehearsal.run()
        except RehearsalError as error:
            reason = str(error)
        finally:
            ended = time.time()
            rehearsal.listen()
            left = [] if chosen.keep else rehearsal.destroy()
            if not chosen.keep:
                rehearsal.tidy()
        page, text = report.write(rehearsal.place, rehearsal.result(reason, ended))
        print(f"\n{text}\nReport: {page}")
        if chosen.keep:
            print(
                f"The servers are still there: ansible-playbook playbooks/status.yml {shlex.join(rehearsal.arguments())}\n"
                f"Remove them: make rehearse-down INVENTORY={chosen.inventory}"
            )
        if left:
            print(f"rehearsal: these could not be removed: {', '.join(left)}. docker rm --force removes them.", file=sys.stderr)
        if reason:
            print(f"rehearsal: {reason}{'' if left or chosen.keep else ' No server is left.'}", file=sys.stderr)
        return 1 if reason or left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
