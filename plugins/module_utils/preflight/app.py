# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `app` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.docker import registry
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import spec
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import app_host
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import images, services

LOOPBACK = re.compile(r"127[.]|::1$")


def problems(facts: Mapping[str, Any], specs: Mapping[str, spec.Options]) -> list[str]:
    """Judge the application that a host is to run, its databases and what stands on the host already.

    :param facts: ``argument_errors``, ``cast_problems`` and ``secret_problems``, which Ansible and the lookups of these names found; the
        role's variables ``name``, ``release``, ``registry_login``, ``services``, ``colours``, ``migrations``, ``bind_address``,
        ``log_driver``, ``log_options``, ``shared_volumes``, ``state_dir``, ``image_source``, ``build_host``, ``redis``,
        ``redis_password_secret``, ``redis_bind_address``, ``postgres_bind_address``, ``postgres_major``, ``postgres_volume``, ``ports``
        (variable -> published port), ``postgres_ca_host``; ``host`` and ``groups`` of the inventory, ``play_hosts``; what was found:
        ``record`` of the release that the host serves or is to join, ``processors``, ``running`` (whether containers of the application
        are here), ``engine`` (Docker's version), ``helpers`` (results of ``stat`` on hosts that are no part of the run), ``sources``
        (results of ``stat``), ``volume`` (names in PostgreSQL's volume), ``listening`` and ``containers`` (as :func:`port_problems` takes
        them), and ``own``, on a user's own machine what Docker and ``id`` answered, with ``tried``, the results of `wait_for` for each
        port.
    :param specs: what a value may have, of the role's argument specification: ``app_services`` of a service, ``app_migrations``.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    described = facts["services"]
    found = [
        *facts["argument_errors"],
        *facts["cast_problems"],
        *services.app_name_problems(facts["name"]),
        *images.release_name_problems(facts["release"]),
        *services.service_problems(
            described,
            facts["colours"],
            facts["record"].get("release", facts["release"]),
            facts["migrations"],
            specs,
            needed=facts["host"] in facts["groups"].get("app", []),
            processors=facts["processors"],
        ),
        *facts["secret_problems"],
        *registry.login_problems(facts["registry_login"]),
        *inventory_problems.address_problems({"app_bind_address": facts["bind_address"]}),
        *app_host.log_option_problems(facts["log_options"], facts["log_driver"], facts["engine"]),
    ]
    found += _reach_problems(facts) + _helper_problems(facts)
    if facts["own"]:
        docker, compose, _containers, user = facts["own"]
        found += app_host.docker_problems(docker, compose, user.get("stdout", "?"))
    found += _source_problems(facts)
    found += app_host.volume_problems(facts["volume"], facts["postgres_major"], facts["postgres_volume"])
    return found + inventory_problems.port_problems(
        facts["ports"], _listening(facts), ["docker-proxy", "dockerd"], facts["containers"], facts["name"]
    )


def _reach_problems(facts: Mapping[str, Any]) -> list[str]:
    """Who may reach the databases and the services, and whether several hosts see the same files."""
    host, groups, described = facts["host"], facts["groups"], facts["services"]
    redis, bind = str(facts["redis_bind_address"] or ""), str(facts["bind_address"])
    found = inventory_problems.address_problems(
        {"app_postgres_bind_address": facts["postgres_bind_address"], "app_redis_bind_address": facts["redis_bind_address"]},
        optional=True,
    )
    if facts["redis"] and not facts["redis_password_secret"] and redis and not LOOPBACK.match(redis):
        found.append(
            "app_redis_bind_address: other hosts could use Redis without a password. Name one of app_secrets in app_redis_password_secret."
        )
    edges = [edge for edge in groups.get("edge", []) if edge != host]
    if host in groups.get("app", []) and edges and LOOPBACK.match(bind):
        found.append(
            f"app_bind_address: {bind} is out of reach for the edges on other hosts ({', '.join(edges)})."
            f" Use the address of {host} in a network that they share."
        )
    with_volumes = isinstance(described, Mapping) and any(
        isinstance(service, Mapping) and "volumes" in service for service in described.values()
    )
    if len(groups.get("app", [])) > 1 and not facts["shared_volumes"] and with_volumes:
        found.append(
            "app_shared_volumes: several hosts run services with volumes, and a file that one of them stores is not on the others."
            f" Put {facts['state_dir']} volumes on shared storage and set app_shared_volumes: true."
        )
    return found


def _helper_problems(facts: Mapping[str, Any]) -> list[str]:
    """Hosts that a release asks for something, though the run leaves them out."""
    found = []
    for result in (result for result in facts["helpers"] if not result.get("skipped")):
        host, ready = result["item"], result.get("stat", {}).get("exists", False)
        if result.get("unreachable"):
            found.append(
                f"{host}: a release needs this host, which is left out of this run, and it cannot be reached. Name it, too, or start it."
            )
        elif host == facts["postgres_ca_host"] and not ready:
            found.append(
                f"app_postgres_ca_host: {host}, which is left out of this run, has no certificate of PostgreSQL yet."
                " Run it without --limit, or name it, too."
            )
    return found


def _source_problems(facts: Mapping[str, Any]) -> list[str]:
    """What stands on the host that builds is one problem, and not one of each host that runs it."""
    host, app = facts["host"], facts["groups"].get("app", [])
    built = facts["image_source"] == "build"
    first = next((other for other in facts["play_hosts"] if other in app), host)
    states = {result["item"]: result["stat"] for result in facts["sources"]}
    return app_host.path_problems(facts["services"], built and host == first, states, facts["build_host"] if built else host)


def _listening(facts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Who listens besides the application. A host whose containers run has its ports for them."""
    if facts["own"]:
        taken = [
            result["item"] for result in facts["tried"] if result.get("elapsed", 0) >= 1
        ]  # nobody gave the port up for a second
        return app_host.listeners(taken, facts["own"][2].get("stdout_lines", []))
    return [] if facts["running"] else facts["listening"]
