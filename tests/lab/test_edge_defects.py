# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nginx.conf of kasaneha's first design did wrong, each thing under its number in the audit of it, against a real nginx.

Certificates (103 to 110) are tests/testinfra/test_edge.py's; the firewall (97 to 102) has tests of its own.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest
from edge import text as rendered

from .boxes import Lab
from .edge_box import BALANCED, SITE, WWW, Edge, to, trusting


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with Lab() as lab:
        yield Edge(lab, "trixie").configure(**BALANCED)


@pytest.fixture(scope="module")
def config(edge: Edge) -> str:
    return edge.sh("cat /etc/nginx/nginx.conf")


def test_45_scripts_styles_and_images_are_found(edge: Edge) -> None:
    for path, kind in {
        "/_astro/style.4e5f6a7b.css": "text/css",
        "/logo.svg": "image/svg+xml",
        "/x/app.js": "text/javascript",
    }.items():
        answer = edge.ask(path)
        assert answer.status == 200 and answer.one("Content-Type").startswith(kind)


def test_46_a_session_is_created_without_a_redirect(edge: Edge) -> None:
    for path in ("/api/v1/sessions", "/api/v1/sessions/"):
        answer = edge.ask(path, method="POST", body=b"{}", client="203.0.113.46")
        assert answer.status == 200 and (answer.said["method"], answer.said["path"]) == ("POST", path)


def test_47_no_location_takes_headers_away(edge: Edge, config: str) -> None:
    depth = 0
    for line in config.splitlines():
        depth += line.count("{") - line.count("}")
        assert "add_header" not in line or depth == 2, line  # http, server
    assert edge.ask("/health").one("X-Frame-Options") == "DENY"


def test_48_errors_have_headers_too(edge: Edge) -> None:
    assert edge.ask("/.env").one("X-Content-Type-Options") == "nosniff"


def test_49_other_names_get_nothing(edge: Edge) -> None:
    assert "unrecognized name" in edge.handshake("-servername", "evil.example")
    assert "unrecognized name" in edge.handshake("-noservername")


def test_50_a_client_cannot_say_who_it_is(edge: Edge) -> None:
    edge.configure()  # nobody's word is believed by default
    try:
        answer = edge.ask("/x", headers={"X-Forwarded-For": "1.2.3.4", "X-Real-IP": "1.2.3.4"})
        assert "1.2.3.4" not in (answer.got("X-Forwarded-For") or "") + (answer.got("X-Real-IP") or "")
    finally:
        edge.configure(**BALANCED)


def test_51_too_many_requests_are_429(edge: Edge) -> None:
    assert {answer.status for answer in edge.burst(150, "/api/v1/info", "203.0.113.51")} == {200, 429}


def test_52_reading_costs_nothing_of_the_chat_and_everything_counts_as_api(edge: Edge) -> None:
    reads = edge.burst(18, "/api/v1/sessions/7", "203.0.113.52")
    assert {answer.status for answer in reads} == {200}  # more than the chat's burst of 10
    asks = edge.burst(18, "/api/v1/sessions", "203.0.113.53", "POST")
    assert 429 in {answer.status for answer in asks}  # the API alone would let 21 pass
    assert 429 in {answer.status for answer in edge.burst(150, "/api/v1/sessions/7", "203.0.113.54")}


def test_53_whoever_has_ipv6_is_one_client(edge: Edge) -> None:
    assert 429 in {answer.status for answer in edge.burst(150, "/api/v1/info", "2001:db8:53::{}")}
    others = edge.burst(150, "/api/v1/info", "2001:db8:53:{}::1")
    assert {answer.status for answer in others} == {200}  # each a /64 of its own


def test_54_chat_is_streamed_and_may_take_its_time(edge: Edge, config: str) -> None:
    (chat, *_others) = re.findall(r"location /api/v1/sessions \{(.*?)\n    \}", config, re.DOTALL)
    assert "proxy_buffering off" in chat and "proxy_read_timeout 300s" in chat


