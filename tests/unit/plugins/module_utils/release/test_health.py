# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application must answer: every mistake is named, and answers of a real server are judged."""

from __future__ import annotations

import http.server
import math
import socket
import threading
import time
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health

DEFAULT = {"path": "/", "host": "", "status": [200, 204], "headers": {}, "body": "", "timeout": 5.0}
FULL = {
    "path": "/ready?deep=1", "host": "shop.test", "status": [200, 401], "headers": {"X-Forwarded-Proto": "https"}, "body": "^ok$",
    "timeout": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        (None, {}),
        ("", {}),
        ({}, {}),
        ("/health", {"path": "/health"}),
        ({"path": "/health"}, {"path": "/health"}),
        (FULL, {**FULL, "timeout": 2.0}),
        ({"status": 301}, {"status": [301]}),
        ({"status": "204"}, {"status": [204]}),  # of -e status=204
        ({"status": (200, "503")}, {"status": [200, 503]}),
        ({"headers": {"X-Tenant": 7}}, {"headers": {"X-Tenant": "7"}}),
        ({"timeout": "0.5"}, {"timeout": 0.5}),
        (dict.fromkeys(DEFAULT), {}),  # `host:` with nothing behind it
    ],
)
def test_the_short_form_is_one_of_the_long_one(value: Any, changes: dict[str, Any]) -> None:
    assert health.health_problems("x", value) == []
    assert health.health_check(value) == {**DEFAULT, **changes}


