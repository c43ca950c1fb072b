# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Images that are built here, and sources that are mounted. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.release.images import image_record


def built_images(
    services: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, str], images: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What the record keeps of images that were built here: by ID, for they have no digest. Those that are not there are left out.

    :param wanted: service -> reference.
    :param images: results of ``docker image inspect``.
    """
    tags = {tag: {**image, "RepoDigests": []} for image in images for tag in image.get("RepoTags") or []}
    return {
        name: image_record(tags[reference], reference, services[name].get("release_label", ""))
        for name, reference in wanted.items()
        if reference in tags
    }


def absent_images(images: Mapping[str, Mapping[str, Any]], here: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Services whose image is not on a host: name -> reference.

    :param images: what the record keeps of each; ``here``: results of ``docker image inspect`` there.
    """
    found = {image["Id"] for image in here}
    return {name: image["reference"] for name, image in images.items() if image["id"] not in found}


def build_failure(build: Mapping[str, Any], lines: int = 25) -> str:
    """The last lines of the build that failed; empty if none did.

    :param build: the registered loop of builds, none of which fails its task: a task that runs once and fails takes all other hosts along.
    """
    for result in build.get("results", []):
        if "image" not in result and not result.get("skipped"):
            said = f"{result.get('stdout', '')}\n{result.get('stderr', '')}".strip().splitlines()
            return "\n".join([str(result.get("msg", "")), *said[-lines:], *_remedy(result)]).strip()
    return ""


def _remedy(failed: Mapping[str, Any]) -> list[str]:
    if "buildx plugin" not in str(failed.get("msg", "")):
        return []
    return ["Install buildx there: docker-buildx-plugin in Docker's repository, docker-buildx in Debian 13."]


def mount_points(services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Directories in a mounted source that are the container's own."""
    return [
        f"{service['source']['path']}/{directory}"
        for service in services.values()
        if "source" in service
        for directory in service["source"].get("keep", [])
    ]
