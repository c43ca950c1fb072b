# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge serves: colours, names, headers, limits, logs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from edge import (
    WITH_API,
    Directive,
    blocks,
    choose,
    headers,
    http,
    log_format,
    parse,
    rewrites,
    servers,
    site,
    text,
    value,
    values,
    walk,
)
from inventory import inventory

COLOURS = ["blue", "green"]
ALL: list[dict[str, Any]] = [{}, WITH_API, {"environment": "prod"}, {"environment": "staging"}]


def test_the_parser_is_strict() -> None:
    assert parse('a b; # c;\nd { e \'f;{\' "g\\"}"; }') == [
        Directive(["a", "b"], []),
        Directive(["d"], [Directive(["e", "f;{", 'g\\"}'], [])]),
    ]
    for broken in ("a", "a {", "a; }", "a { b }"):
        with pytest.raises(AssertionError):
            parse(broken)


# --- colours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.4", "10.0.0.5"]])
def test_each_colour_comes_first_in_its_own_upstream_and_the_other_behind_it(addresses: list[str]) -> None:
    block = http(app_addresses=addresses)
    assert len([1 for directive in block if directive.words[0] == "upstream"]) == 4
    for name, ports in {"backend": {"blue": 18080, "green": 18180}, "frontend": {"blue": 18081, "green": 18181}}.items():
        for colour, other in (COLOURS, COLOURS[::-1]):
            (upstream,) = blocks(block, "upstream", f"{name}_{colour}")
            own = [[f"{address}:{ports[colour]}", "max_fails=0"] for address in addresses]
            assert values(upstream, "server")[: len(own)] == own
            assert [words[:2] for words in values(upstream, "server")[len(own) :]] == [
                [f"{address}:{ports[other]}", "backup"] for address in addresses
            ]
            assert (values(upstream, "keepalive"), values(upstream, "keepalive_timeout")) == ([["32"]], [["5s"]])


def test_one_colour_has_no_backup() -> None:
    (upstream,) = blocks(http(nginx_colours=["blue"]), "upstream", "frontend_blue")
    assert values(upstream, "server") == [["127.0.0.1:18081", "max_fails=0"]]


def test_an_app_host_that_is_absent_is_in_no_upstream() -> None:
    upstreams = {
        "frontend": {colour: [f"10.0.0.{host}:{port}" for host in (1, 2)] for colour, port in (("blue", 80), ("green", 81))}
    }
    both, one = ([f"10.0.0.{host}:{port}" for port in (80, 81) for host in hosts] for hosts in ((1, 2), (1,)))
    for absent, expected in (([], both), (["10.0.0.2"], one)):
        block = http(nginx_upstreams={**upstreams, "backend": upstreams["frontend"]}, nginx_absent_addresses=absent)
        (upstream,) = blocks(block, "upstream", "frontend_blue")
        assert [words[0] for words in values(upstream, "server")] == expected


@pytest.mark.parametrize("overrides", ALL)
def test_the_colour_is_one_file_behind_one_link(overrides: dict[str, Any]) -> None:
    live = f"/var/lib/{inventory(**overrides)['app_name']}/edge/live"
    for server in servers(**overrides):
        assert [words for words in rewrites(server) if not words[1].startswith("($cors_")] == [
            ["set", "$colour", ""],
            # Who was found is not looked for again.
            *(
                ["if", "(-f", f"{prefix}{colour})", ["set", "$colour", colour], ["break"]]
                for prefix in (f"{live}/open-", "${unopened}")
                for colour in ("blue", "green", "blue")
            ),
        ]
    assert [choose(http(**overrides), "$unopened", exempt) for exempt in "01"] == ["/dev/null/", f"{live}/"]


@pytest.mark.parametrize("overrides", ALL)
def test_without_a_colour_nothing_is_passed_on(overrides: dict[str, Any]) -> None:
    for server in servers(**overrides):
        proxying = [location for location in blocks(server, "location") if values(location, "proxy_pass")]
        assert len(proxying) >= 2
        for location in proxying:
            assert rewrites(location) == [["if", "($colour", "=", "", ")", ["return", "503"]]]
            assert location[0].words[0] == "if"


