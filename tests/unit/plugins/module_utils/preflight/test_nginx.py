# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites of an edge, and the ports that it needs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.preflight import nginx
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs

OPTIONS = _argument_specs.keys("nginx", "nginx_sites")
GOOD: dict[str, Any] = {
    "argument_errors": [], "cast_problems": [], "needed": True,
    "sites": [{"name": "main", "names": ["a.test"], "certificate": "main", "upstream": "web"}],
    "upstreams": {"web": {"blue": ["127.0.0.1:1"]}}, "colours": ["blue"], "limits": {}, "hsts_seconds": 300,
    "hsts_include_subdomains": False, "hsts_preload": False, "networks": {"nginx_limit_exempt": ["10.0.0.0/8"]}, "starts": True,
    "status_port": 8081, "listening": [], "containers": [],
}  # fmt: skip
APACHE = [{"port": 80, "name": "apache2", "pid": 7}, {"port": 443, "name": "nginx", "pid": 8}]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"sites": []}, ["nginx_sites: names no site"]),
        ({"sites": [], "needed": False}, []),
        ({"listening": APACHE}, ["nginx (http): port 80 is taken by apache2 (pid 7)"]),
        ({"listening": APACHE, "starts": False}, []),  # it serves already, or another has the ports for now
        ({"status_port": 443}, ["nginx (https) and nginx_status_port: all want port 443"]),
        (
            {
                "argument_errors": ["a"], "cast_problems": ["b"], "upstreams": {}, "hsts_preload": True,
                "networks": {"nginx_real_ip_from": ["x"]},
                "containers": ['{"Names": "web", "Ports": "0.0.0.0:8081->80/tcp", "Labels": "kasaneha.deploy.app=shop"}'],
            },
            [
                "a", "b", "nginx_sites[main].upstream: 'web' is not one of nginx_upstreams (none)", "nginx_hsts_preload: needs",
                "nginx_real_ip_from: 'x' is not an address or a network", "nginx_status_port: port 8081 is taken by the container web",
            ],
        ),
    ],
)  # fmt: skip
def test_problems(changes: dict[str, Any], expected: list[str]) -> None:
    found = nginx.problems({**GOOD, **changes}, OPTIONS)
    assert [problem[: len(start)] for problem, start in zip(found, expected, strict=True)] == expected
