# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents say, taken apart so that it can be tried: links, blocks, commands, paths.

``python tests/unit/documents.py DIRECTORY`` names the dead links of a checkout or of an extracted tarball.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# The visible mark of a block of commands that no test runs: its first line.
NOT_RUN = "# not run in the tests"
SHELL = ("sh", "bash", "console", "shell")
PLACEHOLDER = re.compile(r"…|<[^>]*>|\.\.\.$")
FENCE = re.compile(r"^( *)```(.*)$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PATH = re.compile(r"^(roles|playbooks|plugins|docs|tests|lab|molecule|inventories|benchmarks|meta|changelogs)/[\w./*-]+$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the document, the line of its fence, its info string, its lines."""

    name: str
    line: int
    info: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}:{self.line}"


def pages(root: Path) -> list[Path]:
    """The documents of a checkout or of an extracted tarball; those of changes are written by a program."""
    found = {path for pattern in ("*.md", "docs/**/*.md", "roles/*/README.md", "lab/*/README.md", "inventories/**/*.md")
             for path in root.glob(pattern)}  # fmt: skip
    return sorted(found - {root / "CHANGELOG.md"})


def parts(name: str, text: str) -> tuple[list[tuple[int, str]], list[Block]]:
    """The lines of prose with their numbers, and the fenced blocks."""
    prose: list[tuple[int, str]] = []
    blocks: list[Block] = []
    opened: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if fence and opened:
            blocks.append(Block(name, opened[0], opened[1], tuple(opened[2])))
            opened = None
        elif fence:
            opened = (number, fence[2].strip(), [])
        elif opened:
            opened[2].append(line)
        else:
            prose.append((number, line))
    return prose, blocks


def anchors(text: str) -> set[str]:
    """What ``#…`` may name: the headings, as forges spell them."""
    headings = [line.lstrip("#").strip() for _number, line in parts("", text)[0] if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(root: Path) -> Iterator[str]:
    """Each link that leads to no file of this tree, or to no heading of it: ``document:line: target``."""
    for path in pages(root):
        for number, line in parts("", path.read_text(encoding="utf-8"))[0]:
            for target in LINK.findall(SPAN.sub("", line)):
                if re.match(r"(https?|mailto):", target):
                    continue
                file, _, anchor = target.partition("#")
                there = (path.parent / file).resolve() if file else path
                inside = there == root.resolve() or root.resolve() in there.parents or there == path
                if not inside or not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
                    yield f"{path.relative_to(root)}:{number}: {target}"


def commands(lines: tuple[str, ...]) -> Iterator[list[str]]:
    """The commands of a block, each as its words; a backslash at the end goes on, ``&&`` separates."""
    text = "\n".join(lines).replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def blocks_of(root: Path) -> list[Block]:
    return [block for path in pages(root) for block in parts(str(path.relative_to(root)), path.read_text(encoding="utf-8"))[1]]


def scripts(root: Path) -> Iterator[Block]:
    """The command lines of the examples for CI (docs/examples), as blocks."""
    for path in sorted((root / "docs/examples").glob("*.yml")):
        found = [line for key, value in _walk(yaml.safe_load(path.read_text(encoding="utf-8"))) if key in ("run", "script", "before_script")
                 for text in (value if isinstance(value, list) else [value]) for line in str(text).splitlines()]  # fmt: skip
        yield Block(str(path.relative_to(root)), 1, "sh", tuple(found))


def _walk(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key), value
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)


def spans(root: Path) -> Iterator[tuple[str, str]]:
    """``document:line`` and the text of each piece of code within prose."""
    for path in pages(root):
        for number, line in parts("", path.read_text(encoding="utf-8"))[0]:
            yield from ((f"{path.relative_to(root)}:{number}", text) for text in SPAN.findall(line))


def lost_paths(root: Path) -> Iterator[str]:
    """Each path that a document names, from the top or from where it stands, and that is not there; ``*`` stands for anything."""
    for where, text in spans(root):
        here = (root / where).parent
        if PATH.match(text) and not [*root.glob(text.rstrip("/")), *here.glob(text.rstrip("/"))]:
            yield f"{where}: {text}"


if __name__ == "__main__":
    dead = list(dead_links(Path(sys.argv[1])))
    print("\n".join(dead))
    sys.exit(bool(dead))
