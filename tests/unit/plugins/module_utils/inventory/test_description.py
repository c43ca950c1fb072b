# SPDX-License-Identifier: GPL-3.0-or-later
"""What is derived of a short description of an application."""

from __future__ import annotations

import copy
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import description
from wiring_cases import SHOP, SPREAD, WRONG, wired


def services(described: Any, **more: Any) -> dict[str, Any]:
    """Services as they are completed, on blue and green."""
    found: dict[str, Any] = description.complete_services(described, **more)
    return found


@pytest.mark.parametrize(
    ("value", "true"),
    [(True, True), (1, True), ("yes", True), (" True ", True), ("on", True), ("1", True), (False, False), (0, False), ("no", False),
     ("", False), ("maybe", False), (None, False), ([], False), ({"a": 1}, False), (2, False)],
)  # fmt: skip
def test_truth(value: Any, true: bool) -> None:
    assert description.truth(value) is true


@pytest.mark.parametrize(
    ("value", "over", "expected"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),  # a list is said anew
        ({"a": 1}, {"a": None}, {"a": None}),
    ],
)
def test_merged(value: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy((value, over))
    assert description.merged(value, over) == expected
    assert (value, over) == before


# --- services -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "registry", "image"),
    [
        ({}, "registry.test/shop", "registry.test/shop/web"),
        ({"image": "other.test/x"}, "registry.test/shop", "other.test/x"),
        ({"image": ""}, "registry.test/shop", "registry.test/shop/web"),
        ({}, "", None),
    ],
)
def test_images(service: dict[str, Any], registry: str, image: str | None) -> None:
    assert services({"web": service}, registry=registry)["web"].get("image") == image


BOTH = {"blue": 18081, "green": 18181}


@pytest.mark.parametrize(
    ("service", "more", "published"),
    [
        ({"port": 80}, {}, BOTH),
        ({"port": 80, "publish": {"blue": 1, "green": 2}}, {}, {"blue": 1, "green": 2}),
        ({"port": 80, "publish": {}}, {}, {}),  # not reachable from the host
        ({}, {}, None),  # a worker listens nowhere
        ({"port": 0}, {}, None),
        ({"port": 80}, {"port_base": 20000}, {"blue": 20001, "green": 20101}),
        ({"port": 80}, {"port_base": "20000"}, {"blue": 20001, "green": 20101}),
        ({"port": 80}, {"port_base": "many"}, None),
        ({"port": 80}, {"port_base": None}, None),
        ({"port": 80}, {"colours": ["red", "blue", "green"]}, {"red": 18081, "blue": 18181, "green": 18281}),
        ({"port": 80}, {"colours": ["blue"]}, {"blue": 18081}),
        ({"port": 80}, {"colours": "blue"}, {"blue": 18081}),
        ({"port": 80}, {"colours": []}, 80),  # one set of containers, where it listens
        ({"port": 80, "publish": 8000}, {"colours": []}, 8000),
    ],
)
def test_ports(service: dict[str, Any], more: dict[str, Any], published: Any) -> None:
    assert services({"first": {}, "web": service}, **more)["web"].get("publish") == published


def test_ports_do_not_depend_on_what_other_services_publish() -> None:
    described: dict[str, Any] = {
        "a": {"port": 1},
        "b": {},
        "c": {"port": 1, "publish": {"blue": 1, "green": 2}},
        "d": {"port": 1},
    }
    assert services(described)["d"]["publish"] == {"blue": 18083, "green": 18183}
    more = services({**described, "e": {"port": 1}})
    assert {name: more[name] for name in described} == services(described)  # a new one comes last


@pytest.mark.parametrize(
    ("service", "expected"),
    [({"port": 80}, "/"), ({"port": 80, "health": "/health"}, "/health"), ({"port": 80, "health": ""}, ""), ({}, None)],
)
def test_health(service: dict[str, Any], expected: str | None) -> None:
    assert services({"web": service})["web"].get("health") == expected


@pytest.mark.parametrize(
    ("service", "label", "expected"), [({}, "org.x", "org.x"), ({"release_label": "mine"}, "org.x", "mine"), ({}, "", None)]
)
def test_labels_of_releases(service: dict[str, Any], label: str, expected: str | None) -> None:
    assert services({"web": service}, label=label)["web"].get("release_label") == expected


