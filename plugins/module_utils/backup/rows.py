# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Count what a dump holds, in its own bytes as ``pg_restore --section=data`` writes them out while it decodes.

Nobody asks the database: what a dump holds is told without a lock, without a second scan, and is right whatever is written meanwhile.
"""

from __future__ import annotations

import codecs
import re

END = b"\n\\.\n"  # the line that ends the rows of a table; in a row a backslash is doubled, and a line break is no line break
LONGEST = 64 << 20  # bytes of a statement; pg_restore's longest are those of large objects, 32 kB

_SPACE = re.compile(rb"\s*")
_MARK = re.compile(rb"""['";]""")
_PART = rb"""(?:"(?:[^"]|"")*"|[^\s."(]+)"""
_NAME = re.compile(rb"(%s)\.(%s)" % (_PART, _PART))
_SEQUENCE = re.compile(rb"SELECT pg_catalog\.setval\('((?:[^']|'')*)', (-?\d+), (?:true|false)\);")
_ENTRY = re.compile(rb"-- Data for Name: (.*); Type: TABLE DATA; Schema: (.*); Owner: .*\n")
_ROOT = b"-- load via partition root "
_ENCODING = re.compile(rb"SET client_encoding = '(\w+)';")


class Rows:
    """What has passed so far."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], int] = {}  # schema and name -> rows
        # Partitions whose rows a restore gives to the table that they are part of, since they may belong into another one there -> it.
        self.roots: dict[tuple[str, str], tuple[str, str]] = {}
        self.sequences: dict[tuple[str, str], int] = {}  # schema and name -> the value that a restore sets
        self.large_objects = 0
        self.problem = ""  # why this is no such text; the rest of it was not looked at
        self._table: tuple[str, str] | None = None  # whose rows pass
        self._entry: tuple[str, str] | None = None  # whose rows come next, by the comment before them
        self._rooted = False
        self._rest, self._codec, self._doubled = b"", "utf-8", False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        data, at = self._rest + chunk, 0
        while not self.problem:
            if self._table is None:
                at = self._statements(data, at)
                if self._table is None:
                    break
            end = data.find(END, at)
            if end < 0:
                here = max(at, len(data) - len(END) + 1)  # what comes behind may be how the end begins
                self.tables[self._table] += data.count(b"\n", at, here)
                at = here
                break
            # From the line break that ends the statement to the one that ends the last row: as many as there are rows, and one.
            self.tables[self._table] += data.count(b"\n", at, end)
            at, self._table = end + len(END), None
        self._rest = b"" if self.problem else data[at:]

    def _statements(self, data: bytes, at: int) -> int:
        """Read statements up to the rows of a table, or to the last whole one; where the next bytes begin."""
        while True:
            at = _SPACE.match(data, at).end()  # type: ignore[union-attr]
            line = data.startswith((b"-", b"\\"), at)  # a comment, or a command of psql
            end = data.find(b"\n", at) + 1 if line else _end(data, at)
            if not end:
                if len(data) - at > LONGEST:
                    self.problem = "a statement does not end"
                return at
            self._read(data[at:end])
            at = end
            if self._table is not None or self.problem:
                return at

    def _read(self, statement: bytes) -> None:
        if statement.startswith(b"COPY "):
            found = _NAME.match(statement, 5)
            if not found:
                self.problem = f"it is not known what {statement[:200]!r} fills"
                return
            self._table = target = self._names(found)
            if self._rooted and self._entry:
                self._table = self._entry
                self.roots[self._table] = target
            self._rooted, self._entry = False, None
            self.tables.setdefault(self._table, 0)
        elif statement.startswith(b"SELECT pg_catalog.setval("):
            found = _SEQUENCE.fullmatch(statement)
            text = found[1].replace(b"''", b"'") if found else b""
            name = _NAME.fullmatch(text.replace(b"\\\\", b"\\") if self._doubled else text)
            if not found or not name:
                self.problem = f"it is not known what {statement[:200]!r} sets"
                return
            self.sequences[self._names(name)] = int(found[2])
        elif statement.startswith(_ROOT):
            self._rooted = True
        elif statement.startswith(b"-- Data for Name: "):
            found = _ENTRY.fullmatch(statement)
            self._entry = (self._text(found[2]), self._text(found[1])) if found else None
        elif statement.startswith(b"SELECT pg_catalog.lo_open("):
            self.large_objects += 1
        elif statement.startswith(b"SET client_encoding"):
            found = _ENCODING.fullmatch(statement)
            self._codec = codec(found[1].decode()) if found else self._codec
        elif statement.startswith(b"SET standard_conforming_strings = off"):
            self._doubled = True

    def _names(self, found: re.Match[bytes]) -> tuple[str, str]:
        parts = (part[1:-1].replace(b'""', b'"') if part.startswith(b'"') else part for part in found.groups())
        schema, name = map(self._text, parts)
        return schema, name

    def _text(self, name: bytes) -> str:
        return name.decode(self._codec, "surrogateescape")


def _end(data: bytes, at: int) -> int:
    """Behind the semicolon of the statement that begins here; 0: it is not in these bytes."""
    while True:
        found = _MARK.search(data, at)
        if not found or found[0] == b";":
            return found.end() if found else 0
        at = data.find(found[0], found.end()) + 1  # a quote that is doubled ends one string and begins the next
        if not at:
            return 0


def codec(encoding: str) -> str:
    """Python's name for an encoding of PostgreSQL's; UTF-8 for one without a meaning or that Python does not know."""
    try:
        return codecs.lookup(encoding.replace("WIN", "cp").replace("KOI8", "koi8_")).name
    except LookupError:
        return "utf-8"
