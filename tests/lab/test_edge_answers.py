# SPDX-License-Identifier: GPL-3.0-or-later
"""Every header, status and limit on every class of answer, from the nginx of Debian 12 and of Debian 13 with the role's configuration."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import traffic

from .boxes import Lab
from .edge_box import ASSETS, BALANCED, PORTS, SITE, WWW, Answer, Edge, to, trusting

SECURITY = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
}
HSTS = "max-age=300"


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def edge(request: pytest.FixtureRequest) -> Iterator[Edge]:
    with Lab() as lab:
        yield Edge(lab, request.param).configure(**BALANCED)


@pytest.fixture
def without_application(edge: Edge) -> Iterator[Edge]:
    edge.upstream(up=False)
    yield edge
    edge.upstream()


@pytest.fixture
def without_colour(edge: Edge) -> Iterator[Edge]:
    edge.serve()
    yield edge
    edge.serve("blue")


def dressed(answer: Answer, cache: str | None, html: bool = True) -> None:
    """Each header of ours is there, once, whatever the application sent."""
    for name, value in {**SECURITY, "Strict-Transport-Security": HSTS}.items():
        assert answer.one(name) == value
    assert len(answer.one("X-Request-ID")) == 32
    assert answer.one("Server") == "nginx"
    assert "x-powered-by" not in answer.headers and "x-xss-protection" not in answer.headers
    if html:
        assert answer.one("Content-Security-Policy").startswith("default-src 'self'")
    else:
        assert "content-security-policy" not in answer.headers
    assert answer.headers.get("cache-control", [None]) == [cache]


@pytest.mark.parametrize(
    ("path", "method", "status", "cache", "html"),
    [
        ("/", "GET", 200, "no-cache", True),
        ("/", "HEAD", 200, "no-cache", True),
        ("/favicon.ico", "GET", 200, "public, max-age=86400", False),
        ("/cached", "GET", 200, "public, max-age=5", True),  # the application's own word
        ("/_astro/app.0a1b2c3d.js", "GET", 200, "public, max-age=31536000, immutable", False),
        ("/_astro/only-in-the-container.js", "GET", 200, "public, max-age=31536000, immutable", False),
        ("/api/v1/info", "GET", 200, "no-store", False),
        ("/api/v1/sessions", "POST", 200, "no-store", False),
        ("/api/v1/sessions/7/messages", "POST", 200, "no-store", False),
        ("/api/v1/status/404", "GET", 404, "no-store", False),
        ("/api/v1/status/401", "GET", 401, "no-store", False),
        ("/api/v1/status/500", "GET", 500, "no-store", False),
        ("/status/404", "GET", 404, "no-store", False),
        ("/health", "GET", 200, None, False),
        ("/metrics", "GET", 404, "no-store", True),
        ("/.env", "GET", 404, "no-store", True),
        ("/.git/config", "GET", 404, "no-store", True),
        ("/api/../.git/config", "GET", 404, "no-store", True),
        ("/_astro/app.0a1b2c3d.js.map", "GET", 404, "no-store", True),
        ("/dump.sql", "GET", 404, "no-store", True),
        ("/old", "GET", 301, "no-cache", True),
        ("/office", "GET", 403, "no-store", True),
    ],
)
def test_headers(edge: Edge, path: str, method: str, status: int, cache: str | None, html: bool) -> None:
    answer = edge.ask(path, method=method, client="203.0.113.1")
    assert answer.status == status
    dressed(answer, cache, html)
    assert answer.one("X-Colour") == "blue"


def test_413(edge: Edge) -> None:
    large = edge.ask("/api/v1/notes", method="POST", body=b"x" * 1_100_000, client="203.0.113.2")
    assert large.status == 413 and b"page 413" in large.body
    dressed(large, "no-store")
    assert edge.ask("/api/v1/uploads", method="POST", body=b"x" * 1_100_000, client="203.0.113.2").said["received"] == 1_100_000
    assert edge.ask("/api/v1/uploads", method="POST", body=b"x" * 21_000_000, client="203.0.113.2").status == 413


def test_429(edge: Edge) -> None:
    answers = edge.burst(150, "/api/v1/info", "203.0.113.3")
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} == {200, 429}
    assert {answer.status for answer in answers[:21]} == {200}  # the burst
    dressed(refused[0], "no-store")
    assert refused[0].one("Retry-After") == "1" and b"page 429" in refused[0].body
    assert edge.ask("/api/v1/info", client="203.0.113.4").status == 200  # somebody else
    assert edge.ask("/", client="203.0.113.3").status == 200  # the site itself has no limit


def test_502_and_504_are_503_with_a_time_to_come_again(without_application: Edge) -> None:
    for path in ("/", "/api/v1/info", "/_astro/only-in-the-container.js"):
        answer = without_application.ask(path, client="203.0.113.5")
        assert answer.status == 503 and answer.one("Retry-After") == "10" and b"page unavailable" in answer.body
        dressed(answer, "no-store")
    assert without_application.ask("/_astro/app.0a1b2c3d.js").status == 200  # from disk


def test_503_without_a_release_and_in_maintenance(without_colour: Edge) -> None:
    answer = without_colour.ask("/")
    assert answer.status == 503 and answer.one("Retry-After") == "300"
    dressed(answer, "no-store")
    without_colour.serve("blue", "maintenance")
    answer = without_colour.ask("/")
    assert answer.status == 503 and answer.one("Retry-After") == "300"
    assert without_colour.ask("/health").status == 200


@pytest.mark.parametrize(
    ("name", "tls", "location"),
    [
        (SITE, False, f"https://{SITE}/a?b=c"),
        (WWW, False, f"https://{SITE}/a?b=c"),
        (WWW, True, f"https://{SITE}/a?b=c"),
    ],
)
def test_301(edge: Edge, name: str, tls: bool, location: str) -> None:
    answer = edge.ask("/a?b=c", name=name, tls=tls)
    assert (answer.status, answer.one("Location")) == (301, location)
    for header, value in SECURITY.items():
        assert answer.one(header) == value
    assert answer.headers.get("strict-transport-security") == ([HSTS] if tls else None)  # it may not be said without TLS


# --- who is refused before there is an answer ------------------------------------------------------------


@pytest.mark.parametrize(("name", "sni"), [("evil.example", "evil.example"), ("198.51.100.1", None), (f"x.{SITE}", f"x.{SITE}")])
def test_unknown_names_get_no_handshake(edge: Edge, name: str, sni: str | None) -> None:
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name|handshake failure"):
        edge.ask("/", name=name, sni=sni)


def test_a_foreign_host_under_a_known_name_gets_no_answer(edge: Edge) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        edge.ask("/", name="evil.example", sni=SITE)
    for name in ("evil.example", edge.address):
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            edge.ask("/", name=name, tls=False)


def test_tls_below_1_2_is_refused(edge: Edge) -> None:
    # Security level 0, or OpenSSL would refuse it by itself and prove nothing.
    for version in ("-tls1", "-tls1_1"):
        said = edge.handshake(version, "-cipher", "ALL:@SECLEVEL=0", "-servername", SITE)
        assert "protocol version" in said or "no protocols available" in said or "handshake failure" in said
        assert "Cipher is (NONE)" in said
    for version in ("-tls1_2", "-tls1_3"):
        assert "Cipher is (NONE)" not in edge.handshake(version, "-servername", SITE)


# --- what the application is told, and what is streamed -----------------------------------------------------


def test_what_the_application_is_told(edge: Edge) -> None:
    forged = {
        "X-Real-IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "Proxy": "http://evil",
        "X-Request-ID": 'a"b',
        "X-Forwarded-Proto": "http",
    }
    answer = edge.ask("/api/v1/info", client="6.6.6.6, 203.0.113.6", headers=forged)
    assert answer.got("X-Forwarded-For") == answer.got("X-Real-IP") == "203.0.113.6"  # the last one that the balancer saw
    assert (answer.got("X-Forwarded-Proto"), answer.got("X-Forwarded-Host"), answer.got("Host")) == ("https", SITE, SITE)
    assert answer.got("Forwarded") is answer.got("Proxy") is answer.got("Upgrade") is None
    assert answer.got("X-Request-ID") == answer.one("X-Request-ID") != 'a"b'
    assert answer.said["version"] == "HTTP/1.1"


@pytest.mark.clock
def test_a_stream_comes_as_it_is_written(edge: Edge) -> None:
    connection = to(edge.address, SITE, trusting(), SITE)
    connection.request(
        "POST", "/api/v1/sessions/7/stream", headers={"X-Forwarded-For": "203.0.113.7", "Accept-Encoding": "gzip, br"}
    )
    answer = connection.getresponse()
    began, times = time.monotonic(), []
    while answer.fp and (line := answer.fp.readline()):
        if line.startswith(b"data:"):
            times.append(time.monotonic() - began)
        if line == b"0\r\n":
            break
    assert answer.headers["Content-Encoding"] is None
    assert len(times) == 3 and times[1] - times[0] > 0.3 and times[2] - times[1] > 0.3
    connection.close()


WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_websocket_where_there_is_one_and_nowhere_else(edge: Edge) -> None:
    connection = to(edge.address, SITE, trusting(), SITE)
    connection.request("GET", "/api/v1/live", headers=WEBSOCKET)
    answer = connection.getresponse()
    assert answer.status == 101 and answer.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert connection.sock.recv(7) == b"\x81\x05hello"
    connection.close()
    assert edge.ask("/api/v1/other", headers=WEBSOCKET, client="203.0.113.8").got("Upgrade") is None
    h2c = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    assert edge.ask("/api/v1/live", headers=h2c, client="203.0.113.8").got("Upgrade") is None  # would tunnel past every rule


def test_compression(edge: Edge) -> None:
    for encoding in ("gzip", "br"):
        for path in ("/_astro/app.0a1b2c3d.js", "/api/v1/long"):
            answer = edge.ask(path, headers={"Accept-Encoding": encoding}, client="203.0.113.9")
            assert answer.one("Content-Encoding") == encoding and answer.one("Vary") == "Accept-Encoding"
            assert len(answer.body) < 1000
    assert edge.ask("/_astro/app.0a1b2c3d.js").body.decode() == ASSETS["app.0a1b2c3d.js"]


def test_http2(edge: Edge) -> None:
    assert "ALPN protocol: h2" in edge.handshake("-alpn", "h2,http/1.1", "-servername", SITE)
    code, said = edge.box.run(
        "curl", "-sk", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--resolve", f"{SITE}:443:127.0.0.1",
        f"https://{SITE}/",
    )  # fmt: skip
    assert (code, said) == (0, "2 200")


def test_cors_for_the_site_and_nobody_else(edge: Edge) -> None:
    mine, api = f"https://{SITE}", "api.kasaneha.test"
    asked = {"Origin": mine, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = edge.ask("/api/v1/sessions", name=api, method="OPTIONS", headers=asked)
    assert preflight.status == 204
    assert (
        preflight.one("Access-Control-Allow-Origin") == mine and preflight.one("Access-Control-Allow-Headers") == "authorization"
    )
    assert "POST" in preflight.one("Access-Control-Allow-Methods") and preflight.one("Access-Control-Allow-Credentials") == "true"
    answer = edge.ask("/api/v1/info", name=api, headers={"Origin": mine}, client="203.0.113.10")
    assert answer.status == 200 and answer.one("Access-Control-Allow-Origin") == mine
    for origin in ("https://evil.example", f"https://x.{SITE}", f"http://{SITE}", "null"):
        answer = edge.ask("/api/v1/info", name=api, headers={"Origin": origin}, client="203.0.113.11")
        assert "access-control-allow-origin" not in answer.headers and "access-control-allow-credentials" not in answer.headers


def test_the_status_is_for_the_server_alone(edge: Edge) -> None:
    assert "Active connections" in edge.sh("curl -s 127.0.0.1:8090/stub_status")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{edge.address}:8090/stub_status", timeout=3)
    for path in ("/stub_status", "/nginx_status", "/configuration"):
        assert b"Active connections" not in edge.ask(path).body


def test_http3_is_announced_where_it_is_spoken(edge: Edge) -> None:
    if edge.release == "bookworm":
        assert "http_v3_module" not in edge.sh("nginx -V 2>&1")  # configuration.yml refuses it there
        pytest.skip("nginx 1.22 cannot speak it")
    edge.configure(**BALANCED, nginx_http3=True)
    try:
        assert edge.ask("/").one("Alt-Svc") == 'h3=":443"; ma=86400'
        assert edge.sh("ss -Hlun sport = :443").count(":443") >= 2
    finally:
        edge.configure(**BALANCED)
    assert "alt-svc" not in edge.ask("/").headers


# --- what a release is judged by ---------------------------------------------------------------------------------

UPSTREAMS = {colour: [f"127.0.0.1:{port}" for port in ports] for colour, ports in (("blue", PORTS[:2]), ("green", PORTS[2:]))}


def test_only_what_the_application_was_asked_says_something_of_a_release(edge: Edge) -> None:
    before = len(edge.log())
    statuses = [
        edge.ask(path, client="203.0.113.12").status
        for path in ("/board/configuration", "/dead-board/", "/closed", "/", "/api/v1/status/500")
    ]
    assert statuses == [200, 503, 503, 200, 500]
    lines = edge.log()[before:]
    assert {line["colour"] for line in lines} == {"blue"} and len(lines) == 5  # nginx names the colour beside all of them
    assert traffic.count_requests(lines, "blue", UPSTREAMS) == {"requests": 2, "errors": 1, "elsewhere": 0}
    assert traffic.count_requests(lines, "blue", {"green": UPSTREAMS["blue"]}) == {"requests": 2, "errors": 1, "elsewhere": 1}


def test_only_connections_of_nginx_hold_up_a_drain(edge: Edge) -> None:
    edge.put("/opt/traffic.py", Path(traffic.__file__).read_text())
    count = f"cd /opt; python3 -c 'import traffic; print(traffic.open_connections({json.dumps(UPSTREAMS['blue'])}))'"
    held = 'import socket, time; held = [socket.create_connection(("127.0.0.1", port)) for port in (18080, 18081)]'
    edge.sh(f"setsid python3 -c '{held}; print(7, flush=True); time.sleep(60)' >/tmp/held 2>&1 & echo $! >/tmp/holder")
    try:
        edge.box.until("connections of another program", lambda: edge.sh("cat /tmp/held").strip() == "7", 10)
        edge.box.until("no connection of nginx", lambda: edge.sh(count).strip() == "0", 20)  # it closes idle ones itself
        assert len(edge.sh("ss -Htn state established dst 127.0.0.1 dport ge :18080 dport le :18081").splitlines()) >= 2
        connection = to(edge.address, SITE, trusting(), SITE)
        connection.request("POST", "/api/v1/sessions/7/stream", headers={"X-Forwarded-For": "203.0.113.13"})
        answer = connection.getresponse()
        assert edge.sh(count).strip() == "1"
        answer.read()
        connection.close()
    finally:
        edge.sh("kill $(cat /tmp/holder)")


# --- steps ----------------------------------------------------------------------------------------------------


def test_policies_go_in_steps(edge: Edge) -> None:
    trial = "default-src 'none'"
    edge.configure(
        **BALANCED, nginx_content_security_policy_report_only=trial, nginx_hsts_seconds=63072000, nginx_hsts_include_subdomains=True,
        nginx_hsts_preload=True, nginx_limits_dry_run=True, nginx_log_anonymous=True, nginx_extra_http="map $uri $mine { default 1; }",
        nginx_headers={"X-Frame-Options": "SAMEORIGIN", "Permissions-Policy": "", "X-Mine": "yes"},
    )  # fmt: skip
    try:
        answer = edge.ask("/", client="203.0.113.99")
        assert answer.one("Content-Security-Policy-Report-Only") == trial and "default-src 'self'" in answer.one(
            "Content-Security-Policy"
        )
        assert answer.one("Strict-Transport-Security") == "max-age=63072000; includeSubDomains; preload"
        assert (answer.one("X-Frame-Options"), answer.one("X-Mine")) == ("SAMEORIGIN", "yes")
        assert "permissions-policy" not in answer.headers
        assert {answer.status for answer in edge.burst(150, "/api/v1/info", "2001:db8:1:2::7")} == {200}
        lines = edge.log()
        assert {"203.0.113.0", "2001:db8::"} <= {line["client"] for line in lines}
        assert not [line for line in lines[-151:] if line["client"] in ("203.0.113.99", "2001:db8:1:2::7")]
        assert "REJECTED_DRY_RUN" in {line["limit"] for line in lines}
    finally:
        edge.configure(**BALANCED)
