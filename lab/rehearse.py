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

from rehearsal import report, standins  # noqa: E402
from rehearsal.inventory import RehearsalError  # noqa: E402
from rehearsal.plan import Plan, docker  # noqa: E402
from rehearsal.run import Run, checks  # noqa: E402

RATE = 20  # requests per second: each of the users far below every limit
LOCK = Path(tempfile.gettempdir()) / "kasaneha-rehearsal.lock"
BEFORE_AND_AFTER = 3  # seconds of load around the release and the rollback
LINES = 30  # of the log of a step that failed


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
    hook = "run this once the servers are verified{}; it fails the rehearsal if it fails"
    add("--after-verify", default="", metavar="COMMAND", help=hook.format(""))
    add("--after-reboot", default="", metavar="COMMAND", help=hook.format(" after the reboot"))
    add("--keep", action="store_true", help="leave the servers there")
    add("--down", action="store_true", help="remove what an earlier rehearsal left there, and do nothing else")
    return parser.parse_args(arguments)


class Rehearsal:
    """One rehearsal of one inventory."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.load: dict[str, Any] = {}
        self.requests: list[dict[str, Any]] = []
        self.events: list[tuple[str, float, float]] = []
        self.told: list[dict[str, Any]] = []
        self.ready = time.time()  # since when the images are there

    def run(self) -> None:
        """All steps.

        Raises:
            RehearsalError: with the step that failed and why.
        """
        plan, logs = self.plan, self.plan.place / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        self.steps = run = Run(logs, plan.arguments())
        edge = self.plan.addresses[self.plan.groups["edge"][0]] if self.plan.groups["edge"] else ""
        step, play, left_out = run.step, run.play, run.leave_out
        if "lab_images" in os.environ.get("ANSIBLE_SKIP_TAGS", ""):
            left_out("images", "They are there, the environment says (ANSIBLE_SKIP_TAGS).")
        else:
            step("images", lambda: done(play("lab/images.yml", "-e", plan.lab())))
        self.ready = time.time()
        step("servers", lambda: done(play("lab/create.yml", "-e", plan.lab(), "--skip-tags", "lab_images")))
        step("stand-ins", lambda: done(play("lab/rehearsal/prepare.yml", rehearsal_edge=edge, rehearsal_names=plan.names())))
        step("site.yml", lambda: changes(play("site.yml")))
        step("site.yml again", lambda: unchanged(play("site.yml")))
        if self.plan.chosen.data:
            step("real data", self.restore_data)
        step("verify.yml", lambda: verified(play("playbooks/verify.yml")))
        self.hook("checks of yours", self.plan.chosen.after_verify)
        if self.plan.groups["app"] and self.plan.groups["edge"]:
            step("release and rollback under load", self.release_under_load)
        else:
            left_out("release and rollback under load", "There is no host in the group app, or none in the group edge.")
        if self.plan.groups["backup"]:
            identity = {"identity": str(self.plan.work / "age.txt")} if self.plan.put.variables["backup_recipients"] else {}
            step("backup", lambda: shown(play("playbooks/backup.yml", reason="rehearsal")))
            step("restore", lambda: shown(play("playbooks/restore.yml", **identity)))
            step("drill", lambda: shown(play("playbooks/verify_backup.yml", **identity)))
        else:
            left_out("backup, restore, drill", "No host is in the group backup.")
        step("reboot", self.reboot)
        step("verify.yml after the reboot", lambda: verified(play("playbooks/verify.yml")))
        self.hook("checks of yours after the reboot", self.plan.chosen.after_reboot)

    def reboot(self) -> str:
        """Reboot all servers; where they are watched, until Prometheus has an answer of everything. What takes longer than a minute, as on
        a busy machine, is rightly told of by an alert until then."""
        result = self.steps.play("molecule/reboot.yml")
        if self.plan.groups["monitoring"]:
            result = self.steps.play("site.yml", "--tags", "monitoring_verify")
        return done(result)

    def restore_data(self) -> str:
        """Put the data of --data in the place of the empty ones, as on a new machine."""
        data = self.plan.chosen.data.resolve()
        remote = f"{standins.REMOTES}/data/sets/{self.plan.said['app_name']}/{data.name}"
        self.steps.play(
            "lab/rehearsal/data.yml",
            rehearsal_set=str(data),
            rehearsal_remote=remote,
            rehearsal_backup_hosts=",".join(self.plan.groups["backup"]),
        )
        identity = {"identity": str(self.plan.chosen.identity.resolve())} if self.plan.chosen.identity else {}
        return shown(self.steps.play("playbooks/restore.yml", backup=data.name, fetch=True, foreign=True, **identity))

    def hook(self, name: str, command: str) -> None:
        """A command of whoever rehearses, which may look at the servers; none, no step."""
        first = sorted(self.plan.hosts)[0]
        told = {
            "REHEARSAL_INVENTORY": str(ROOT / f"lab/state/rehearsal-{first}.yml"),
            "REHEARSAL_SERVER": f"kasaneha-lab-rehearsal-{first}",
            "REHEARSAL_ARGUMENTS": shlex.join(self.plan.arguments()),
            "LAB_SECRETS": str(self.plan.secrets),
            "SITE": str(self.plan.sites[0]["names"][0]) if self.plan.sites else "",
        }
        if command:
            self.steps.step(name, lambda: self.steps.shell(name, command, told))

    def release_under_load(self) -> str:
        """Deploy and roll back while users ask; none of them may lose a request."""
        from load import SHORT, Load

        site = str(self.plan.sites[0]["names"][0])
        paths = [
            str(probe["path"])
            for probe in self.plan.probes
            if probe.get("name") == site and int(probe.get("status") or 200) in (200, 201)
        ]
        how: dict[str, Any] = (
            SHORT if self.plan.put.known else {"slow": 0, "streams": 0, "paths": ",".join(f"{path}=1" for path in paths or ["/"])}
        )
        edge = self.plan.addresses[self.plan.groups["edge"][0]]
        with Load(edge, rate=RATE, url=f"https://{site}", **how) as load:
            began = time.time()
            time.sleep(BEFORE_AND_AFTER)
            if self.plan.next and self.plan.next != self.plan.release:
                self.event(f"deploy {self.plan.next}", "playbooks/deploy.yml", app_release=self.plan.next)
                time.sleep(BEFORE_AND_AFTER)
                self.event(f"rollback to {self.plan.release}", "playbooks/rollback.yml")
            else:
                self.event("the same release once more", "playbooks/deploy.yml", app_release=self.plan.release, force=True)
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
        for volume in docker("volume", "ls", "--quiet", "--filter", "name=kasaneha-lab-rehearsal-").stdout.split():
            docker("volume", "rm", "--force", volume)
        return self.containers()

    def containers(self) -> list[str]:
        """Containers of a rehearsal that are there."""
        return docker("ps", "--all", "--filter", "name=^/kasaneha-lab-rehearsal-", "--format", "{{.Names}}").stdout.split()

    def result(self, reason: str, ended: float) -> dict[str, Any]:
        """Everything that the report shows."""
        steps = self.steps.as_json()
        return {
            "inventory": str(self.plan.chosen.inventory),
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
            "seconds_after_images": round(ended - self.ready, 1),
            "hosts": {
                host: [group for group, members in self.plan.groups.items() if host in members] for host in self.plan.hosts
            },
            "releases": [self.plan.release, self.plan.next],
            "steps": steps,
            "load": self.load,
            "requests": report.by_second(self.requests),
            "events": [
                (name, round(began - self.requests[0]["start"], 1), round(end - self.requests[0]["start"], 1))
                for name, began, end in self.events
            ]
            if self.requests
            else [],
            "real": ["packages, from their mirrors", *self.plan.put.real],
            "instead": self.plan.put.instead + [(f"vault: {one}", "left out") for one in self.plan.left],
            "told": report.count_told(self.told),
        }


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


def tail(log: Path) -> str:
    """The last lines of a log: what failed stands there."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LINES:])


