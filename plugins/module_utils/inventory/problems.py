# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop a run, found before anything is changed. Pure functions: values in, sentences out.

Each sentence names the variable (or the fact), says what is wrong and what to do about it. The host is added by
the report. No sentence ever contains the value of a secret.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names as inventory_names

# Values that stand in examples and must never reach a server that others use.
PLACEHOLDER = re.compile(
    r"^your[_-].*[_-]here$|^(password|passwort|secret|changeme|change[_-]me|example|todo|x{3,})$|^\$\(.*\)$|^<.*>$",
    re.IGNORECASE,
)

MIN_SECRET_LENGTH = 16

# What the filter ``bool`` knows; and with it what an argument specification takes as well.
PLAIN_BOOLEANS = frozenset({"yes", "on", "true", "1", "no", "off", "false", "0"})
BOOLEANS = PLAIN_BOOLEANS | {"y", "t", "n", "f"}


def secret_problems(
    secrets: Mapping[str, Any],
    needed: Iterable[str],
    strict: bool,
    variable: str = "app_secrets",
    one_line: Iterable[str] | None = None,
) -> list[str]:
    """Judge secrets without ever repeating one.

    :param secrets: name -> value.
    :param needed: names that some service reads.
    :param strict: refuse placeholders and short values as well (staging, production).
    :param one_line: names of those that must be one line; None: all. A key or JSON has several; a password that ends in a line
        break has got it from the vault.
    """
    problems: list[str] = []
    one_line = None if one_line is None else set(one_line)
    if not isinstance(secrets, Mapping):
        return problems  # the argument specification reports it
    for name in sorted(set(needed) | set(secrets)):
        where = f"{variable}.{name}"
        value = secrets.get(name)
        if value is None or value == "":
            near = "" if name in secrets else inventory_names.slip(name, secrets)
            add = f"Did you mean {near}? If not, add it" if near else "Add it"
            problems.append(
                f"{where}: is not set. {add} to vault.yml: ansible-vault edit <inventory>/group_vars/all/vault.yml "
                "(openssl rand -hex 32 makes a good one)."
            )
        elif not isinstance(value, str):
            problems.append(f"{where}: is not a string. Quote it in the vault.")
        elif "\0" in value:
            problems.append(f"{where}: holds a byte 0, which no variable can hold. Encode it, such as in Base64.")
        elif "\n" in value and (one_line is None or name in one_line):
            problems.append(f"{where}: holds a line break. It is one line; check the vault for a stray | or >.")
        elif value.endswith("\n") and value.count("\n") == 1:
            problems.append(
                f"{where}: is one line with a line break behind it. Write |- or >- for | or > in the vault, or quotes."
            )
        elif strict and PLACEHOLDER.search(value):
            problems.append(
                f"{where}: is a placeholder from an example. Put a real value into the vault (openssl rand -hex 32 makes one)."
            )
        elif strict and len(value) < MIN_SECRET_LENGTH:
            problems.append(f"{where}: is shorter than {MIN_SECRET_LENGTH} characters. openssl rand -hex 32 makes a good one.")
    return problems


