# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins at image registries."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.docker.registry import (
    login_failures,
    login_problems,
    needed_logins,
    registry_of,
)

LOGIN = {"registry": "ghcr.io", "username": "me", "password": "canary-4711"}


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("postgres:15-alpine", "docker.io"),
        ("grafana/grafana:13.2.2", "docker.io"),
        ("docker.io/library/redis:7", "docker.io"),
        ("index.docker.io/me/shop", "docker.io"),
        ("ghcr.io/me/shop:v1.0.0", "ghcr.io"),
        ("GHCR.io/me/shop", "ghcr.io"),
        ("localhost/shop:v1", "localhost"),
        ("registry:5000/shop@sha256:ab", "registry:5000"),
    ],
)
def test_the_registry_of_an_image(image, registry):
    assert registry_of(image) == registry


def test_only_registries_with_an_image_to_pull_are_logged_in_at():
    hub = {"registry": "docker.io", "username": "me", "password": "x"}
    assert needed_logins([LOGIN, hub], ["ghcr.io/me/shop:v1", "ghcr.io/me/api:v1"]) == [{**LOGIN, "address": "ghcr.io"}]
    assert needed_logins([LOGIN, hub], ["postgres:15"]) == [{**hub, "address": "https://index.docker.io/v1/"}]
    assert (
        needed_logins([LOGIN], ["quay.io/me/shop"]) == needed_logins([], ["ghcr.io/me/shop"]) == needed_logins(None, ["a"]) == []
    )
    assert [login["registry"] for login in needed_logins([LOGIN, hub], [])] == ["ghcr.io", "docker.io"]  # for a build


@pytest.mark.parametrize("registry", ["ghcr.io", "registry.example:5000", "localhost", "[2001:db8::1]:5000", "docker.io"])
def test_a_sound_login_is_accepted(registry):
    assert login_problems([{**LOGIN, "registry": registry}]) == []


@pytest.mark.parametrize(
    ("logins", "words"),
    [
        ([{**LOGIN, "registry": "https://ghcr.io"}], ["app_registry_login[0].registry", "https://ghcr.io", "such as ghcr.io"]),
        ([{**LOGIN, "registry": "registry.gitlab.com/group"}], ["registry.gitlab.com/group is not the host"]),
        ([LOGIN, {**LOGIN, "registry": "GHCR.IO"}], ["app_registry_login[1].registry", "already"]),
        ([{**LOGIN, "registry": "docker.io"}, {**LOGIN, "registry": "index.docker.io"}], ["[1].registry", "already"]),
        ([{**LOGIN, "password": ""}], ["app_registry_login[0].password", "empty", "ghcr.io", "vault.yml"]),
        ([{**LOGIN, "username": None}], ["app_registry_login[0].username", "empty"]),
        ([{**LOGIN, "password": 4711}], ["app_registry_login[0].password", "Quote it"]),
    ],
)
def test_a_login_that_cannot_work_is_one_sentence(logins, words):
    (problem,) = login_problems(logins)
    assert all(word in problem for word in words), problem
    assert "4711" not in problem


def test_other_types_are_for_the_argument_specification():
    assert login_problems(["x"]) == login_problems({"ghcr.io": {}}) == login_problems(None) == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "Logging into ghcr.io for user me failed - 500 Server Error for http+docker://localhost/v1.45/auth: Internal Server Error "
            '("login attempt to http://ghcr.io/v2/ failed with status: 401 Unauthorized")',
            [
                "ghcr.io refuses the login of user me (login attempt to http://ghcr.io/v2/ failed with status: 401 Unauthorized)",
                "vault.yml",
            ],
        ),
        (
            'Logging into ghcr.io for user me failed - 401 Client Error: Unauthorized ("Get \\"https://ghcr.io/v2/\\": denied: canary-4711")',
            ["refuses", "denied: ***"],
        ),
        (
            'Logging into ghcr.io for user me failed - 500 Server Error ("Get \\"https://ghcr.io/v2/\\": dial tcp: lookup ghcr.io: no such host")',
            ["the login of user me at ghcr.io failed", "no such host", "can this server reach it"],
        ),
    ],
)
def test_a_failed_login_names_registry_user_and_variable(said, words):
    done = {"item": {**LOGIN, "address": "ghcr.io"}}
    (sentence,) = login_failures([{**done, "msg": said}, {**done, "login_result": {}}, {**done, "skipped": True}])
    assert sentence.startswith("app_registry_login: ") and all(word in sentence for word in words), sentence
    assert "canary" not in sentence
