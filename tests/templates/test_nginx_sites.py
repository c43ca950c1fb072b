# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site has that its description does not say: HSTS, and the pages of the collection."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge.certificates import Place
from edge import PLACEHOLDER, REAL, Directive, blocks, headers, servers, site, values


@pytest.mark.parametrize(
    ("hsts", "place", "sent"),
    [
        (True, REAL, True),
        (True, Place("../live/main", whole=True), True),
        # A browser would refuse the site until the time is over.
        (True, Place(), False),
        (True, Place(PLACEHOLDER, whole=True), False),
        (False, REAL, False),
        # A site that does not say is asked for it.
        (None, REAL, True),
        (None, Place(), False),
    ],
)
def test_hsts_only_where_it_is_asked_for_and_the_certificate_is_real(hsts: bool | None, place: Place, sent: bool) -> None:
    found = headers(nginx_sites=[site(hsts=hsts)], nginx_hsts_seconds=63072000, tls={"main": place})
    assert found.get("Strict-Transport-Security") == ("max-age=63072000" if sent else None)


@pytest.mark.parametrize("unasked", [{"certbot_staging": True}, {"certbot_staging": "yes"}, {"nginx_hsts_enabled": False}])
def test_hsts_stays_away_from_certificates_that_no_browser_trusts(unasked: dict[str, Any]) -> None:
    assert "Strict-Transport-Security" not in headers(nginx_sites=[site()], **unasked)
    assert "Strict-Transport-Security" in headers(nginx_sites=[site(hsts=True)], **unasked)  # a site's own word is its own


def test_hsts_is_each_certificates_own() -> None:
    sites = [site(hsts=True), site(name="other", names=["b.test"], certificate="other", hsts=True)]
    sent = ["Strict-Transport-Security" in str(server) for server in servers(nginx_sites=sites, tls={"other": Place()})]
    assert sent == [True, False]


# --- pages of the collection ------------------------------------------------------------------------------

BEHIND = {"logs": "10.0.0.1:1", "kibana": "10.0.0.2:2", "monitoring": "[fd00::3]:3", "grafana": "10.0.0.4:4"}
PATHS = {"logs": "/_logs/", "kibana": "/_kibana/", "monitoring": "/monitoring/", "grafana": "/grafana/"}


def shown(server: list[Directive]) -> dict[str, list[Directive]]:
    """Page -> its location."""
    found = {page: blocks(server, "location", "^~", path) for page, path in PATHS.items()}
    return {page: locations[0] for page, locations in found.items() if locations}


@pytest.mark.parametrize("page", PATHS)
def test_a_page_is_there_where_something_is_behind_it(page: str) -> None:
    (server,) = servers(nginx_pages={page: BEHIND[page]})
    assert list(shown(server)) == [page]
    passed = values(shown(server)[page], "proxy_pass")
    if page == "logs":
        passed = values(blocks(shown(server)[page], "location", "^~", "/_logs/journal/")[0], "proxy_pass")
    assert [words[0].rstrip("/") for words in passed] == [f"http://{BEHIND[page]}"]
    (without,) = servers(nginx_pages={page: ""})
    assert shown(without) == {} and page not in str(without)


def test_pages_are_on_the_first_site_alone() -> None:
    first, second = servers(nginx_sites=[site(), site(name="other", names=["b.test"])], nginx_pages=BEHIND)
    assert list(shown(first)) == list(PATHS) and shown(second) == {}


def test_a_page_that_does_not_ask_for_a_login_itself_is_behind_a_password() -> None:
    (server,) = servers(nginx_pages=BEHIND)
    files = {page: values(location, "auth_basic_user_file") for page, location in shown(server).items()}
    assert files == {
        "logs": [["/etc/nginx/logs.htpasswd"]],
        "kibana": [],
        "monitoring": [["/etc/nginx/monitoring.htpasswd"]],
        "grafana": [],
    }


def test_pages_that_ask_for_a_login_are_limited_as_far_as_there_is_a_limit() -> None:
    (server,) = servers(nginx_pages=BEHIND)
    limited = {page for page, location in shown(server).items() if values(location, "limit_req")}
    assert limited == {"logs", "kibana", "grafana"}
    (server,) = servers(nginx_sites=[site()], nginx_limits={}, nginx_pages=BEHIND)
    assert list(shown(server)) == list(PATHS) and "limit_req" not in str(server)
