# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Take over a server from a legacy Compose setup: save, rehearse, switch, retire, and the way back. Runs on the server.

The old containers serve until `switch` stops them, and again if it fails or dies: a watcher of systemd's starts them as soon as this
process is gone, and Docker does after a reboot. Once the new site is being opened to users (the step `serving`) it is the one to stay.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.adopt import decide
from ansible_collections.kasaneha.deploy.plugins.module_utils.adopt.server import Run
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.engine import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BackupError
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import Sets, configuration
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http, statefile

WAIT = 600  # seconds, for a backup of somebody else's that is under way
TRANSFER = "on the way to the new database"  # the reason of the dumps that are removed again
# Waits for this process to end; unless the new site serves by then, or it never came to that, the old containers start again.
WATCHER = """tail --pid="$1" -f /dev/null
grep -q '"phase": "switching"' "$2" || exit 0
grep -q '"step": "serving"' "$2" && systemctl is-active --quiet nginx.service && exit 0
systemctl disable --now nginx.service
shift 2; exec docker start "$@"
"""


class AdoptError(Exception):
    """Why it cannot go on; the message is for the operator."""


class Takeover:
    """One application on one server.

    :param old: what `decide.recognise` found; ``params`` the options of the module ``adopt``.
    """

    def __init__(self, run: Run, params: Mapping[str, Any], old: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._run, self.params, self.old, self.facts = run, params, old["services"], facts
        self.app = str(params["app"])
        self.notes: list[str] = []
        self.path = Path("/var/lib", self.app, "adopt.json")
        self.journal: dict[str, Any] = statefile.read(self.path) or {}
        self.front = [entry["name"] for service, entry in self.old.items() if service not in decide.DATA]
        self.data = [entry["name"] for service, entry in self.old.items() if service in decide.DATA]

    # --- small things ------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        """How far it came."""
        return str(self.journal.get("phase", ""))

    def due(self, state: str) -> bool:
        """Whether that step is the next one."""
        return self.phase in {
            "saved": ("", "returned"),
            "rehearsed": ("saved",),
            "switched": ("rehearsed", "switching"),
            "retired": ("done",),
        }.get(state, decide.TAKEN)

    def watcher(self) -> str:
        """The unit that waits for the process in the journal to end."""
        return f"{self.app}-adopt-watch-{self.journal.get('pid')}.service"

    def note(self, **changes: Any) -> None:
        """Write down where we are."""
        self.journal.update(pid=os.getpid(), **changes)
        statefile.write(self.path, self.journal, 0o600)

    def must(self, *argv: str) -> str:
        """Run a command that has to succeed; its output."""
        code, out, err = self._run(list(argv))
        if code:
            raise AdoptError(f"{' '.join(argv[:3])} failed: {(err or out).strip()[-400:]}")
        return out

    def restart(self, policy: str, names: Sequence[str]) -> None:
        """What Docker does with containers at a boot."""
        if names:
            self.must("docker", "update", f"--restart={policy}", *names)

    def start(self, names: Sequence[str]) -> None:
        """Start containers, the databases first."""
        for name in reversed(names):
            self.must("docker", "start", name)

    # --- save, rehearse ------------------------------------------------------------------------------------

    def engine(self, **changes: Any) -> Engine:
        """The backup engine on the new database; with the old one's container and so on in ``changes``, on that."""
        return Engine(dataclasses.replace(configuration(f"/etc/{self.app}/backup.json"), **changes))

    def old_engine(self, **changes: Any) -> Engine:
        """The same on the old database. What a dead restore left belongs to the new one, which puts it right first."""
        self.engine().recover()
        postgres = self.old["postgres"]
        of_old = {"container": postgres["name"], "database": postgres["database"], "user": postgres["user"], "password_file": ""}
        return self.engine(**{**of_old, "metrics": "", "probes": [], "guard": "warn", "files": [], **changes})

    def save(self) -> bool:
        """A proven backup of the old database and files, which retention never removes."""
        if not self.due("saved"):
            return False
        files = [{"name": entry["name"], "path": entry["source"]} for entry in self.facts["files"] if entry["source"]]
        made = self.old_engine(files=files).run("before the takeover", keep=True, wait=WAIT, prune=False)
        policies = {entry["name"]: entry["restart"] for entry in self.old.values()}
        self.note(phase="saved", set=made["set"]["id"], rows=made["set"]["rows"], restart=policies, problem="")
        return True

    def copy(self) -> None:
        """Let what is in the old database and directories be in ours. Runs while the old site serves, and again when it does not."""
        self.note(step="dump")
        old = self.old_engine(recipients=[], remotes=[])
        forget(old.sets)  # a killed run left one
        name = old.run(TRANSFER, wait=WAIT, prune=False)["set"]["id"]
        try:
            self.note(step="restore")
            done = self.engine(recipients=[], remotes=[]).restore.run(
                name, foreign=True, safety=False, wait=WAIT, allow_empty=True
            )
            self.note(step="migrate", rows=done["set"]["rows"])
        finally:
            forget(old.sets)
        self.migrate()
        self.note(step="files")
        for entry in self.facts["files"]:
            if entry["source"]:
                self.files(entry)

    def migrate(self) -> None:
        """What is copied has the old release's tables."""
        wanted = self.params["migrations"]
        if wanted:
            colour = (statefile.read(Path("/var/lib", self.app, "release.json")) or {})["colour"]
            compose = ["docker", "compose", "--file", f"/opt/{self.app}/{colour}/compose.yml"]
            self.must(*compose, "run", "--rm", "--no-deps", "-T", f"{wanted['service']}-{colour}", *wanted["command"])

    def files(self, entry: Mapping[str, str]) -> None:
        """What changed in a directory since the last time."""
        target = Path(entry["target"])
        before = target.stat()
        self.must("rsync", "--archive", "--numeric-ids", "--delete", "--exclude=/.restore-*", f"--chown={entry['owner']}",
                  f"{entry['source']}/", f"{target}/")  # fmt: skip
        os.chown(target, before.st_uid, before.st_gid)
        target.chmod(before.st_mode & 0o7777)

    def cache(self) -> None:
        """The old Redis' data, by replication. It is a cache: what does not work is said, and is no reason to go back."""
        ours, old = f"{self.app}-redis", self.old.get("redis", {})
        if not old.get("running") or self._run(["docker", "inspect", ours])[0]:
            return
        try:
            self._run(["docker", "network", "connect", f"{self.app}-data", old["name"]])
            self.must("docker", "exec", old["name"], "redis-cli", "CONFIG", "SET", "repl-diskless-sync-delay", "0")
            self.must("docker", "exec", ours, "redis-cli", "REPLICAOF", old["name"], "6379")
            for _attempt in range(100):
                said = self.must("docker", "exec", ours, "redis-cli", "INFO", "replication")
                if "master_link_status:up" in said and "master_sync_in_progress:0" in said:
                    return
                time.sleep(0.1)
            raise AdoptError("it was not copied within 10 s")
        except AdoptError as error:
            self.notes.append(f"The cache of {old['name']} was not taken over: {error}")
        finally:
            self._run(["docker", "exec", ours, "redis-cli", "REPLICAOF", "NO", "ONE"])
            self._run(["docker", "network", "disconnect", "--force", f"{self.app}-data", old["name"]])

    def rehearse(self) -> bool:
        """The whole copy while the old site serves: what can fail fails now, and files need not be copied twice."""
        if not self.due("rehearsed"):
            return False
        self.copy()
        self.engine().restore.discard_previous(WAIT)  # what was there before was nobody's data
        self.note(phase="rehearsed", step="")
        return True

    # --- switch ----------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Put right what a dead run left between the old site and the new one."""
        if self.phase != "switching":
            return
        for _attempt in range(60):  # the watcher of the dead run may be at work
            if self._run(["systemctl", "is-active", "--quiet", self.watcher()])[0]:
                break
            time.sleep(0.5)
        if self.journal.get("step") == "serving" and not self.silent():
            self.note(phase="done", step="", closed_seconds=None)
            self.notes.append("The run before this one died while it opened the new site; it serves, and is kept.")
        else:
            self.undo("The run before this one died")
            self.notes.append("The run before this one died in the middle; the old site serves again, and it is tried once more.")

    def switch(self) -> bool:
        """Stop the old site, copy what changed, open ours; whatever fails, the old one serves again."""
        self.recover()
        if not self.due("switched"):
            return False
        self.note(phase="switching", step="stop")
        self.must("systemd-run", "--quiet", "--collect", f"--unit={self.watcher()}", "--", "/bin/sh", "-c", WATCHER, "sh",
                  str(os.getpid()), str(self.path), *reversed(self.front))  # fmt: skip
        began = time.monotonic()
        try:
            self.restart("always", self.front)  # a stopped container of this kind starts at a boot
            self.must("docker", "stop", "--time", "5", *self.front)
            self.copy()
            self.cache()
            self.serve()
        except (AdoptError, BackupError) as error:
            self.undo(str(error))
            raise AdoptError(
                f"{str(error).rstrip('.')}. The old site serves again, after {time.monotonic() - began:.0f} s without one; "
                "its data was not touched. Fix that, and run adopt.yml again."
            ) from error
        except BaseException as error:
            self.undo(str(error))
            raise
        self.note(phase="done", step="", closed_seconds=round(time.monotonic() - began, 1))
        return True

    def serve(self) -> None:
        """Open the new site. From here on a reboot brings it up, and not the old one."""
        self.note(step="serving")
        self.must("systemctl", "enable", "--quiet", "nginx.service")
        self.restart("no", self.front)
        self.must("systemctl", "restart", "nginx.service")
        said = self.silent(30)
        if said:
            raise AdoptError(f"the new site does not answer ({said})")

    def silent(self, seconds: float = 5) -> str:
        """Why the site does not answer at this host; empty when it does."""
        deadline, said = time.monotonic() + seconds, ""
        while True:
            said = ""
            for probe in self.params["probes"]:
                status, body, _headers = http.ask_site(probe["name"], probe.get("path", "/"))
                if not 200 <= status < 300:
                    said = f"https://{probe['name']}{probe.get('path', '/')}: {f'status {status}' if status else body}"
            if not said or time.monotonic() > deadline:
                return said
            time.sleep(0.2)

    def undo(self, why: str) -> None:
        """The old site serves again; ours stays beside it, for the next try."""
        self._run(["systemctl", "disable", "--now", "--quiet", "nginx.service"])
        self.start(self.front)
        self.policies()
        self.note(phase="rehearsed", step="", problem=why)

    def policies(self) -> None:
        """The containers start at a boot as they did before."""
        for name, policy in self.journal.get("restart", {}).items():
            self.restart(policy, [name])

    # --- afterwards ------------------------------------------------------------------------------------------

    def retire(self) -> bool:
        """Stop what is left of the old site, for good, and take its lines out of the crontabs."""
        if self.phase not in decide.TAKEN:
            return False
        running = [entry["name"] for entry in self.old.values() if entry["running"]]
        restarting = [entry["name"] for entry in self.old.values() if entry["restart"] != "no"]
        self.restart("no", restarting)
        if running:
            self.must("docker", "stop", *running)
        for entry in self.facts["cron"]:
            self.journal.setdefault("cron", {}).setdefault(entry["path"], []).extend(entry["lines"])
            self.note()  # first: a line that is gone stands here
            _rewrite(Path(entry["path"]), entry["kept"])
        if self.phase == "done":
            self.engine().restore.discard_previous(WAIT)  # nobody shall return to the rehearsal
        changed = bool(running or restarting or self.facts["cron"]) or self.phase != "retired"
        if changed:
            self.note(phase="retired")
        return changed

    def back(self) -> bool:
        """The old containers serve again, with the data that they had; ours keeps what came since, and a backup of it."""
        if self.phase not in decide.TAKEN:
            raise AdoptError("There is no takeover to return from.")
        edge = [entry["name"] for entry in self.old.values() if entry["edge"]]
        if "postgres" not in self.old or not edge:
            raise AdoptError("The old containers are not there any more.")
        self.start(self.data)
        try:
            self.answering(self.old["postgres"]["name"])
            self.start([name for name in self.front if name not in edge])
            began = time.monotonic()
            # One command, so that whoever dies here leaves nobody without a site.
            self.must("sh", "-c", 'systemctl disable --now --quiet nginx.service; exec docker start "$@"', "sh", *edge)
        except AdoptError as error:
            self.stay(str(error))
        said = self.silent(60)
        self.policies()
        for path, lines in self.journal.pop("cron", {}).items():
            text = Path(path).read_text(errors="surrogateescape") if Path(path).is_file() else ""
            _rewrite(Path(path), text + "".join(f"{line}\n" for line in lines if line not in text.splitlines()))
        self.note(phase="returned", step="", closed_seconds=round(time.monotonic() - began, 1))
        if said:
            self.notes.append(f"The old site does not answer yet: {said}")
        return True

    def answering(self, name: str, seconds: float = 60) -> None:
        """Wait for the old database."""
        deadline = time.monotonic() + seconds
        while self._run(["docker", "exec", name, "pg_isready", "-q", "-h", "127.0.0.1"])[0]:
            status = self._run(["docker", "inspect", "--format", "{{.State.Status}}", name])[1].strip()
            if status == "exited" or time.monotonic() > deadline:
                _code, out, err = self._run(["docker", "logs", "--tail", "3", name])
                raise AdoptError(
                    f"{name}: its database does not answer ({status}; it says: {' '.join(f'{out} {err}'.split())[-400:]})"
                )
            time.sleep(0.5)  # nobody tells when a database is ready

    def stay(self, why: str) -> None:
        """The old site cannot serve: ours goes on, and what was started of the old one stops again."""
        self._run(["systemctl", "enable", "--now", "--quiet", "nginx.service"])
        self._run(["docker", "stop", *[entry["name"] for entry in self.old.values() if not entry["running"]]])
        raise AdoptError(
            f"{why.rstrip('.')}. The new site serves as before, and nothing else was changed. Fix that, and try again."
        )


def forget(sets: Sets) -> None:
    """Remove the dumps that were only on the way."""
    for found in sets.all():
        if found.manifest.get("reason") == TRANSFER:
            sets.remove(found)
    sets.point_latest()


def _rewrite(path: Path, text: str) -> None:
    """Other lines, the same owner and rights; cron notices by the time of the directory."""
    before = path.stat() if path.is_file() else None
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, errors="surrogateescape")
    beside.chmod(before.st_mode & 0o7777 if before else 0o600)
    if before:
        os.chown(beside, before.st_uid, before.st_gid)
    os.replace(beside, path)