def test_what_is_good_without_a_status_depends_on_who_asks() -> None:
    assert health.health_check("/", good=[200, 206])["status"] == [200, 206]
    assert health.health_check({"status": 500}, good=[200, 206])["status"] == [500]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, ["x: is neither a path nor a mapping. Write /health, or {path: /health, host: …}."]),
        (["/health"], ["x: is neither a path nor a mapping."]),
        (True, ["x: is neither"]),
        ("health", ["x: 'health' is no absolute path. Begin it with /."]),
        ("http://127.0.0.1/health", ["x: 'http://127.0.0.1/health' is no absolute path."]),
        ("/a b", ["x: '/a b' has characters that no path has. Encode them, such as %20 for a blank."]),
        ("/ü", ["x: '/ü' has characters that no path has."]),
        ("/a\nHost: b", ["x: '/a\\nHost: b' has characters"]),
        ({"path": "health"}, ["x.path: 'health' is no absolute path."]),
        ({"path": 7}, ["x.path: 7 is no absolute path."]),
        ({"statsu": 200}, ["x.statsu: is no key of a health check. Did you mean status?"]),
        ({"Path": "/"}, ["x.Path: is no key of a health check. Did you mean path?"]),
        ({"colour": 1}, ["x.colour: is no key of a health check. Known are: body, headers, host, path, status, timeout."]),
        ({7: 1}, ["x.7: is no key of a health check."]),
        ({"url": "http://a/"}, ["x.url: is no key of a health check."]),
        ({"host": "https://shop.test"}, ["x.host: 'https://shop.test' is no host name. Write the name alone, such as shop.example.org."]),
        ({"host": "shop test"}, ["x.host: 'shop test' is no host name."]),
        ({"host": "shop.test/"}, ["x.host: "]),
        ({"host": "-shop.test"}, ["x.host: "]),
        ({"host": "shop..test"}, ["x.host: "]),
        ({"host": "a\r\nX: b"}, ["x.host: "]),
        ({"host": "*.shop.test"}, ["x.host: "]),
        ({"host": f"{'a' * 64}.test"}, ["x.host: "]),
        ({"host": ".".join(["a" * 60] * 5)}, ["x.host: "]),
        ({"host": "shop.test:99999"}, ["x.host: "]),
        ({"host": ["shop.test"]}, ["x.host: ['shop.test'] is no host name."]),
        ({"status": 99}, ["x.status: 99 is no status of HTTP. Use numbers from 100 to 599."]),
        ({"status": 600}, ["x.status: 600 is no status"]),
        ({"status": [200, 1000]}, ["x.status: 1000 is no status"]),
        ({"status": "2xx"}, ["x.status: '2xx' is no status"]),
        ({"status": True}, ["x.status: True is no status"]),
        ({"status": 200.5}, ["x.status: 200.5 is no status"]),
        ({"status": {"a": 1}}, ["x.status: {'a': 1} is no status"]),
        ({"status": []}, ["x.status: names none. Use numbers from 100 to 599."]),
        ({"headers": ["X-A: b"]}, ["x.headers: is no mapping. Write it as {X-Forwarded-Proto: https}."]),
        ({"headers": "X-A: b"}, ["x.headers: is no mapping."]),
        ({"headers": {"Host": "shop.test"}}, ["x.headers.Host: has a key of its own. Write it as host: shop.example.org."]),
        ({"headers": {"hOST": "shop.test"}}, ["x.headers.hOST: has a key of its own."]),
        ({"headers": {"X A": "b"}}, ["x.headers.X A: is no name of a header. Use letters, digits and dashes."]),
        ({"headers": {"": "b"}}, ["x.headers.: is no name of a header."]),
        ({"headers": {"X-A": "b\r\nX-B: c"}}, ["x.headers.X-A: is no value of a header. Write it in one line of ASCII; quote true and false."]),
        ({"headers": {"X-A": "ü"}}, ["x.headers.X-A: is no value"]),
        ({"headers": {"X-A": True}}, ["x.headers.X-A: is no value"]),
        ({"headers": {"X-A": None}}, ["x.headers.X-A: is no value"]),
        ({"headers": {"X-A": ["b"]}}, ["x.headers.X-A: is no value"]),
        ({"body": "(ready"}, ["x.body: '(ready' is no regular expression: missing ), unterminated subpattern at position 0."]),
        ({"body": ["ready"]}, ["x.body: ['ready'] is no regular expression: it is no string."]),
        ({"body": 7}, ["x.body: 7 is no regular expression: it is no string."]),
        ({"timeout": 0}, ["x.timeout: 0 is no time to wait. Use seconds above 0."]),
        ({"timeout": -1}, ["x.timeout: -1 is no time"]),
        ({"timeout": "soon"}, ["x.timeout: 'soon' is no time"]),
        ({"timeout": True}, ["x.timeout: True is no time"]),
        ({"timeout": math.inf}, ["x.timeout: inf is no time"]),
        ({"timeout": math.nan}, ["x.timeout: nan is no time"]),
        ({"timeout": [5]}, ["x.timeout: [5] is no time"]),
        (
            {"path": "x", "host": "/", "status": 0, "headers": 0, "body": "[", "timeout": 0, "z": 0},
            ["x.z: ", "x.path: ", "x.host: ", "x.status: ", "x.headers: ", "x.body: ", "x.timeout: "],
        ),
    ],
)  # fmt: skip
def test_every_mistake_has_a_sentence(value: Any, said: list[str]) -> None:
    problems = health.health_problems("x", value)
    assert [problem[: len(start)] for problem, start in zip_longest(problems, said, fillvalue="")] == said
    assert all(problem.endswith((".", "?")) for problem in problems)


@pytest.mark.parametrize(
    "host",
    ["localhost", "shop.test", "Shop.Test", "a-b.c1.test", "shop.test:8443", "10.0.0.1", "xn--bcher-kva.test", "shop.test."],
)
def test_host_names(host: str) -> None:
    assert health.health_problems("x", {"host": host}) == []


