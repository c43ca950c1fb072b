# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are built here, and sources that are mounted."""

from __future__ import annotations

from ansible_collections.kasaneha.deploy.plugins.module_utils.release import build as release_build


def test_images_that_a_host_lacks() -> None:
    images = {
        "backend": {"reference": "x/backend:1", "id": "sha256:b"},
        "frontend": {"reference": "x/frontend:1", "id": "sha256:f"},
    }
    assert release_build.absent_images(images, [{"Id": "sha256:f"}]) == {"backend": "x/backend:1"}
    assert release_build.absent_images(images, [{"Id": "sha256:f"}, {"Id": "sha256:b"}]) == {}
    assert release_build.absent_images(images, []) == {"backend": "x/backend:1", "frontend": "x/frontend:1"}


def test_what_was_built_is_known_by_its_id() -> None:
    images = [
        {"Id": "sha256:1", "RepoTags": ["b:v1", "b:old"], "RepoDigests": ["b@sha256:2"], "Config": {"Labels": {"version": "v1"}}}
    ]
    found = release_build.built_images({"b": {"release_label": "version"}, "f": {}}, {"b": "b:v1", "f": "f:v1"}, images)
    assert {name: (record["image"], record["id"], record["label"]) for name, record in found.items()} == {
        "b": ("sha256:1", "sha256:1", "v1")
    }


def test_a_failure_shows_the_last_lines() -> None:
    said = "\n".join(f"line {number}" for number in range(50))
    build = {"results": [{"image": {}, "stderr": "good"}, {"msg": "Building b:v1 failed", "stderr": said}]}
    assert release_build.build_failure(build, 2) == "Building b:v1 failed\nline 48\nline 49"
    assert release_build.build_failure({"results": build["results"][:1]}) == release_build.build_failure({"skipped": True}) == ""
    said = release_build.build_failure({"results": [{"msg": "does not have the buildx plugin installed"}]})
    assert "docker-buildx in Debian 13" in said


def test_folders_of_the_container_s_own() -> None:
    assert release_build.mount_points({"a": {"source": {"path": "/src", "keep": ["node_modules"]}}, "b": {}}) == [
        "/src/node_modules"
    ]
