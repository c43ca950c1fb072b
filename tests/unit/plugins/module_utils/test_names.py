# SPDX-License-Identifier: GPL-3.0-or-later
"""Which known name is meant by one that nobody knows."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils import _names

KEYS = ("image", "port", "publish", "health", "environment", "secrets", "secrets_as", "stop_timeout")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prot", "port"),
        ("imgae", "image"),
        ("Port", "port"),
        ("stop-timeout", "stop_timeout"),
        ("enviroment", "environment"),
        ("secret", "secrets"),  # the nearer one of two
        ("secrets", "secrets"),
        ("networks", ""),
        ("x", ""),
        ("", ""),
        (8080, ""),
        (None, ""),
    ],
)
def test_nearest(name: object, expected: str) -> None:
    assert _names.nearest(name, KEYS) == expected
    assert _names.nearest(name, iter(KEYS)) == expected
    assert _names.meant(name, KEYS) == (f" Did you mean {expected}?" if expected else "")


def test_nobody_is_near_where_nobody_is() -> None:
    assert _names.nearest("port", []) == ""


def test_an_unknown_key_is_told_with_the_nearest_or_with_all() -> None:
    found = _names.unknown_keys("app_services.web", {"prot": 1, "port": 2, "x": 3, 4: 5}, ["port", "image"], "a service")
    assert found == [
        "app_services.web.4: is not a key of a service. Known are: image, port.",
        "app_services.web.prot: is not a key of a service. Did you mean port?",
        "app_services.web.x: is not a key of a service. Known are: image, port.",
    ]
    assert _names.unknown_keys("app_services.web", {"port": 2}, ["port", "image"], "a service") == []
