# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What a short description of an application leaves out: services, secrets, sites. Pure functions.

``said`` is what an inventory says of one host, variable -> value, without the defaults of any role: what is derived means the same in
every role. A value of the wrong type is the preflight's to report; here it is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

COLOURS = ("blue", "green")
PORT_BASE = 18080  # of the first service in the first colour
PORTS_PER_COLOUR = 100
TRUE = ("true", "yes", "on", "1")  # what the filter bool takes for true


def truth(value: Any) -> bool:
    """A boolean that may have come as text, from ``-e`` or an INI inventory, as the filter ``bool`` reads it."""
    return value.strip().lower() in TRUE if isinstance(value, str) else value is True or value == 1


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """The values of a list, else none."""
    return list(value) if isinstance(value, (list, tuple)) else []


def text(value: Any) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def merged(value: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings, key by key; where both have a mapping, these are merged, too."""
    return {
        **value,
        **{
            key: merged(value[key], other) if isinstance(value.get(key), Mapping) and isinstance(other, Mapping) else other
            for key, other in over.items()
        },
    }


# --- services -------------------------------------------------------------------------------------------------------------
def complete_services(
    services: Any,
    overrides: Any = None,
    registry: str = "",
    label: str = "",
    port_base: Any = PORT_BASE,
    colours: Sequence[str] = COLOURS,
    secrets: Any = None,
) -> Any:
    """Services with what their description leaves out. Complete ones stay as they are.

    :param services: ``app_services``; ``overrides`` is merged into it, service by service and key by key.
    :param registry: where an image without a name of its own is, by the name of its service.
    :param port_base: the first service listens on this port of the host in the first colour, the second service on the next one; each
        further colour is 100 higher. Without colours a service listens on the host where it does in its container.
    :param secrets: ``app_secrets``, of which only the names are read: an optional secret that is there is one of the service's secrets.
    """
    if not isinstance(services, Mapping):
        return services
    found: dict[str, Any] = {}
    for index, (name, described) in enumerate(services.items()):
        if not isinstance(described, Mapping):
            found[name] = described
            continue
        service = merged(described, mapping(mapping(overrides).get(name)))
        if registry and not service.get("image"):
            service["image"] = f"{registry}/{name}"
        if label:
            service.setdefault("release_label", label)
        if isinstance(service.get("optional_secrets"), Mapping):
            there = {variable: name for variable, name in service["optional_secrets"].items() if name in mapping(secrets)}
            if there:
                service["secrets"] = {**there, **mapping(service.get("secrets"))}
        if service.get("port"):
            service.setdefault("health", "/")
            if "publish" not in service and str(port_base).isdigit():
                first = int(port_base) + index
                slots = {colour: first + PORTS_PER_COLOUR * place for place, colour in enumerate(slots_of(colours))}
                service["publish"] = slots or service["port"]
        found[name] = service
    return found


def services_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """``complete_services`` of what an inventory says; services that are no mappings are left out."""
    found = complete_services(
        said.get("app_services"), said.get("app_service_overrides"), str(said.get("app_registry") or ""),
        str(said.get("app_release_label") or ""), said.get("app_port_base", PORT_BASE), colours_of(said), said.get("app_secrets"),
    )  # fmt: skip
    return {name: service for name, service in mapping(found).items() if isinstance(service, Mapping)}


def colours_of(said: Mapping[str, Any]) -> list[str]:
    """The slots of a release."""
    return slots_of(said.get("app_colours", COLOURS))


def slots_of(colours: Any) -> list[str]:
    """Colours, of which a single one may have come as text."""
    return [colour for colour in ([colours] if isinstance(colours, str) else listed(colours)) if text(colour)]


def assets_of(said: Mapping[str, Any]) -> dict[str, str]:
    """Which service brings hashed files, and where they are in its image: ``{service, path}``, or nothing."""
    with_assets = [(name, service["assets"]) for name, service in services_of(said).items() if text(service.get("assets"))]
    return {"service": with_assets[0][0], "path": with_assets[0][1].rstrip("/")} if with_assets else {}


def asset_paths(said: Mapping[str, Any]) -> dict[str, str]:
    """Service -> the path of its hashed files in the URL: the last directory of where they are in its image."""
    return {
        name: f"/{service['assets'].rstrip('/').rpartition('/')[2]}/"
        for name, service in services_of(said).items()
        if text(service.get("assets"))
    }


def volumes_of(said: Mapping[str, Any]) -> list[dict[str, str]]:
    """The directories that services keep, each once: ``{name, path}``, for the backup."""
    names = [
        str(volume).partition(":")[0]
        for service in services_of(said).values()
        for volume in listed(service.get("volumes"))
        if not str(volume).endswith(":ro")
    ]
    return [{"name": name, "path": f"/var/lib/{said.get('app_name')}/{name}"} for name in dict.fromkeys(names)]


# --- secrets --------------------------------------------------------------------------------------------------------------
def derived_secrets(secrets: Any, user: str, database: str, tls: Any = True) -> Any:
    """``app_secrets`` with the URLs that are made of passwords: ``postgres_url`` and ``redis_url``. An inventory's own win.

    PostgreSQL and Redis are found under these names on the network of the containers, on whichever host they are.
    """
    if not isinstance(secrets, Mapping):
        return secrets
    derived = {}
    password = secrets.get("postgres_password")
    if isinstance(password, str) and password:
        trust = "sslmode=verify-full&sslrootcert=/run/ca/postgres.crt" if truth(tls) else "sslmode=disable"
        derived["postgres_url"] = (
            f"postgres://{quote(str(user), safe='')}:{quote(password, safe='')}@postgres:5432/{database}?{trust}"
        )
    redis = secrets.get("redis_password")
    derived["redis_url"] = (
        f"redis://:{quote(redis, safe='')}@redis:6379" if isinstance(redis, str) and redis else "redis://redis:6379"
    )
    return {**derived, **secrets}


def used_secrets(said: Mapping[str, Any]) -> set[str]:
    """The secrets that services name."""
    return {str(secret) for service in services_of(said).values() for secret in mapping(service.get("secrets")).values()}


# --- sites ----------------------------------------------------------------------------------------------------------------
def complete_sites(
    sites: Any, app: str, upstreams: Iterable[str] = (), assets: Mapping[str, str] | None = None, hsts: Any = True
) -> Any:
    """Sites with what their description leaves out. Complete ones stay as they are; one whose list of names is empty is left out.

    :param app: names the certificate, and the first site.
    :param upstreams: the services that can be asked; where there is one only, it is the upstream.
    :param assets: upstream -> the path in the URL of hashed files that are published from disk.
    """
    if not isinstance(sites, (list, tuple)):
        return sites
    known, plain = list(upstreams), app.replace("-", "_")
    found = []
    for index, described in enumerate(sites):
        if not isinstance(described, Mapping):
            found.append(described)
            continue
        if described.get("names") == []:
            continue
        site = {"name": plain if not index else f"{plain}_{index + 1}", "certificate": app, "hsts": hsts, **described}
        if len(known) == 1:
            site.setdefault("upstream", known[0])
        path = (assets or {}).get(str(site.get("upstream")))
        if path:
            site.setdefault("assets", path)
        found.append(site)
    return found


def sites_of(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """``complete_sites`` of what an inventory says; sites that are no mappings are left out."""
    sites = listed(said.get("nginx_sites"))
    trusted = not truth(said.get("certbot_staging", False))
    found = complete_sites(sites, str(said.get("app_name", "app")), published(said), asset_paths(said), trusted)
    return [site for site in found if isinstance(site, Mapping)]


def published(said: Mapping[str, Any]) -> list[str]:
    """The services that an edge can ask."""
    return [name for name, service in services_of(said).items() if service.get("publish")]


def site_probes(sites: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What proves a switch on the public path, as ``nginx_probes`` has it: the ``probes`` of every site, ``/`` where it names none.

    :returns: ``{name, path}``, with ``release_key`` where the answer names the release.
    """
    probes: list[dict[str, Any]] = []
    for site in sites:
        names = site.get("names")
        if isinstance(names, (list, tuple)) and names:
            for probe in listed(site.get("probes")) or ["/"]:
                probes.append({"name": names[0], **(probe if isinstance(probe, Mapping) else {"path": str(probe)})})
    return probes


def probes_of(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What proves a switch, of what an inventory says: its own ``nginx_probes``, or those of its sites."""
    own = listed(said.get("nginx_probes"))
    return [dict(probe) for probe in own if isinstance(probe, Mapping)] if own else site_probes(sites_of(said))


def site_certificates(sites: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The certificates that sites need, as ``certbot_certificates`` has them: ``{name, names}``."""
    found: dict[str, list[str]] = {}
    for site in sites:
        for key in ("names", "redirect_names"):
            names = [str(name) for name in listed(site.get(key))]
            found.setdefault(str(site.get("certificate")), []).extend(names)
    return [{"name": name, "names": list(dict.fromkeys(names))} for name, names in found.items() if names]


def site_url(sites: Iterable[Mapping[str, Any]], path: str = "/") -> str:
    """A URL of the first site; empty without one."""
    for site in sites:
        names = site.get("names")
        if isinstance(names, (list, tuple)) and names:
            return f"https://{names[0]}{path}"
    return ""


# --- what an older inventory says -----------------------------------------------------------------------------------------
# Variable of the old form -> what says it now.
MOVED = {
    "app_assets": "app_services.<service>.assets: the path in its image",
    "site_main": "an entry of nginx_sites; name, certificate, hsts and assets are derived",
    "site_api": "a second entry of nginx_sites",
    "site_log_page": "logging_page_users; the role nginx has the page",
    "site_monitoring": "monitoring_page_users; the role nginx has the page",
    "kasaneha_secrets": "app_secrets",
    "kasaneha_redis_secrets": "app_secrets.redis_password; redis_url is derived",
    "kasaneha_access": "firewall_extra_rules for what is not derived",
    "kasaneha_jobs": "app_services.<service>.metrics",
    "site_kibana": "logging_backend; the role nginx has the page",
    "site_grafana": "monitoring_grafana_enabled; the role nginx has the page",
    "vault_postgres_password": "app_secrets.postgres_password",
    "vault_redis_password": "app_secrets.redis_password",
    "vault_jwt_secret": "app_secrets.jwt_secret",
    "vault_gemini_api_key": "app_secrets.gemini_api_key",
    "vault_rclone_config": "backup_rclone_config",
    "vault_logging_page_users": "logging_page_users",
    "vault_logging_elasticsearch_secrets": "logging_elasticsearch_secrets",
    "vault_monitoring_users": "monitoring_page_users",
    "vault_grafana_password": "monitoring_grafana_password",
}


def old_form_problems(names: Iterable[str]) -> list[str]:
    """Refuse an inventory of an older form, whose variables nobody reads any more, rather than understand half of it.

    :param names: of all variables that it sets.
    """
    return [
        f"{name}: belongs to an older form of inventories, and nothing reads it any more. Write {MOVED[name]}. "
        "The changelog has the whole table, before and now."
        for name in sorted(set(names) & set(MOVED))
    ]
