# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the sites of an edge."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import sites as edge_sites
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs

COLOURS = ("blue", "green")
UPSTREAMS: dict[str, Any] = {"web": {"blue": ["127.0.0.1:1"], "green": ["127.0.0.1:2"]}, "half": {"blue": ["127.0.0.1:3"]}}
LIMITS: dict[str, Any] = {"api": {"rate": "10r/s", "burst": 20}}
OPTIONS = _argument_specs.keys("nginx", "nginx_sites")
SITE: dict[str, Any] = {"name": "main", "names": ["kasaneha.test"], "certificate": "main", "upstream": "web"}


def problems(*sites: Any, upstreams: Any = None, colours: Any = COLOURS, limits: Any = None) -> list[str]:
    """What is wrong with sites."""
    return edge_sites.site_problems(
        list(sites), UPSTREAMS if upstreams is None else upstreams, colours, LIMITS if limits is None else limits, OPTIONS
    )


def changed(**keys: Any) -> dict[str, Any]:
    """One site; None takes a key away."""
    return {key: value for key, value in {**SITE, **keys}.items() if value is not None}


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (changed(), []),
        (changed(redirect_names=["www.kasaneha.test"], assets="/_astro/", hsts=True), []),
        (changed(names=["abcde." * 41 + "test"]), []),
        (changed(names=["*.kasaneha.test", "localhost", "xn--hxajbheg2az3al.test"]), []),
        (changed(probes=["/", {"path": "/api/v1/info", "release_key": "release"}]), []),
        (changed(probes=[]), []),
        (changed(probes="/"), ["nginx_sites[main].probes: is not a list"]),
        (changed(probes=["x"]), ["nginx_sites[main].probes[0]: 'x' is not a path"]),
        (changed(probes=[{"release_key": "release"}]), ["nginx_sites[main].probes[0]: has no path"]),
        (changed(probes=[7, None]), ["nginx_sites[main].probes[0]: 7 is not a path", "nginx_sites[main].probes[1]: has no path"]),
        (changed(name=None), ["nginx_sites[0].name: is not set"]),
        (changed(names=None), ["nginx_sites[main].names: is not set"]),
        (changed(names=[]), ["nginx_sites[main].names: is not set"]),
        (changed(certificate=""), ["nginx_sites[main].certificate: is not set"]),
        (changed(upstream=None), ["nginx_sites[main].upstream: is not set"]),
        (changed(upstream="nowhere"), ["nginx_sites[main].upstream: 'nowhere' is not one of nginx_upstreams (web, half)"]),
        (
            changed(upstream="haf"),
            ["nginx_sites[main].upstream: 'haf' is not one of nginx_upstreams (web, half). Did you mean half?"],
        ),
        (changed(upstream="half"), ["nginx_upstreams.half.green: names no address"]),
        (changed(name="main_2"), []),
        (changed(name="main-site"), ["nginx_sites[main-site].name: use a-z, 0-9 and underscores"]),
        (changed(name="Main"), ["nginx_sites[Main].name: use a-z, 0-9 and underscores"]),
        (changed(name="2main"), ["nginx_sites[2main].name: use a-z, 0-9 and underscores"]),
        (changed(name="main\n"), ["nginx_sites[main\n].name: use a-z, 0-9 and underscores"]),
        (changed(nmaes=["x"]), ["nginx_sites[main].nmaes: is not a key of a site. Did you mean names?"]),
        (changed(port=1), ["nginx_sites[main].port: is not a key of a site. Known are: assets, certificate"]),
        (changed(names=["Kasaneha.test"]), ["nginx_sites[main].names: 'Kasaneha.test' has capitals. Write kasaneha.test."]),
        (changed(names=["kasaneha.test."]), ["nginx_sites[main].names: 'kasaneha.test.' ends with a dot. Write kasaneha.test."]),
        (
            changed(names=["my_site.test"]),
            ["nginx_sites[main].names: 'my_site.test' holds an underscore, which no host name has. Write my-site"],
        ),
        (
            changed(names=["bücher.test"]),
            ["nginx_sites[main].names: 'bücher.test' is not what browsers send. Write xn--bcher-kva.test."],
        ),
        (
            changed(names=["www.Straße.test."]),
            ["nginx_sites[main].names: 'www.Straße.test.' is not what browsers send. Write www.xn--strae-oqa.test."],
        ),
        (
            changed(names=["*.BÜCHER.test"]),
            ["nginx_sites[main].names: '*.BÜCHER.test' is not what browsers send. Write *.xn--bcher-kva.test."],
        ),
        (
            changed(names=["u\u0308ber.test"]),
            ["nginx_sites[main].names: 'u\u0308ber.test' is not what browsers send. Write xn--ber-goa.test."],
        ),
        (changed(names=["ü ü.test"]), ["nginx_sites[main].names: 'ü ü.test' is not a host name. Use"]),
        (
            changed(names=["https://kasaneha.test/"]),
            ["nginx_sites[main].names: 'https://kasaneha.test/' is an address. Write kasaneha.test."],
        ),
        (
            changed(names=["kasaneha.test:443"]),
            ["nginx_sites[main].names: 'kasaneha.test:443' is an address. Write kasaneha.test."],
        ),
        (
            changed(names=["kasaneha.test;"]),
            ["nginx_sites[main].names: 'kasaneha.test;' is not a host name. Use a-z, 0-9, dashes and dots."],
        ),
        (changed(names=["kasaneha.test\n"]), ["nginx_sites[main].names: 'kasaneha.test\\n' is not a host name"]),
        (changed(names="kasaneha.test"), ["nginx_sites[main].names: is not a list. Write [kasaneha.test]"]),
        (changed(redirect_names="www.test"), ["nginx_sites[main].redirect_names: is not a list. Write [www.test]"]),
        (changed(names=["-a.test"]), ["nginx_sites[main].names: '-a.test' is not a host name"]),
        (changed(names=["a..test"]), ["nginx_sites[main].names: 'a..test' is not a host name"]),
        (changed(names=["*"]), ["nginx_sites[main].names: '*' is not a host name"]),
        (changed(names=[""]), ["nginx_sites[main].names: '' is not a host name"]),
        (changed(names=["a" * 64 + ".test"]), [f"nginx_sites[main].names: '{'a' * 64}.test' is not a host name"]),
        (changed(names=["abcde." * 42 + "test"]), ["nginx_sites[main].names: 'abcde.abcde."]),  # longer than 253
        (changed(redirect_names=["a b"]), ["nginx_sites[main].redirect_names: 'a b' is not a host name"]),
        (changed(names=[["a.test"]]), ["nginx_sites[main].names[0]: is a list and no text."]),
        (changed(assets="_astro/"), ["nginx_sites[main].assets: must begin with a slash"]),
        (changed(assets="/"), ["nginx_sites[main].assets: / is the site's own"]),
        (
            changed(assets="/api/", locations=[{"path": "/api/", "upstream": "web"}]),
            ["nginx_sites[main].locations: /api/ stands there twice"],
        ),
        (changed(probes=["/", "/a?b=c", {"path": "/x"}]), []),
        (changed(probes=["x"]), ["nginx_sites[main].probes[0]: 'x' is not a path. Begin with a slash."]),
        (changed(probes=[{"path": "x"}]), ["nginx_sites[main].probes[0]: 'x' is not a path"]),
        (changed(probes=["/", {"release_key": "x"}]), ["nginx_sites[main].probes[1]: has no path."]),
        (
            changed(probes=[{"path": "/", "key": "x"}]),
            ["nginx_sites[main].probes[0].key: is not a key of a probe. Known are: path, release_key"],
        ),
        (changed(probes=[5]), ["nginx_sites[main].probes[0]: 5 is not a path"]),
        (changed(redirect_names=["kasaneha.test"]), ["nginx_sites[main]: kasaneha.test is already a name of nginx_sites[main]"]),
        ("kasaneha.test", ["nginx_sites[0]: is not a mapping"]),
        (changed(hsts="false"), ["nginx_sites[main].hsts: 'false' is not true or false"]),
        (
            changed(upstream=["web"]),
            ["nginx_sites[main].upstream: is a list", "nginx_sites[main].upstream: ['web'] is not one of"],
        ),
        (changed(cors_origins="https://a.test"), ["nginx_sites[main].cors_origins: is not a list. Write [https://a.test]"]),
        (changed(locations={"path": "/"}), ["nginx_sites[main].locations: is not a list"]),
        (changed(probes=["/", {"path": "/info", "release_key": "release"}]), []),
    ],
)
def test_site(site: Any, expected: list[str]) -> None:
    found = problems(site)
    assert [problem[: len(start)] for problem, start in zip_longest(found, expected, fillvalue="")] == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ({"path": "/api/", "upstream": "web"}, []),
        ({"path": "/x", "upstream": "web", "limits": ["api"], "max_body_size": "1m", "stream": True, "read_timeout": "60s"}, []),
        ({"path": "api/", "upstream": "web"}, [".path: must begin with a slash"]),
        ({"upstream": "web"}, [".path: is not set. What the path begins with."]),
        ({"path": None, "upstream": "web"}, [".path: is not set."]),
        ({"path": "~ ^/x", "upstream": "web"}, [".path: must begin with a slash"]),
        ({"path": "/x y", "upstream": "web"}, [".path: must begin with a slash and hold no blank"]),
        ({"path": "/x\n", "upstream": "web"}, [".path: must begin with a slash and hold no blank"]),
        ({"path": "/x;", "upstream": "web"}, [".path: must begin with a slash and hold no blank, semicolon"]),
        ({"path": "/x{", "upstream": "web"}, [".path: must begin with a slash and hold no blank, semicolon or brace"]),
        ({"path": "/x}", "upstream": "web"}, [".path: must begin with a slash and hold no blank, semicolon or brace"]),
        ({"path": "/", "upstream": "web"}, [".path: / is the site's own"]),
        ("/x", [": is not a mapping. It needs path."]),
        (None, [": is empty."]),
        ({"path": "/x", "upstream": "web", "stream": "no"}, [".stream: 'no' is not true or false."]),
        ({"path": "/x", "upstream": "web", "limits": "api"}, [".limits: is not a list. Write [api]."]),
        ({"path": "/x", "upstream": "web", "allow": "10.0.0.0/8"}, [".allow: is not a list. Write [10.0.0.0/8]."]),
        ({"path": "/x", "upstream": ["web"]}, [".upstream: is a list and no text.", ".upstream: ['web'] is not one of"]),
        ({"path": "/x", "upstream": "web", "limit": 1}, [".limit: is not a key of a location. Did you mean limits?"]),
        ({"path": "/x", "upstream": "web", "burst": 1}, [".burst: is not a key of a location. Known are: allow, extra"]),
        ({"path": "/x", "upstream": "web", "limits": ["api", "chat"]}, [".limits: chat is not one of nginx_limits (api)"]),
        ({"path": "/x"}, [".upstream: is not set. Name one of nginx_upstreams (web, half)."]),
    ],
)
def test_location(location: Any, expected: list[str]) -> None:
    found = problems(changed(locations=[location]))
    starts = [f"nginx_sites[main].locations[0]{end}" for end in expected]
    assert [problem[: len(start)] for problem, start in zip_longest(found, starts, fillvalue="")] == starts