@pytest.mark.parametrize("overrides", ALL)
def test_every_upstream_that_is_passed_to_exists(overrides: dict[str, Any]) -> None:
    block = http(**overrides)
    known = {directive.words[1] for directive in block if directive.words[0] == "upstream"}
    passed = [directive.words[1] for _, directive in walk(block) if directive.words[0] == "proxy_pass"]
    assert passed
    assert all(target.startswith("http://") and target.endswith("_$colour") for target in passed)
    assert {target.removeprefix("http://").replace("$colour", colour) for target in passed for colour in COLOURS} <= known


def words_of(block: list[Directive]) -> set[str]:
    """Every word of a configuration."""
    return {word for _, directive in walk(block) for word in directive.words}


@pytest.mark.parametrize("overrides", ALL)
def test_what_would_break_a_switch_in_silence_is_not_there(overrides: dict[str, Any]) -> None:
    block = http(**overrides)
    assert not {"non_idempotent", "resolver", "proxy_cache"} & words_of(block)
    # The files that say what is served are looked at anew for each request; those of a location with hashed names may stay open.
    for path, directive in walk(block):
        assert not directive.words[0].startswith("open_file_cache") or path[-1:] == ("location",)
    assert values(block, "proxy_next_upstream") == [["error", "timeout"]]
    assert "non_idempotent" in words_of(parse("# proxy_next_upstream error;\nproxy_next_upstream non_idempotent;"))


def test_the_other_colour_is_reached_with_several_hosts() -> None:
    block = http(app_addresses=["10.0.0.4", "10.0.0.5"])
    assert values(block, "proxy_next_upstream_timeout") == [["10s"]]  # tries have no end of their own
    tries = int(values(block, "proxy_next_upstream_tries")[0][0])
    assert tries == 0 or tries >= len(values(blocks(block, "upstream", "backend_blue")[0], "server"))


def test_unavailable_is_always_503() -> None:
    for server in servers(**WITH_API):  # without =503 the client gets 502 or 504, and no Retry-After
        assert values(server, "error_page")[0] == ["502", "503", "504", "=503", "/_unavailable.html"]


# --- names ------------------------------------------------------------------------------------------------


def test_requests_for_no_name_of_ours_are_refused() -> None:
    defaults = [
        server
        for server in blocks(http(**WITH_API), "server")
        if any("default_server" in words for words in values(server, "listen"))
    ]
    listens = [values(server, "listen") for server in defaults]
    assert listens == [
        [["80", "default_server"], ["[::]:80", "default_server"]],
        [["443", "ssl", "default_server"], ["[::]:443", "ssl", "default_server"]],
    ]
    assert all(values(server, "return") == [["444"]] for server in defaults)
    assert values(defaults[1], "ssl_reject_handshake") == [["on"]]


def test_names_and_redirects() -> None:
    block = http(nginx_sites=[site(names=["a.test", "b.test"], redirect_names=["www.a.test"])])
    found = [
        (
            " ".join(words[0] for words in values(server, "listen")),
            " ".join(values(server, "server_name")[0]),
            values(blocks(server, "location", "/")[0], "return"),
        )
        for server in blocks(block, "server")
        if values(server, "server_name") and "default_server" not in values(server, "listen")[0]
    ]
    assert found == [
        ("80 [::]:80", "a.test b.test", [["301", "https://$host$request_uri"]]),  # each name stays itself
        ("80 [::]:80 443 [::]:443", "www.a.test", [["301", "https://a.test$request_uri"]]),
        ("443 [::]:443", "a.test b.test", []),
    ]


def test_the_api_has_a_name_of_its_own_if_it_is_set() -> None:
    assert [values(server, "server_name") for server in servers()] == [[["kasaneha.test", "localhost"]]]
    main, api = servers(**WITH_API)
    assert values(api, "server_name") == [["api.kasaneha.test"]]
    assert values(blocks(api, "location", "/")[0], "proxy_pass") == [["http://backend_$colour"]]
    assert values(blocks(main, "location", "/")[0], "proxy_pass") == [["http://frontend_$colour"]]


