# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of an inventory for throw-away servers: without its vault files, and what in it can only be had at the real place."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

GROUPS = ("edge", "app", "db", "cache", "monitoring", "logging", "backup")
VAULT = b"$ANSIBLE_VAULT"
# Lookups that read nothing of the machine on which they run, nor anything beyond it.
PURE = re.compile(
    r"(ansible\.builtin\.)?(vars|dict|items|list|nested|sequence|together|subelements|indexed_items|random_choice|config)$"
)
LOOKUP = re.compile(r"\b(?:lookup|query|q)\(\s*(['\"])([\w.]+)\1")
WORD = re.compile(r"[A-Za-z_]\w*")
UNDEFINED = re.compile(r"'(\w+)' is undefined")
CONNECTION = "ansible_host ansible_port ansible_user ansible_connection ansible_ssh_private_key_file ansible_ssh_common_args ansible_ssh_extra_args ansible_ssh_host ansible_ssh_port ansible_ssh_user ansible_password ansible_ssh_pass ansible_become_password ansible_become_pass ansible_become_user ansible_become_method ansible_become_exe ansible_python_interpreter"  # noqa: E501 - one list
ADDRESSES = (
    "ansible_host",
    "private_address",
    "app_bind_address",
    "app_postgres_bind_address",
    "app_redis_bind_address",
    "monitoring_address",
)


class RehearsalError(Exception):
    """Why there is no rehearsal, or why it failed: one sentence."""


# --- the copy -----------------------------------------------------------------------------------------------------------
def copy(source: Path, target: Path) -> list[str]:
    """Copy an inventory, its links followed, and leave out what a vault holds.

    Args:
        source: a directory, or a file with ``group_vars`` and ``host_vars`` beside it.
        target: a directory that does not exist.

    Returns:
        What was left out: files, and ``file: variable`` for a single value.

    Raises:
        RehearsalError: if there is no such inventory, or it is a program.
    """
    if not source.exists():
        raise RehearsalError(f"There is no inventory {source}: name a directory such as inventories/prod, or a file with hosts.")
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.mkdir(parents=True)
        shutil.copy(source, target)
        for name in ("group_vars", "host_vars"):
            if (source.parent / name).is_dir():
                shutil.copytree(source.parent / name, target / name)
    left: list[str] = []
    for path in sorted(file for file in target.rglob("*") if file.is_file()):
        name = str(path.relative_to(target))
        if path.parent == target and os.access(path, os.X_OK) and path.read_bytes()[:2] == b"#!":
            raise RehearsalError(
                f"{name} is a program that asks the real place for hosts: write what `ansible-inventory --list` says of them into a file."
            )
        content = path.read_bytes()
        if (
            re.match(r"vault(s|ed)?([._-].*)?\.(ya?ml|json)$", path.name)
            or re.search(r"[._-]vault\.(ya?ml|json)$", path.name)
            or content.startswith(VAULT)
        ):
            path.unlink()
            left.append(name)
        elif b"!vault" in content and path.suffix in (".yml", ".yaml"):
            text, gone = without_vault(content.decode())
            path.write_text(text)
            left += [f"{name}: {variable}" for variable in gone]
    return left


