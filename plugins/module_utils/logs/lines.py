# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What a line of a log says of itself: its level, whether it goes on from the one before, and how many are too many. Pure."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")  # syslog's, 0 to 7
ALIASES = {
    "emergency": 0, "panic": 0, "fatal": 2, "critical": 2, "error": 3, "severe": 3, "e": 3, "warn": 4, "w": 4, "log": 6,
    "information": 6, "i": 6, "verbose": 7, "trace": 7, "fine": 7, "d": 7,
    **{name: number for number, name in enumerate(LEVELS)},
}  # fmt: skip
LINE_LIMIT = 256 * 1024  # bytes of one entry; what is longer is cut, and says so
GROUP_LIMIT = 200  # lines of one entry

# PostgreSQL's, nginx's and logfmt's (Go's slog) ways to name a level.
_POSTGRES = re.compile(r"^[^\n]{0,120}?\b(DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC):  ")
_BRACKETS = re.compile(r"^[^\n]{0,60}?\[(debug|info|notice|warn|warning|error|crit|alert|emerg|fatal|trace)\]", re.IGNORECASE)
_LOGFMT = re.compile(r"(?:^|\s)(?:level|lvl|severity)=\"?([A-Za-z]+)")
_BEGINS = re.compile(r"^(panic|fatal|critical|error|warning|warn|info|debug|trace)\b[:\s]", re.IGNORECASE)
_REDIS = re.compile(r"^\d+:[A-Z] \d\d \w{3} \d{4} [\d:.]+ ([.\-*#]) ")
_REDIS_LEVELS = {".": 7, "-": 6, "*": 5, "#": 4}
_POSTGRES_LEVELS = {"LOG": 6, "INFO": 6, "NOTICE": 5, "WARNING": 4, "ERROR": 3, "FATAL": 2, "PANIC": 1}


def level_number(name: str) -> int | None:
    """A level's number by any of its usual names; None for what is none."""
    return ALIASES.get(name.strip().lower(), int(name) if name.strip() in map(str, range(8)) else None)


def level(text: str, stream: str) -> int:
    """How grave a line is: what it says itself, or by the stream it came on."""
    if text.startswith("{"):
        for part in (text, text.partition("\n")[0]):
            with contextlib.suppress(ValueError, RecursionError):
                return _json_level(json.loads(part), stream)
    found = _REDIS.match(text)
    if found:
        return _REDIS_LEVELS[found[1]]
    found = _POSTGRES.match(text)
    if found:
        return _POSTGRES_LEVELS.get(found[1], 7)
    for expression in (_BRACKETS, _LOGFMT, _BEGINS):
        found = expression.search(text, 0, 400)
        number = level_number(found[1]) if found else None
        if number is not None:
            return number
    if text.startswith(("Traceback (most recent call last)", "goroutine ")):
        return 3
    return 3 if stream == "stderr" else 6


def _json_level(line: Any, stream: str) -> int:
    if isinstance(line, Mapping):
        for key in ("level", "severity", "lvl", "log.level"):
            value = line.get(key)
            if isinstance(value, str):
                number = level_number(value)
                if number is not None:
                    return number
            if isinstance(value, int) and not isinstance(value, bool):  # pino's and zap's: 10 trace … 60 fatal
                return {10: 7, 20: 7, 30: 6, 40: 4, 50: 3, 60: 2}.get(value, 6)
        status = line.get("status")
        if isinstance(status, int) and "upstream_status" in line:  # a line of the edge
            return 3 if status >= 500 else 6
    return 3 if stream == "stderr" else 6


def decoded(raw: bytes) -> str:
    """Text of any bytes: what is no UTF-8 stays readable as ``\\xNN``; control characters other than tab and newline too,
    because a log is read on terminals."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\t\n" else f"\\x{ord(c):02x}" if ord(c) < 256 else c for c in text)


def cut(raw: bytes, limit: int = LINE_LIMIT) -> bytes:
    """A line that is too long, cut, and it says so."""
    return raw if len(raw) <= limit else raw[:limit] + b" [cut: %d bytes more]" % (len(raw) - limit)


def goes_on(group: list[str], line: str) -> bool:
    """Whether a line belongs to the entry before it: a trace, a statement, a key in PEM."""
    if not group or len(group) >= GROUP_LIMIT:
        return False
    if line[:1] in (" ", "\t"):
        return True
    first, last = group[0], group[-1]
    if "-----BEGIN " in "\n".join(group[-100:]) and "-----END " not in last:
        return "-----BEGIN " in first or any("-----BEGIN " in entry for entry in group)
    if line.startswith(("Caused by: ", "Suppressed: ", "...")):
        return True
    if first.startswith("Traceback (most recent call last)") or "\nTraceback (most recent call last)" in first:
        # Indented lines, the exception itself, and the next trace of a chain.
        chained = line.startswith(("Traceback ", "During handling of ", "The above exception "))
        return last[:1] in (" ", "\t") or not line or chained
    if first.startswith(("panic: ", "fatal error: ", "goroutine ")):
        # Go: every call is a line of its own, with an indented one below.
        return (
            not line
            or line.startswith(("goroutine ", "[signal ", "main.", "created by ", "exit status "))
            or bool(re.match(r"^[\w./*()-]+\.[\w.*()\[\]-]+\(.*\)$", line))
        )
    return False


@dataclass
class Budget:
    """So many lines and bytes in each window of time, by the time of the lines, so that catching up loses nothing."""

    lines: int
    size: int
    seconds: int
    window: int = -1
    counted: int = 0
    bytes: int = 0
    dropped: int = 0

    def take(self, at: float, size: int) -> bool:
        """Whether there is room for a line of that time."""
        window = int(at // self.seconds)
        if window != self.window:
            self.window, self.counted, self.bytes = window, 0, 0
        if self.counted >= self.lines or self.bytes + size > self.size:
            self.dropped += 1
            return False
        self.counted += 1
        self.bytes += size
        return True

    def ends(self) -> float:
        """When the window ends."""
        return float((self.window + 1) * self.seconds)


@dataclass
class Count:
    """What became of a service's lines, for Prometheus."""

    lines: int = 0
    bytes: int = 0
    dropped: int = 0
    floods: int = 0
    redacted: int = 0
    last: float = 0.0
    levels: dict[str, int] = field(default_factory=dict)


def metrics(app: str, counts: Mapping[str, Count], others: Mapping[str, float]) -> str:
    """All of it in Prometheus' own form."""
    lines = []
    kinds = {
        "lines_total": ("counter", "lines"), "bytes_total": ("counter", "bytes"), "dropped_lines_total": ("counter", "dropped"),
        "floods_total": ("counter", "floods"), "redacted_lines_total": ("counter", "redacted"),
        "last_line_timestamp_seconds": ("gauge", "last"),
    }  # fmt: skip
    for name, (kind, attribute) in kinds.items():
        lines.append(f"# TYPE kasaneha_log_{name} {kind}")
        for service, count in sorted(counts.items()):
            lines.append(f'kasaneha_log_{name}{{app="{app}",service="{service}"}} {getattr(count, attribute):.15g}')
    lines.append("# TYPE kasaneha_log_level_lines_total counter")
    for service, count in sorted(counts.items()):
        for name, number in sorted(count.levels.items()):
            lines.append(f'kasaneha_log_level_lines_total{{app="{app}",service="{service}",level="{name}"}} {number}')
    for name, value in sorted(others.items()):
        lines += [f"# TYPE kasaneha_log_{name} gauge", f'kasaneha_log_{name}{{app="{app}"}} {value:.15g}']
    return "\n".join(lines) + "\n"
