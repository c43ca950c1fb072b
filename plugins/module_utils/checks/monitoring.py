# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Checks of a live monitoring host: what Prometheus and Alertmanager say, judged. Pure functions: values in, checks out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import firewall
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import configuration


def checks(seen: Mapping[str, Any]) -> list[dict[str, str]]:
    """Judge a monitoring host.

    :param seen: ``targets``, ``rules``, ``alertmanagers`` and ``alerts`` as Prometheus' interface gives them (None: no answer),
        ``files`` (names of our rule files' groups), ``receivers`` and ``heartbeat`` (whether there are any), ``page`` (status of the
        page without a password; None where there is none).
    """
    told = {name: seen.get(name) for name in ("targets", "rules", "alertmanagers", "alerts")}
    silent = [f"no answer about {name}" for name, answer in told.items() if answer is None]
    found = [firewall.check("Prometheus answers", silent)]
    if silent:
        return found
    groups = seen["rules"]["groups"]
    names = {group["name"] for group in groups}
    broken = [f"{rule['name']}: {rule['lastError']}" for group in groups for rule in group["rules"] if rule.get("lastError")]
    missing = [f"the group {name} is not loaded" for name in seen["files"] if name not in names]
    firing = [line for line in configuration.alert_lines(seen["alerts"]["alerts"]) if not line.startswith("info ")]
    watchdog = any(alert["labels"]["alertname"] == "Watchdog" for alert in seen["alerts"]["alerts"])
    found += [
        firewall.check("every target answers Prometheus", configuration.target_problems(seen["targets"]["activeTargets"])),
        firewall.check("every rule is loaded and can be evaluated", [*missing, *broken]),
        firewall.check(
            "alerts go from Prometheus to Alertmanager",
            ""
            if seen["alertmanagers"]["activeAlertmanagers"] and watchdog
            else "Watchdog does not fire, or Alertmanager is not there",
        ),
        firewall.check("no alert fires", firing),
        firewall.check(
            "somebody is told of alerts",
            skipped="" if seen["receivers"] else "monitoring_receivers names nobody: alerts are on the page alone",
        ),
        firewall.check(
            "somebody outside notices when this host dies",
            skipped="" if seen["heartbeat"] else "monitoring_heartbeat_url is not set",
        ),
    ]
    if seen["page"] is not None:
        found.append(
            firewall.check(
                "the page asks for a password", "" if seen["page"] == 401 else f"without one it answers {seen['page']}, not 401"
            )
        )
    return found
