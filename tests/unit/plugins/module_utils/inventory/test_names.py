# SPDX-License-Identifier: GPL-3.0-or-later
"""Which known name is meant by one that nobody knows."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names

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
    assert names.nearest(name, KEYS) == expected
    assert names.nearest(name, iter(KEYS)) == expected
    assert names.meant(name, KEYS) == (f" Did you mean {expected}?" if expected else "")


def test_nobody_is_near_where_nobody_is() -> None:
    assert names.nearest("port", []) == ""


def test_an_unknown_key_is_told_with_the_nearest_or_with_all() -> None:
    found = names.unknown_keys("app_services.web", {"prot": 1, "port": 2, "x": 3, 4: 5}, ["port", "image"], "a service")
    assert found == [
        "app_services.web.4: is not a key of a service. Known are: image, port.",
        "app_services.web.prot: is not a key of a service. Did you mean port?",
        "app_services.web.x: is not a key of a service. Known are: image, port.",
    ]
    assert names.unknown_keys("app_services.web", {"port": 2}, ["port", "image"], "a service") == []


DECLARED = ("app_release", "app_services", "nginx_sites", "force", "release", "backup_probes")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app_relase", "app_release"),
        ("app_releases", "app_release"),
        ("app_release1x", "app_release"),  # two letters more
        ("app_reelaase", "app_release"),
        ("pap_release", "app_release"),
        ("app_rlaese", "app_release"),  # one missing, two swapped
        ("appservices", "app_services"),
        ("nginx_site", "nginx_sites"),
        ("froce", "force"),  # two swapped are one slip
        ("forc", "force"),
        ("relase", "release"),
        # Too far: whoever wrote it may well have meant it.
        ("app_rel", ""),
        ("app_release_tag", ""),
        ("fore_", ""),
        ("reles", ""),  # of a short name one letter, not two
        ("releasexx", ""),
        ("", ""),
        # Not judged.
        ("app_release", ""),
        ("_app_relase", ""),
        ("__app_relase", ""),
        ("ansible_relase", ""),
        ("fleet_sites", ""),
    ],
)
def test_a_variable_that_is_nearly_one_of_ours(name: str, expected: str) -> None:
    sentence = f"{name}: is no variable of this collection. Did you mean {expected}?"
    assert names.undeclared_problems([name], iter(DECLARED)) == ([sentence] if expected else [])


def test_what_a_run_sets_is_nobody_s_mistake() -> None:
    assert len(names.undeclared_problems(["backup_problems"], DECLARED)) == 1
    assert names.undeclared_problems(iter(["backup_problems"]), DECLARED, iter(["backup_problems"])) == []


def test_names_come_in_order_and_the_nearest_wins() -> None:
    found = names.undeclared_problems(["nginx_sties", "app_relase", 7], [*DECLARED, "app_relax", "nginx_site"])
    assert [problem.split(":")[0] for problem in found] == ["app_relase", "nginx_sties"]
    assert found[0].endswith("Did you mean app_release?") and found[1].endswith("Did you mean nginx_sites?")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jwt_secert", "jwt_secret"),
        ("jwt_secret", "jwt_secret"),
        ("redis_password", ""),
        ("kye", "key"),
        ("kxy1", ""),
        (None, ""),
    ],
)
def test_a_slip_of_the_pen(name: object, expected: str) -> None:
    assert names.slip(name, iter(["postgres_password", "jwt_secret", "key"])) == expected
