# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and images of a release as filters; the rules stand in module_utils/release."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.release import decide as release_decide
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import gate, images, record
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import migrations as release_migrations


class FilterModule:
    """The release filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "health_probes": gate.probes,
            "image_problems": images.image_problems,
            "image_record": images.image_record,
            "failure_text": release_decide.failure_text,
            "needed_images": record.needed_images,
            "new_record": record.new_record,
            "release_migrates": release_migrations.migrates,
            "release_schema": release_migrations.schema_after,
            "release_decision": release_decide.decide,
            "release_scope_problems": release_decide.scope_problems,
            "release_status": release_decide.status,
            "release_summary": release_decide.summary,
            "release_way_back": release_decide.way_back,
            "published_port": images.published_port,
            "unresolved_images": images.unresolved,
            "service_ports": images.service_ports,
            "service_secrets": images.service_secrets,
        }
