# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes the place of the world outside the servers of a rehearsal, reachable or not: pure functions, variables in, variables out."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

REGISTRY = "registry.lab:5000"
WORLD = "world.lab"
REMOTES = "/srv/rehearsal-remotes"
# What the lab has an example of: the last two parts of an image's name -> its folder.
EXAMPLES = {"kasaneha/backend": "app/backend", "kasaneha/frontend": "app/frontend"}
DERIVED = ("postgres_url", "redis_url")
# Logins at registries: nobody logs in anywhere.
LOGINS = tuple(f"{role}_registry_login" for role in ("app", "docker", "logging", "monitoring"))
# Set by the rehearsal whatever the inventory says; nobody reads the inventory's own.
ALWAYS = (
    "app_secrets app_service_overrides docker_daemon_extra_options certbot_directory certbot_staging_directory certbot_ca_bundle "
    "certbot_eab_kid certbot_eab_hmac_key monitoring_alerts_off monitoring_receivers monitoring_smtp monitoring_heartbeat_url "
    "backup_remotes backup_rclone_config backup_recipients monitoring_page_users logging_page_users monitoring_grafana_password "
    "logging_elasticsearch_secrets app_image_archive_dir certbot_own_certificates"
).split() + list(LOGINS)


@dataclass
class Standins:
    """What is put in place.

    Attributes:
        variables: extra variables, which win over the inventory.
        images: what the lab builds and pushes, as `lab_images` in lab/vars.yml.
        examples: releases of the example application to build.
        real: sentences on what is as it is at the real place.
        instead: what stood in: (what the inventory names, what took its place).
        missing: sentences on what could be neither had nor replaced.
        known: whether the site is the example application, all of whose paths the load knows.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    images: list[dict[str, Any]] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    real: list[str] = field(default_factory=list)
    instead: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    known: bool = False


def reference(image: str, release: str) -> str:
    """An image with its tag: a name without one gets the release."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:{release}"


def next_release(release: str) -> str:
    """A release that comes after another: v1.4.2 -> v1.5.0; what is no version gets `-next`."""
    if match := re.fullmatch(r"(v?\d+)\.(\d+)(\.\d+)?", release):
        return f"{match[1]}.{int(match[2]) + 1}{'.0' if match[3] else ''}"
    return f"{release}-next"


def secret_names(said: Mapping[str, Any], services: Mapping[str, Any], databases: bool, several: bool) -> list[str]:
    """The secrets to invent: those that services and builds name, and the databases' own.

    Args:
        said: variables of a host.
        services: complete services.
        databases: whether a host runs PostgreSQL.
        several: whether there are several hosts, so that Redis needs a password.
    """
    named = [secret for service in services.values() for secret in (service.get("secrets") or {}).values()]
    named += [secret for secret in (said.get("app_build_secrets") or {}).values() if isinstance(secret, str)]
    redis = "redis_url" in named
    names = [name for name in named if name not in DERIVED]
    if databases or "postgres_url" in named:
        names.append(str(said.get("app_postgres_password_secret") or "postgres_password"))
    if said.get("app_redis_password_secret"):
        names.append(str(said["app_redis_password_secret"]))
    elif redis and several:
        names.append("redis_password")
    return list(dict.fromkeys(str(name) for name in names))


def receivers(real: Any) -> list[dict[str, Any]]:
    """Who is told of alerts, with the addresses of the stand-in; mail goes to it by `monitoring_smtp`."""
    told = []
    for receiver in real if isinstance(real, list) else []:
        if isinstance(receiver, Mapping):
            one = dict(receiver)
            for kind in ("slack", "webhook"):
                if kind in one:
                    one[kind] = f"http://{WORLD}/{kind}/{one.get('name', '')}"
            if "token" in one:
                one["token"] = secrets.token_hex(20)
            told.append(one)
    return told


def remotes(real: Any) -> tuple[list[str], str]:
    """Remotes of backups under their own names and paths, and rclone's configuration by which each is a folder of the server itself."""
    listed = [str(remote) for remote in real] if isinstance(real, list) else []
    names = dict.fromkeys(remote.partition(":")[0] for remote in listed if ":" in remote)
    return listed, "".join(f"[{name}]\ntype = alias\nremote = {REMOTES}/{name}\n" for name in names if name)


