# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What is wrong with the services of a release, found before anything is changed. Pure functions: values in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names, spec
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health, secrets

# Names of containers, directories and nginx upstreams.
NAME = re.compile("[a-z][a-z0-9-]*")
APP_NAME = re.compile("[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
NAME_RULE = "It names containers, units and files: use a letter, then a-z, 0-9 and dashes, at most 30, with no dash at the end."

# name:/path in the container, and whether it may be written to. The role puts the name under the application's own directory.
VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*:(/[A-Za-z0-9_./@+-]+)(:ro|:rw)?")
MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(b|[kmg]b?)", re.IGNORECASE)  # as Compose reads it
UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30}
MIN_MEMORY = 6 * 2**20  # bytes; what Docker gives at least
MIN_CPUS = 0.01
PORTS = range(1, 65536)


def app_name_problems(name: Any) -> list[str]:
    """Refuse a name of an application that some of what it names could not have."""
    if isinstance(name, str) and APP_NAME.fullmatch(name):
        return []
    return [f"app_name: {name!r} is no name for an application. {NAME_RULE}"]


def service_problems(
    services: Mapping[str, Any],
    colours: Iterable[str],
    release: str,
    migrations: Mapping[str, Any],
    specs: Mapping[str, spec.Options],
    needed: bool = False,
    processors: Any = 0,
) -> list[str]:
    """Judge ``app_services``: keys and their types, what is missing, ports for every colour, and what Docker would refuse later.

    A variable of the wrong type is the argument specification's to report; here it is passed over.

    :param specs: what a value may have, of the role's argument specification: ``app_services`` of a service, ``app_migrations``.
    :param needed: whether the host is there for services; ``processors``: how many it has; 0 if nobody knows.
    """
    problems: list[str] = []
    if not isinstance(services, Mapping):
        return problems
    if needed and not services:
        problems.append(
            "app_services: names no service. Describe at least one, e.g. {web: {image: registry.example.org/web, port: 8080}},"
            " or take the host out of the group app."
        )
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
            problems += spec.judge(where, service, specs["app_services"], "a service")
            problems += _one_service(where, service, colours)
            problems += [*_limits(where, service, int(processors or 0)), *_mounts(where, service), *_paths(where, service)]
            problems += health.health_problems(f"{where}.health", service.get("health"))
            problems += _after(where, str(name), service, services)
        else:
            problems.append(f"{where}: is not a mapping. Give it at least image and port.")
    if not isinstance(migrations, Mapping) or not migrations:
        return problems
    problems += spec.judge("app_migrations", migrations, specs["app_migrations"], "app_migrations")
    if not migrations.get("command"):
        problems.append("app_migrations.command: is not set. Write it word by word: [./main, migrate, up].")
    wanted = migrations.get("service")
    if not isinstance(wanted, str) or wanted not in services:
        problems.append(
            f"app_migrations.service: {wanted!r} is not one of app_services ({', '.join(map(str, services)) or 'none'})."
            + names.meant(wanted, services)
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
    if service.get("publish") and service.get("port") is None:
        problems.append(f"{where}.port: is not set. It is the port on which the container listens.")
    if isinstance(service.get("publish"), Mapping):
        problems += [
            f"{where}.publish.{colour}: is not set. Each colour needs a port of its own."
            for colour in colours
            if colour not in service["publish"]
        ]
    environment = service.get("environment")
    problems += [
        f"{where}.environment.{variable}: is a {'mapping' if isinstance(value, Mapping) else 'list'} and no text. Quote it."
        for variable, value in (environment.items() if isinstance(environment, Mapping) else ())
        if isinstance(value, (Mapping, list, tuple))
    ]
    if isinstance(service.get("secrets"), Mapping):
        problems += [
            f"{where}.secrets.{variable}: names no secret. Name one of app_secrets; it becomes a file: letters, digits, . _ and -."
            for variable, secret in service["secrets"].items()
            if not isinstance(secret, str) or not secrets.NAME.fullmatch(secret)
        ]
    if not colours and isinstance(service.get("publish"), Mapping):
        problems.append(f"{where}.publish: names ports of colours, and app_colours has none. Write one port: publish: 8080.")
    if colours and service.get("publish_also"):
        problems.append(f"{where}.publish_also: would be one port for every colour. It needs app_colours: [].")
    return problems


def _number(value: Any) -> float | None:
    """A number as it was written; None if it is none, which the argument specification reports."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _limits(where: str, service: Mapping[str, Any], processors: int) -> list[str]:
    """Memory, processors, processes, seconds and ports of the container."""
    problems = []
    memory = service.get("memory")
    memory = str(memory) if isinstance(memory, (str, int, float)) and not isinstance(memory, bool) else "256m"
    amount = MEMORY.fullmatch(memory)
    if not amount:
        problems.append(f"{where}.memory: {memory!r} is no amount of memory. Write a number and a unit, e.g. 512m or 1.5g.")
    elif float(amount[1]) * UNITS[amount[2][0].lower()] < MIN_MEMORY:
        problems.append(f"{where}.memory: {memory} is less than the 6m that Docker gives at least. Give it more.")
    numbers = {key: number for key in ("cpus", "pids", "stop_timeout") if (number := _number(service.get(key))) is not None}
    cpus = numbers.get("cpus", 0)
    if cpus < 0 or 0 < cpus < MIN_CPUS:
        problems.append(f"{where}.cpus: {service['cpus']} is no number of processors. Use {MIN_CPUS} or more, or 0 for no limit.")
    if processors and cpus > processors:
        problems.append(
            f"{where}.cpus: {service['cpus']} are more than this host's processors ({processors}). Use {processors} or less."
        )
    if numbers.get("pids", 1) < -1:
        problems.append(f"{where}.pids: {service['pids']} is no number of processes. Use 1 or more, or -1 for no limit.")
    if numbers.get("stop_timeout", 0) < 0:
        problems.append(f"{where}.stop_timeout: {service['stop_timeout']} is no number of seconds. Use 0 or more.")
    also = service.get("publish_also")
    ports = {"port": service.get("port")}
    ports.update({f"publish_also.{port}": inside for port, inside in (also.items() if isinstance(also, Mapping) else ())})
    problems += [
        f"{where}.{key}: {port} is not a port. Use a number from 1 to 65535."
        for key, port in ports.items()
        if (number := _number(port)) is not None and number.is_integer() and number not in PORTS
    ]
    return problems


def _mounts(where: str, service: Mapping[str, Any]) -> list[str]:
    """Directories that outlive a release."""
    problems = []
    targets: list[str] = []
    volumes = service.get("volumes")
    for volume in volumes if isinstance(volumes, (list, tuple)) else ():
        found = VOLUME.fullmatch(volume) if isinstance(volume, str) else None
        if found and ".." not in found[1].split("/"):
            targets.append(found[1].rstrip("/"))
        elif isinstance(volume, str):
            problems.append(
                f"{where}.volumes: {volume!r} is not name:/path. Name a directory and where it is in the container, "
                "e.g. uploads:/app/uploads, with :ro at the end for read only."
            )
    problems += [
        f"{where}.volumes: two of them are {target} in the container. Give each a place of its own."
        for target in sorted(set(targets))
        if targets.count(target) > 1
    ]
    return problems


def _paths(where: str, service: Mapping[str, Any]) -> list[str]:
    """Paths that are asked for, or taken out of the image."""
    problems = []
    for key, path in (("metrics", service.get("metrics")), ("assets", service.get("assets"))):
        if isinstance(path, str) and (not re.fullmatch(r"/\S*", path) or ".." in path.split("/")):
            plain = re.fullmatch(r"[\w-][\w./-]*", path)
            instead = f"Write /{path}." if plain else "Begin with a slash, without blanks and without ..."
            problems.append(f"{where}.{key}: {path!r} is not an absolute path. {instead}")
    if service.get("assets") == "/":
        problems.append(f"{where}.assets: / is the whole image. Name the directory of the files that have a hash in their names.")
    return problems


def _after(where: str, name: str, service: Mapping[str, Any], services: Mapping[str, Any]) -> list[str]:
    """Services that are waited for."""
    others = service.get("after")
    problems = []
    for other in others if isinstance(others, (list, tuple)) else ():
        if other == name:
            problems.append(f"{where}.after: a service cannot wait for itself. Take it out.")
        elif isinstance(other, str) and other not in services:
            known = ", ".join(map(str, services))
            problems.append(f"{where}.after: {other!r} is not one of app_services ({known}).{names.meant(other, services)}")
    return problems
