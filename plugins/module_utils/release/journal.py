# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Lock, journal, record and log of an application's releases, as files in one directory of the host that keeps them.

``release.json`` the record, ``run.json`` the run that is under way (lock and journal in one), ``freeze.json`` the wish that
nothing be released, ``releases.log`` one line for each run that ended. On every host: ``fence.json``, see fence.py.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import fence
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import record as release_record
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.fence import HeldError


class Releases:
    """The state files of one application on this host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record_file, self.run_file = directory / "release.json", directory / "run.json"
        self.freeze_file, self.log_file = directory / "freeze.json", directory / "releases.log"
        self.fence = fence.Fence(directory)

    def begin(
        self,
        run: dict[str, Any],
        limit: float,
        instead_of: Mapping[str, Any] | None = None,
        since: str | None = None,
        fences: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Take the lock, and fence this host.

        :param run: what the run is to do and who does it.
        :param limit: seconds after which it counts as dead unless it says something.
        :param instead_of: the dead run that this one takes over from, as it was seen: ``id`` and ``until`` are compared, so that one
            that said something since is left alone.
        :param since: ``since`` of the record that the plan starts from; empty: there was none; None: whichever it is.
        :param fences: the runs that may change the other hosts; this one gets a higher number.
        :raises HeldError: another run holds the lock, or the record is no longer the one that was planned with.
        """
        with self.fence.locked(), self._alone():
            found, dead = self.run(), instead_of or {}
            if found and (found.get("id"), found.get("until")) != (dead.get("id"), dead.get("until")):
                owner = found.get("owner", {})
                raise HeldError(
                    f"{found.get('to_release')} is being released by {owner.get('user')} on {owner.get('host')} "
                    f"(process {owner.get('pid')}), since {found.get('since')}, phase {found.get('phase')}."
                )
            recorded = self._readable_record().get("since", "")
            if since is not None and recorded and recorded != since:
                raise HeldError(f"Another release was completed at {recorded}, after this one was planned. Run it again.")
            now = time.time()
            highest = max(map(fence.number, [self.fence.id(), str((found or {}).get("id", "")), *fences]))
            started = {
                **run,
                "id": f"{highest + 1}-{uuid.uuid4().hex}",
                "since": iso(now),
                "phase": "prepare",
                "phases": {"prepare": now},
                "until": now + limit,
            }
            # The fence first: a crash between the two stops the run before, which counted as dead; the other way round would not.
            self.fence.write(started["id"])
            statefile.write(self.run_file, started)
            return started

    def renew(self, run_id: str, limit: float) -> dict[str, Any]:
        """Say that the run lives.

        :raises HeldError: the run is no longer this one's.
        """
        with self._alone():
            run = {**self._mine(run_id), "until": time.time() + limit}
            statefile.write(self.run_file, run)
            return run

    def enter(self, run_id: str, phase: str, limit: float, record: dict[str, Any] | None = None) -> dict[str, Any]:
        """Note that a phase begins; with `record`, which is the commit, that is the record from now on.

        :raises HeldError: the run is no longer this one's.
        """
        with self._alone():
            run = self._mine(run_id)
            now = time.time()
            run.update(phase=phase, until=now + limit, phases={phase: now, **run["phases"]})
            if record is not None:
                # The record first: a crash between the two leaves a run that is "undone" into what the record says, which
                # is the new release. Reconciling with the record is right either way.
                statefile.write(self.record_file, record)
            statefile.write(self.run_file, run)
            return run

    def end(self, run_id: str, outcome: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Give the lock back and write the line for the log.

        :param details: what else belongs into the line.
        :returns: the line.
        :raises HeldError: the run is no longer this one's.
        """
        with self._alone():
            run = self._mine(run_id)
            times = [*sorted(run["phases"].items(), key=lambda phase: float(phase[1])), ("", time.time())]
            line = {
                "since": run["since"],
                "until": iso(times[-1][1]),
                "who": f"{run['owner'].get('user')}@{run['owner'].get('host')}",
                **{key: run.get(key, "") for key in ("action", "from_release", "to_release", "from_colour", "to_colour")},
                "outcome": outcome,
                "message": message,
                **(details or {}),
                "seconds": {name: round(after[1] - at, 1) for (name, at), after in zip(times, times[1:])},
            }
            # What failed before that, such as a registry that does not answer, says nothing about the release.
            its_own = run.get("phase") in ("migrate", "start", "switch") and run.get("action") in ("install", "release")
            if outcome == "failed" and its_own:
                record = self._readable_record()
                if record:
                    statefile.write(
                        self.record_file, release_record.marked_bad(record, str(run.get("to_release")), message, line["until"])
                    )
            self.log(line)
            statefile.remove(self.run_file)
            return line

    def record(self) -> dict[str, Any] | None:
        """The record; None when there is none. ValueError: it cannot be read, or names a release that is no string."""
        record = _without_schema(statefile.read(self.record_file))
        for entry in [record, *record.get("history", [])] if record else []:
            if not isinstance(entry.get("release", ""), str):
                raise ValueError(f"{self.record_file}: release {entry['release']!r} is no string.")
        return record

    def _readable_record(self) -> dict[str, Any]:
        try:
            return self.record() or {}
        except ValueError:
            return {}

    def run(self) -> dict[str, Any] | None:
        """The run under way. One that cannot be read is one that nobody owns: it can be taken over by the id it has not."""
        try:
            run = _without_schema(statefile.read(self.run_file))
        except ValueError:
            run = {}
        if run is None or run.get("id"):
            return run
        return {"id": "unreadable", "owner": {}, "phase": "prepare", "phases": {}, "until": 0}

    def freeze(self) -> dict[str, Any] | None:
        """Who asked that nothing be released. An unreadable wish is a wish."""
        try:
            return _without_schema(statefile.read(self.freeze_file))
        except ValueError as error:
            return {"by": "an unreadable file", "since": "?", "message": str(error)}

    def log(self, line: dict[str, Any]) -> None:
        """Add a line to the log of this host."""
        statefile.append(self.log_file, line)

    def last(self, count: int) -> list[dict[str, Any]]:
        """The last lines of the log, newest first; what cannot be read is passed over."""
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError):
            for text in self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]:
                with contextlib.suppress(ValueError):
                    line = json.loads(text)
                    if isinstance(line, dict):
                        lines.insert(0, line)
        return lines

    def _mine(self, run_id: str) -> dict[str, Any]:
        run = self.run()
        if not run or run.get("id") != run_id:
            raise HeldError(fence.gone())
        return run

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two who look at the lock at once look one after the other. The kernel forgets this one with its process."""
        with (self.directory / ".run.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def iso(seconds: float) -> str:
    """A moment as ISO 8601 in UTC, to the second."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _without_schema(value: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else {key: entry for key, entry in value.items() if key != "schema"}
