# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The containers of a release, as the engine knows them: observe and logs, by their labels. Docker Compose today."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import docker
from ansible_collections.kasaneha.deploy.plugins.module_utils.io.docker import Run

LABEL = "kasaneha.deploy"


def observe(run: Run, app: str) -> list[dict[str, Any]]:
    """All containers of an application's releases on this host, running or not.

    :raises RuntimeError: Docker does not answer; the message is what it said.
    """
    found = docker.inspected(run, "--all", f"--filter=label={LABEL}.app={app}", f"--filter=label={LABEL}.colour")
    return sorted((described(entry) for entry in found if not _one_off(entry)), key=lambda entry: str(entry["name"]))


def _one_off(inspected: dict[str, Any]) -> bool:
    """Whether it is a container of `docker compose run`, such as that of the migrations."""
    return str((inspected["Config"].get("Labels") or {}).get("com.docker.compose.oneoff", "")).lower() == "true"


def described(inspected: dict[str, Any]) -> dict[str, Any]:
    """What the engine needs of ``docker inspect``; never the environment."""
    state, config = inspected["State"], inspected["Config"]
    labels = config.get("Labels") or {}
    checks = (state.get("Health") or {}).get("Log") or []
    return {
        "name": inspected["Name"].lstrip("/"),
        "service": labels.get(f"{LABEL}.service", ""),
        "colour": labels.get(f"{LABEL}.colour", ""),
        "release": labels.get(f"{LABEL}.release", ""),
        "image": config["Image"],
        "id": inspected["Image"],
        "state": state["Status"],
        "running": state["Status"] == "running",
        "exit_code": state["ExitCode"],
        "started": state["StartedAt"],
        "restarts": inspected.get("RestartCount", 0),
        "health": (state.get("Health") or {}).get("Status", ""),
        "health_log": [str(check.get("Output", "")).strip()[-300:] for check in checks[-3:]],
    }


def with_images(run: Run, containers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with what their images say of themselves: what a record needs and a container does not show."""
    found = []
    for entry in containers:
        _code, out, _err = run(["docker", "image", "inspect", entry["id"]])
        with contextlib.suppress(ValueError, IndexError):
            config = json.loads(out)[0]["Config"]
            entry = {**entry, "entrypoint": config.get("Entrypoint"), "command": config.get("Cmd")}
        found.append(entry)
    return found


def stop(run: Run, names: Sequence[str]) -> str:
    """Stop containers, side by side, each within the time that it was given; what went wrong, empty for nothing."""
    code, _out, err = run(["docker", "stop", *names]) if names else (0, "", "")
    return err.strip() if code else ""


def images(run: Run) -> list[tuple[str, str]]:
    """ID and repository of every image on this host; none when Docker does not say."""
    code, out, _err = run(["docker", "image", "ls", "--no-trunc", "--format", "{{.ID}} {{.Repository}}"])
    lines = [line.split(maxsplit=1) for line in out.splitlines()] if not code else []
    return [(line[0], line[1]) for line in lines if len(line) == 2]


def remove_images(run: Run, ids: Sequence[str]) -> list[str]:
    """Remove images with all their names; what was removed."""
    return [image for image in ids if not run(["docker", "image", "rm", "--force", image])[0]]


def last_words(run: Run, name: str, lines: int = 20) -> str:
    """The last log lines of a container; empty when there are none to be had."""
    _code, out, err = run(["docker", "logs", "--tail", str(lines), name])
    text = (out + err).strip().splitlines()
    return "\n".join(text[-lines:])


def by_service(containers: Sequence[dict[str, Any]], service: str, colour: str) -> dict[str, Any] | None:
    """The container of one service in one colour."""
    return next((entry for entry in containers if (entry["service"], entry["colour"]) == (service, colour)), None)