def test_certificates() -> None:
    for server in servers():
        assert values(server, "ssl_certificate") == [["/etc/kasaneha/tls/kasaneha/fullchain.pem"]]
        assert values(server, "ssl_certificate_key") == [["/etc/kasaneha/tls/kasaneha/privkey.pem"]]
    block = http()
    assert values(block, "ssl_protocols") == [["TLSv1.2", "TLSv1.3"]]
    assert values(block, "ssl_session_tickets") == [["off"]]
    assert values(block, "ssl_session_timeout") == [["1d"]]


@pytest.mark.parametrize(
    ("version", "curves"),
    [
        ("nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.22 25 Aug 2026", "X25519:prime256v1:secp384r1"),
        ("built with OpenSSL 3.0.2 (running with OpenSSL 3.5.9 29 Sep 2026)", "X25519MLKEM768:X25519:prime256v1:secp384r1"),
        ("nginx version: nginx/1.26.3\nbuilt with OpenSSL 3.5.7", "X25519MLKEM768:X25519:prime256v1:secp384r1"),
        (None, "X25519:prime256v1:secp384r1"),
    ],
)
def test_curves_are_those_that_this_openssl_knows(version: str | None, curves: str) -> None:
    assert values(http(version=version), "ssl_ecdh_curve") == [[curves]]


@pytest.mark.parametrize(
    ("version", "there"), [("nginx/1.26.3", False), ("nginx/1.27.3", False), ("nginx/1.27.4", True), ("nginx/1.30.0", True)]
)
def test_a_reload_waits_for_who_just_asked_where_it_can(version: str, there: bool) -> None:
    assert (values(http(version=version), "keepalive_min_timeout") == [["5s"]]) is there


@pytest.mark.parametrize(
    ("version", "modern"),
    [
        ("nginx version: nginx/1.22.1", False),
        ("nginx version: nginx/1.24.0 (Ubuntu)", False),
        ("nginx version: nginx/1.25.0", False),
        ("nginx version: nginx/1.25.1", True),
        ("nginx version: nginx/1.26.3", True),
        ("nginx version: nginx/1.28.0 (Ubuntu)", True),
        ("", True),  # check mode on a bare host: the newest is assumed
        (None, True),
    ],
)
def test_http2_is_switched_on_as_the_version_wants_it(version: str | None, modern: bool) -> None:
    for server in servers(version=version):
        assert values(server, "listen") == [[port, "ssl", *([] if modern else ["http2"])] for port in ("443", "[::]:443")]
        assert values(server, "http2") == ([["on"]] if modern else [])


# --- headers, limits, logs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [*ALL, {"nginx_sites": [site(hsts=True, assets="/_astro/")]}])
def test_headers_stand_in_servers_only(overrides: dict[str, Any]) -> None:
    # One of them in a location would replace all that come from above.
    for path, directive in walk(http(**overrides)):
        if directive.words[0] == "add_header":
            assert path == ("server",)
            assert directive.words[-1] == "always"
        assert not (directive.words[0] in ("proxy_set_header", "proxy_hide_header") and path)


def test_security_headers() -> None:
    expected = {
        "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Retry-After": "$retry_after", "X-Colour": "$colour",
        "Content-Security-Policy": "$content_security_policy", "Referrer-Policy": "strict-origin-when-cross-origin",
    }  # fmt: skip
    assert expected.items() <= headers().items()


def test_a_header_of_ours_replaces_that_of_the_application() -> None:
    hidden = {words[0] for words in values(http(), "proxy_hide_header")}
    ours = set(headers(nginx_sites=[site(hsts=True, assets="/_astro/")]))
    # An application may have its own word on this one; its word on caching is passed on by ours.
    assert ours - hidden == {"Retry-After"}
    assert hidden - ours == {"X-Powered-By"}


