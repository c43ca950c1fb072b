# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""How the parts of an inventory fit together: who asks whom, and where; from descriptions to what each role is told. Pure functions.

``said`` is what an inventory says of one host, as in description.py.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall.rules import access_rules
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import description
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.description import (
    listed,
    mapping,
    services_of,
    sites_of,
    truth,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import bracketed
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring.configuration import scrape_jobs
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import gate
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.images import upstreams

GROUPS = ("edge", "app", "db", "cache", "monitoring", "logging", "backup")
LOOPBACK = "127.0.0.1"
EXPORTERS = {"node": 9100, "postgres": 9187, "redis": 9121, "nginx": 9113}
FLUENTD_PORT = 24231


# --- hosts ----------------------------------------------------------------------------------------------------------------
def needed_groups(said: Mapping[str, Any]) -> list[str]:
    """Into which groups a host belongs whose inventory names none of them: those that the description needs."""
    used = description.used_secrets(said)
    db = truth(said.get("app_postgres_enabled", False)) or bool(used & {"postgres_url", "postgres_password"})
    cache = truth(said.get("app_redis_enabled", False)) or bool(used & {"redis_url", "redis_password"})
    here = {
        "edge": bool(said.get("nginx_sites")),
        "app": bool(said.get("app_services")),
        "db": db,
        "cache": cache,
        "monitoring": truth(said.get("monitoring_enabled", True)),
        "logging": True,
        "backup": db,
    }
    return [group for group in GROUPS if here[group]]


def members(groups: Mapping[str, Sequence[str]], *names: str) -> list[str]:
    """The hosts of groups, each once."""
    return list(dict.fromkeys(host for name in names for host in groups.get(name) or []))


def bind_address(host: str, clients: Iterable[str], address: str) -> str:
    """Where something listens that these hosts ask: loopback if it is this host alone, else its private address."""
    return address if set(clients) - {host} else LOOPBACK


def is_address(text: Any) -> bool:
    """Whether it is an IP address; a name cannot be given to a container as one."""
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def extra_hosts(host: str, groups: Mapping[str, Sequence[str]], addresses: Mapping[str, str]) -> dict[str, str]:
    """Where containers of a host find the databases that are on other hosts: name -> address."""
    found = {}
    for name, group in (("postgres", "db"), ("redis", "cache")):
        servers = members(groups, group)
        if servers and host not in servers and is_address(addresses.get(servers[0])):
            found[name] = addresses[servers[0]]
    return found


# --- who asks whom --------------------------------------------------------------------------------------------------------
def log_server(groups: Mapping[str, Sequence[str]]) -> str:
    """The host that others send their journals to; empty: logs are not collected."""
    return next(iter(members(groups, "logging")), "")


def monitored(said: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> bool:
    """Whether somebody watches the hosts."""
    return truth(said.get("monitoring_enabled", True)) and bool(members(groups, "monitoring"))


def runs_containers(said: Mapping[str, Any], host: str, groups: Mapping[str, Sequence[str]]) -> bool:
    """Whether a host needs Docker: for the application, its databases, Elasticsearch or Grafana."""
    return (
        host in members(groups, "app", "db", "cache")
        or (host == log_server(groups) and said.get("logging_backend") == "elasticsearch")
        or (
            host in members(groups, "monitoring")
            and monitored(said, groups)
            and truth(said.get("monitoring_grafana_enabled", False))
        )
    )


def access(said: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The table that says for all hosts who may reach what: ``{name, at, port, from}``, groups among ``at`` and ``from``."""
    elasticsearch = bool(log_server(groups)) and said.get("logging_backend") == "elasticsearch"
    proving = proving_service(said)
    grafana = truth(said.get("monitoring_grafana_enabled", False))
    rows: list[dict[str, Any]] = [
        {"name": "http", "at": "edge", "port": 80, "from": "any"},
        {"name": "https", "at": "edge", "port": 443, "from": "any"},
    ]
    for name, service in services_of(said).items():
        for colour, port in mapping(service.get("publish")).items():
            clients = ["edge", *(["monitoring"] if service.get("metrics") else []), *(["backup"] if name == proving else [])]
            rows.append({"name": f"{name} {colour}", "at": "app", "port": port, "from": clients, "container": True})
    return [
        *rows,
        {"name": "postgres", "at": "db", "port": said.get("app_postgres_port", 5432), "from": "app", "container": True},
        {"name": "redis", "at": "cache", "port": said.get("app_redis_port", 6379), "from": "app", "container": True},
        {"name": "metrics of hosts", "at": ["edge", "app", "db", "cache", "logging"], "port": EXPORTERS["node"], "from": "monitoring"},
        {"name": "metrics of postgres", "at": "db", "port": EXPORTERS["postgres"], "from": "monitoring"},
        {"name": "metrics of redis", "at": "cache", "port": EXPORTERS["redis"], "from": "monitoring"},
        {"name": "metrics of nginx", "at": "edge", "port": EXPORTERS["nginx"], "from": "monitoring"},
        {"name": "metrics of fluentd", "at": "logging", "port": FLUENTD_PORT, "from": "monitoring" if elasticsearch else [], "container": True},
        {"name": "kibana", "at": "logging", "port": said.get("logging_kibana_port", 5601), "from": "edge" if elasticsearch else [], "container": True},
        {"name": "monitoring page", "at": "monitoring", "port": 9090, "from": "edge"},
        {"name": "grafana", "at": "monitoring", "port": 3000, "from": "edge" if grafana else []},
        {"name": "journals", "at": "logging", "port": said.get("logging_server_port", 19532), "from": ["app", "db", "cache", "edge", "backup", "logging"]},
        {"name": "journal page", "at": "logging", "port": said.get("logging_page_port", 19531), "from": "edge"},
    ]  # fmt: skip


def jobs(said: Mapping[str, Any], groups: Mapping[str, Sequence[str]], app_addresses: Mapping[str, str]) -> list[dict[str, Any]]:
    """The table of what Prometheus asks: ``{name, at, port}``, and of services ``path``, ``addresses`` and ``labels`` as well.

    :param app_addresses: app host -> where its services listen.
    """
    rows: list[dict[str, Any]] = [
        {"name": "node", "at": ["edge", "app", "db", "cache", "logging", "monitoring"], "port": EXPORTERS["node"]},
        {"name": "postgres", "at": "db", "port": EXPORTERS["postgres"]},
        {"name": "redis", "at": "cache", "port": EXPORTERS["redis"]},
        {"name": "nginx", "at": "edge", "port": EXPORTERS["nginx"]},
    ]
    if log_server(groups) and said.get("logging_backend") == "elasticsearch":
        rows.append({"name": "fluentd", "at": "fluentd", "port": FLUENTD_PORT})
    for name, service in services_of(said).items():
        for colour, port in mapping(service.get("publish")).items() if service.get("metrics") else ():
            rows.append({
                "name": f"{said.get('app_name')}-{name}", "at": "app", "port": port, "path": str(service["metrics"]),
                "addresses": app_addresses, "labels": {"service": name, "colour": colour},
            })  # fmt: skip
    return rows


def pages(
    said: Mapping[str, Any], groups: Mapping[str, Sequence[str]], shown_at: Mapping[str, str], watched_at: Mapping[str, str]
) -> dict[str, str]:
    """The pages of the collection that an edge shows on its first site: page -> ``address:port`` behind it.

    :param shown_at: host -> where the pages of its logs listen; ``watched_at``: where its exporters and Prometheus do.
    """
    found, logs = {}, log_server(groups)
    if logs:
        where = bracketed(shown_at[logs])
        if said.get("logging_page_users"):
            found["logs"] = f"{where}:{said.get('logging_page_port', 19531)}"
        if said.get("logging_backend") == "elasticsearch":
            found["kibana"] = f"{where}:{said.get('logging_kibana_port', 5601)}"
    if monitored(said, groups):
        watcher = members(groups, "monitoring")[0]
        where = bracketed(watched_at[watcher])
        if said.get("monitoring_page_users"):
            found["monitoring"] = f"{where}:9090"
        if truth(said.get("monitoring_grafana_enabled", False)):
            found["grafana"] = f"{where}:3000"
    return found


def proving_service(said: Mapping[str, Any]) -> str:
    """The service whose health proves restored data: the first that has secrets, for it uses the database. Empty for none."""
    return next((name for name, service in services_of(said).items() if service.get("secrets") and service.get("publish")), "")


def backup_probes(said: Mapping[str, Any], app_addresses: Iterable[str]) -> list[Any]:
    """What proves restored data, in every colour; the one that does not serve does not answer."""
    name = proving_service(said)
    return gate.probes(services_of(said)[name], list(app_addresses)) if name else []


# --- by name, for the file that ships the wiring ---------------------------------------------------------------------------
def private_address(said: Mapping[str, Any], host: str) -> str:
    """From where a host comes when it asks another one, and where the others reach it."""
    return str(said.get("private_address") or said.get("ansible_host") or host)


def app_address(said: Mapping[str, Any], host: str, groups: Mapping[str, Sequence[str]]) -> str:
    """Where the services of a host listen: edges ask them, Prometheus does, and a backup that proves a restore."""
    address = bind_address(host, members(groups, "edge", "monitoring", "db"), private_address(said, host))
    return str(said.get("app_bind_address") or address)


def data_address(said: Mapping[str, Any], host: str, groups: Mapping[str, Sequence[str]]) -> str:
    """Where the databases of a host listen for other hosts; empty where none asks them."""
    address = bind_address(host, members(groups, "app"), private_address(said, host))
    return "" if address == LOOPBACK else address


def monitoring_address(said: Mapping[str, Any], host: str, groups: Mapping[str, Sequence[str]]) -> str:
    """Where the exporters of a host and Prometheus listen."""
    alone = len(groups.get("all") or []) == 1
    return str(said.get("monitoring_address") or (LOOPBACK if alone else private_address(said, host)))


def log_page_address(said: Mapping[str, Any], host: str, groups: Mapping[str, Sequence[str]]) -> str:
    """Where the pages of the logs that a host has listen."""
    address = bind_address(host, members(groups, "edge"), private_address(said, host))
    return str(said.get("logging_page_address") or address)


def wired(hosts: Mapping[str, Mapping[str, Any]], part: str, host: str, groups: Mapping[str, Sequence[str]]) -> Any:
    """One part of the wiring, by its name in ``playbooks/group_vars/all/fleet.yml``, as one host has it.

    :param hosts: host -> what the inventory says of it; ``groups``: group -> hosts.
    :raises ValueError: for a part that there is not.
    """
    said, everybody = hosts[host], members(groups, "all")
    server = log_server(groups)

    def everywhere(address: Callable[[Mapping[str, Any], str, Mapping[str, Sequence[str]]], str], *names: str) -> dict[str, str]:
        return {other: address(hosts[other], other, groups) for other in members(groups, *names)}

    def addresses() -> dict[str, str]:
        return {other: private_address(hosts[other], other) for other in everybody}

    parts: dict[str, Callable[[], Any]] = {
        "address": lambda: private_address(said, host),
        "addresses": addresses,
        "app_address": lambda: app_address(said, host, groups),
        "app_addresses": lambda: everywhere(app_address, "app"),
        "absent_addresses": lambda: [
            address for other, address in everywhere(app_address, "app").items() if other in listed(said.get("absent_hosts"))
        ],
        "data_address": lambda: data_address(said, host, groups),
        "monitoring_address": lambda: monitoring_address(said, host, groups),
        "groups": lambda: {other: needed_groups(hosts[other]) for other in everybody},
        "old_form": lambda: list(
            dict.fromkeys(problem for other in everybody for problem in description.old_form_problems(hosts[other]))
        ),
        "services": lambda: services_of(said),
        "colours": lambda: description.colours_of(said),
        "upstreams": lambda: upstreams(services_of(said), everywhere(app_address, "app").values(), description.colours_of(said)),
        "assets": lambda: description.assets_of(said),
        "asset_paths": lambda: description.asset_paths(said),
        "volumes": lambda: description.volumes_of(said),
        "extra_hosts": lambda: extra_hosts(host, groups, addresses()),
        "sites": lambda: sites_of(said),
        "url": lambda: description.site_url(sites_of(said), ""),
        "probes": lambda: description.probes_of(said),
        "probe_urls": lambda: [
            f"https://{probe['name']}{probe['path']}"
            for probe in description.probes_of(said)
            if probe.get("name") and probe.get("path")
        ],
        "certificates": lambda: said.get("certbot_certificates", description.site_certificates(sites_of(said))),
        "pages": lambda: pages(
            said, groups, everywhere(log_page_address, "logging"), everywhere(monitoring_address, "monitoring")
        ),
        "runs_containers": lambda: runs_containers(said, host, groups),
        "access": lambda: access_rules(access(said, groups), host, groups, addresses()),
        "log_server": lambda: server,
        "log_page_address": lambda: log_page_address(hosts[server], server, groups) if server else "",
        "monitored": lambda: monitored(said, groups),
        "jobs": lambda: scrape_jobs(
            jobs(said, groups, everywhere(app_address, "app")),
            {**groups, "fluentd": [server]},
            everywhere(monitoring_address, "all"),
        ),
        "metrics_password": lambda: made_of(said, "/metrics"),
        "grafana_key": lambda: made_of(said, "/grafana"),
        "backup_probes": lambda: backup_probes(said, everywhere(app_address, "app").values()),
    }
    if part not in parts:
        raise ValueError(f"There is no part {part!r} of the wiring, only {', '.join(parts)}.")
    return parts[part]()


def made_of(said: Mapping[str, Any], purpose: str) -> str:
    """A secret that is made of the database's, so that nobody needs to think of another; empty without a database."""
    secrets = mapping(said.get("app_secrets"))
    password = secrets.get("postgres_password") or secrets.get("redis_password")
    return hashlib.sha256(f"{password}{purpose}".encode()).hexdigest() if password else ""