def test_an_edge_needs_a_site() -> None:
    [problem] = edge_sites.site_problems([], UPSTREAMS, COLOURS, LIMITS, OPTIONS, needed=True)
    assert problem.startswith("nginx_sites: names no site, so this edge would serve nothing. Describe one, e.g. ")
    assert problem.endswith("or take the host out of the group edge.")
    assert edge_sites.site_problems([SITE], UPSTREAMS, COLOURS, LIMITS, OPTIONS, needed=True) == []
    assert edge_sites.site_problems("main", UPSTREAMS, COLOURS, LIMITS, OPTIONS, needed=True) == []


def test_a_name_belongs_to_one_site() -> None:
    other = changed(name="other")
    assert problems(changed(), other) == [
        "nginx_sites[other]: kasaneha.test is already a name of nginx_sites[main]. A name belongs to one site."
    ]
    assert problems(changed(), {**other, "names": ["other.test"]}) == []


def test_nothing_to_choose_from_is_said() -> None:
    found = problems(changed(locations=[{"path": "/x", "upstream": "web", "limits": ["api"]}]), upstreams={}, limits={})
    assert sum("nginx_upstreams (none)" in problem for problem in found) == 2
    assert sum("nginx_limits (none)" in problem for problem in found) == 1


@pytest.mark.parametrize(
    ("sites", "upstreams", "limits"),
    [("kasaneha", UPSTREAMS, LIMITS), ([SITE], ["web"], LIMITS), ([SITE], UPSTREAMS, "api"), ([], {}, {}), (None, {}, {})],
)
def test_wrong_types_are_the_argument_specifications_to_report(sites: Any, upstreams: Any, limits: Any) -> None:
    assert edge_sites.site_problems(sites, upstreams, COLOURS, limits, OPTIONS) == []


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"api_2": {"rate": "5r/s", "burst": 10, "only": "^POST:"}}, []),
        ({"api": {}}, ["nginx_limits.api: needs rate and burst"]),
        ({"api": {"rate": "5r/s"}}, ["nginx_limits.api: needs rate and burst"]),
        ({"api": {"burst": 10}}, ["nginx_limits.api: needs rate and burst"]),
        ({"api": "5r/s"}, ["nginx_limits.api: needs rate and burst"]),
        # A variable's name ends at the dash.
        ({"chat-post": {"rate": "5r/s", "burst": 10}}, ["nginx_limits.chat-post: is no name for a limit"]),
        ({"Api": {"rate": "5r/s", "burst": 10}}, ["nginx_limits.Api: is no name for a limit"]),
        ({1: {"rate": "5r/s", "burst": 10}}, ["nginx_limits.1: is no name for a limit"]),
        ({"api ": None}, ["nginx_limits.api : is no name for a limit", "nginx_limits.api : needs rate and burst"]),
    ],
)
def test_limits(limits: dict[Any, Any], expected: list[str]) -> None:
    found = problems(changed(), limits=limits)
    assert [problem[: len(start)] for problem, start in zip_longest(found, expected, fillvalue="")] == expected


