# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The collector: reads what containers and the edge write, takes secrets out, and puts it into the journal with its fields.

Nothing waits for it: containers write into files of Docker's, nginx into its own. How far a source was read stands in the
journal itself, with the newest entry of that source: a collector that was killed goes on there, with no line lost or twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.io.docker import SOCKET
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import docker, journal
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.files import FileSource
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.lines import (
    LEVELS,
    Budget,
    Count,
    cut,
    decoded,
    goes_on,
    level,
    metrics,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.redact import Redactor, values_of

GROUP_SECONDS = 0.3  # how long an entry waits for lines that belong to it
METRICS_SECONDS = 15
MOST_BYTES = 65536  # of a file with a secret; a larger one is none
ELSEWHERE = ("journald", "fluentd", "none")  # drivers whose lines are in the journal already, go another way, or nowhere
Config = Mapping[str, Any]


def secrets(directories: list[str]) -> list[str]:
    """The values of all secrets of this server; a file that cannot be read is somebody else's."""
    found = set()
    for directory in directories:
        for path in sorted(Path(directory).rglob("*")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if path.is_file() and path.stat().st_size <= MOST_BYTES:
                    found |= values_of(path.read_bytes().decode())
    return sorted(found)


class Collector:
    """All sources of a host."""

    def __init__(self, config: Config, writer: journal.Writer | None = None) -> None:
        self.config = config
        self.app = str(config["app"])
        self.writer = writer or journal.Writer()
        self.docker = docker.Docker(config.get("docker_socket") or SOCKET)
        self.counts: dict[str, Count] = {}
        self.lock = threading.Lock()
        self.sinks: list[Sink] = []
        self.following: set[str] = set()
        self.positions: dict[str, str] = {}  # how far each stream of a container was read
        self.read_secrets()

    def read_secrets(self) -> None:
        """What to hide; read again when a container starts, because secrets change."""
        self.redactor = Redactor(secrets(self.config["secret_dirs"]), self.config["redact"], self.config["anonymous"])

    def run(self) -> None:
        """Until it is told to stop."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: os._exit(0))  # what was not sent yet is read again
        journal.sync()  # what a collector before this one had sent is there, and says how far it came
        for entry in self.config["files"]:
            self.start(FileSource(self, entry).run)
        if self.config["containers"]:
            self.start(self.watch)
        self.start(self.flush)
        while True:
            self.write_metrics()
            time.sleep(METRICS_SECONDS)

    @staticmethod
    def start(work: Any, *arguments: Any) -> None:
        """Do something beside everything else; a defect ends all of it, and systemd starts it again."""

        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                sys.stderr.write(f"<3>collector: {type(error).__name__}: {error}\n")
                os._exit(1)

        threading.Thread(target=guarded, daemon=True).start()

    def budget(self) -> Budget:
        """What a source may write in a while."""
        return Budget(self.config["burst_lines"], self.config["burst_bytes"], self.config["burst_seconds"])

    def sink(self, fields: Mapping[str, str], budget: Budget) -> Sink:
        """Where the lines of one stream go."""
        sink = Sink(self, fields, budget)
        with self.lock:
            self.sinks.append(sink)
        return sink

    def count(self, service: str) -> Count:
        """What is counted for a service."""
        with self.lock:
            return self.counts.setdefault(service, Count())

    def flush(self) -> None:
        """Entries that waited long enough for more lines."""
        while True:
            time.sleep(GROUP_SECONDS / 2)
            with self.lock:
                self.sinks = [sink for sink in self.sinks if not sink.closed or sink.group]
                sinks = list(self.sinks)
            for sink in sinks:
                sink.flush_old()

    # --- containers ---------------------------------------------------------------------------------------
    def watch(self) -> None:
        """Follow every container, now and as they start; Docker may come and go."""
        while True:
            try:
                events = self.docker.starts(self.app)
                opened = threading.Thread(target=self._later, daemon=True)
                opened.start()  # once the stream of events is open, so that nothing falls between
                for name in events:
                    self.read_secrets()
                    self.follow(name)
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(2)

    def _later(self) -> None:
        for pause in (0.0, 1.0, 5.0):
            time.sleep(pause)
            with contextlib.suppress(OSError, ValueError):
                for entry in self.docker.containers(self.app):
                    self.follow(entry["Id"])

    def follow(self, name: str) -> None:
        """Follow a container, unless that is being done."""
        with self.lock:
            if name in self.following:
                return
            self.following.add(name)
        self.start(self._follow, name)

    def _follow(self, name: str) -> None:
        again = True
        try:
            inspected = self.docker.inspect(name)
            if inspected["HostConfig"]["LogConfig"]["Type"] in ELSEWHERE:
                again = False
                return
            fields = docker.described(inspected)
            budget = self.budget()
            sinks = {stream: self.sink({**fields, "LOG_STREAM": stream}, budget) for stream in docker.STREAMS.values()}
            for stream, sink in sinks.items():
                # In one stream times only rise; the two of a container may overtake each other.
                known = self.positions.pop(name + stream, None)
                asked = [f"CONTAINER_ID_FULL={name}", f"LOG_STREAM={stream}"]
                sink.taken = journal.last_position(self.app, asked) if known is None else known
            try:
                self._read(name, sinks)
            finally:
                for stream, sink in sinks.items():
                    sink.flush()
                    sink.closed = True
                    self.positions[name + stream] = sink.taken
        except (OSError, ValueError, KeyError):
            time.sleep(1)  # it is gone, or Docker is: watch() comes back to it
        finally:
            with self.lock:
                self.following.discard(name)
        with contextlib.suppress(OSError, ValueError, KeyError):
            if again and self.docker.inspect(name)["State"]["Running"]:  # it was started again meanwhile, or the stream broke
                time.sleep(1)
                self.follow(name)

    def _read(self, name: str, sinks: Mapping[str, Sink]) -> None:
        follow, tail = True, "all"
        budget = next(iter(sinks.values())).budget
        while True:
            first = docker.beginning([sink.taken for sink in sinks.values()])
            lines = self.docker.logs(name, first if tail == "all" else "", follow, tail)
            flooded = False
            try:
                for stream, stamp, line in lines:
                    sink = sinks[stream]
                    if (
                        stamp > sink.taken
                        and not sink.put(line, stamp, docker.seconds(stamp), stamp)
                        and budget.ends() > time.time()
                    ):
                        flooded = True  # right now: nobody reads that; look again when it has its next budget
                        break
            finally:
                lines.close()
            if flooded:
                time.sleep(max(0.0, budget.ends() - time.time()))
                for sink in sinks.values():
                    sink.taken = docker.stamp_of(time.time())
                tail = "0"
            elif follow:
                follow, tail = False, "all"  # it ended: what came last may not have been followed
            else:
                return

    # --- metrics ---------------------------------------------------------------------------------------------
    def write_metrics(self) -> None:
        """Replace the textfile."""
        path = Path(self.config["metrics"] or os.devnull)
        if path == Path(os.devnull):
            return
        with self.lock:
            counts = dict(self.counts)
        text = metrics(self.app, counts, {**self._others(), "collector_timestamp_seconds": time.time()})
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text)
            temporary.chmod(0o644)
            os.replace(temporary, path)
        except OSError as error:
            sys.stderr.write(f"<4>metrics: {path} cannot be written: {error.strerror}\n")

    def _others(self) -> dict[str, float]:
        size = sum(file.stat().st_size for file in Path("/var/log/journal").rglob("*.journal") if file.exists())
        values = {"journal_bytes": float(size), "journal_max_bytes": float(self.config["max_bytes"])}
        if self.config["upload"]:
            done = subprocess.run(["systemctl", "is-active", "--quiet", "systemd-journal-upload"], check=False)
            values["upload_active"] = float(done.returncode == 0)
            with contextlib.suppress(OSError):
                values["upload_timestamp_seconds"] = Path("/var/lib/systemd/journal-upload/state").stat().st_mtime
        return values


class Sink:
    """Lines of one stream of a source on their way into the journal."""

    def __init__(self, collector: Collector, fields: Mapping[str, str], budget: Budget) -> None:
        self.collector = collector
        self.fields = fields
        self.budget = budget
        self.counter = collector.count(fields.get(f"{journal.PREFIX}SERVICE", fields["SYSLOG_IDENTIFIER"]))
        self.lock = threading.Lock()
        self.group: list[str] = []
        self.stamp = self.taken = ""  # when the entry began; position of the last line that was taken
        self.since = 0.0
        self.flooding = False
        self.closed = False

    def put(self, raw: bytes, stamp: str, at: float, position: str) -> bool:
        """Take a line; False: there is no room for it.

        :param at: ``stamp`` in seconds.
        :param position: what says, in the journal, that everything up to this line is there.
        """
        if not self.budget.take(at, len(raw)):
            self._too_many(stamp, position)
            return False
        self.flooding = False
        line = decoded(cut(raw))
        with self.lock:
            if self.group and not goes_on(self.group, line):
                self._flush()
            if not self.group:
                self.stamp = stamp
            self.group.append(line)
            self.taken = position
            self.since = time.monotonic()
            self.counter.last = max(self.counter.last, at)
        return True

    def _too_many(self, stamp: str, position: str) -> None:
        self.counter.dropped += 1
        if self.flooding:
            return
        self.flooding = True
        self.counter.floods += 1
        with self.lock:
            self._flush()
            self.taken = position
            limit = f"{self.budget.lines} lines or {self.budget.size} bytes within {self.budget.seconds} s"
            self._send(f"collector: more than {limit}; the rest of them is not kept", stamp, 4)

    def flush(self) -> None:
        """Send what waits."""
        with self.lock:
            self._flush()

    def flush_old(self) -> None:
        """Send what waited long enough for lines that belong to it."""
        with self.lock:
            if self.group and time.monotonic() - self.since > GROUP_SECONDS:
                self._flush()

    def _flush(self) -> None:
        if self.group:
            self._send("\n".join(self.group), self.stamp)
            self.group = []

    def _send(self, text: str, stamp: str, number: int | None = None) -> None:
        shown = self.collector.redactor.redact(text)
        number = level(shown, self.fields["LOG_STREAM"]) if number is None else number
        entry = {"MESSAGE": shown, "PRIORITY": str(number), "LOG_TIME": stamp, journal.POSITION: self.taken}
        self.collector.writer.send({**self.fields, **entry})
        with self.collector.lock:
            self.counter.lines += text.count("\n") + 1
            self.counter.bytes += len(text)
            self.counter.redacted += shown != text
            self.counter.levels[LEVELS[number]] = self.counter.levels.get(LEVELS[number], 0) + 1