def test_overrides_are_merged_before_the_rest_is_derived() -> None:
    over = {"api": {"memory": "64m", "environment": {"ENV": "staging"}, "port": 9000}, "absent": {"port": 1}, "web": 7}
    found = services(SHOP["app_services"], overrides=over, registry="r.test")
    assert found["api"]["environment"] == {"ENV": "staging", "PORT": 8080} and found["api"]["memory"] == "64m"
    assert found["api"]["port"] == 9000 and found["api"]["publish"] == {"blue": 18081, "green": 18181}
    assert list(found) == list(SHOP["app_services"])  # an override makes no service
    assert SHOP["app_services"]["api"]["environment"]["ENV"] == "production"
    assert services({"w": {}}, overrides={"w": {"port": 80}})["w"]["publish"] == {"blue": 18080, "green": 18180}
    assert services({"w": {"port": 80}}, overrides={"w": {"image": "x"}}, registry="r.test")["w"]["image"] == "x"


@pytest.mark.parametrize("overrides", WRONG, ids=repr)
def test_overrides_of_the_wrong_type_are_none(overrides: Any) -> None:
    assert services(SHOP["app_services"], overrides=overrides) == services(SHOP["app_services"])


def test_an_optional_secret_is_there_or_not() -> None:
    described = {"api": {"secrets": {"KEY": "key"}, "optional_secrets": {"SENTRY_DSN": "sentry_dsn", "KEY": "other"}}}
    assert services(described)["api"]["secrets"] == {"KEY": "key"}
    assert services(described, secrets={"other": "x"})["api"]["secrets"] == {"KEY": "key"}
    assert services(described, secrets={"sentry_dsn": "x"})["api"]["secrets"] == {"KEY": "key", "SENTRY_DSN": "sentry_dsn"}
    assert "secrets" not in services({"api": {"optional_secrets": {"A": "a"}}}, secrets={})["api"]
    for other in WRONG:
        assert services(described, secrets=other)["api"]["secrets"] == {"KEY": "key"}
    once = services(described, secrets={"sentry_dsn": "x"})
    assert services(once, secrets={"sentry_dsn": "x"}) == once


def test_complete_services_stay_as_they_are() -> None:
    more = {"registry": "r.test", "label": "org.x"}
    once = services(SHOP["app_services"], **more)
    assert services(once, **more) == once
    for other in (None, 7, "web", ["web"]):
        assert services(other) == other
    assert services({"web": 7, "api": {"port": 1}})["web"] == 7


def test_services_of_an_inventory() -> None:
    found = wired("services")
    assert {name: service["image"] for name, service in found.items()} == {
        "web": "registry.test/shop/web", "api": "registry.test/shop/api", "worker": "other.test/worker",
    }  # fmt: skip
    assert {name: service.get("publish") for name, service in found.items()} == {
        "web": {"blue": 18080, "green": 18180}, "api": {"blue": 18081, "green": 18181}, "worker": None,
    }  # fmt: skip
    assert {service["release_label"] for service in found.values()} == {"org.test.version"}
    assert wired("services", app_port_base=9000, app_colours="red")["web"]["publish"] == {"red": 9000}
    assert wired("services", app_service_overrides={"web": {"memory": "1g"}})["web"]["memory"] == "1g"
    assert list(wired("services", app_services={"web": {}, "api": "text"})) == ["web"]


@pytest.mark.parametrize(
    ("colours", "expected"),
    [(None, ["blue", "green"]), (["red"], ["red"]), ("red", ["red"]), ([], []), (7, []), ({"red": 1}, [])],
)
def test_colours(colours: Any, expected: list[str]) -> None:
    assert wired("colours", app_colours=colours) == expected


def test_colours_that_are_named_as_none() -> None:
    assert description.colours_of({"app_colours": None}) == []


@pytest.mark.parametrize(
    ("assets", "found", "paths"),
    [
        ("/srv/www/_astro/", {"service": "web", "path": "/srv/www/_astro"}, {"web": "/_astro/"}),
        ("/srv/www/static/assets", {"service": "web", "path": "/srv/www/static/assets"}, {"web": "/assets/"}),
        (None, {}, {}),
        ("", {}, {}),
        (True, {}, {}),
        (["/srv"], {}, {}),
    ],
)
def test_assets(assets: Any, found: dict[str, str], paths: dict[str, str]) -> None:
    described = {"api": {"port": 1}, "web": {"port": 80, "assets": assets}}
    assert wired("assets", app_services=described) == found
    assert wired("asset_paths", app_services=described) == paths


def test_assets_of_the_first_service_that_has_any() -> None:
    described = {name: {"port": 80, "assets": f"/srv/{name}/a/"} for name in ("one", "two")}
    assert wired("assets", app_services=described) == {"service": "one", "path": "/srv/one/a"}
    assert wired("asset_paths", app_services=described) == {"one": "/a/", "two": "/a/"}


