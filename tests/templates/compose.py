# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compose files of the role `app`, rendered and parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.images import image_record
from inventory import inventory
from render import ROLES, render

DIGEST = "sha256:" + "d" * 64
BACKEND: dict[str, Any] = {
    "image": "registry.test/backend",
    "port": 8080,
    "publish": {"blue": 18080, "green": 18180},
    "secrets": {"JWT_SECRET": "jwt_secret"},
}


def recorded() -> dict[str, Any]:
    """What the role tells the template of the images: known ones by identity, others by name."""
    *_, task = yaml.safe_load((ROLES / "app" / "tasks" / "configure.yml").read_text())
    return task["vars"]["_app_recorded"]


def release_text(colour: str = "blue", missing: Sequence[str] = (), **overrides: Any) -> str:
    """Render the Compose file of a colour as the role does, with images that were pulled, but for the missing ones."""
    variables = inventory(**overrides)
    config = {"Entrypoint": ["/entry", "$1 🌊"], "Cmd": ["./main", "serve"]}
    images = {
        name: image_record(
            {"Id": "sha256:1", "RepoDigests": [f"registry.test/{name}@{DIGEST}"], "Config": config}, f"registry.test/{name}:v1"
        )
        for name in variables["app_services"]
        if name not in missing
    }
    decided = {
        "__app_missing": {name: f"registry.test/{name}:v1" for name in missing},
        "app_target": {"release": "v1", "colour": colour, "services": images},
        "_app_recorded": recorded(),
    }
    return render("app", "release.yml.j2", {**variables, **decided})


def release(colour: str = "blue", missing: Sequence[str] = (), **overrides: Any) -> dict[str, Any]:
    """Parse the Compose file of a colour."""
    return yaml.safe_load(release_text(colour, missing, **overrides))


def service(colour: str = "blue", **keys: Any) -> dict[str, Any]:
    """Parse one service, changed by ``keys``."""
    return release(colour, app_services={"backend": {**BACKEND, **keys}})["services"][f"backend-{colour}"]


def data_text(**overrides: Any) -> str:
    """Render the Compose file of the databases."""
    return render("app", "data.yml.j2", {**inventory(**overrides), "__app_postgres_config": "one", "__app_redis_config": "two"})


def data(**overrides: Any) -> dict[str, Any]:
    """Parse the Compose file of the databases."""
    return yaml.safe_load(data_text(**overrides))
