# SPDX-License-Identifier: GPL-3.0-or-later
"""The units and the configuration of the role `backup`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from inventory import SECRETS, inventory
from render import ROLES, render

UNITS = ("", "-verify", "-drill")


def configuration(tmp_path: Any, **changes: Any) -> dict[str, Any]:
    """What the engine reads, as the inventory of production makes it."""
    (tmp_path / "backup/templates").mkdir(parents=True)
    for folder in ("defaults", "vars"):
        (tmp_path / "backup" / folder).symlink_to(ROLES / "backup" / folder)
    (tmp_path / "backup/templates/x.j2").write_text("{{ _backup_config | to_json }}")
    result: dict[str, Any] = json.loads(render(tmp_path / "backup", "x.j2", inventory("prod", **changes)))
    return result


def test_the_inventory_of_production_is_sound(tmp_path: Any) -> None:
    found = configuration(tmp_path)
    assert plan.config_problems(found) == []
    assert found["probes"] == ["http://127.0.0.1:18080/health", "http://127.0.0.1:18180/health"]
    assert found["root"] == "/var/backups/kasaneha" and found["files"] == [
        {"name": "uploads", "path": "/var/lib/kasaneha/uploads"}
    ]
    assert not [value for value in SECRETS.values() if value in json.dumps(found)]


def test_every_app_host_is_asked(tmp_path: Any) -> None:
    found = configuration(tmp_path, app_addresses=("10.0.0.4", "fd00::4"))
    assert found["probes"][::2] == ["http://10.0.0.4:18080/health", "http://[fd00::4]:18080/health"]


def test_the_application_is_asked_by_its_name(tmp_path: Path) -> None:
    services = copy.deepcopy(inventory("prod")["app_services"])
    services["backend"]["health"] = {"path": "/health", "host": "{{ site_domain }}", "status": [200, 401]}
    found = configuration(tmp_path, app_services=services, site_domain="shop.test")
    assert plan.config_problems(found) == []
    assert found["probes"][1] == {"url": "http://127.0.0.1:18180/health", "host": "shop.test", "status": [200, 401]}


def test_units() -> None:
    for name in UNITS:
        unit = {"name": f"shop-backup{name}", "run": "run --wait 3600", "schedule": "*-*-* 02:30:00 UTC"}
        service = render(
            "backup", "backup.service.j2", {"backup_app": "shop", "unit": unit, "backup_on_failure": ["mail@%n.service"]}
        )
        assert "ExecStart=/usr/local/sbin/shop-backup run --wait 3600\n" in service and "OnFailure=mail@%n.service\n" in service
        timer = render("backup", "backup.timer.j2", {"unit": unit})
        assert "OnCalendar=*-*-* 02:30:00 UTC\n" in timer and "Persistent=true" in timer
    assert "OnFailure" not in render("backup", "backup.service.j2", {"unit": {"name": "x", "run": "run", "schedule": ""}})
    assert "OnCalendar" not in render("backup", "backup.timer.j2", {"unit": {"name": "x", "run": "run", "schedule": ""}})
