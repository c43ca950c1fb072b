# SPDX-License-Identifier: GPL-3.0-or-later
"""The run of a rehearsal: its steps one after the other, what each did, and why one failed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.inventory import RehearsalError

ROOT = Path(__file__).parent.parent.parent
PASSED = re.compile(r"^\s*(ok|FAIL|skip)\s+(.*)")


@dataclass
class Step:
    """A step that was run.

    Attributes:
        name: what it is called.
        began: seconds since the start of the rehearsal.
        seconds: how long it took.
        result: `ok`, `failed`, `left out`.
        note: what came of it, in a few words; why it failed.
        checks: what verify.yml found: (`ok`, `FAIL`, `skip`; what).
    """

    name: str
    began: float
    seconds: float = 0
    result: str = "ok"
    note: str = ""
    checks: list[tuple[str, str]] = field(default_factory=list)


def sentence(text: str) -> str:
    """What a message says, on one line: the first of several problems, and how many there are beside it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    problems = [line[2:] for line in lines if line.startswith("- ")]
    if problems and "problem(s) to solve first" in text or problems and lines[0].endswith("Nothing was changed:"):
        more = len(problems) - 1
        return problems[0] + (f" (and {more} more)" if more else "")
    joined = " ".join(lines)
    return joined if len(joined) <= 700 else joined[:697] + "..."


def failure(result: dict[str, Any], output: str) -> tuple[str, str]:
    """Host and reason of the failure that ended a playbook; the last one counts, since those that were rescued came before.

    Args:
        result: what callback/rehearsal.py wrote; empty if the playbook never ran.
        output: what it printed.
    """
    if result.get("failed"):
        last = result["failed"][-1]
        return last["host"], sentence(last["msg"]) or f"the task {last['task']!r} failed"
    errors = [line.partition("]: ")[2] for line in output.splitlines() if line.startswith("[ERROR]: ")]
    lines = errors or [line for line in output.splitlines() if line.strip()]
    return "", sentence(lines[-1] if lines else "it ended without a word")


def checks(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines of verify.yml."""
    lines = [str(line) for entry in result.get("shown", []) if isinstance(entry["msg"], list) for line in entry["msg"]]
    return [(match[1], match[2]) for match in map(PASSED.match, lines) if match]


class Run:
    """Runs steps and remembers them."""

    def __init__(self, logs: Path, arguments: Sequence[str]) -> None:
        """
        Args:
            logs: a directory for what steps print.
            arguments: of every ansible-playbook: inventories and extra variables.
        """
        self.logs, self.arguments = logs, list(arguments)
        self.steps: list[Step] = []
        self.log: Path | None = None  # of the step that runs
        self.failed_log: Path | None = None  # of the step that failed
        self.origin = time.time()

    def step(self, name: str, work: Callable[[], str | tuple[str, list[tuple[str, str]]]]) -> None:
        """Do something and note what came of it.

        Raises:
            RehearsalError: if it fails, with the name of the step.
        """
        one = Step(name, round(time.time() - self.origin, 1))
        self.steps.append(one)
        self.log = None
        print(f"{time.strftime('%H:%M:%S')}  {name} ...", flush=True)
        began = time.monotonic()
        try:
            said = work()
            one.note, one.checks = said if isinstance(said, tuple) else (said, [])
        except RehearsalError as error:
            one.result, one.note = "failed", str(error)
            raise RehearsalError(f"{name}: {error}") from error
        except BaseException as error:
            one.result, one.note = "failed", type(error).__name__
            raise
        finally:
            self.failed_log = self.log if one.result == "failed" else None
            one.seconds = round(time.monotonic() - began, 1)
            print(
                f"{time.strftime('%H:%M:%S')}  {name}: {one.result}, {one.seconds:.0f} s{'. ' + one.note if one.note else ''}",
                flush=True,
            )

    def leave_out(self, name: str, why: str) -> None:
        """Note a step that is not run."""
        self.steps.append(Step(name, round(time.time() - self.origin, 1), 0, "left out", why))
        print(f"{time.strftime('%H:%M:%S')}  {name}: left out. {why}", flush=True)

    def play(self, playbook: str, *options: str, **variables: Any) -> dict[str, Any]:
        """Run a playbook of the checkout.

        Returns:
            What callback/rehearsal.py wrote.

        Raises:
            RehearsalError: if it fails, with host and reason.
        """
        log = self.next_log(Path(playbook).stem)
        told = self.logs / f"{log.stem}.json"
        command = ["lab/mitogen.sh", "ansible-playbook", playbook, *self.arguments]
        command += [*(["-e", json.dumps(variables)] if variables else []), *options]
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "lab/rehearsal/callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "rehearsal",
            "REHEARSAL_RESULT": str(told),
        }
        for name in ("ANSIBLE_FORCE_COLOR", "ANSIBLE_INVENTORY", "ANSIBLE_VAULT_PASSWORD_FILE"):
            environment.pop(name, None)
        with open(log, "wb") as file:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False
            )
        result = json.loads(told.read_text()) if told.exists() else {}
        if done.returncode:
            host, reason = failure(result, log.read_text(errors="replace"))
            raise RehearsalError(f"{host}: {reason}" if host and not reason.startswith(f"{host}: ") else reason)
        return result

    def shell(self, name: str, command: str, told: Mapping[str, str]) -> str:
        """Run a command of somebody's; its last line.

        Raises:
            RehearsalError: if it fails, with the command and its last line.
        """
        log = self.next_log(name.replace(" ", "-"))
        with open(log, "wb") as file:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=ROOT, env={**os.environ, **told}, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if done.returncode:
            raise RehearsalError(f"`{command}` failed: {lines[-1] if lines else 'without a word'}")
        return lines[-1] if lines else ""

    def next_log(self, name: str) -> Path:
        """The file for what comes next."""
        self.log = self.logs / f"{len(list(self.logs.glob('*.log'))) + 1:02}-{name}.log"
        return self.log

    def as_json(self) -> list[dict[str, Any]]:
        """The steps, for a file."""
        return [asdict(step) for step in self.steps]
