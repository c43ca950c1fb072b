# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What is wrong with the services of a release, found before anything is changed. Pure functions: values in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils import _names, _secrets, _spec

# Names of containers, folders and nginx upstreams.
NAME = re.compile("[a-z][a-z0-9-]*")


def service_problems(
    services: Mapping[str, Any],
    colours: Iterable[str],
    release: str,
    migrations: Mapping[str, Any],
    specs: Mapping[str, _spec.Options],
) -> list[str]:
    """Judge ``app_services``: keys and their types, what is missing, ports for every colour.

    A variable of the wrong type is the argument specification's to report; here it is passed over.

    :param specs: what a value may have, of the role's argument specification: ``app_services`` of a service, ``app_migrations``.
    """
    problems: list[str] = []
    if not isinstance(services, Mapping):
        return problems
    colours = [colours] if isinstance(colours, str) else list(colours or [])
    if services and not release:
        problems.append(
            "app_release: is not set, and nothing is installed here yet. Name the release to install, e.g. -e app_release=v1.0.0."
        )
    for name, service in services.items():
        where = f"app_services.{name}"
        if not NAME.fullmatch(str(name)) or name in ("postgres", "redis"):
            problems.append(f"{where}: is no name for a service. Use a-z, 0-9 and dashes; postgres and redis are the databases'.")
        if isinstance(service, Mapping):
            problems += _spec.judge(where, service, specs["app_services"], "a service")
            problems += _one_service(where, service, colours)
        else:
            problems.append(f"{where}: is not a mapping. Give it at least image and port.")
    if not isinstance(migrations, Mapping) or not migrations:
        return problems
    problems += _spec.judge("app_migrations", migrations, specs["app_migrations"], "app_migrations")
    if not migrations.get("command"):
        problems.append("app_migrations.command: is not set. Write it word by word: [./main, migrate, up].")
    wanted = migrations.get("service")
    if not isinstance(wanted, str) or wanted not in services:
        problems.append(
            f"app_migrations.service: {wanted!r} is not one of app_services ({', '.join(map(str, services)) or 'none'})."
            + _names.meant(wanted, services)
        )
    return problems


def _one_service(where: str, service: Mapping[str, Any], colours: list[str]) -> list[str]:
    """What is wrong with one service."""
    problems = []
    image = service.get("image")
    if not image or not isinstance(image, str):
        problems.append(f"{where}.image: is not set. Name the image without tag; app_release becomes its tag.")
    elif image.endswith(":latest"):
        problems.append(f"{where}.image: 'latest' names no release. Leave the tag out, or name a version or digest.")
    if isinstance(service.get("user"), (str, int)) and not re.fullmatch("[0-9]+(:[0-9]+)?", str(service["user"])):
        problems.append(f"{where}.user: {service['user']!r} is not numeric. Its files get this owner: use 10001 or 10001:10001.")
    if "publish" in service and not isinstance(service["publish"], Mapping) and colours:
        problems.append(f"{where}.publish: is not a mapping. Write it as {{blue: 18080, green: 18180}}.")
    if service.get("publish") and not service.get("port"):
        problems.append(f"{where}.port: is not set. It is the port on which the container listens.")
    if isinstance(service.get("publish"), Mapping):
        problems += [
            f"{where}.publish.{colour}: is not set. Each colour needs a port of its own."
            for colour in colours
            if colour not in service["publish"]
        ]
    if isinstance(service.get("secrets"), Mapping):
        problems += [
            f"{where}.secrets.{variable}: names no secret. Name one of app_secrets; it becomes a file: letters, digits, . _ and -."
            for variable, secret in service["secrets"].items()
            if not isinstance(secret, str) or not _secrets.NAME.fullmatch(secret)
        ]
    if not colours and isinstance(service.get("publish"), Mapping):
        problems.append(f"{where}.publish: names ports of colours, and app_colours has none. Write one port: publish: 8080.")
    if colours and service.get("publish_also"):
        problems.append(f"{where}.publish_also: would be one port for every colour. It needs app_colours: [].")
    return problems