def test_55_versions_and_ciphers_are_named(edge: Edge, config: str) -> None:
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in config
    for cipher in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"):
        assert "Cipher is (NONE)" in edge.handshake("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0", "-servername", SITE)


def test_56_http2_is_written_as_the_version_wants_it() -> None:
    assert "http2 on;" in rendered(version="nginx version: nginx/1.26.3") and "ssl http2;" not in rendered(version="nginx/1.30.0")
    assert "ssl http2;" in rendered(version="nginx version: nginx/1.22.1")


def test_57_hsts_begins_small(edge: Edge) -> None:
    assert edge.ask("/").one("Strict-Transport-Security") == "max-age=300"


def test_58_no_header_that_browsers_dropped(edge: Edge) -> None:
    assert "x-xss-protection" not in edge.ask("/").headers


def test_59_policies_are_sent(edge: Edge) -> None:
    answer = edge.ask("/")
    for name in ("Content-Security-Policy", "Referrer-Policy", "Permissions-Policy", "Cross-Origin-Opener-Policy"):
        assert answer.one(name)


def test_60_health_is_one_path_with_one_type(edge: Edge) -> None:
    for tls in (True, False):
        answer = edge.ask("/health", tls=tls)
        assert (answer.status, answer.body, answer.one("Content-Type")) == (200, b"healthy\n", "text/plain")
    assert edge.ask("/health-tips").said["path"] == "/health-tips"
    assert not [line for line in edge.log() if line["uri"] == "/health"]


def test_61_only_hashed_files_never_change(edge: Edge) -> None:
    for path in ("/favicon.ico", "/sw.js", "/logo.svg", "/_astro/../sw.js"):
        assert "immutable" not in "".join(edge.ask(path).headers.get("cache-control", []))
    assert "immutable" in edge.ask("/_astro/style.4e5f6a7b.css").one("Cache-Control")


def test_62_uploads_may_be_larger(edge: Edge) -> None:
    assert edge.ask("/api/v1/uploads", method="POST", body=b"x" * 15_000_000, client="203.0.113.62").status == 200


def test_63_every_core_works(edge: Edge) -> None:
    assert int(edge.sh("pgrep -cf 'nginx: worker process$'")) == int(edge.sh("nproc"))
    assert "worker_rlimit_nofile 65536;" in edge.sh("cat /etc/nginx/nginx.conf")  # a container's own limit may be lower


def test_64_files_have_types(edge: Edge) -> None:
    assert edge.ask("/_astro/style.4e5f6a7b.css").one("Content-Type") == "text/css"


def test_65_connections_to_the_application_are_kept(edge: Edge) -> None:
    edge.sh("nginx -s reload; sleep 1")
    before = edge.ask("/", client="203.0.113.65").said["connections"]
    after = [edge.ask("/", client="203.0.113.65").said["connections"] for _ in range(20)]
    assert max(after) - before <= int(edge.sh("nproc"))  # one for each worker at most


def test_66_slow_clients_are_left(edge: Edge) -> None:
    with socket.create_connection((edge.address, 80), timeout=90) as slow:
        began = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with contextlib.suppress(ConnectionResetError):  # the quickest way to be rid of it
            while slow.recv(1000):
                pass
        assert 8 < time.monotonic() - began < 50  # it is 10; 60 would be nginx's own


def test_66_one_client_has_so_many_connections() -> None:
    with Lab() as lab:
        edge = Edge(lab, "trixie").configure(**BALANCED, nginx_connections_per_client=5)
        waiting = []
        for number in range(8):
            connection = to(edge.address, SITE, trusting(), SITE)
            connection.request("GET", f"/{number}/slow", headers={"X-Forwarded-For": "203.0.113.66"})
            waiting.append(connection)
        assert sorted(connection.getresponse().status for connection in waiting) == [200] * 5 + [429] * 3