def test_only_hashed_files_that_were_found_are_kept_for_a_year() -> None:
    assert headers()["Cache-Control"] == "$caching"
    own = {"$upstream_http_cache_control": "own", "$sent_http_content_type": "text/javascript"}
    for request, expected in {
        "200:/_astro/a.1f.js": "public, max-age=31536000, immutable", "206:/_astro/a.1f.js": "public, max-age=31536000, immutable",
        "304:/_astro/a.1f.js": "public, max-age=31536000, immutable", "200:/favicon.ico": "own", "200:/x/_astro/a.js": "own",
        "301:/_astro/": "own", "404:/_astro/a.1f.js": "no-store", "503:/": "no-store",
    }.items():  # fmt: skip
        status, _, uri = request.partition(":")
        location = "/_astro/" if uri.startswith("/_astro/") else "/"  # the longest prefix, as nginx chooses
        hashed = {words[0]: words[1] for words in values(blocks(servers()[0], "location", location)[0], "set")}
        assert value(http(), "$caching", {**own, "$hashed": "", **hashed, "$status": status}) == expected
        page = {**own, "$sent_http_content_type": "text/html", "$hashed": "", **hashed, "$status": status}
        assert value(http(), "$caching", page) == (
            "no-store" if status in ("404", "503") else "own"
        )  # in the place of a file that is gone
    without = http(nginx_sites=[site()], nginx_asset_paths={})
    for status, expected in {"200": "own", "304": "own", "404": "no-store"}.items():
        assert value(without, "$caching", {**own, "$status": status}) == expected


ANYBODY = {"$http_authorization": "", "$http_cookie": "", "$upstream_http_set_cookie": ""}
# Of an application that says nothing of caching.
SILENT = {**ANYBODY, "$upstream_http_cache_control": "", "$status": "200", "$hashed": ""}


@pytest.mark.parametrize("extension", ["css", "gif", "ico", "jpg", "jpeg", "js", "png", "svg", "PNG"])
def test_public_files_are_kept_for_a_while(extension: str) -> None:
    given = {**SILENT, "$uri": f"/icons/a.{extension}", "$sent_http_content_type": "image/x"}
    assert value(http(), "$caching", given) == "public, max-age=86400"
    assert value(http(nginx_static_max_age=600), "$caching", given) == "public, max-age=600"
    for who in ANYBODY:  # what a user is shown may be this user's alone
        assert value(http(), "$caching", {**given, who: "x"}) == "private, max-age=86400"
    for other, expected in (({"$upstream_http_cache_control": "no-cache"}, "no-cache"), ({"$status": "404"}, "no-store"),
                            ({"$hashed": "1"}, "public, max-age=31536000, immutable"),
                            ({"$sent_http_content_type": "text/html"}, "no-cache"), ({"$uri": f"/a.{extension}/b"}, "")):  # fmt: skip
        assert value(http(), "$caching", {**given, **other}) == expected


@pytest.mark.parametrize(
    ("content", "caching", "policy"),
    [
        ("text/html", "no-cache", True),
        ("text/html; charset=utf-8", "no-cache", True),
        ("Text/HTML;charset=Shift_JIS", "no-cache", True),
        ("application/json", "no-store", False),
        ("application/json; charset=utf-8", "no-store", False),
        ("application/problem+json", "no-store", False),
        ("application/jsonl", "no-store", False),
        ("image/webp", "", False),
        ("", "", False),
    ],
)
def test_caching_and_policy_by_the_kind_of_the_answer(content: str, caching: str, policy: bool) -> None:
    given = {**SILENT, "$uri": "/a", "$sent_http_content_type": content}
    assert value(http(), "$caching", given) == caching
    assert bool(value(http(), "$content_security_policy", given)) is policy
    assert value(http(), "$caching", {**given, "$upstream_http_cache_control": "private"}) == "private"