def description(name: str, service: Mapping[str, Any], migrations: Mapping[str, Any], probes: Iterable[Any]) -> dict[str, Any]:
    """What the stand-in of an image that cannot be pulled must be able to do, by the description of its service."""
    answers: dict[str, Any] = {}
    for probe in (service.get("health"), *probes):
        one = {"path": probe} if isinstance(probe, str) else dict(probe) if isinstance(probe, Mapping) else {}
        if one.get("path"):
            answers[str(one["path"])] = {"status": int(one.get("status") or 200), "key": str(one.get("release_key") or "")}
    if service.get("health") and service.get("release_key"):
        health = service["health"] if isinstance(service["health"], str) else service["health"].get("path", "/")
        answers[str(health)]["key"] = str(service["release_key"])
    migrate = list(migrations.get("command") or []) if migrations.get("service") == name else []
    check = (service.get("healthcheck") or {}).get("test") or []
    check = list(check) if isinstance(check, list) else ["CMD-SHELL", str(check)]
    words = (
        [str(word) for part in check[1:] for word in str(part).split()]
        if check[:1] == ["CMD-SHELL"]
        else [str(word) for word in check[1:]]
    )
    return {
        "service": name,
        "port": int(service.get("port") or 0),
        "answers": answers,
        "metrics": str(service.get("metrics") or ""),
        "assets": str(service.get("assets") or ""),
        "programs": [str(words[0]) for words in (service.get("command"), migrate, words) if words],
        "migrate": [str(word) for word in migrate[1:]],
        "check": words[1:],
        "database": [str(variable) for variable, secret in (service.get("secrets") or {}).items() if secret == DERIVED[0]],
    }


def choose(
    said: Mapping[str, Any],
    services: Mapping[str, Any],
    sites: Iterable[Mapping[str, Any]],
    releases: Iterable[str],
    invented: Mapping[str, str],
    groups: Iterable[str],
    pulled: Callable[[str], bool],
    recipient: str = "",
) -> Standins:
    """Choose the stand-ins of an inventory.

    Args:
        said: variables of one of its hosts, rendered.
        services: complete services.
        sites: complete sites.
        releases: the release that is installed, and the one that is released afterwards.
        invented: secrets and their values.
        groups: those of the collection's groups that have hosts.
        pulled: whether an image can be pulled without a login.
        recipient: a public key of age, for an inventory that encrypts its backups.
    """
    found, releases, sites = Standins(), list(dict.fromkeys(releases)), list(sites)
    put = found.variables
    overrides = json.loads(json.dumps(said.get("app_service_overrides") or {}))
    for name, service in services.items():
        image = str(service.get("image") or "")
        wanted = [reference(image, release) for release in releases]
        if not image:
            continue
        if said.get("app_image_source", "pull") == "pull" and all(pulled(one) for one in wanted[:1]):
            found.real.append(f"image {wanted[0]}")
            continue
        last = "/".join(image.partition("@")[0].split(":")[0].split("/")[-2:])
        tag = "" if wanted[0] != image else image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else "latest"
        if last in EXAMPLES:
            new = f"{REGISTRY}/{last}"
            found.examples += [one for one in ([tag] if tag else releases) if one not in found.examples]
            what = "the lab's example application"
        else:
            new = f"{REGISTRY}/rehearsal/{said.get('app_name')}-{name}"
            probes = [probe for site in sites for probe in site_probes(site, name)]
            described = description(name, service, said.get("app_migrations") or {}, probes)
            label = str(service.get("release_label") or "org.opencontainers.image.version")
            found.images += [
                {"tag": f"kasaneha-rehearsal/{said.get('app_name')}-{name}:{one}", "folder": "images/standin", "base": "bookworm",
                 "push": f"rehearsal/{said.get('app_name')}-{name}",
                 "args": {"DESCRIPTION": json.dumps(described), "RELEASE": one, "LABEL": label}}
                for one in ([tag] if tag else releases)
            ]  # fmt: skip
            what = "a program made of the service's description"
        overrides.setdefault(name, {})["image"] = f"{new}:{tag}" if tag else new
        found.instead.append((f"image {wanted[0]}", what))
    found.known = bool(found.examples) and {"backend", "frontend"} <= {
        str(service.get("image", "")).rpartition("/")[2].split(":")[0] for service in services.values()
    }
    put["app_service_overrides"] = overrides
    put["app_image_source"] = "pull"
    if said.get("app_image_source", "pull") != "pull":
        found.instead.append((f"app_image_source: {said['app_image_source']}", "images of the lab, pulled"))
    choose_databases(found, said, set(groups), pulled)
    choose_world(found, said, sites, recipient)
    put["app_secrets"] = dict(invented)
    if invented:
        found.instead.append((f"secrets {', '.join(sorted(invented))}", "random values"))
    return found


def site_probes(site: Mapping[str, Any], service: str) -> list[Any]:
    """The probes of a site that a service answers, by the longest path of its locations."""
    places = [
        (str(place.get("path", "")), place.get("upstream")) for place in site.get("locations") or [] if isinstance(place, Mapping)
    ]

    def serves(path: str) -> Any:
        best = max((place for place in places if path.startswith(place[0])), key=lambda place: len(place[0]), default=None)
        return best[1] if best and best[1] else site.get("upstream")

    probes = site.get("probes") or ["/"]
    return [probe for probe in probes if serves(str(probe if isinstance(probe, str) else probe.get("path", "/"))) == service]