def test_67_a_single_application_is_never_taken_for_dead(edge: Edge, config: str) -> None:
    edge.upstream(up=False)
    assert edge.ask("/").status == 503
    edge.upstream()
    assert edge.ask("/").status == 200  # at once, not ten seconds later


def test_68_versions_are_nobodys_business(edge: Edge) -> None:
    for path in ("/", "/.env", "/health"):
        answer = edge.ask(path)
        assert answer.one("Server") == "nginx" and b"nginx/" not in answer.body and b"upstream/9.9" not in answer.body


def test_69_ipv6_is_answered(edge: Edge) -> None:
    for url in (f"https://{SITE}/", f"http://{SITE}/"):
        port = 443 if url.startswith("https") else 80
        said = edge.sh(f"curl -sk -o /dev/null -w '%{{http_code}}' --resolve {SITE}:{port}:[::1] {url}")
        assert said == ("200" if port == 443 else "301")


def test_70_challenges_are_answered_while_nginx_serves(edge: Edge) -> None:
    edge.put("/var/lib/kasaneha/acme/.well-known/acme-challenge/token-70", "proof")
    for name in (SITE, WWW, "api.kasaneha.test"):
        answer = edge.ask("/.well-known/acme-challenge/token-70", name=name, tls=False)
        assert (answer.status, answer.body) == (200, b"proof")
        assert edge.ask("/.well-known/acme-challenge/none", name=name, tls=False).status == 404


def test_71_each_name_stays_itself_but_www(edge: Edge) -> None:
    assert edge.ask("/x", tls=False, name="api.kasaneha.test").one("Location") == "https://api.kasaneha.test/x"
    assert edge.ask("/x", name=WWW).one("Location") == f"https://{SITE}/x"


def test_72_what_is_inside_stays_inside(edge: Edge) -> None:
    for path in ("/metrics", "/.git/HEAD", "/.env", "/a/.htpasswd", "/app.js.map", "/backup.sql", "/x.bak", "/%2egit/HEAD"):
        assert edge.ask(path).status == 404, path
    assert edge.ask("/.well-known/security.txt").status == 200


def test_73_the_log_is_json_without_secrets(edge: Edge) -> None:
    edge.ask('/api/v1/log?token=CANARY-query', headers={"Authorization": "Bearer CANARY-header", "Cookie": "s=CANARY-cookie",
             "Referer": "https://x/?CANARY-referer", "User-Agent": 'a "quoted" \\ agent'}, client="203.0.113.73")  # fmt: skip
    edge.ask("/.env?token=CANARY-error", client="203.0.113.73")
    lines = {line["uri"]: line for line in edge.log() if line["client"] == "203.0.113.73"}  # each worker in its time
    assert set(lines) == {"/api/v1/log", "/.env"}
    assert lines["/api/v1/log"]["user_agent"] == 'a "quoted" \\ agent' and len(lines["/api/v1/log"]["request_id"]) == 32
    assert "CANARY" not in json.dumps(edge.log())


def test_74_logs_are_rotated(edge: Edge) -> None:
    rotation = edge.sh("cat /etc/logrotate.d/nginx")
    assert "/var/log/nginx/*.log" in rotation and "postrotate" in rotation


# --- an operator's own words ----------------------------------------------------------------------------------


def test_a_broken_snippet_is_refused_by_nginx(edge: Edge) -> None:
    """The role judges the staged file with the same command before it replaces the one on disk (tests/testinfra/test_edge.py)."""
    broken = edge.text(**BALANCED, nginx_extra_http="server { listen 81; nonsense on; }")
    edge.put("/etc/nginx/nginx.conf.staged", broken)
    code, said = edge.box.run("nginx", "-t", "-q", "-c", "/etc/nginx/nginx.conf.staged")
    assert code == 1 and 'unknown directive "nonsense"' in said
    edge.put("/etc/nginx/nginx.conf.staged", edge.text(**BALANCED, nginx_extra_http="server { listen 81; }"))
    assert edge.box.run("nginx", "-t", "-q", "-c", "/etc/nginx/nginx.conf.staged") == (0, "")
