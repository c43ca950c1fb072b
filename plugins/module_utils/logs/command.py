# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The command on the server, ``<app>-logs``: search the journal by what the application is made of."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import collector
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.journal import PREFIX, text_of
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.lines import LEVELS, decoded, level, level_number
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.redact import Redactor

EPILOG = """Times are systemd's: "10 min ago", "2026-11-25 09:00", today. Without --service the lines of the application and its edge are shown;
--all shows every unit of the server. Secrets are hidden in what is shown, whoever wrote it."""
REMOTE = "/var/log/journal/remote"


def parser(program: str) -> argparse.ArgumentParser:
    """The command's arguments."""
    app = program.rpartition("-logs")[0] or program
    top = argparse.ArgumentParser(prog=program, description="Search the logs.", epilog=EPILOG)
    top.add_argument("work", nargs="?", choices=["show", "collect"], default="show", help="collect is what the service does")
    top.add_argument(
        "--service", action="append", default=[], metavar="NAME", help="backend, nginx, postgres … or a unit of systemd"
    )
    top.add_argument("--release", default="", help="lines of this release only")
    top.add_argument("--colour", default="", help="lines of this colour only")
    top.add_argument("--level", default="debug", help="and graver: emerg, alert, crit, err, warning, notice, info, debug")
    top.add_argument("--since", default="", metavar="TIME")
    top.add_argument("--until", default="", metavar="TIME")
    top.add_argument("--grep", default="", metavar="REGEX", help="small letters stand for capitals too, as journalctl has it")
    top.add_argument("--host", default="", help="lines of this host only (on the host that collects those of others)")
    top.add_argument("--all", action="store_true", help="every unit of the server")
    top.add_argument("--follow", "-f", action="store_true", help="go on as lines come")
    top.add_argument("--lines", "-n", type=int, default=0, metavar="N", help="the last N")
    top.add_argument("--json", action="store_true", help="a JSON object for each entry")
    top.add_argument("--config", default=f"/etc/{app}/logs.json", help="default: %(default)s")
    return top


def matches(app: str, options: argparse.Namespace) -> list[str]:
    """What the journal is asked for: fields, with ``+`` between alternatives."""
    own = [f"{PREFIX}APP={app}"]
    own += [f"{PREFIX}RELEASE={options.release}"] if options.release else []
    own += [f"{PREFIX}COLOUR={options.colour}"] if options.colour else []
    own += [f"_HOSTNAME={options.host}"] if options.host else []
    if options.all and not (options.service or options.release or options.colour):
        return [f"_HOSTNAME={options.host}"] if options.host else []
    if not options.service:
        return own
    alternatives = [[*own, *(f"{PREFIX}SERVICE={name}" for name in options.service)]]
    if not (options.release or options.colour):
        units = [f"_SYSTEMD_UNIT={name if '.' in name else name + '.service'}" for name in options.service]
        alternatives.append([*units, *([f"_HOSTNAME={options.host}"] if options.host else [])])
    return [word for number, group in enumerate(alternatives) for word in ([*(["+"] if number else []), *group])]