@pytest.mark.parametrize(
    ("upstreams", "expected"),
    [
        ({}, {}),
        ({"web": {"blue": ["h:1"], "green": ["h:2"]}}, {"blue": ["h:1"], "green": ["h:2"]}),
        (
            {"web": {"blue": ["g:1", "h:1"], "green": ["g:2"]}, "api": {"blue": ["[fd00::4]:3"], "green": []}},
            {"blue": ["g:1", "h:1", "[fd00::4]:3"], "green": ["g:2"]},
        ),
        ({"web": {"blue": []}}, {"blue": []}),
    ],
)
def test_by_colour(upstreams: dict[str, dict[str, list[str]]], expected: dict[str, list[str]]) -> None:
    before = repr(upstreams)
    assert edge_sites.by_colour(upstreams) == expected
    assert repr(upstreams) == before


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ({"websocket": True}, []),
        ({"return": "301 /x", "upstream": None}, []),
        ({"allow": ["10.0.0.0/8", "2001:db8::/32"]}, []),
        ({"allow": ["office"]}, ["nginx_sites[main].locations[0].allow: 'office' is not an address"]),
        ({"extra": "proxy_cache off;"}, []),
        ({"extra": "  add_header X-Mine yes;"}, ["nginx_sites[main].locations[0].extra: add_header here would take every other"]),
    ],
)
def test_what_a_location_may_have(location: dict[str, Any], expected: list[str]) -> None:
    keys = {key: value for key, value in {"path": "/x", "upstream": "web", **location}.items() if value is not None}
    found = problems(changed(locations=[keys]))
    assert len(found) == len(expected)
    assert all(sentence in problem for sentence, problem in zip(expected, found, strict=True))