def test_volumes_are_kept_once_and_those_that_nobody_writes_are_not() -> None:
    assert wired("volumes") == [
        {"name": "uploads", "path": "/var/lib/shop-x/uploads"},
        {"name": "queue", "path": "/var/lib/shop-x/queue"},
    ]
    assert wired("volumes", app_services={"web": {"port": 80, "volumes": "uploads:/x"}}) == []


# --- secrets ----------------------------------------------------------------------------------------------

SPECIAL = "a/b?c#d@e:f%g+h i&j=k$l\\m'n\"o[p]日本"


@pytest.mark.parametrize("tls", [True, "yes", 1])
def test_a_url_of_the_database_with_tls(tls: Any) -> None:
    found = description.derived_secrets({"postgres_password": "p"}, "me", "it", tls)["postgres_url"]
    assert found == "postgres://me:p@postgres:5432/it?sslmode=verify-full&sslrootcert=/run/ca/postgres.crt"


@pytest.mark.parametrize("tls", [False, "no", 0, "false"])
def test_a_url_of_the_database_without_tls(tls: Any) -> None:
    assert description.derived_secrets({"postgres_password": "p"}, "me", "it", tls)["postgres_url"].endswith(
        "/it?sslmode=disable"
    )


def test_special_characters_arrive_through_a_url() -> None:
    secrets = {"postgres_password": SPECIAL, "redis_password": SPECIAL}
    found = description.derived_secrets(secrets, "the user", "it")
    postgres, redis = urlsplit(found["postgres_url"]), urlsplit(found["redis_url"])
    assert (unquote(postgres.username or ""), unquote(postgres.password or "")) == ("the user", SPECIAL)
    assert (postgres.hostname, postgres.port, postgres.path) == ("postgres", 5432, "/it")
    assert (redis.username, unquote(redis.password or ""), redis.hostname, redis.port) == ("", SPECIAL, "redis", 6379)
    assert found["postgres_password"] == SPECIAL


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ({}, {"redis_url": "redis://redis:6379"}),
        ({"redis_password": ""}, {"redis_url": "redis://redis:6379"}),
        ({"redis_password": "p"}, {"redis_url": "redis://:p@redis:6379"}),
        ({"postgres_password": "p", "postgres_url": "mine", "redis_url": "mine"}, {"postgres_url": "mine", "redis_url": "mine"}),
        ({"postgres_password": ""}, {"redis_url": "redis://redis:6379"}),
        ({"postgres_password": 7, "redis_password": 7}, {"redis_url": "redis://redis:6379"}),
    ],
)
def test_what_an_inventory_says_of_secrets_wins(secrets: dict[str, Any], expected: dict[str, str]) -> None:
    assert description.derived_secrets(secrets, "me", "it") == {**secrets, **expected}


@pytest.mark.parametrize("secrets", [None, 7, "text", ["text"]])
def test_secrets_of_the_wrong_type_stay_for_the_preflight(secrets: Any) -> None:
    assert description.derived_secrets(secrets, "me", "it") == secrets


# --- sites ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "more", "expected"),
    [
        ({}, {}, {"name": "shop_x", "certificate": "shop-x", "hsts": True}),
        ({"name": "n", "certificate": "c", "hsts": False}, {}, {"name": "n", "certificate": "c", "hsts": False}),
        ({}, {"hsts": False}, {"name": "shop_x", "certificate": "shop-x", "hsts": False}),
        ({}, {"upstreams": ["web"]}, {"name": "shop_x", "certificate": "shop-x", "hsts": True, "upstream": "web"}),
        ({}, {"upstreams": ["web", "api"]}, {"name": "shop_x", "certificate": "shop-x", "hsts": True}),
        (
            {"upstream": "api"},
            {"upstreams": ["web"]},
            {"name": "shop_x", "certificate": "shop-x", "hsts": True, "upstream": "api"},
        ),
        (
            {"upstream": "web"},
            {"assets": {"web": "/_astro/"}},
            {"name": "shop_x", "certificate": "shop-x", "hsts": True, "upstream": "web", "assets": "/_astro/"},
        ),
        (
            {"upstream": "web", "assets": "/mine/"},
            {"assets": {"web": "/_astro/"}},
            {"name": "shop_x", "certificate": "shop-x", "hsts": True, "upstream": "web", "assets": "/mine/"},
        ),
        (
            {"upstream": "api"},
            {"assets": {"web": "/_astro/"}},
            {"name": "shop_x", "certificate": "shop-x", "hsts": True, "upstream": "api"},
        ),
    ],
)
def test_a_site(site: dict[str, Any], more: dict[str, Any], expected: dict[str, Any]) -> None:
    assert description.complete_sites([site], "shop-x", **more) == [expected]


