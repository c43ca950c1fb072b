# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that the role `nginx` writes, read as nginx reads it: words, blocks, comments left out."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from ansible_collections.kasaneha.deploy.plugins.module_utils.edge.certificates import Place, placeholders
from inventory import inventory, said
from render import render

# The API under a name of its own, beside the site.
MAIN = said("local")["nginx_sites"]
API = {
    "names": ["api.kasaneha.test"],
    "upstream": "backend",
    "cors_origins": ["https://kasaneha.test", "https://localhost"],
    "locations": MAIN[0]["locations"],
}
WITH_API: dict[str, Any] = {"nginx_sites": [*MAIN, API]}
REAL = Place(directory=True, whole=True)
PLACEHOLDER = "placeholder-0a1b2c3d"
SEEN: dict[str, Any] = {"version": "", "brotli": False, "ipv6": True, "placeholders": []}  # of an edge, by the module edge_info
TOKEN = re.compile(r"""\s*(?:#[^\n]*|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\$\{\w+\}|[^\s{};"'#]|(?<=\S)#)+))""")


class Directive(NamedTuple):
    """One directive: its words, and what stands in its braces."""

    words: list[str]
    inside: list[Directive]


def parse(text: str) -> list[Directive]:
    """Parse a configuration; a brace or semicolon too many or too few is an error."""
    stack: list[list[Directive]] = [[]]
    words: list[str] = []
    for token in (match[1] for match in TOKEN.finditer(text) if match[1]):
        if token == "}":
            assert not words, f"no semicolon after {words}"
            stack.pop()
            assert stack, "a closing brace too many"
        elif token in "{;":
            stack[-1].append(Directive(words, []))
            if token == "{":
                stack.append(stack[-1][-1].inside)
            words = []
        else:
            words.append(token[1:-1] if token[0] in "\"'" else token)
    assert (len(stack), words) == (1, []), f"not closed: {words}"
    return stack[0]


def walk(block: list[Directive], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Directive]]:
    """Every directive with the names of the blocks around it."""
    for directive in block:
        yield path, directive
        yield from walk(directive.inside, (*path, directive.words[0]))


def values(block: list[Directive], name: str) -> list[list[str]]:
    """The words behind every directive of that name in one block, not in the blocks inside it."""
    return [directive.words[1:] for directive in block if directive.words[0] == name]


def blocks(block: list[Directive], *start: str) -> list[list[Directive]]:
    """What stands inside each block that begins with these words."""
    return [directive.inside for directive in block if tuple(directive.words[: len(start)]) == start]


def choose(block: list[Directive], variable: str, key: str) -> str:
    """What a `map` makes of a key."""
    (table,) = [directive.inside for directive in block if directive.words[0] == "map" and directive.words[2] == variable]
    for words in (directive.words for directive in table):
        pattern, anycase = words[0].lstrip("~*"), re.IGNORECASE if words[0].startswith("~*") else 0
        if words[0] == key or (words[0].startswith("~") and re.search(pattern, key, anycase)):
            return words[1]
    return next(directive.words[1] for directive in table if directive.words[0] == "default")


def value(block: list[Directive], text: str, given: dict[str, str]) -> str:
    """A text with its variables: those that are given, and those that a `map` makes, of other variables perhaps."""

    def of(found: re.Match[str]) -> str:
        name = f"${found[1]}"
        if name in given:
            return given[name]
        (key,) = [directive.words[1] for directive in block if directive.words[0] == "map" and directive.words[2] == name]
        return value(block, choose(block, name, value(block, key, given)), given)

    return re.sub(r"\$\{?(\w+)\}?", of, text)


def located(block: list[Directive], variable: str, address: str) -> str:
    """What a `geo` makes of a client's address: the smallest network that holds it decides."""
    (table,) = blocks(block, "geo", variable)
    networks = {ip_network(words[0]): words[1] for words, _ in table if words[0] != "default"}
    found = [network for network in networks if ip_address(address) in network]
    return networks[max(found, key=lambda network: network.prefixlen)] if found else values(table, "default")[0][0]


def rewrites(block: list[Directive]) -> list[list[Any]]:
    """The directives of a block that choose a colour, in their order."""
    return [
        [*directive.words, *(inner.words for inner in directive.inside)]  # the last word of all may be `break`
        for directive in block
        if directive.words[0] in ("set", "if")
    ]


def run_rewrites(
    block: list[Directive], files: Container[str], variables: dict[str, str], around: list[Directive] | None = None
) -> str:
    """Do what nginx does with them: the variables change; the status that is returned, empty for none.

    :param files: the files that exist.
    :param around: the `http` block, whose maps say which file some questions are for.
    """
    for name, *words in rewrites(block):
        if name == "set":
            variables[words[0]] = words[1]
            continue
        condition = " ".join(word for word in words if isinstance(word, str)).strip("()")
        inner, *after = (word for word in words if not isinstance(word, str))
        if condition.startswith("-f "):
            holds = value(around or [], condition.removeprefix("-f "), variables) in files
        elif "=" in condition:
            holds = variables[condition.split()[0]] == condition.partition("=")[2].strip()
        else:
            holds = variables.get(condition, "") not in ("", "0")
        if holds and inner[0] == "return":
            return inner[1]
        if holds:
            variables[inner[1]] = inner[2]
            if after == [["break"]]:
                break
    return ""


def log_format(block: list[Directive], name: str) -> str:
    """The format of a log that writes JSON."""
    ((escape, *parts),) = [words[1:] for words in values(block, "log_format") if words[0] == name]
    assert escape == "escape=json"
    return "".join(parts)


def text(
    version: str = "nginx version: nginx/1.26.3", tls: dict[str, Place] | None = None, brotli: bool = False, **overrides: Any
) -> str:
    """Render the configuration for a version of nginx, with what stands in place of each certificate: real ones."""
    found = placeholders({"kasaneha": REAL, "main": REAL, **(tls or {})}, PLACEHOLDER, ends=False)
    seen = {**SEEN, **found, "version": version, "brotli": brotli}
    return render("nginx", "nginx.conf.j2", {**inventory(**overrides), "__nginx_seen": seen})


def http(**overrides: Any) -> list[Directive]:
    """Parse the `http` block."""
    return blocks(parse(text(**overrides)), "http")[0]


def servers(**overrides: Any) -> list[list[Directive]]:
    """Every server that answers for a name of ours over TLS with more than a redirect."""
    return [server for server in blocks(http(**overrides), "server") if values(server, "set")]


def site(**changes: Any) -> dict[str, Any]:
    """A small site, changed by ``changes``; None takes a key away."""
    base = {"name": "main", "names": ["a.test"], "certificate": "main", "upstream": "frontend"}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def headers(**overrides: Any) -> dict[str, str]:
    """Headers of the only site; each of them once."""
    (server,) = servers(**overrides)
    names = [words[0] for words in values(server, "add_header")]
    assert len(names) == len(set(names))
    return {words[0]: words[1] for words in values(server, "add_header")}
