# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the suite's steps (steps.py), as many side by side as there are cores for, and says what each took. Use tests/run.sh."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import difflib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import steps
from steps import ALL, CLEANUP, PROOF, SUITE, Step

ROOT = Path(__file__).parent.parent
LOGS = ROOT / ".cache/logs"
LOCK = Path(tempfile.gettempdir()) / "kasaneha-lab.lock"
ANSI = re.compile(r"(\x1b|\\e)\[[0-9;]*m")
WORDS = re.compile(r"^(fatal:|failed:|FAILED |E  |\[ERROR\]|rehearsal: )|: error:")


@dataclass
class Running:
    """A step under way: its process, the leader of a group of its own, and how the machine was when it began."""

    step: Step
    process: subprocess.Popen[bytes]
    began: float
    load: float
    ticks: tuple[int, int]


def ticks() -> tuple[int, int]:
    """What all cores have done since the machine started: idle (waiting for the disk among it) and all, in ticks of the clock."""
    numbers = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return numbers[3] + numbers[4], sum(numbers)


def started(pid: int) -> str:
    """When a process started, in the kernel's count, by which a number that was given again is told; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def next_step(waiting: list[Step], running: Iterable[Step], done: set[str], cores: float) -> Step | None:
    """The first step in the queue that may start beside those that run; None if it must wait for one of them.

    Args:
        waiting: the steps still to be started, what comes first wanted first.
        running: the steps under way.
        done: the names of the steps that ended well, or that nobody asked for.
        cores: how many cores the machine has.
    """
    running = list(running)
    free = cores - sum(step.cores for step in running)
    for step in waiting:
        if not done.issuperset(step.needs) or any(other.alone for other in running):
            continue
        if step.alone:
            if not running and all(other.alone for other in waiting):
                return step  # what measures time comes last, by itself
            continue
        if step.cores <= free or not running:
            return step
    return None


def with_needs(names: Iterable[str]) -> list[Step]:
    """These steps and what they need, each once, in the order of their definition."""
    wanted: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue += ALL[name].needs
    return [step for step in ALL.values() if step.name in wanted]


def table(rows: list[dict]) -> str:
    """What each step took: seconds, when it started, how idle the cores were meanwhile, the load when it started."""
    lines = [f"{'step':16} {'result':7} {'seconds':>7} {'start':>6} {'idle':>5} {'load':>5}"]
    lines += [
        f"{row['step']:16} {row['result']:7} {row['seconds']:7.0f} {row['start']:6.0f} {row['idle_percent']:4.0f}% {row['load']:5.1f}"
        for row in rows
    ]
    return "\n".join(lines)


def failure(log: Path) -> str:
    """The lines of a log that say what failed: molecule frames what Ansible prints, and Ansible quotes what pytest does."""
    lines = [re.sub(r"^- [\"']?", "", ANSI.sub("", line).lstrip(" │")) for line in log.read_text(errors="replace").splitlines()]
    chosen = {n + after for n, line in enumerate(lines) if WORDS.search(line) for after in range(5)}
    return "\n".join(line[:400] for n, line in enumerate(lines) if n in chosen and line.strip())[-12000:]


class Lab:
    """The lab of this machine, which one run at a time may use. What a killed run left running is ended before the next one begins."""

    def __init__(self) -> None:
        self.file = os.fdopen(os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600), "r+")

    def state(self) -> dict:
        self.file.seek(0)
        with contextlib.suppress(ValueError):
            return json.loads(self.file.read() or "{}")
        return {}

    def write(self, state: dict) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.file.write(json.dumps(state))
        self.file.flush()

    def take(self) -> None:
        """Wait for a run that is at work, and say so."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = self.state()
            print(f"Another run (process {other.get('pid')}, {other.get('checkout')}, since {other.get('since')}) uses the lab; "
                  "this one waits for its end.", flush=True)  # fmt: skip
            fcntl.flock(self.file, fcntl.LOCK_EX)
        for group, start in self.state().get("groups", {}).items():
            if started(int(group)) == start:
                print(f"Ending what a killed run left: process group {group}", flush=True)
                end(int(group))
        self.note([])

    def note(self, running: Iterable[Running]) -> None:
        """Write down who runs and the process groups of the steps, for whoever comes next."""
        groups = {str(one.process.pid): started(one.process.pid) for one in running}
        now = datetime.datetime.now().isoformat(timespec="seconds")
        self.write(
            {
                "pid": os.getpid(),
                "checkout": str(ROOT),
                "since": self.state().get("since", now) if groups else now,
                "groups": groups,
            }
        )


