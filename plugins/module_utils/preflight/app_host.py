# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What a host says of its Docker, ports, volumes and sources. Pure functions: answers in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import containers_with_ports

# Options of Docker's driver fluentd that came late (moby 49911, 50249).
LOG_OPTIONS_SINCE = {"fluentd-write-timeout": (28, 2), "fluentd-read-timeout": (29, 0)}


def docker_problems(docker: Mapping[str, Any], compose: Mapping[str, Any], user: str) -> list[str]:
    """Judge what ``docker version`` and ``docker compose version`` answered: results with ``rc`` and what was said."""
    said = f"{docker.get('stderr') or docker.get('msg') or ''}".strip().splitlines()[-1:]
    reason = said[0][:300] if said else "no answer"
    if docker.get("rc"):
        if "permission denied" in reason.lower():
            return [
                f"Docker: the user {user} may not use it ({reason}). "
                f"Make {user} a member of the group docker (sudo usermod -aG docker {user}) and log in again."
            ]
        if "no such file" in reason.lower() and "docker.sock" not in reason:
            return ["Docker: there is no program `docker` here. Install Docker with Compose v2 and buildx."]
        return [f"Docker: does not answer ({reason}). Start it, and see that `docker version` works for {user}."]
    if compose.get("rc"):
        return [
            "Docker: has no Compose v2. Install the plugin (docker-compose-plugin or docker-compose-v2), so that `docker compose version` works."
        ]
    return []


def source_paths(services: Mapping[str, Any], build: bool) -> dict[str, str]:
    """What must be there: variable -> path. A mounted source, and with images from source a context and its Dockerfile."""
    paths: dict[str, str] = {}
    for name, service in services.items() if isinstance(services, Mapping) else ():
        source, made = (service.get(key) if isinstance(service, Mapping) else None for key in ("source", "build"))
        if isinstance(source, Mapping):
            paths[f"app_services.{name}.source.path"] = str(source.get("path", ""))
        if build and isinstance(made, Mapping) and made.get("context"):
            paths[f"app_services.{name}.build.context"] = str(made["context"])
            paths[f"app_services.{name}.build.dockerfile"] = f"{made['context']}/{made.get('dockerfile', 'Dockerfile')}"
    return paths


def path_problems(services: Mapping[str, Any], build: bool, found: Mapping[str, Mapping[str, Any]], host: str) -> list[str]:
    """Judge paths by what ``stat`` said of them.

    :param found: path -> ``exists`` and ``isdir``.
    """
    problems = []
    if build and isinstance(services, Mapping):
        problems += [
            f"app_services.{name}.build: is not set, and app_image_source is build. Name the source: build: {{context: /home/me/{name}}}."
            for name, service in services.items()
            if isinstance(service, Mapping)
            and not (isinstance(service.get("build"), Mapping) and service["build"].get("context"))
        ]
    missing: list[str] = []
    for variable, path in source_paths(services, build).items():
        directory = not variable.endswith(".dockerfile")
        state = found.get(path, {})
        if any(path.startswith(f"{other}/") for other in missing) or path in missing:
            continue  # one message for one missing directory
        if not state.get("exists") or bool(state.get("isdir")) != directory:
            kind = "directory" if directory else "Dockerfile"
            missing.append(path)
            problems.append(f"{variable}: there is no {kind} {path} on {host}. Check the source out there, or name where it is.")
    return problems


def ports_to_try(wanted: Mapping[str, Any], lines: Iterable[str], app: str) -> list[int]:
    """Ports that no container of the application has: whoever listens there is another."""
    own = {port for entry in containers_with_ports(lines) if entry["app"] == app for port in entry["ports"]}
    numbers = {int(port) for port in wanted.values() if re.fullmatch("[0-9]+", str(port))}
    return sorted(numbers - own)


def listeners(taken: Iterable[int], lines: Iterable[str]) -> list[dict[str, Any]]:
    """Who has these ports, in the form that ``port_problems`` takes."""
    containers = containers_with_ports(lines)
    return [
        {
            "port": int(port),
            "name": next((f"the container {entry['name']}" for entry in containers if int(port) in entry["ports"]), ""),
        }
        for port in taken
    ]


def volume_problems(names: Iterable[str], major: Any, volume: str) -> list[str]:
    """Judge the directories in PostgreSQL's volume: data of another major would be passed over, and an empty database made."""
    names = set(names)
    others = sorted((name for name in names if re.fullmatch("[0-9]+", name)), key=int)
    way_out = "to keep it. On a developer's machine `make dev-reset` throws it away."
    if "PG_VERSION" in names:
        return [f"app_postgres_major: the volume {volume} holds a database in a layout that is not ours. Move it away {way_out}"]
    if others and str(major) not in others:
        return [
            f"app_postgres_major: is {major}, but the volume {volume} holds a database of PostgreSQL {' and '.join(others)}. "
            f"Set app_postgres_major and app_postgres_image to {others[-1]} {way_out}"
        ]
    return []


def log_option_problems(options: Any, driver: str, engine: str) -> list[str]:
    """Judge ``app_log_options``: of an option that it does not know, Docker makes no container at all.

    :param engine: Docker's version on this host; empty: there is none yet.
    """
    problems = []
    for name, since in LOG_OPTIONS_SINCE.items() if isinstance(options, Mapping) else []:
        have = tuple(int(part) for part in re.findall(r"\d+", engine)[:2])
        if name in options and (driver != "fluentd" or have < since):
            needs = f"the driver fluentd and Docker {since[0]}.{since[1]}"
            problems.append(
                f"app_log_options.{name}: needs {needs}; here are {driver} and {engine or 'no Docker yet'}. Take it out."
            )
    return problems
