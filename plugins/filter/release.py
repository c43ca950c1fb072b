# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and images of a release as filters; the rules stand in module_utils/_release.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _blue_green, _record, _release, _schema, _service
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs


def service_problems(
    services: Any, colours: Any, release: str, migrations: Any, needed: bool = False, processors: Any = 0
) -> list[str]:
    """Judge services and migrations by the role's own argument specification."""
    specs = {variable: _argument_specs.keys("app", variable) for variable in ("app_services", "app_migrations")}
    return _service.service_problems(services, colours, release, migrations, specs, needed, processors)


class FilterModule:
    """The release filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "app_name_problems": _service.app_name_problems,
            "image_problems": _release.image_problems,
            "image_record": _release.image_record,
            "failure_text": _blue_green.failure_text,
            "needed_images": _record.needed_images,
            "new_record": _record.new_record,
            "release_migrates": _schema.migrates,
            "release_schema": _schema.schema_after,
            "release_decision": _blue_green.decide,
            "release_name_problems": _release.release_name_problems,
            "release_scope_problems": _blue_green.scope_problems,
            "release_status": _blue_green.status,
            "release_summary": _blue_green.summary,
            "release_way_back": _blue_green.way_back,
            "log_option_problems": _release.log_option_problems,
            "published_port": _release.published_port,
            "unresolved_images": _release.unresolved,
            "service_problems": service_problems,
            "service_ports": _release.service_ports,
            "service_secrets": _release.service_secrets,
        }
