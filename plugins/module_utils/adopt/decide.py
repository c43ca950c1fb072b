# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""A server that runs a legacy Compose setup: recognise it, judge it, say what a takeover would do. Pure functions.

No value of an environment variable leaves this file but the names of the database and of its user.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LABEL = "kasaneha.deploy.app"  # what carries it is ours
# In the order in which they are stopped. The last two hold the data: they run until everything has been copied.
SERVICES = ("nginx", "backend", "frontend", "redis", "postgres")
DATA = ("redis", "postgres")
TAKEN = ("done", "retired")  # phases of the journal after which the new site serves


def recognise(inspected: Iterable[Mapping[str, Any]], prefix: str, services: Sequence[str] = SERVICES) -> dict[str, Any]:
    """What ``docker inspect`` tells of the old containers: service -> container, and the names of all that is somebody else's."""
    old: dict[str, Any] = {}
    others = []
    for entry in inspected:
        config, name = entry["Config"], str(entry["Name"]).lstrip("/")
        labels = config.get("Labels") or {}
        if LABEL in labels:
            continue
        service = name[len(prefix) :] if prefix and name.startswith(prefix) else ""
        found = {
            "name": name,
            "running": entry["State"]["Status"] == "running",
            "status": entry["State"]["Status"],
            "restart": (entry.get("HostConfig", {}).get("RestartPolicy") or {}).get("Name") or "no",
            "mounts": {mount["Destination"]: mount["Source"] for mount in entry.get("Mounts") or [] if mount.get("Source")},
            "edge": bool({80, 443} & _published(entry.get("HostConfig", {}).get("PortBindings") or {})),
            "ports": sorted(_published(entry.get("HostConfig", {}).get("PortBindings") or {})),
            "folder": labels.get("com.docker.compose.project.working_dir", ""),
            "image": config.get("Image", ""),
        }
        if service in services:
            environment = dict(line.split("=", 1) for line in config.get("Env") or [] if "=" in line)
            if service == "postgres":
                user = environment.get("POSTGRES_USER") or "postgres"
                found.update(user=user, database=environment.get("POSTGRES_DB") or user)
                data = environment.get("PGDATA") or "/var/lib/postgresql/data"
                found["data"] = _outside(found["mounts"], data)
            old[service] = found
        else:
            others.append({key: found[key] for key in ("name", "running", "ports")})
    ordered = {service: old[service] for service in services if service in old}
    return {"services": ordered, "others": sorted(others, key=lambda other: str(other["name"])) if old else []}


def _published(bindings: Mapping[str, Any]) -> set[int]:
    return {int(to["HostPort"]) for ports in bindings.values() for to in ports or [] if to.get("HostPort")}


def _outside(mounts: Mapping[str, str], path: str) -> str:
    """Where on the host a path inside a container is; empty if it is in the container alone."""
    for inside in sorted(mounts, key=len, reverse=True):
        if path == inside or path.startswith(f"{inside.rstrip('/')}/"):
            return posixpath.normpath(posixpath.join(mounts[inside], path[len(inside) :].lstrip("/")))
    return ""