def end(number: int, _frame: object) -> None:
    """A signal ends the rehearsal as a failure does: nothing is left."""
    raise RehearsalError(f"it was ended by {signal.Signals(number).name}.")


def main(arguments: list[str]) -> int:
    """Rehearse; 0 if all went well."""
    chosen = options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
    plan = Plan(chosen)
    rehearsal = Rehearsal(plan)
    if not chosen.down:
        try:
            plan.judge()
            if docker("info").returncode:
                raise RehearsalError("Docker does not answer, and servers are its containers. lab/setup.sh starts it.")
        except RehearsalError as error:
            plan.tidy()
            print(f"rehearsal: {error} No server was made.", file=sys.stderr)
            return 2
    with alone():
        rehearsal.destroy()  # what a killed one left, or one that was to be kept
        plan.tidy(others=True)
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
                plan.tidy()
        page, text = report.write(plan.place, rehearsal.result(reason, ended))
        print(f"\n{text}\nReport: {page}")
        if rehearsal.steps.failed_log:
            print(f"\nThe end of {rehearsal.steps.failed_log}:\n{tail(rehearsal.steps.failed_log)}")
        if chosen.keep:
            print(
                f"The servers are still there: ansible-playbook playbooks/status.yml {shlex.join(plan.arguments())}\n"
                f"Remove them: make rehearse-down INVENTORY={chosen.inventory}"
            )
        sys.stdout.flush()  # before what stands on stderr, wherever both go
        if left:
            print(f"rehearsal: these could not be removed: {', '.join(left)}. docker rm --force removes them.", file=sys.stderr)
        if reason:
            print(f"rehearsal: {reason}{'' if left or chosen.keep else ' No server is left.'}", file=sys.stderr)
        return 1 if reason or left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
