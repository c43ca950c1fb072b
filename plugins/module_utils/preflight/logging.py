# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `logging` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import address_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.redact import pattern_problems

SECRETS = ("elastic_password", "kibana_password", "fluentd_password", "kibana_encryption_key")
FILE_KEYS = {"path", "service", "stream"}


def problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge what a host keeps, sends and shows of its logs.

    :param facts: ``signs``, whether the hub can sign the certificate of this host; ``argument_errors`` and ``cast_problems``, which
        Ansible and the lookup of that name found; ``settings``, as the role has them in ``_logging_settings``, judged only if these found
        nothing; ``memory_mb`` of the server and ``disk_mb``, the size of the disk that /var/log is on.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    found = [*facts["argument_errors"], *facts["cast_problems"]]
    if found:
        return found
    settings = facts["settings"]
    found += _size_problems(settings, int(facts["disk_mb"]))
    for name in ("keep_days", "burst_lines", "burst_mb", "burst_seconds"):
        if int(settings[name]) < 1:
            found.append(f"logging_{name}: {settings[name]} keeps nothing. Use 1 or more.")
    for number, entry in enumerate(settings["files"]):
        if set(entry) != FILE_KEYS or not str(entry.get("path", "")).startswith("/"):
            found.append(f"logging_files[{number}]: needs path (from /), service and stream, and nothing else.")
    found += pattern_problems(settings["redact"], "logging_redact")
    for name, password in settings["page_users"].items():
        if not str(password).startswith("$") or ":" in str(name):
            found.append(
                f"logging_page_users.{name}: is no hash of a password. Put what `openssl passwd -6` prints into the vault."
            )
    found += address_problems({"logging_page_address": settings["page_address"]})
    if not facts["signs"]:
        found.append(
            f"logging_server: {settings['server']}, which signs the certificate of this host, is left out of this run, and cannot be reached"
            " or was not set up yet. Run it without --limit, or name it, too."
        )
    return found + _server_problems(settings) + _elasticsearch_problems(settings, int(facts["memory_mb"]))


def _size_problems(settings: Mapping[str, Any], disk: int) -> list[str]:
    own, others, free = (int(settings[name]) for name in ("max_mb", "server_max_mb", "keep_free_mb"))
    problems = []
    if own < 16:
        problems.append(f"logging_max_mb: {own} MB are too few for a journal. Use 16 or more.")
    if own + others + free > disk:
        names = "logging_max_mb" + (" + logging_server_max_mb" if others else "") + " + logging_keep_free_mb"
        problems.append(
            f"{names}: {own + others + free} MB, the disk under /var/log has {disk} MB. Keep less, or take a larger disk."
        )
    return problems


def _server_problems(settings: Mapping[str, Any]) -> list[str]:
    server, hosts = settings["server"], settings["hosts"]
    problems = []
    if server and hosts and server not in hosts:
        problems.append(f"logging_server: {server!r} is not among logging_hosts. Name a host of the inventory that logs itself.")
    if not server and len(hosts) > 1:
        problems.append(
            "logging_server: several hosts log, and none of them is named that collects. Put one into the group logging."
        )
    if server and server != settings["host"] and not settings["server_address"]:
        problems.append(f"logging_server_address: is not set. Name the address by which this host reaches {server}.")
    return problems


def _elasticsearch_problems(settings: Mapping[str, Any], memory: int) -> list[str]:
    if settings["backend"] != "elasticsearch" or settings["server"] not in ("", settings["host"]):
        return []
    problems = []
    least = int(settings["min_memory_mb"])
    if memory < least:
        problems.append(
            f"logging_backend: Elasticsearch and Kibana need {least} MB of memory, this server has {memory} MB."
            " Take a larger server, or logging_backend: journald, which searches the same lines."
        )
    for name in SECRETS:
        if not re.fullmatch(r"[A-Za-z0-9]{32,}", str(settings["secrets"].get(name, ""))):
            problems.append(
                f"logging_elasticsearch_secrets.{name}: is not 32 letters and digits or more. Put one into the vault (openssl rand -hex 32 makes one)."
            )
    versions = [image.rpartition(":")[2].split("@")[0] for image in settings["images"]]
    if len(set(versions)) > 1:
        problems.append(f"logging_kibana_image: is of version {versions[1]}, Elasticsearch of {versions[0]}. Use one for both.")
    return problems