def directories(
    old: Mapping[str, Any], desired: Mapping[str, Any], state_dir: str, given: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Which directory on the host each volume of the new services is filled from; ``source`` is empty when nothing says it.

    :param desired: ``app_services``; a volume is ``name:/path/inside``. ``given`` overrides what is found: name -> directory.
    """
    found: list[dict[str, Any]] = []
    for service, entry in desired.items():
        for volume in entry.get("volumes") or []:
            name, inside = volume.split(":")[:2]
            mounts = old["services"].get(service, {}).get("mounts", {})
            found.append(
                {
                    "name": name,
                    "inside": f"{service}:{inside}",
                    "source": given[name] if name in given else _outside(mounts, inside),
                    "target": posixpath.join(state_dir, name),
                    "owner": str(entry.get("user", "10001:10001")),
                }
            )
    return found


def certificate_directories(old: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Where the certificate of the old site may be, likeliest first: what nginx had mounted, then certbot's own directory."""
    mounted = [source for inside, source in old["services"].get("nginx", {}).get("mounts", {}).items() if "conf" not in inside]
    places = []
    for source in sorted(mounted):
        directory = posixpath.dirname(source) if source.endswith(".pem") else source
        places += [directory, *[posixpath.join(directory, "live", name) for name in names]]
    places += [f"/etc/letsencrypt/live/{name}" for name in names]
    return list(dict.fromkeys(places))


def cron_lines(text: str, prefix: str, directories_: Iterable[str], system: bool = False) -> tuple[str, list[str]]:
    """A crontab without the lines of the old deployment, and those lines. Comments and what is somebody else's stay.

    :param system: a file of /etc/cron.d: there a packaged certbot has a line of its own, which stays.
    """
    words = [
        re.escape(prefix),
        *[rf"{re.escape(directory.rstrip('/'))}(/|\s|$)" for directory in directories_ if directory.strip("/")],
    ]
    if not system:
        words.append(r"\bcertbot(-auto)?\s+(-\S+\s+)*renew\b")
    pattern = re.compile("|".join(words))
    kept: list[str] = []
    gone: list[str] = []
    for line in text.splitlines(keepends=True):
        entry = line.strip()
        job = entry and not entry.startswith("#") and not re.match(r"\w+\s*=", entry)
        (gone if job and pattern.search(entry) else kept).append(line)
    return "".join(kept), [line.strip() for line in gone]


def room_problems(needs: Iterable[Mapping[str, Any]], reserve: int) -> list[str]:
    """One sentence for each file system without room for the backup and the copy.

    :param needs: what is to be written: {what, path, device, free, bytes}.
    """
    by_device: dict[Any, list[Mapping[str, Any]]] = {}
    for need in needs:
        by_device.setdefault(need["device"], []).append(need)
    problems = []
    for entries in by_device.values():
        needed, free = sum(entry["bytes"] for entry in entries) + reserve, entries[0]["free"]
        if needed > free:
            parts = ", ".join(f"{entry['what']} {_mb(entry['bytes'])} in {entry['path']}" for entry in entries)
            problems.append(f"disk: {_mb(free)} are free, {_mb(needed)} are needed ({parts}). Make room, or take a larger disk.")
    return problems


def _mb(count: int) -> str:
    return f"{-(-count // 1_000_000)} MB"


def problems(old: Mapping[str, Any], facts: Mapping[str, Any], desired: Mapping[str, Any]) -> list[str]:
    """What stops a takeover, one sentence each; all of it before anything is changed.

    :param facts: {major, size, said: what psql answered instead, files: directories(), needs, packages}.
    :param desired: {major, hosts, docker_source, reserve}.
    """
    found = []
    postgres = old["services"].get("postgres")
    if not postgres:
        names = ", ".join(entry["name"] for entry in old["services"].values())
        return [
            f"adopt_prefix: there are {names}, but no container of PostgreSQL. Import a dump instead (docs/adopt.md) and remove them."
        ]
    if facts.get("installed"):
        return [
            f"{facts['installed']}: a release of ours is here already, with data of its own, which a takeover would replace. "
            "Restore a dump of the old database instead (docs/adopt.md), and remove the old containers."
        ]
    name, major, ours = postgres["name"], facts.get("major", 0), int(desired["major"])
    if len(desired["hosts"]) > 1:
        found.append(
            f"inventory: a takeover is for one server, and this inventory has {', '.join(sorted(desired['hosts']))}. "
            "Take over with one host in all groups; move parts of it afterwards."
        )
    if major > ours:
        found.append(
            f"app_postgres_major: the data of {name} is of PostgreSQL {major}, the inventory wants the older {ours}. "
            f"Set app_postgres_major: {major} and an app_postgres_image of it."
        )
    if not postgres["running"]:
        of = f" (its data is of PostgreSQL {major}, its image {postgres['image']})" if major else ""
        found.append(
            f"{name}: is {postgres['status']}{of}. It must run to be copied: start it, docker logs {name} says why it does not."
        )
    elif facts.get("said"):
        found.append(f"{name}: its database cannot be read: {facts['said']}")
    if not any(entry["edge"] for entry in old["services"].values()):
        found.append(
            "adopt_services: none of the old containers has port 80 or 443. A web server that is in no container is not taken over: "
            "name its container, or remove it and let site.yml make the new one."
        )
    for directory in facts.get("files", []):
        if not directory["source"]:
            found.append(
                f"adopt_files.{directory['name']}: no directory of the server is mounted at {directory['inside']}. Copy what is in the container "
                f"(docker cp) and name the directory, as in adopt_files: {{{directory['name']}: /srv/{directory['name']}}}."
            )
        elif directory.get("missing"):
            found.append(
                f"adopt_files.{directory['name']}: {directory['source']} is no directory. Name the one that holds the files."
            )
    for other in old["others"]:
        ports = sorted({80, 443} & set(other["ports"])) if other["running"] else []
        if ports:
            found.append(
                f"{other['name']}: holds port {' and '.join(map(str, ports))} and is none of the containers that would be stopped. "
                "Stop it, or add it to adopt_services."
            )
    if "docker-ce" in facts.get("packages", []) and desired["docker_source"] != "docker":
        found.append(
            "docker_source: this server has Docker's own packages, and Debian's would replace them. Set docker_source: docker."
        )
    return found + room_problems(facts.get("needs", []), desired["reserve"])


def hint(old: Mapping[str, Any], phase: str, installed: bool) -> str:
    """What site.yml says on such a server instead of building a second site beside it; empty: nothing to say.

    :param installed: a release of ours is here, though nothing was taken over: what is left of an older one is nobody's business.
    """
    if phase in TAKEN or not old["services"] or (installed and not phase):
        return ""
    names = ", ".join(entry["name"] for entry in old["services"].values())
    return (
        f"this server runs an older deployment ({names}). Take it over: ansible-playbook playbooks/adopt.yml (docs/adopt.md; "
        "--check shows the plan), or remove its containers if nobody needs its data."
    )


def standing(old: Mapping[str, Any], journal: Mapping[str, Any], installed: bool) -> str:
    """How a takeover stands, in a line for status.yml and verify.yml; empty where there is none."""
    services, phase, again = old["services"], journal.get("phase", ""), "Run playbooks/adopt.yml again."
    if not phase:
        return hint(old, phase, installed)
    if phase == "retired":
        back = "postgres" in services and any(entry["edge"] for entry in services.values())
        return (
            "taken over; its containers are there, so playbooks/adopt_undo.yml can go back to them"
            if back
            else "taken over; its containers are gone, and with them the way back"
        )
    if phase == "returned":
        return "taken over and given back: the old containers serve. playbooks/adopt.yml takes over again."
    if phase == "done":
        return f"not finished: the new site serves, the old one is not retired. {again}"
    reason = f" Last time: {str(journal['problem']).rstrip('.')}." if journal.get("problem") else ""
    return f"not finished ({phase}): the old site serves.{reason} {again}"


def plan(old: Mapping[str, Any], facts: Mapping[str, Any], phase: str) -> list[str]:
    """What will be done, for the operator."""
    if phase in TAKEN:
        return ["It was taken over already."]
    if not old["services"]:
        return ["There is nothing to take over."]
    postgres = old["services"].get("postgres", {})
    lines = [
        f"copy the database {postgres.get('database')} of {postgres.get('name')} (PostgreSQL {facts.get('major')}, {_mb(facts.get('size', 0))})"
    ]
    lines += [f"copy {entry['source']} to {entry['target']}" for entry in facts.get("files", []) if entry["source"]]
    if "redis" in old["services"]:
        lines.append(f"copy the cache of {old['services']['redis']['name']}")
    certificate = facts.get("certificate")
    lines.append(f"serve the certificate of {certificate}" if certificate else "serve a placeholder: no certificate was found")
    lines.append(f"stop {', '.join(entry['name'] for entry in old['services'].values())}; they and their volumes stay")
    lines += [f"remove from {entry['path']}: {line}" for entry in facts.get("cron", []) for line in entry["lines"]]
    lines += [f"leave alone: {entry['name']}" for entry in old["others"]]
    return lines
