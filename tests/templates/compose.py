# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compose files of the role `app`, rendered and parsed."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils._release import image_record
from inventory import inventory
from render import render

DIGEST = "sha256:" + "d" * 64
BACKEND: dict[str, Any] = {
    "image": "registry.test/backend",
    "port": 8080,
    "publish": {"blue": 18080, "green": 18180},
    "secrets": {"JWT_SECRET": "jwt_secret"},
}


def release_text(colour: str = "blue", **overrides: Any) -> str:
    """Render the Compose file of a colour, with a record as the role makes it from pulled images."""
    variables = inventory(**overrides)
    config = {"Entrypoint": ["/entry", "$1 🌊"], "Cmd": ["./main", "serve"]}
    services = {
        name: image_record(
            {"Id": "sha256:1", "RepoDigests": [f"registry.test/{name}@{DIGEST}"], "Config": config}, f"registry.test/{name}:v1"
        )
        for name in variables["app_services"]
    }
    return render(
        "app", "release.yml.j2", {**variables, "__app_colour": colour, "_app_recorded": {"release": "v1", "services": services}}
    )


def release(colour: str = "blue", **overrides: Any) -> dict[str, Any]:
    """Parse the Compose file of a colour."""
    return yaml.safe_load(release_text(colour, **overrides))


def service(colour: str = "blue", **keys: Any) -> dict[str, Any]:
    """Parse one service, changed by ``keys``."""
    return release(colour, app_services={"backend": {**BACKEND, **keys}})["services"][f"backend-{colour}"]


def data_text(**overrides: Any) -> str:
    """Render the Compose file of the databases."""
    return render("app", "data.yml.j2", {**inventory(**overrides), "__app_postgres_config": "one", "__app_redis_config": "two"})


def data(**overrides: Any) -> dict[str, Any]:
    """Parse the Compose file of the databases."""
    return yaml.safe_load(data_text(**overrides))