def end(group: int) -> None:
    """End a process group: asked first, then killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        for _ in range(50):
            time.sleep(0.1)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def ended_together(running: dict[int, Running]) -> Iterator[None]:
    """Whoever ends this run ends its steps with it."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    try:
        yield
    finally:
        for group in list(running):
            end(group)


def run(wanted: list[Step], cores: float) -> list[dict]:
    """Run the steps; a row for each: name, result (`ok`, `FAILED`, `left out`), seconds, start, share of the cores that was idle, load."""
    LOGS.mkdir(parents=True, exist_ok=True)
    lab = Lab() if any(step.lab for step in wanted) else None
    if lab:
        lab.take()
    waiting, rows, running, failed = list(wanted), [], {}, set()
    done = set(ALL) - {step.name for step in wanted}
    origin = time.monotonic()
    with ended_together(running):
        while waiting or running:
            for step in [step for step in waiting if failed.intersection(step.needs)]:
                waiting.remove(step)
                failed.add(step.name)
                rows.append(row(step.name, "left out", 0, time.monotonic() - origin, 0, 0))
            while step := next_step(waiting, [one.step for one in running.values()], done, cores):
                waiting.remove(step)
                with open(LOGS / f"{step.name}.log", "wb") as log:
                    process = subprocess.Popen(
                        ["bash", "-euo", "pipefail", "-c", step.command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log,
                        stderr=subprocess.STDOUT, start_new_session=True,
                        env={**os.environ, "MOLECULE_GLOB": "molecule/*/molecule.yml"},
                    )  # fmt: skip
                running[process.pid] = Running(step, process, time.monotonic(), os.getloadavg()[0], ticks())
                if lab:
                    lab.note(running.values())
            time.sleep(0.5)
            for group, one in list(running.items()):
                if one.process.poll() is None:
                    continue
                del running[group]
                if lab:
                    lab.note(running.values())
                idle, all_ = (after - before for after, before in zip(ticks(), one.ticks, strict=True))
                ok = one.process.returncode == 0
                (done if ok else failed).add(one.step.name)
                rows.append(
                    row(
                        one.step.name,
                        "ok" if ok else "FAILED",
                        time.monotonic() - one.began,
                        one.began - origin,
                        100 * idle / max(all_, 1),
                        one.load,
                    )
                )
                print(f"{one.step.name:16} {rows[-1]['result']:7} {rows[-1]['seconds']:5.0f} s", flush=True)
                if not ok:
                    log = LOGS / f"{one.step.name}.log"
                    print(
                        f"log: {log.relative_to(ROOT)}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-60:]),
                        flush=True,
                    )
    return rows


def row(name: str, result: str, seconds: float, start: float, idle: float, load: float) -> dict:
    """A row of the table."""
    return {
        "step": name,
        "result": result,
        "seconds": round(seconds, 1),
        "start": round(start, 1),
        "idle_percent": round(idle, 1),
        "load": round(load, 2),
    }


def commit() -> str:
    """What is tested: the commit, and whether files differ from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"


def changed(base: str) -> list[str]:
    """The files that differ from a commit, untracked ones among them."""
    git = ["git", "-C", str(ROOT)]
    differing = subprocess.run([*git, "diff", "--name-only", base], capture_output=True, text=True, check=False)
    if differing.returncode:
        raise SystemExit(f"affected: git knows no {base!r}: {differing.stderr.strip()}")
    untracked = subprocess.run([*git, "ls-files", "--others", "--exclude-standard"], capture_output=True, text=True, check=True)
    return sorted({*differing.stdout.split("\n"), *untracked.stdout.split("\n")} - {""})


def chosen(arguments: list[str]) -> list[Step]:
    """The steps that the command line asks for; a step that is not known ends this with the nearest one that is."""
    parser = argparse.ArgumentParser(prog="tests/run.sh", description=__doc__)
    parser.add_argument("steps", nargs="*", help="steps; `affected [commit]`; `proof [step ...]`")
    parser.add_argument("--list", action="store_true", help="name the steps instead of running them")
    options = parser.parse_args(arguments)
    names = list(options.steps)
    if names[:1] == ["affected"]:
        if len(names) > 2:
            parser.error("affected takes one commit")
        paths = changed(names[1] if names[1:] else "HEAD")
        names = steps.affected(paths)
        print(f"{len(paths)} changed files touch: {' '.join(names) or 'nothing'}", flush=True)
        if not names:
            raise SystemExit(0)
    elif names[:1] == ["proof"]:
        names = names[1:] or [step.name for step in PROOF]
    elif not names:
        names = [step.name for step in (*SUITE, CLEANUP)]
    for name in names:
        if name not in ALL:
            near = difflib.get_close_matches(name, ALL, 1)
            parser.error(f"there is no step {name!r}{f', did you mean {near[0]!r}?' if near else ''} There are: {' '.join(ALL)}")
    wanted = with_needs(names)
    if options.list:
        print("\n".join(step.name for step in wanted))
        raise SystemExit(0)
    return wanted


def main() -> int:
    """Run what is asked for, print the table, keep it in .cache/suite.json; the last line counts."""
    wanted = chosen(sys.argv[1:])
    if not (ROOT / ".venv/bin/ansible-playbook").exists():
        raise SystemExit("There is no environment in .venv: run `make setup-dev` first, or `make test`.")
    if any(step.lab for step in wanted) and (
        not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        raise SystemExit(
            "Docker does not answer, or this user may not ask it: run `make setup-dev` as root, or join the group docker."
        )
    began = time.monotonic()
    rows = run([step for step in wanted if step is not CLEANUP], os.cpu_count() or 2)
    if CLEANUP in wanted:
        rows += run([CLEANUP], 1)
    seconds = round(time.monotonic() - began, 1)
    result = {
        "commit": commit(),
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "seconds": seconds,
        "steps": rows,
    }
    (ROOT / ".cache/suite.json").write_text(json.dumps(result, indent=2) + "\n")
    proven = {step.name for step in PROOF} & {entry["step"] for entry in rows}
    if proven:
        note_proof(result, proven)
    for entry in rows:  # whoever reads only the end of a long log learns what it was
        if entry["result"] == "FAILED":
            print(f"\n{entry['step']} failed at:\n{failure(LOGS / (entry['step'] + '.log'))}")
    print(f"\n{table(rows)}\nall of it: {seconds:.0f} s on {os.cpu_count()} cores, commit {result['commit']}")
    passed = sum(entry["result"] == "ok" for entry in rows)
    print(f"{passed} passed, {len(rows) - passed} failed")
    return passed != len(rows)


def note_proof(result: dict, proven: set[str]) -> None:
    """Keep each proof's outcome with its commit and date, the others' as they were: benchmarks/results/proof.json."""
    file = ROOT / "benchmarks/results/proof.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    known |= {
        entry["step"]: {
            "commit": result["commit"],
            "date": result["date"][:10],
            "result": entry["result"],
            "seconds": entry["seconds"],
        }
        for entry in result["steps"]
        if entry["step"] in proven
    }
    file.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
