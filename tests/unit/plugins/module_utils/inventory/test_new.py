# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory for a new application is made of."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import new

ASKED = {"app_name": "shop", "image": "ghcr.io/me/shop:v1.0.0", "domain": "shop.example.org", "server": "203.0.113.10"}


def problems(exists: bool = False, password: str = "", others: tuple[str, ...] = (), **changes: object) -> list[str]:
    return new.problems({**ASKED, **changes}, "/home/me/shop", exists, password, others)


def test_the_files_say_what_was_asked_for():
    found = new.described({**ASKED, "postgres": "yes", "health": ""})
    assert found == {
        **ASKED, "image": "ghcr.io/me/shop", "release": "v1.0.0", "registry": "ghcr.io", "container_port": 8080, "container_user": "",
        "health": "/", "postgres": True, "redis": False, "ssh_user": "root", "ssh_port": 22, "email": "webmaster@shop.example.org",
        "registry_user": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "name", "release", "registry"),
    [
        ("nginx:1.27", "nginx", "1.27", "docker.io"),
        ("me/shop:latest", "me/shop", "latest", "docker.io"),
        ("registry.example:5000/a/b_c/d-e:2026.1", "registry.example:5000/a/b_c/d-e", "2026.1", "registry.example:5000"),
    ],
)
def test_the_tag_of_the_image_is_the_release(image, name, release, registry):
    assert problems(image=image) == []
    found = new.described({**ASKED, "image": image})
    assert (found["image"], found["release"], found["registry"]) == (name, release, registry)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"server": "2001:db8::1", "ssh_port": 2222, "ssh_user": "deploy"},
        {"server": "vps-1.example.net", "container_port": 80, "container_user": "101:101", "health": "/up?full=1"},
        {"postgres": True, "redis": "off", "email": "me@example.org"},
        {"registry_user": "me", "password": "x"},
        {"others": ("ansible_facts", "fleet_jobs", "my_own")},
    ],
)
def test_sound_options_are_accepted(changes):
    assert problems(**changes) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"app_name": ""}, ["app_name: is not set", "-e app_name=shop"]),
        ({"app_name": "My_Shop"}, ["app_name: 'My_Shop'"]),
        ({"exists": True}, ["app_name: /home/me/shop exists", "Remove it"]),
        ({"image": "ghcr.io/me/shop"}, ["image:", "has no tag", "ghcr.io/me/shop:v1.0.0"]),
        ({"image": "registry:5000/shop"}, ["has no tag"]),
        ({"image": "ghcr.io/Me/shop:v1"}, ["is not the name of an image", "small letters"]),
        ({"image": "https://ghcr.io/me/shop:v1"}, ["is not the name of an image"]),
        ({"image": "shop:v1@sha256:" + "a" * 64}, ["names a digest", "Give the tag"]),
        ({"domain": "https://shop.example.org/"}, ["domain:", "Write shop.example.org"]),
        ({"domain": "shop_1.example.org"}, ["domain:", "underscore"]),
        ({"domain": "203.0.113.10"}, ["domain:", "is an address", "shop.example.org"]),
        ({"domain": "*.example.org"}, ["domain:", "wildcard"]),
        ({"domain": "shop"}, ["domain:", "shop.example.org"]),
        ({"server": "deploy@203.0.113.10"}, ["-e server=203.0.113.10 -e ssh_user=deploy"]),
        ({"server": "my server"}, ["server: 'my server'", "is not a host name"]),
        ({"container_port": "http"}, ["container_port: 'http'", "1 to 65535"]),
        ({"ssh_port": 70000}, ["ssh_port: '70000'", "1 to 65535"]),
        ({"health": "health"}, ["health: 'health'", "slash"]),
        ({"postgres": "perhaps"}, ["postgres: 'perhaps'", "neither true nor false"]),
        ({"ssh_user": "a b"}, ["ssh_user: 'a b'"]),
        ({"container_user": "node"}, ["container_user: 'node'", "1000:1000"]),
        ({"email": "me"}, ["email: 'me'", "me@example.org"]),
        ({"registry_user": "me"}, ["registry_user:", "REGISTRY_PASSWORD"]),
        ({"others": ("port",)}, ["port:", "Did you mean container_port?"]),
        ({"others": ("postgress",)}, ["postgress:", "Did you mean postgres?"]),
    ],
)
def test_a_wrong_option_is_one_sentence_with_its_remedy(changes, words):
    (problem,) = problems(**changes)
    assert all(word in problem for word in words), problem


def test_all_problems_are_told_at_once():
    found = new.problems({"image": "x", "health": "up"}, "./", False)
    assert len(found) == 5 and {problem.partition(":")[0] for problem in found} == {
        "app_name",
        "image",
        "domain",
        "server",
        "health",
    }