def test_a_path_stands_there_once() -> None:
    twice = [{"path": "/x", "upstream": "web"}] * 2
    assert problems(changed(locations=twice)) == ["nginx_sites[main].locations: /x stands there twice."]


@pytest.mark.parametrize(
    ("origin", "good"),
    [("https://a.test", True), ("http://localhost:4321", True), ("a.test", False), ("https://a.test/", False), ("*", False)],
)
def test_origins(origin: str, good: bool) -> None:
    assert (problems(changed(cors_origins=[origin])) == []) is good


@pytest.mark.parametrize(
    ("seconds", "subdomains", "preload", "good"),
    [
        (300, False, False, True),
        (63072000, True, True, True),
        (300, True, True, False),
        (63072000, False, True, False),
        ("x", True, True, False),
    ],
)
def test_preload_comes_last(seconds: Any, subdomains: bool, preload: bool, good: bool) -> None:
    assert (edge_sites.hsts_problems(seconds, subdomains, preload) == []) is good


def test_networks() -> None:
    assert edge_sites.network_problems({"x": ["10.0.0.1", "::1", "fd00::/8"], "y": "wrong type"}) == []
    assert edge_sites.network_problems({"x": ["10.0.0.1/8"]}) == [
        "x: '10.0.0.1/8' is not an address or a network. Write e.g. 10.0.0.0/8 or 2001:db8::/32."
    ]