def test_sites_are_named_by_their_place_and_complete_ones_stay() -> None:
    found = description.complete_sites([{"names": ["a"]}, {"name": "own"}, {"names": ["c"]}, "text"], "shop-x", ["web"])
    assert [site["name"] for site in found[:3]] == ["shop_x", "own", "shop_x_3"] and found[3] == "text"
    assert description.complete_sites(found, "other", ["api"]) == found
    for other in (None, 7, "text", {"a": 1}):
        assert description.complete_sites(other, "shop") == other


def test_a_site_without_names_is_left_out() -> None:
    found = description.complete_sites([{"names": ["a"]}, {"names": []}, {"names": ["c"]}], "shop", ["web"])
    assert [site["name"] for site in found] == ["shop", "shop_3"]
    assert "names" not in description.complete_sites([{"name": "own"}], "shop")[0]  # who forgot them is told by the preflight


def test_sites_of_an_inventory() -> None:
    assert wired("sites") == [
        {
            **SHOP["nginx_sites"][0],
            "name": "shop_x",
            "certificate": "shop-x",
            "hsts": True,
            "upstream": "web",
            "assets": "/_astro/",
        }
    ]
    for staging, hsts in ((True, False), ("yes", False), ("no", True), (False, True)):
        assert wired("sites", certbot_staging=staging)[0]["hsts"] is hsts
    one = {"app_services": {"web": {"port": 80}, "worker": {}}, "nginx_sites": [{"names": ["a"]}, 7, {"names": ["b"]}]}
    assert [site["upstream"] for site in wired("sites", **one)] == ["web", "web"]  # a worker cannot be asked
    assert wired("url") == "https://shop.test" and wired("url", nginx_sites=None) == ""


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ({"names": ["a.test", "b.test"]}, [{"name": "a.test", "path": "/"}]),
        ({"names": ["a.test"], "probes": []}, [{"name": "a.test", "path": "/"}]),
        ({"names": ["a.test"], "probes": ["/x", "/y"]}, [{"name": "a.test", "path": "/x"}, {"name": "a.test", "path": "/y"}]),
        (
            {"names": ["a.test", "b.test"], "probes": [{"path": "/x", "release_key": "r"}, {"name": "b.test", "path": "/"}]},
            [{"name": "a.test", "path": "/x", "release_key": "r"}, {"name": "b.test", "path": "/"}],
        ),
        ({"names": []}, []),
        ({}, []),
        ({"names": "a.test"}, []),  # no list: the preflight says so
        ({"names": ["a.test"], "probes": "/x"}, [{"name": "a.test", "path": "/"}]),
    ],
)
def test_probes(site: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    assert description.site_probes([site]) == expected
    assert wired("probes", nginx_sites=[site]) == expected


def test_probes_that_the_inventory_names() -> None:
    own = [{"name": "x.test", "path": "/ping"}]
    assert wired("probes", nginx_probes=own) == own and wired("probes", nginx_probes=[]) == [{"name": "shop.test", "path": "/"}]


def test_certificates() -> None:
    more = [*SHOP["nginx_sites"], {"names": ["api.shop.test", "shop.test"]}, {"names": ["b.test"], "certificate": "other"}]
    assert wired("certificates", nginx_sites=more) == [
        {"name": "shop-x", "names": ["shop.test", "shop.example", "www.shop.test", "api.shop.test"]},
        {"name": "other", "names": ["b.test"]},
    ]
    assert wired("certificates", certbot_certificates=[]) == []  # nobody signs these names
    assert wired("certificates", nginx_sites=[]) == wired("certificates", nginx_sites=[{"names": []}]) == []


# --- an older inventory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(description.MOVED))
def test_an_inventory_of_the_old_form_is_refused(name: str) -> None:
    [problem] = wired("old_form", **{name: "x"})
    assert problem.startswith(f"{name}: ") and description.MOVED[name] in problem and problem.endswith(".")
    assert wired("old_form", "e1", SPREAD, {"d1": {name: "x"}}) == [problem]  # on any host, and said once
    assert wired("old_form", "e1", SPREAD, **{name: "x"}) == [problem]


def test_an_inventory_of_this_form_is_none_of_the_old() -> None:
    assert wired("old_form") == [] and wired("old_form", "e1", SPREAD) == []
