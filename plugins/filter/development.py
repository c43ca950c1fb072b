# SPDX-License-Identifier: GPL-3.0-or-later
"""A developer's machine and images from source as filters; the rules stand in module_utils/release/build.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.release import build


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "absent_images": build.absent_images,
            "build_failure": build.build_failure,
            "built_images": build.built_images,
            "mount_points": build.mount_points,
        }