def cast_problems(options: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> list[str]:
    """Refuse what an argument specification takes for a boolean or a number, and the filters ``bool`` and ``int`` or a text do not.

    YAML has no boolean ``y``, ``-e name=t`` is a string: the specification reads true, the filter false. 080 and 1e3 are numbers there,
    and stand as they are in a configuration.

    :param options: of an argument specification; ``values`` name -> value. What is none at all is the specification's to report.
    """
    problems = []
    for name, value in values.items():
        kind, text = options.get(name, {}).get("type"), str(value)
        if (
            kind == "bool"
            and not isinstance(value, int)
            and text.strip().lower() in BOOLEANS
            and text.lower() not in PLAIN_BOOLEANS
        ):
            problems.append(f"{name}: {value!r} is read as true by some and as false by others. Write true or false.")
        if kind == "int" and not re.fullmatch("-?(0|[1-9][0-9]*)", text):
            try:
                number = Decimal(text) if not isinstance(value, bool) else Decimal(value)
            except InvalidOperation:
                continue
            if number == number.to_integral_value():
                problems.append(f"{name}: {value!r} is no number in plain digits. Write {int(number)}.")
    return problems


def containers_with_ports(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Read lines of ``docker ps --format '{{json .}}'``: name, application by label, TCP ports of this host."""
    found = []
    for line in lines:
        entry = json.loads(line)
        labels = dict(part.partition("=")[::2] for part in str(entry.get("Labels", "")).split(","))
        ports: set[int] = set()
        for first, last in re.findall(r":(\d+)(?:-(\d+))?->[\d-]+/tcp", str(entry.get("Ports", ""))):
            ports.update(range(int(first), int(last or first) + 1))
        found.append({"name": entry.get("Names", ""), "app": labels.get("kasaneha.deploy.app", ""), "ports": sorted(ports)})
    return found


def port_problems(
    wanted: Mapping[str, Any],
    listening: Iterable[Mapping[str, Any]],
    own: Iterable[str],
    containers: Iterable[str] = (),
    app: str = "",
) -> list[str]:
    """Find ports that two variables want, or that a foreign process or container already holds.

    :param wanted: what wants the port (a variable's name) -> port number.
    :param listening: ``ansible_facts.tcp_listen`` of community.general.listen_ports_facts.
    :param own: process names that may hold the ports because they belong to us.
    :param containers: lines of ``docker ps --format '{{json .}}'``. Docker listens for all of them: whose a port is only they tell.
    :param app: the application whose containers may hold the ports; empty if none may.
    """
    problems = []
    by_port: dict[int, list[str]] = {}
    for name, port in wanted.items():
        number = int(port) if re.fullmatch("[0-9]+", str(port)) else 0
        if not 0 < number < 65536:
            problems.append(f"{name}: {port!r} is not a port. Use a number from 1 to 65535.")
            continue
        by_port.setdefault(number, []).append(name)
    foreign: dict[int, Mapping[str, Any]] = {}
    mine = set(own)
    for entry in listening:
        if entry.get("name") not in mine:
            foreign.setdefault(int(entry["port"]), entry)
    others = [entry for entry in containers_with_ports(containers) if not app or entry["app"] != app]
    for port, names in sorted(by_port.items()):
        if len(names) > 1:
            problems.append(f"{' and '.join(names)}: all want port {port}. Give each its own.")
        holder = next((f"the container {entry['name']}" for entry in others if port in entry["ports"]), "")
        if not holder and port in foreign:
            holder = f"{foreign[port].get('name') or 'another program'} (pid {foreign[port].get('pid', '?')})"
        if holder:
            problems.append(f"{names[0]}: port {port} is taken by {holder}. Stop it, or choose another port.")
    return problems


def address_problems(addresses: Mapping[str, Any], optional: bool = False) -> list[str]:
    """Refuse to publish a port where everybody could reach it: Docker's published ports go around the firewall.

    :param addresses: variable -> address; only loopback and private ones are good.
    :param optional: an empty value is good as well.
    """
    problems = []
    for name, value in addresses.items():
        if optional and value == "":
            continue
        try:
            address = ipaddress.ip_address(str(value))
            address = getattr(address, "ipv4_mapped", None) or address  # ::ffff:0.0.0.0 listens everywhere too
            good = (address.is_loopback or address.is_private) and not address.is_unspecified
        except ValueError:
            good = False
        if not good:
            problems.append(
                f"{name}: {value!r} is not a loopback or private address. Use 127.0.0.1, or the server's address in a private network."
            )
    return problems


def json_problems(text: str, path: str) -> list[str]:
    """Refuse a file that is to be merged and is no JSON object: what somebody wrote there must not be lost."""
    try:
        good = isinstance(json.loads(text), dict)
    except ValueError:
        good = False
    return [] if good else [f"{path}: is not a JSON object. Fix it, or move it away."]


def bracketed(address: str) -> str:
    """An address as it stands before a port: IPv6 goes into brackets."""
    return f"[{address}]" if ":" in address else address


def report(problems: Iterable[str], host: str) -> str:
    """All problems of one host as the lines of one message."""
    return "\n".join(f"- {host}: {problem}" for problem in problems)