# --- probes of a backup -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "url", "changes"),
    [
        ("http://127.0.0.1:18080/health", "http://127.0.0.1:18080/health", {}),
        ("http://[fd00::4]:18080/health?a=1", "http://[fd00::4]:18080/health?a=1", {}),
        ({"url": "http://shop:1"}, "http://shop:1", {}),
        ({"url": "http://a:1/", "host": "shop.test", "status": 401}, "http://a:1/", {"host": "shop.test", "status": [401]}),
    ],
)
def test_a_probe_is_a_url_or_a_mapping_with_one(value: Any, url: str, changes: dict[str, Any]) -> None:
    assert health.probe_problems("x", value) == []
    assert health.probe_check(value) == (url, {**DEFAULT, "status": list(range(200, 300)), **changes})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", ["x: '' is no address to ask. Write http://<address>:<port>/<path>; only plain HTTP is asked."]),
        (None, ["x: is not set"]),
        (7, ["x: is neither a URL nor a mapping. Write http://127.0.0.1:8080/health, or {url: http://127.0.0.1:8080/health, host: …}."]),
        ("/health", ["x: '/health' is no address"]),
        ("https://shop.test/", ["x: 'https://shop.test/' is no address to ask."]),
        ("http:///health", ["x: 'http:///health' is no address"]),
        ("http://a:b/", ["x: 'http://a:b/' is no address"]),
        ("http://a:99999/", ["x: 'http://a:99999/' is no address"]),
        ("http://[::1/", ["x: 'http://[::1/' is no address"]),
        ("http://a/b c", ["x: 'http://a/b c' is no address"]),
        ({}, ["x.url: is not set. Write http://"]),
        ({"url": "shop"}, ["x.url: 'shop' is no address"]),
        ({"url": "http://a/", "path": "/"}, ["x.path: is no key of a health check. Known are: body, headers, host, status, timeout, url."]),
        ({"url": "http://a/", "body": "("}, ["x.body: "]),
    ],
)  # fmt: skip
def test_every_mistake_of_a_probe_has_a_sentence(value: Any, said: list[str]) -> None:
    problems = health.probe_problems("x", value)
    assert [problem[: len(start)] for problem, start in zip_longest(problems, said, fillvalue="")] == said


# --- answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "check", "problem"),
    [
        (200, b"anything", {}, ""),
        (204, b"", {}, ""),
        (206, b"", {}, "status 206, not 200 or 204"),
        (301, b"", {}, "status 301, not 200 or 204"),
        (301, b"", {"status": [301]}, ""),
        (200, b"", {"status": [401, 403, 301]}, "status 200, not 401, 403 or 301"),
        (503, b"", {"status": list(range(200, 300))}, "status 503, not 2xx"),
        (200, b"all is ready now", {"body": "ready"}, ""),
        (200, b"all is Ready now", {"body": "ready"}, "body does not match 'ready': 'all is Ready now'"),
        (200, b"one\nready\n", {"body": "(?m)^ready$"}, ""),
        (200, b"", {"body": "ready"}, "body does not match 'ready': ''"),
        (200, b"x" * 100, {"body": "ready"}, f"body does not match 'ready': '{'x' * 80}' …"),
        (200, b"a\nb\x00\xff", {"body": "ready"}, "body does not match 'ready': 'a\\nb\\x00\ufffd'"),
        (200, "日本".encode(), {"body": "^日本$"}, ""),
        (200, b"x" * 65536 + b"ready", {"body": "ready"}, f"body does not match 'ready': '{'x' * 80}' …"),
        (200, b"x" * 65531 + b"ready", {"body": "ready$"}, ""),
        (500, b"ready", {"body": "ready"}, "status 500, not 200 or 204"),
        (200, b"ready", {"body": "(?P<"}, "body cannot be compared: this host's Python does not know '(?P<'"),
    ],
)
def test_an_answer_is_judged_by_status_and_body(status: int, body: bytes, check: dict[str, Any], problem: str) -> None:
    assert health.answer_problem(status, body, {**DEFAULT, **check}) == problem


@pytest.mark.parametrize(
    ("body", "pattern", "problem"),
    [
        (b'{"release": "v2", "ready": true}', "", ""),
        (b'{"release": "v2", "ready": true}', '"ready": true', ""),
        (b'{"release": "v1", "ready": true}', '"ready": true', "release is 'v1', not 'v2'"),
        (b'{"release": "v2"}', "ready", "body does not match 'ready': '{\"release\": \"v2\"}'"),
        (b'{"release": 2}', "", "release is 2, not 'v2': no string. Let the application write it in quotes"),
        (
            b'{"padding": "' + b"x" * 70000 + b'", "release": "v2"}',
            "",
            "",
        ),  # what is searched is the beginning, what is read is all
        (b'["v2"]', "", "release is None, not 'v2'"),
        (b"v2", "", "release is None, not 'v2'"),
        (b"", "", "release is None, not 'v2'"),
    ],
)
def test_a_release_is_named_in_json_whatever_else_is_expected(body: bytes, pattern: str, problem: str) -> None:
    assert health.answer_problem(200, body, {**DEFAULT, "body": pattern}, "release", "v2") == problem


