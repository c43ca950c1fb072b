# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Logins at image registries: which are needed, and what is wrong with one. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HUB = "docker.io"
HUB_NAMES = (HUB, "index.docker.io", "registry-1.docker.io")
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", re.IGNORECASE)
REFUSED = re.compile(r"\b(401|403|unauthori[sz]ed|denied|forbidden|incorrect username or password)\b", re.IGNORECASE)


def registry_of(image: str) -> str:
    """The registry of an image, as Docker reads its name: ``ghcr.io/me/shop:v1`` is on ``ghcr.io``, ``postgres:15`` on ``docker.io``."""
    first, slash, _rest = image.partition("/")
    named = slash and (first == "localhost" or "." in first or ":" in first)
    return _host(first) if named else HUB


def needed_logins(logins: Any, images: Iterable[str]) -> list[dict[str, Any]]:
    """Those logins whose registry has one of the images, each with the ``address`` by which Docker knows the registry.

    :param images: none: all logins, as for a build, whose base images are named in its Dockerfile.
    """
    registries = {registry_of(image) for image in images}
    return [
        {**login, "address": "https://index.docker.io/v1/" if _host(login["registry"]) == HUB else _host(login["registry"])}
        for login in logins or []
        if not registries or _host(login["registry"]) in registries
    ]


def login_problems(logins: Any) -> list[str]:
    """Judge ``app_registry_login``. Its keys and their types are the argument specification's to judge.

    :returns: one sentence for each problem, without any password.
    """
    problems: list[str] = []
    seen: set[str] = set()
    for index, login in enumerate(logins if isinstance(logins, list) else []):
        if not isinstance(login, Mapping):
            continue
        where, registry = f"app_registry_login[{index}]", str(login.get("registry") or "")
        if registry and not HOST.fullmatch(registry):
            problems.append(
                f"{where}.registry: {registry} is not the host of a registry. Write its name alone, with a port if it has one,"
                " such as ghcr.io: one login counts for all images there."
            )
        elif registry and _host(registry) in seen:
            problems.append(f"{where}.registry: {registry} has a login already. Docker knows one for each registry.")
        seen.add(_host(registry))
        for key in ("username", "password"):
            if key in login and not login[key] and login[key] != 0:
                problems.append(f"{where}.{key}: is empty, for {registry}. Put the user and its token into vault.yml.")
            elif key in login and not isinstance(login[key], str):
                problems.append(f"{where}.{key}: was read as another type than a string, for {registry}. Quote it.")
    return problems


def login_failures(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each login that failed.

    :param results: of community.docker.docker_login in a loop over ``needed_logins``; one that succeeded has a ``login_result``.
    """
    sentences = []
    for result in results:
        if "login_result" in result or result.get("skipped"):
            continue
        registry, user = result["item"]["registry"], result["item"]["username"]
        reason = _reason(str(result.get("msg", "")), str(result["item"]["password"]))
        if REFUSED.search(reason):
            problem = f"{registry} refuses the login of user {user} ({reason}). Put the current password or token of that user into vault.yml."
        else:
            problem = f"the login of user {user} at {registry} failed ({reason}). Is the name of the registry right, and can this server reach it?"
        sentences.append(f"app_registry_login: {problem}")
    return sentences


def _host(registry: str) -> str:
    """A registry's host as it is compared; Docker Hub has several."""
    return HUB if registry.lower() in HUB_NAMES else registry.lower()


def _reason(message: str, password: str) -> str:
    """What the registry or Docker said, without what community.docker puts before it, and without the password."""
    said = re.sub(r"^Logging into .*? failed - ", "", " ".join(message.split()))
    quoted = re.search(r'\("(.*)"\)\s*$', said)
    return (quoted[1] if quoted else said).replace(password, "***").rstrip(". ")
