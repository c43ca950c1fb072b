# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stop each role, as filters; the rules stand in module_utils/preflight/, one file for each role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import options, problems, spec
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import (
    app,
    app_host,
    backup,
    certbot,
    docker,
    firewall,
    inventory,
    logging,
    monitoring,
    nginx,
)
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs


def app_problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge services and migrations by the role's own argument specification."""
    return app.problems(
        facts, {variable: _argument_specs.keys("app", variable) for variable in ("app_services", "app_migrations")}
    )


def nginx_problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge sites by the role's own argument specification."""
    return nginx.problems(facts, _argument_specs.keys("nginx", "nginx_sites"))


class FilterModule:
    """The preflight filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "app_problems": app_problems,
            "backup_problems": backup.problems,
            "bracketed": problems.bracketed,
            "certbot_problems": certbot.problems,
            "docker_problems": docker.problems,
            "firewall_problems": firewall.problems,
            "flat_options": spec.flat,
            "inventory_problems": inventory.problems,
            "logging_problems": logging.problems,
            "monitoring_problems": monitoring.problems,
            "nginx_problems": nginx_problems,
            "ports_to_try": app_host.ports_to_try,
            "problem_report": problems.report,
            "run_has": options.has,
            "run_problems": options.problems,
            "source_paths": app_host.source_paths,
        }