def without_vault(text: str) -> tuple[str, list[str]]:
    """YAML without the values that are encrypted one by one, and the keys that had them."""
    document = yaml.compose(text, yaml.SafeLoader)
    gone: list[str] = []

    def strip(node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            gone.extend(str(key.value) for key, value in node.value if value.tag in ("!vault", "!vault-encrypted"))
            node.value = [(key, value) for key, value in node.value if value.tag not in ("!vault", "!vault-encrypted")]
            for _, value in node.value:
                strip(value)
        elif isinstance(node, yaml.SequenceNode):
            node.value = [value for value in node.value if value.tag not in ("!vault", "!vault-encrypted")]
            for value in node.value:
                strip(value)

    strip(document)
    return (yaml.serialize(document) if document else ""), gone


def addresses(hosts: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, str]:
    """Each IP address by which the inventory knows its hosts -> the one that the host has in the lab.

    Args:
        hosts: host -> variables.
        given: host -> address in the lab.
    """
    found = {}
    for host, variables in hosts.items():
        for name in ADDRESSES:
            try:
                address = ipaddress.ip_address(str(variables.get(name, "")))
            except ValueError:
                continue
            if not address.is_loopback and not address.is_unspecified:
                found[str(variables[name])] = given[host]
    return found


def readdress(directory: Path, moved: Mapping[str, str]) -> None:
    """Write the lab's addresses into a copied inventory, wherever it names one of its own hosts by address."""
    if not moved:
        return
    token = re.compile(
        r"(?<![\w.:])(" + "|".join(re.escape(address) for address in sorted(moved, key=len, reverse=True)) + r")(?![\w.]*\w)"
    )
    for path in directory.rglob("*"):
        if path.is_file():
            before = path.read_text(errors="surrogateescape")
            after = token.sub(lambda match: moved[match[1]], before)
            if after != before:
                path.write_text(after, errors="surrogateescape")


# --- what cannot be rehearsed ---------------------------------------------------------------------------------------------
def group_problems(groups: Mapping[str, Iterable[str]]) -> list[str]:
    """Judge the groups of an inventory: a group that is nearly one of ours, and a host that is in none of them while others are.

    Args:
        groups: group -> hosts, as Ansible's ``groups``.
    """
    own = {name: list(hosts) for name, hosts in groups.items() if name not in ("all", "ungrouped")}
    problems = []
    for name, hosts in own.items():
        near = difflib.get_close_matches(name, GROUPS, 1, 0.75)
        if hosts and name not in GROUPS and near and not set(hosts) <= set(own.get(near[0], [])):
            problems.append(f"{name}: is no group of this collection. Did you mean {near[0]}? There are {', '.join(GROUPS)}.")
    if any(name in GROUPS for name in own):
        for host in groups.get("all", []):
            mine = [name for name, hosts in own.items() if host in hosts]
            if not set(mine) & set(GROUPS) and not any(problem.startswith(f"{name}:") for problem in problems for name in mine):
                problems.append(
                    f"{host}: is in no group of this collection ({', '.join(mine) or 'none at all'}), so nothing would run on it. "
                    f"Put it into one of {', '.join(GROUPS)}, or take it out of the inventory."
                )
    return problems


def strings(value: Any) -> Iterable[str]:
    """Every string in a value, keys of mappings left out."""
    if isinstance(value, str):
        yield str(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from strings(each)


def templates(value: Any) -> list[str]:
    """The templates in a value."""
    return [text for text in strings(value) if "{{" in text or "{%" in text]


def reachable(variables: Mapping[str, Any], roots: Iterable[str], given: Iterable[str]) -> list[str]:
    """The variables that a run reads: the roots that are set, and what their templates name.

    Args:
        variables: as the inventory has them, templates unrendered.
        roots: what roles and playbooks read.
        given: what the rehearsal sets, which nobody reads in the inventory any more.
    """
    given, seen, queue = set(given), [], [name for name in roots if name in variables]
    while queue:
        name = queue.pop(0)
        if name in given or name in seen:
            continue
        seen.append(name)
        queue += [word for text in templates(variables[name]) for word in WORD.findall(text) if word in variables]
    return seen


def place_problems(variables: Mapping[str, Any], read: Iterable[str]) -> list[str]:
    """Judge what exists only at the real place: values that are looked up in files, in the environment, by programs."""
    problems = []
    for name in read:
        found = {match[2] for text in templates(variables[name]) for match in LOOKUP.finditer(text)}
        for lookup in sorted(one for one in found if not PURE.match(one) and not one.startswith("kasaneha.deploy.")):
            what = {"env": "an environment variable", "file": "a file", "pipe": "a program", "unvault": "a vault file"}.get(
                lookup.rpartition(".")[2], "something"
            )
            problems.append(
                f"{name}: reads {what} of the real place (lookup {lookup!r}). "
                f"Give it a value for the rehearsal: a file with `{name}: …`, and EXTRA=<that file>."
            )
    return problems


def secret_references(variables: Mapping[str, Any], read: Iterable[str], invented: Iterable[str]) -> list[str]:
    """Judge secrets that are used by name although no service names them: nobody would have invented them."""
    known = set(invented)
    problems = []
    for name in read:
        for text in templates(variables[name]):
            for match in re.finditer(r"\bapp_secrets(?:\.(\w+)|\[['\"](\w+)['\"]\])", text):
                secret = match[1] or match[2]
                if secret not in known:
                    problems.append(
                        f"{name}: uses app_secrets.{secret}, a secret that no service names in `secrets`, so no value was invented for it. "
                        f"Name it there, or give `{name}` a value in EXTRA=<file>."
                    )
    return list(dict.fromkeys(problems))


def connection_problems(host: str, variables: Mapping[str, Any]) -> list[str]:
    """Judge how a host is reached: one that is this very machine is no server that can be thrown away."""
    kind = str(variables.get("ansible_connection", "ssh"))
    if kind in ("local", "ansible.builtin.local"):
        return [
            f"{host}: ansible_connection is local, so it is this very machine, and no throw-away server can take its place. Rehearse an inventory of servers."
        ]
    if kind.rpartition(".")[2] not in ("ssh", "smart", "paramiko", "paramiko_ssh") and "{{" not in kind:
        return [
            f"{host}: ansible_connection is {kind}; throw-away servers are reached by ssh. Rehearse an inventory of servers that are, too."
        ]
    return []
