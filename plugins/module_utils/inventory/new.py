# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What an inventory for a new application is made of, and what is wrong with what was asked for. Pure functions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.docker import registry
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import sites
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import services

# What `new` takes -> its default; None: it must be given.
OPTIONS: dict[str, str | None] = {
    "app_name": None,
    "image": None,
    "domain": None,
    "server": None,
    "container_port": "8080",
    "container_user": "",
    "health": "/",
    "postgres": "false",
    "redis": "false",
    "ssh_user": "root",
    "ssh_port": "22",
    "email": "",
    "registry_user": "",
}
EXAMPLES = {
    "app_name": "shop",
    "image": "ghcr.io/me/shop:v1.0.0",
    "domain": "shop.example.org",
    "server": "203.0.113.10",
}
# Names that others have for them, and Ansible partly for itself.
OTHERWISE = {
    "port": "container_port",
    "user": "container_user (in the container) or ssh_user (on the server)",
    "host": "server",
    "name": "app_name",
    "release": "image, whose tag is the release",
    "tag": "image, whose tag is the release",
}
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?P<name>(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{COMPONENT}(?:/{COMPONENT})*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
)
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.IGNORECASE)
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def described(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the files say, of options without problems.

    :returns: the options with their defaults; ``image`` without tag, the tag as ``release``, and the ``registry`` of the image.
    :raises ValueError: the image is no name of one.
    """
    given = _given(asked)
    found: dict[str, Any] = {name: given.get(name, default) for name, default in OPTIONS.items()}
    image = IMAGE.fullmatch(found["image"])
    if not image:
        raise ValueError(f"image: {found['image']!r} {_image(found['image'])}")
    found.update(
        image=image["name"],
        release=image["tag"],
        registry=registry.registry_of(image["name"]),
        email=found["email"] or f"webmaster@{found['domain']}",
        container_port=int(found["container_port"]),
        ssh_port=int(found["ssh_port"]),
    )
    return {**found, **{name: found[name].lower() in TRUE for name in ("postgres", "redis")}}


def problems(asked: Mapping[str, Any], directory: str, exists: bool, password: str = "", others: Iterable[str] = ()) -> list[str]:
    """Everything that is wrong, one sentence each, with what to write instead.

    :param asked: option -> value, as the command line has it.
    :param directory: where the files would be; ``exists``: whether something is there.
    :param password: at the registry of the image, for ``registry_user``.
    :param others: names of further variables, among which may be options that were misspelt.
    """
    given = _given(asked)
    found = [f"{name}: is not set. Say -e {name}={EXAMPLES[name]}" for name in EXAMPLES if name not in given]
    for name, value in given.items():
        if name in JUDGES and (wrong := JUDGES[name](value)):
            found.append(f"{name}: {value!r} {wrong}")
    found += services.app_name_problems(given["app_name"]) if "app_name" in given else []
    if exists:
        found.append(f"app_name: {directory} exists. Remove it, choose another name, or change to another directory.")
    if "registry_user" in given and not password:
        found.append(
            "registry_user: has no password. Put its token into the environment variable REGISTRY_PASSWORD, where no list of processes shows it."
        )
    others = [name for name in others if name not in OPTIONS]
    found += [f"{name}: is no option here. Did you mean {OTHERWISE[name]}?" for name in sorted(others) if name in OTHERWISE]
    return found + names.undeclared_problems([name for name in others if name not in OTHERWISE], OPTIONS)


def _given(asked: Mapping[str, Any]) -> dict[str, str]:
    """Options that have a value, as text."""
    return {name: str(value).strip() for name, value in asked.items() if value is not None and str(value).strip()}


def _image(value: str) -> str:
    if "@" in value:
        return "names a digest. Give the tag; the server records the digest of what it pulled."
    match = IMAGE.fullmatch(value)
    if not match:
        return f"is not the name of an image. Write registry/owner/name:tag in small letters, such as {EXAMPLES['image']}."
    return "" if match["tag"] else f"has no tag, and the tag is the release. Write {value}:<tag>, such as {value}:v1.0.0."


def _domain(value: str) -> str:
    if _is_address(value):
        return f"is an address. A certificate needs a name, such as {EXAMPLES['domain']}."
    if value.startswith("*."):
        return "is a wildcard, for which no certificate is asked. Name one domain; app.yml may have more."
    if wrong := sites.host_name_problem(value):
        return wrong
    return "" if "." in value else f"is a single word. Write the whole name, such as {value}.example.org."


def _server(value: str) -> str:
    if _is_address(value):
        return ""
    if "@" in value:
        return f"names a user. Say -e server={value.partition('@')[2]} -e ssh_user={value.partition('@')[0]}"
    return sites.host_name_problem(value)


def _port(value: str) -> str:
    return "" if value.isdigit() and 0 < int(value) < 65536 else "is not a port. It is a number from 1 to 65535."


def _health(value: str) -> str:
    return "" if re.fullmatch(r"/[^\s\"'{}]*", value) else "is not a path. Begin with a slash, such as /health."


def _truth(value: str) -> str:
    return "" if value.lower() in TRUE + FALSE else "is neither true nor false."


def _ssh_user(value: str) -> str:
    return "" if USER.fullmatch(value) else "is not the name of a user, such as root or deploy."


def _container_user(value: str) -> str:
    return (
        ""
        if re.fullmatch(r"[0-9]+(:[0-9]+)?", value)
        else "is not numeric. Write the user's number, with its group's, such as 1000:1000."
    )


def _email(value: str) -> str:
    name, _at, host = value.partition("@")
    return (
        ""
        if re.fullmatch(r"[^\s@\"']+", name) and not sites.host_name_problem(host)
        else "is not an address for mail, such as me@example.org."
    )


JUDGES = {
    "image": _image,
    "domain": _domain,
    "server": _server,
    "container_port": _port,
    "ssh_port": _port,
    "health": _health,
    "postgres": _truth,
    "redis": _truth,
    "ssh_user": _ssh_user,
    "container_user": _container_user,
    "email": _email,
}


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