class Handler(http.server.BaseHTTPRequestHandler):
    """An application that answers under its own name alone, and keeps what it was asked."""

    asked: list[dict[str, Any]] = []

    def do_GET(self) -> None:
        asked = {key.lower(): value for key, value in self.headers.items()}
        self.asked.append({"path": self.path, **asked})
        status, body, headers = {
            "/ready": (200, b'{"state": "ready", "release": "v2"}', {}),
            "/moved": (302, b"", {"Location": "/ready"}),
            "/slow": (200, b"ready", {}),
        }.get(self.path.partition("?")[0], (404, b"nothing here", {}))
        if asked["host"] != "shop.test":
            status, body = 400, f"no site is called {asked['host']}".encode()
        if self.path == "/slow":
            time.sleep(1)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server whose clients may go before they have their answer."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    Handler.asked = []
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(site: str, value: Any, *release: str) -> tuple[int, str]:
    """What the gate does."""
    assert health.health_problems("x", value) == []
    check = health.health_check(value)
    return health.ask(site + check["path"], check, *release)


def test_an_application_is_asked_by_its_own_name(site: str) -> None:
    port = site.rpartition(":")[2]
    assert ask(site, "/ready") == (400, "status 400, not 200 or 204")
    assert ask(site, {"path": "/ready", "host": "shop.test"}) == (200, "")
    assert ask(site, {"path": "/ready", "status": 400, "body": f"called 127.0.0.1:{port}$"}) == (400, "")
    assert [entry["host"] for entry in Handler.asked] == [f"127.0.0.1:{port}", "shop.test", f"127.0.0.1:{port}"]


def test_headers_and_query_arrive(site: str) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Tenant": 7, "accept-encoding": "br", "connection": "keep-alive"}
    assert ask(site, {"path": "/ready?deep=1&of=%20a", "host": "shop.test", "headers": headers}) == (200, "")
    (asked,) = Handler.asked
    assert (asked["path"], asked["x-forwarded-proto"], asked["x-tenant"], asked["accept-encoding"], asked["connection"]) == (
        "/ready?deep=1&of=%20a", "https", "7", "br", "keep-alive",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "release", "status", "problem"),
    [
        ({"path": "/ready", "body": '"state": "ready"'}, ("release", "v2"), 200, ""),
        ({"path": "/ready", "body": '"state": "ready"'}, ("release", "v3"), 200, "release is 'v2', not 'v3'"),
        ({"path": "/ready", "body": "asleep"}, ("release", "v2"), 200, "body does not match 'asleep': '{\"state\": "),
        ({"path": "/ready", "status": 401}, (), 200, "status 200, not 401"),
        ("/moved", (), 302, "status 302, not 200 or 204"),
        ({"path": "/moved", "status": [301, 302]}, (), 302, ""),
        ({"path": "/nowhere", "status": 404, "body": "^nothing"}, (), 404, ""),
    ],
)
def test_answers(site: str, value: Any, release: tuple[str, ...], status: int, problem: str) -> None:
    value = {"host": "shop.test", **(value if isinstance(value, dict) else {"path": value})}
    found = ask(site, value, *release)
    assert found[0] == status and (found[1].startswith(problem) if problem else not found[1])
    assert len(Handler.asked) == 1  # no redirect is followed


def test_no_answer_is_said_as_it_is(site: str) -> None:
    assert ask(site, {"path": "/slow", "host": "shop.test", "timeout": 0.2}) == (0, "timed out")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        status, problem = ask(f"http://127.0.0.1:{closed.getsockname()[1]}", {"path": "/", "body": "x", "status": 500})
        assert status == 0 and "refused" in problem