def choose_databases(found: Standins, said: Mapping[str, Any], groups: set[str], pulled: Callable[[str], bool]) -> None:
    """PostgreSQL, Redis and what else runs in containers: their own images where they can be pulled."""
    put = found.variables
    major = str(said.get("app_postgres_major") or 15)
    postgres, redis = (
        str(said.get("app_postgres_image") or "postgres:15-alpine"),
        str(said.get("app_redis_image") or "redis:7-alpine"),
    )
    wanted = {"postgres": "db" in groups, "redis": "cache" in groups}
    if wanted["postgres"] and pulled(postgres):
        found.real.append(f"image {postgres}")
    elif wanted["postgres"] and major in ("15", "17"):
        put |= {"app_postgres_image": f"{REGISTRY}/lab/postgres:{major}", "app_postgres_uid": 70}
        base = "bookworm" if major == "15" else "trixie"
        found.images.append({"tag": f"kasaneha-lab/postgres:{major}", "folder": "images/postgres", "base": base, "push": "lab/postgres",
                             **({} if major == "15" else {"args": {"MAJOR": major}})})  # fmt: skip
        found.instead.append((f"image {postgres}", f"PostgreSQL {major} of Debian's packages"))
    elif wanted["postgres"]:
        found.missing.append(
            f"app_postgres_image: {postgres} cannot be pulled, and of Debian's packages the lab makes PostgreSQL 15 and 17 only."
        )
    if wanted["redis"] and pulled(redis):
        found.real.append(f"image {redis}")
    elif wanted["redis"]:
        put |= {"app_redis_image": f"{REGISTRY}/lab/redis:7", "app_redis_uid": 999}
        found.images.append({"tag": "kasaneha-lab/redis:7", "folder": "images/redis", "base": "bookworm", "push": "lab/redis"})
        found.instead.append((f"image {redis}", "Redis 7 of Debian's packages"))
    if str(said.get("monitoring_grafana_enabled", False)).lower() in ("true", "yes", "on", "1"):
        grafana = str(said.get("monitoring_grafana_image") or "grafana/grafana:13.2.2")
        if pulled(grafana):
            found.real.append(f"image {grafana}")
            put["monitoring_grafana_password"] = secrets.token_hex(20)
        else:
            put["monitoring_grafana_enabled"] = False
            found.instead.append((f"image {grafana}", "nothing: Grafana was left out"))
    if said.get("logging_backend", "journald") == "elasticsearch":
        put["logging_backend"] = "journald"
        found.instead.append(("logging_backend: elasticsearch", "nothing: logs stayed in the journals, whatever can be pulled"))


def choose_world(found: Standins, said: Mapping[str, Any], sites: Iterable[Mapping[str, Any]], recipient: str) -> None:
    """Authority, names, mail, webhooks, heartbeat, remotes of backups: none of them is asked, whether it can be reached or not."""
    put = found.variables
    daemon = said.get("docker_daemon_extra_options") or {}
    put["docker_daemon_extra_options"] = {**daemon, "insecure-registries": [*daemon.get("insecure-registries", []), REGISTRY]}
    put |= {
        "certbot_directory": "https://acme.lab:14000/dir",
        "certbot_staging_directory": "https://acme.lab:14000/dir",
        "certbot_ca_bundle": "/etc/ssl/certs/ca-certificates.crt",
        "certbot_eab_kid": "",
        "certbot_eab_hmac_key": "",
        # A container has the kernel and the clock of its machine.
        "monitoring_alerts_off": list(dict.fromkeys([*(said.get("monitoring_alerts_off") or []), "ClockNotSynchronised"])),
    }
    names = [str(name) for site in sites for key in ("names", "redirect_names") for name in site.get(key) or []]
    if names:
        found.instead.append((f"DNS of {', '.join(names)}", "/etc/hosts of the servers"))
        found.instead.append(
            (f"certificate authority {said.get('certbot_directory') or 'that the inventory chooses'}", "Pebble, inside the lab")
        )
    put["monitoring_receivers"] = receivers(said.get("monitoring_receivers"))
    for receiver in put["monitoring_receivers"]:
        kind = next((kind for kind in ("email", "slack", "webhook") if kind in receiver), "?")
        found.instead.append((f"{kind} of monitoring_receivers, {receiver.get('name')}", "a recorder inside the lab"))
    mail = bool(said.get("monitoring_smtp")) or any("email" in one for one in put["monitoring_receivers"])
    put["monitoring_smtp"] = {"host": f"{WORLD}:25", "from": "rehearsal@world.lab", "tls": False} if mail else {}
    put["monitoring_heartbeat_url"] = f"http://{WORLD}/heartbeat" if said.get("monitoring_heartbeat_url") else ""
    if said.get("monitoring_heartbeat_url"):
        found.instead.append(("monitoring_heartbeat_url", "a recorder inside the lab"))
    put["backup_remotes"], put["backup_rclone_config"] = remotes(said.get("backup_remotes"))
    found.instead += [(f"backup_remotes: {remote}", f"{REMOTES} on the server itself") for remote in put["backup_remotes"]]
    put["backup_recipients"] = [recipient] if said.get("backup_recipients") else []
    if said.get("backup_recipients"):
        found.instead.append(("backup_recipients", "a key that goes with the rehearsal"))
    put |= {"monitoring_page_users": {}, "logging_page_users": {}}