def once(entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Entries, each once: one that journald was writing when its file was full may be in the next file, too (seen with systemd 257).
    Only its number in the journal differs then."""
    seen: deque[str] = deque(maxlen=32)  # other hosts' entries may come between
    for entry in entries:
        cursor = ";".join(part for part in text_of(entry.get("__CURSOR")).split(";") if part[:2] not in ("s=", "i="))
        if not cursor or cursor not in seen:
            seen.append(cursor)
            yield entry


def whole(entries: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Entries, the parts of a long line together: Docker's journald driver cuts lines into pieces of 16 KiB."""
    parts: dict[str, list[str]] = {}
    for entry in entries:
        message = text_of(entry.get("MESSAGE"))
        name = text_of(entry.get("CONTAINER_PARTIAL_ID"))
        if name:
            parts.setdefault(name, []).append(message)
            if text_of(entry.get("CONTAINER_PARTIAL_LAST")) != "true":
                continue
            message = "".join(parts.pop(name))
        yield {**entry, "MESSAGE": message}


def described(entry: Mapping[str, Any], redactor: Redactor) -> dict[str, str]:
    """What is shown of an entry."""
    message = redactor.redact(decoded(text_of(entry.get("MESSAGE")).encode("utf-8", "backslashreplace")))
    stream = text_of(entry.get("LOG_STREAM"))
    priority = text_of(entry.get("PRIORITY"))
    container = text_of(entry.get("CONTAINER_NAME"))
    number = int(priority) if priority in map(str, range(8)) else 6
    if container and not stream:  # of Docker's journald driver, which knows the stream only
        number = level(message, "stderr" if priority == "3" else "stdout")
    microseconds = int(text_of(entry.get("_SOURCE_REALTIME_TIMESTAMP")) or text_of(entry.get("__REALTIME_TIMESTAMP")) or 0)
    received = datetime.fromtimestamp(microseconds / 1e6, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    unit = text_of(entry.get("_SYSTEMD_UNIT"))
    own = text_of(entry.get(f"{PREFIX}SERVICE"))
    return {
        "time": text_of(entry.get("LOG_TIME")) or received,
        "host": text_of(entry.get("_HOSTNAME")),
        "service": own or unit.rpartition(".service")[0] or unit or text_of(entry.get("SYSLOG_IDENTIFIER")),
        "colour": text_of(entry.get(f"{PREFIX}COLOUR")),
        "release": text_of(entry.get(f"{PREFIX}RELEASE")),
        "level": LEVELS[number],
        "stream": stream,
        "container": container,
        "message": message,
    }


def wanted(shown: Mapping[str, str], least: int, expression: re.Pattern[str] | None) -> bool:
    """Whether it is grave enough and has what is looked for."""
    return LEVELS.index(shown["level"]) <= least and (expression is None or expression.search(shown["message"]) is not None)


def line(shown: Mapping[str, str]) -> str:
    """An entry for people."""
    service = "/".join(filter(None, (shown["service"], shown["colour"], shown["release"])))
    message = shown["message"].replace("\n", "\n    ")
    return f"{shown['time'][:23]}Z {shown['host']} {service} {shown['level']}: {message}"


def show(config: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Print what the journal has."""
    least = level_number(options.level)
    if least is None:
        sys.stderr.write(f"--level: {options.level!r} is none of {', '.join(LEVELS)}\n")
        return 2
    try:
        expression = (
            re.compile(options.grep, 0 if options.grep != options.grep.lower() else re.IGNORECASE) if options.grep else None
        )
    except re.error as error:
        sys.stderr.write(f"--grep: {options.grep!r} is no regular expression: {error}\n")
        return 2
    command = ["journalctl", "--quiet", "--no-pager", "--output=json", "--all", "--merge"]
    command += [f"--{name}={value}" for name, value in (("since", options.since), ("until", options.until)) if value]
    command += ["--follow", "--no-tail" if options.since else f"--lines={options.lines or 10}"] if options.follow else []
    redactor = Redactor(collector.secrets(config["secret_dirs"]), config["redact"])
    with subprocess.Popen([*command, *matches(config["app"], options)], stdout=subprocess.PIPE) as journal:
        entries = (entry for entry in map(_parsed, journal.stdout or ()) if entry)
        found = (
            shown for shown in (described(entry, redactor) for entry in whole(once(entries))) if wanted(shown, least, expression)
        )
        try:
            for shown in deque(found, options.lines) if options.lines and not options.follow else found:
                sys.stdout.write((json.dumps(shown, ensure_ascii=False) if options.json else line(shown)) + "\n")
                if options.follow:
                    sys.stdout.flush()
        except (BrokenPipeError, KeyboardInterrupt):
            journal.terminate()
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more
            return 0
        return journal.wait()


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(raw)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def main(arguments: Sequence[str] | None = None, program: str = "") -> int:
    """The command."""
    options = parser(program or Path(sys.argv[0]).name).parse_args(arguments)
    try:
        config = json.loads(Path(options.config).read_text())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{options.config} cannot be read: {error}. Run as root; the role logging writes it.\n")
        return 2
    if options.work == "collect":
        collector.Collector(config).run()
    return show(config, options)