@pytest.mark.parametrize(
    ("asked", "uri", "upgrade"),
    [("websocket", "/ws/1", "websocket"), ("websocket", "/", ""), ("h2c", "/ws/1", ""), ("", "/ws/1", "")],
)
def test_only_a_websocket_changes_the_protocol_and_only_where_there_is_one(asked: str, uri: str, upgrade: str) -> None:
    block = http(nginx_sites=[site(locations=[{"path": "/ws/", "upstream": "backend", "websocket": True}])])
    given = {"$http_upgrade": asked, "$uri": uri}
    assert (value(block, "$upgrade", given), value(block, "$connection_upgrade", given)) == (
        upgrade,
        "upgrade" if upgrade else "",
    )


def test_assets_come_from_disk_then_from_the_upstream() -> None:
    (server,) = servers()
    (location,) = blocks(server, "location", "/_astro/")
    assert values(location, "root") == [["/var/www/kasaneha/assets"]]
    assert values(location, "try_files") == [["$uri", "@frontend"]]
    assert len(blocks(server, "location", "@frontend")) == 1


def test_limits() -> None:
    block = http()
    zones = {re.match(r"zone=(\w+):", words[1])[1]: (words[0], words[2]) for words in values(block, "limit_req_zone")}  # type: ignore[index]
    assert zones == {"api": ("$limit_client", "rate=10r/s"), "chat": ("$limit_chat", "rate=5r/s")}
    assert values(block, "limit_req_status") == [["429"]]
    (server,) = servers()
    limits = {path: values(blocks(server, "location", path)[0], "limit_req") for path in ("/api/v1/sessions", "/api/", "/")}
    api, chat = ["zone=api", "burst=20", "nodelay"], ["zone=chat", "burst=10", "nodelay"]
    assert limits == {"/api/v1/sessions": [api, chat], "/api/": [api], "/": []}


@pytest.mark.parametrize(
    ("request_line", "limited"),
    [
        ("POST:/api/v1/sessions", True),
        ("POST:/api/v1/sessions/7/messages", True),
        ("GET:/api/v1/sessions/7", False),
        ("POST:/api/v1/sessionsx", False),
        ("POST:/x/api/v1/sessions", False),
    ],
)
def test_the_limit_of_the_chat_counts_what_costs(request_line: str, limited: bool) -> None:
    assert choose(http(), "$limit_chat", request_line) == ("$limit_client" if limited else "")


def test_answers_of_the_chat_are_streamed() -> None:
    (server,) = servers()
    (chat,), (uploads,) = blocks(server, "location", "/api/v1/sessions"), blocks(server, "location", "/api/v1/uploads")
    assert (values(chat, "proxy_buffering"), values(chat, "proxy_read_timeout")) == ([["off"]], [["300s"]])
    assert (values(uploads, "proxy_buffering"), values(uploads, "client_max_body_size")) == ([], [["20m"]])


def test_what_a_client_claims_about_itself_is_not_believed() -> None:
    sent = dict(values(http(), "proxy_set_header"))
    assert (sent["X-Forwarded-For"], sent["X-Real-IP"]) == ("$remote_addr", "$remote_addr")
    assert sent["X-Forwarded-Proto"] == "$scheme"
    assert sent["Forwarded"] == sent["Proxy"] == ""
    assert "$http_x_forwarded_for" not in text()


def test_a_line_of_the_log_is_json_without_the_query() -> None:
    line = log_format(http(), "main")
    assert {"time", "status", "upstream", "upstream_status", "seconds"} <= set(json.loads(re.sub(r"\$\w+", "1", line)))
    assert not re.search(r"\$(request_uri|request|args|query_string|arg_\w+|http_referer|http_cookie|http_authorization)\b", line)


def test_health_says_nothing_and_inner_paths_are_closed() -> None:
    for server in blocks(http(), "server"):
        for health in blocks(server, "location", "=", "/health"):
            assert (values(health, "access_log"), values(health, "return")) == ([["off"]], [["200", "healthy\\n"]])
    (server,) = servers()
    assert values(blocks(server, "location", "=", "/metrics")[0], "return") == [["404"]]
    (pattern,) = [directive.words[2] for directive in server if directive.words[:2] == ["location", "~"]]
    assert re.search(pattern, "/.git/config")
    assert not re.search(pattern, "/.well-known/security.txt")
