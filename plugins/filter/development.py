# SPDX-License-Identifier: GPL-3.0-or-later
"""A developer's machine and images from source as filters; the rules stand in module_utils/_development.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _development


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "absent_images": _development.absent_images,
            "build_failure": _development.build_failure,
            "built_images": _development.built_images,
            "docker_problems": _development.docker_problems,
            "listeners": _development.listeners,
            "mount_points": _development.mount_points,
            "path_problems": _development.path_problems,
            "ports_to_try": _development.ports_to_try,
            "source_paths": _development.source_paths,
            "volume_problems": _development.volume_problems,
        }
