# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Look at a server that may run a legacy Compose setup. Nothing is changed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.adopt import decide
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import docker, statefile
from ansible_collections.kasaneha.deploy.plugins.module_utils.io.docker import Run

CRONTABS = "/var/spool/cron/crontabs"
OPTIONS: dict[str, Any] = {
    "app": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "services": {"type": "list", "elements": "str", "default": list(decide.SERVICES)},
    "app_services": {"type": "dict", "default": {}},
    "files": {"type": "dict", "default": {}},
    "names": {"type": "list", "elements": "str", "default": []},
    "backup_dir": {"type": "path", "default": "/var/backups"},
}


def journal(app: str) -> dict[str, Any]:
    """What the takeover has noted so far; empty before it began.

    :raises ValueError: it cannot be read.
    """
    return statefile.read(Path("/var/lib", app, "adopt.json")) or {}


def installed(app: str) -> str:
    """The record of a release of ours; empty when there is none."""
    record = Path("/var/lib", app, "release.json")
    return str(record) if record.exists() else ""


@contextlib.contextmanager
def alone(app: str) -> Iterator[None]:
    """One takeover at a time; whoever comes second waits. The kernel takes the lock back from the dead."""
    directory = Path("/var/lib", app)
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (directory / "adopt.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def inspected(run: Run) -> list[dict[str, Any]]:
    """``docker inspect`` of every container; none where there is no Docker, or it does not answer."""
    try:
        return docker.inspected(run, "--all") if shutil.which("docker") else []
    except RuntimeError:
        return []


def recognised(run: Run, params: Mapping[str, Any]) -> dict[str, Any]:
    """The old containers; `decide.recognise` on what Docker shows."""
    return decide.recognise(inspected(run), params["prefix"] or f"{params['app']}_", params["services"])


def look(run: Run, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The old containers, and the facts that `decide.problems` and `decide.plan` judge."""
    old = recognised(run, params)
    files: list[dict[str, Any]] = decide.directories(old, params["app_services"], f"/var/lib/{params['app']}", params["files"])
    facts: dict[str, Any] = {"files": files, "needs": [], "packages": [], "cron": cron(old, params)}
    if not old["services"] or not params["app_services"]:
        return old, facts
    facts.update(_database(run, old))
    for entry in files:
        entry["missing"] = bool(entry["source"]) and not Path(entry["source"]).is_dir()
    facts["certificate"] = next((place for place in decide.certificate_directories(old, params["names"]) if _pair(place)), "")
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}"]
    facts["packages"] = ["docker-ce"] if "installed" in run([*query, "docker-ce"])[1].split() else []
    phase = journal(params["app"]).get("phase", "")
    facts["needs"] = _needs(run, params, facts, phase)
    facts["installed"] = "" if phase else installed(params["app"])
    return old, facts


def _pair(directory: str) -> bool:
    return all(Path(directory, f"{name}.pem").is_file() for name in ("fullchain", "privkey"))


def _database(run: Run, old: Mapping[str, Any]) -> dict[str, Any]:
    """Major version and size of the old database, or what psql said instead."""
    postgres = old["services"].get("postgres", {})
    version = Path(postgres.get("data") or "/nonexistent", "PG_VERSION")
    text = version.read_text(encoding="utf-8").strip() if version.is_file() else ""
    facts: dict[str, Any] = {"major": int(text) if text.isdigit() else 0, "size": 0}
    if not postgres.get("running"):
        return facts
    query = "SELECT current_setting('server_version_num')::int / 10000, pg_database_size(current_database())"
    code, out, err = run(["docker", "exec", postgres["name"], "psql", "-XqAtw", "-F", " ", "-h", "127.0.0.1", "-U", postgres["user"],
                          "-d", postgres["database"], "-c", query])  # fmt: skip
    if code:
        return {**facts, "said": err.strip()[-300:] or f"psql ended with {code}"}
    major, size = map(int, out.split())
    return {"major": major, "size": size}


def _needs(run: Run, params: Mapping[str, Any], facts: Mapping[str, Any], phase: str) -> list[dict[str, Any]]:
    """What is to be written where; what an earlier run has written is not counted again."""
    size, needs = facts["size"], []
    sizes = {}
    for entry in facts["files"]:
        if entry["source"] and not entry["missing"]:
            _code, out, _err = run(["du", "--summarize", "--block-size=1", "--", entry["source"]])
            sizes[entry["target"]] = int((out.split() or ["0"])[0])
    if not phase:
        needs.append(("the backup", params["backup_dir"], size + sum(sizes.values())))
    needs.append(("the dump", params["backup_dir"], size * 2))  # compressed, and unpacked beside it
    needs.append(
        ("the database", run(["docker", "info", "--format", "{{.DockerRootDir}}"])[1].strip() or "/var/lib/docker", size * 2)
    )
    needs += [("the files", target, count) for target, count in sizes.items() if not Path(target).is_dir()]
    return [_need(*need) for need in needs]


def _need(what: str, path: str, count: int) -> dict[str, Any]:
    place = Path(path)
    while not place.exists():
        place = place.parent
    room = os.statvfs(place)
    return {"what": what, "path": path, "device": place.stat().st_dev, "free": room.f_bavail * room.f_frsize, "bytes": count}


def cron(old: Mapping[str, Any], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of the old deployment in every crontab: {path, lines, kept}."""
    found = []
    prefix = params["prefix"] or f"{params['app']}_"
    homes = sorted({entry["folder"] for entry in old["services"].values()})
    for place, system in ((CRONTABS, False), ("/etc/cron.d", True)):
        for path in sorted(Path(place).iterdir()) if Path(place).is_dir() else []:
            if path.is_file() and not path.name.startswith("."):
                kept, lines = decide.cron_lines(path.read_text(errors="surrogateescape"), prefix, homes, system)
                if lines:
                    found.append({"path": str(path), "lines": lines, "kept": kept})
    return found
