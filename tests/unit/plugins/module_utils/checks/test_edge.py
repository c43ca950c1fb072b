# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a live edge: a good one passes, and each way in which one can be broken is found by its own check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import edge as checks_edge
from ansible_collections.kasaneha.deploy.plugins.module_utils.io.http import Answer

SITES = [
    {
        "name": "main", "names": ["a.test", "b.test"], "redirect_names": ["www.a.test"], "certificate": "main", "assets": "/_astro/",
        "locations": [{"path": "/api/v1/sessions", "limits": ["api"]}, {"path": "/api/", "limits": ["api"]}],
    }
]  # fmt: skip
LIMITS = {"chat": {"rate": "5r/s", "burst": 10, "only": "^POST"}, "api": {"rate": "10r/s", "burst": 20}}
HEADERS = tuple((name, "x") for name in checks_edge.HEADERS)
PAGE = HEADERS + (("Content-Type", "text/html"), ("Content-Security-Policy", "x"), ("Server", "nginx"))
NOTHING = Answer(0, body="closed")


class Edge:
    """An edge that does everything right, except for what a test changes."""

    address, local = "192.0.2.7", "192.0.2.99"

    def __init__(
        self,
        answer: Callable[..., Answer | None] | None = None,
        tls: Callable[..., str | None] | None = None,
        burst: list[int] | None = None,
    ) -> None:
        self.answer, self.tls, self.statuses = (
            answer or (lambda **_asked: None),
            tls or (lambda **_asked: None),
            burst or [200] * 20 + [429] * 5,
        )

    def handshake(self, name: str | None, version: str = "") -> str:
        """Old versions and strangers are refused."""
        said = self.tls(name=name, version=version)
        if said is not None:
            return said
        known = name in ("a.test", "b.test", "www.a.test")
        return (version or "TLSv1.3") if known and version not in ("TLSv1", "TLSv1.1") else ""

    def ask(self, name: str, path: str, method: str = "GET", headers: Any = None, tls: bool = True, host: str = "") -> Answer:
        """What the nginx role's configuration answers."""
        said = self.answer(name=name, path=path, method=method, tls=tls, host=host)
        if said is not None:
            return said
        if (host or name) not in ("a.test", "b.test", "www.a.test"):
            return NOTHING
        if not tls or name == "www.a.test":
            first = "a.test" if name == "www.a.test" else name
            return Answer(301, (("Location", f"https://{first}{path}"),))
        if path in checks_edge.PRIVATE:
            return Answer(404, PAGE)
        if path == "/":
            return Answer(200, PAGE, '<script src="/_astro/app.1.js"></script>')
        if path == "/_astro/app.1.js":
            return Answer(200, (*HEADERS, ("Cache-Control", "public, max-age=31536000, immutable")))
        return Answer(
            404 if path.startswith("/_astro") or path == "/no-such-page" else 401,
            (*HEADERS, ("Content-Type", "application/json")),
        )

    def burst(self, name: str, path: str, count: int) -> list[int]:
        """The limit is met."""
        return self.statuses


def failed(edge: Edge, **changes: Any) -> dict[str, str]:
    """Check -> problem, of those that failed."""
    options = {"sites": SITES, "limits": LIMITS, "exempt": [], "token": "t", **changes}
    return {entry["check"]: entry["problem"] for entry in checks_edge.checks(edge, **options) if entry["problem"]}


def when(answer: Answer, **wanted: Any) -> Callable[..., Answer | None]:
    """This answer, if that is asked."""
    return lambda **asked: answer if all(asked[key] == value for key, value in wanted.items()) else None


@pytest.mark.parametrize("probe", ["/info", {"path": "/info", "release_key": "release"}])
def test_a_site_without_a_first_page_answers_where_its_probe_is(probe: Any) -> None:
    sites = [SITES[0], {"names": ["b.test"], "probes": [probe]}]

    def answering(status: int) -> Edge:
        return Edge(lambda name, path, **_: Answer(status if path == "/info" else 404, PAGE) if name == "b.test" else None)

    assert list(checks_edge.site_problems(answering(200), sites)) == []
    assert list(checks_edge.site_problems(answering(503), sites)) == ["b.test/info answers 503"]


def test_a_good_edge_passes() -> None:
    checks = checks_edge.checks(Edge(), SITES, LIMITS, [], "t")
    assert len(checks) == 10 and not failed(Edge()) and not any(entry["skipped"] for entry in checks)


@pytest.mark.parametrize(
    ("edge", "check", "words"),
    [
        (Edge(when(Answer(503, PAGE), name="a.test", path="/", tls=True, host="")), "every site answers", "a.test answers 503"),
        (Edge(tls=lambda name, version: "TLSv1.1" if version == "TLSv1.1" else None), "TLS 1.2 and 1.3", "TLSv1.1 is accepted"),
        (Edge(tls=lambda name, version: "" if version == "TLSv1.3" else None), "TLS 1.2 and 1.3", "TLSv1.3 is refused"),
        (Edge(tls=lambda name, version: "TLSv1.3" if name is None else None), "every name has a TLS", "a bare address gets one"),
        (Edge(tls=lambda name, version: "TLSv1.3" if name == checks_edge.STRANGER else None), "every name has a TLS", "a stranger's name gets one"),
        (Edge(tls=lambda name, version: "" if name == "www.a.test" else None), "every name has a TLS", "www.a.test gets none"),
        (Edge(when(Answer(200), host=checks_edge.STRANGER, tls=False)), "requests for a name", "HTTP answers 200"),
        (Edge(when(Answer(200), host=checks_edge.STRANGER, tls=True)), "requests for a name", "HTTPS answers 200"),
        (Edge(when(Answer(200), name="192.0.2.7")), "requests for a name", "HTTP answers to the bare address"),
        (Edge(when(Answer(302, (("Location", "https://a.test/x?y=1"),)), name="a.test", tls=False, host="")), "HTTP leads", "answers 302"),
        (Edge(when(Answer(301, (("Location", "https://a.test/"),)), name="a.test", tls=False, host="")), "HTTP leads", "301 https://a.test/, not"),
        (Edge(when(Answer(301, (("Location", "https://www.a.test/x?y=1"),)), name="www.a.test", tls=True)), "HTTP leads to HTTPS", "https://www.a.test"),
        (Edge(when(Answer(404, PAGE[1:]), path="/.env")), "security headers", "a.test/.env (404) has X-Frame-Options 0 times"),
        (Edge(when(Answer(404, (*PAGE, ("X-Frame-Options", "y"))), path="/no-such-page")), "security headers", "has X-Frame-Options 2 times"),
        (Edge(when(Answer(404, (*HEADERS, ("Content-Type", "text/html"))), path="/no-such-page")), "security headers", "no Content-Security-Policy"),
        (Edge(when(Answer(404, (*PAGE[:-1], ("Server", "nginx/1.26.3"))), path="/no-such-page")), "security headers", "tells what it is made of"),
        (Edge(when(Answer(404, (*PAGE, ("X-Powered-By", "x"))), path="/no-such-page")), "security headers", "tells what it is made of"),
        (Edge(when(Answer(200, PAGE), path="/metrics")), "what is internal", "a.test/metrics answers 200"),
        (Edge(when(Answer(301, PAGE), path="/api/v1/sessions", method="POST")), "POST is not redirected", "POST /api/v1/sessions answers 301"),
        (Edge(when(Answer(404, PAGE), path="/_astro/app.1.js")), "hashed assets", "/_astro/app.1.js answers 404"),
        (Edge(when(Answer(200, HEADERS), path="/_astro/app.1.js")), "hashed assets", "/_astro/app.1.js answers 200"),
        (Edge(when(Answer(404, (*HEADERS, ("Cache-Control", "immutable"))), path="/_astro/no-such-file.js")), "hashed assets", "although it does not exist"),
        (Edge(burst=[200] * 60), "too many requests", "met no limit"),
        (Edge(burst=[200] * 20 + [503] * 40 + [429]), "too many requests", "answered 503 as well"),
        (Edge(burst=[200, 429, 0]), "too many requests", "answered 0 as well"),
    ],
)  # fmt: skip
def test_each_check_can_fail(edge: Edge, check: str, words: str) -> None:
    problems = failed(edge)
    (name,) = problems
    assert check in name and words in problems[name]


def test_no_connection_is_a_failure_of_every_check() -> None:
    def unreachable(**_asked: Any) -> str:
        raise OSError("no route")

    problems = failed(Edge(tls=unreachable))
    assert set(problems.values()) == {"there is no connection: no route"} and len(problems) == 2


def test_a_limit_that_does_not_count_us_cannot_be_asked() -> None:
    for options in ({"exempt": ["192.0.2.0/24"]}, {"limits": {"api": LIMITS["chat"]}}):
        last = checks_edge.checks(Edge(), **{"sites": SITES, "limits": LIMITS, "exempt": [], "token": "t", **options})[-1]
        assert last["skipped"] and not last["problem"]


GOOD_LINE = '{"client": "192.0.2.99", "request_id": "0a1b"}'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([GOOD_LINE], []),
        ([], ["the request for /t is not in the access log"]),
        (["{,}"], ["a line of the access log is no JSON"]),
        (['{"client": "192.0.2.66"}'], ["X-Forwarded-For of a client is taken for its address"]),
        (['{"client": "1.2.3.4", "request_id": "a\\"b"}'], ["X-Request-ID of a client is taken for ours"]),
    ],
)
def test_log(lines: list[str], expected: list[str]) -> None:
    assert checks_edge.log_problems(lines, "t") == expected


FILE = {
    "serial_number": 7,
    "subject_alt_name": ["DNS:a.test", "DNS:b.test", "DNS:*.a.test"],
    "expired": False,
    "valid_at": {"tomorrow": True},
}


@pytest.mark.parametrize(
    ("file", "shown", "words"),
    [
        (FILE, {"serial_number": 7}, ""),
        (FILE, {"serial_number": "7"}, ""),
        ({}, {"serial_number": 7}, "there is no certificate on disk"),
        ({"failed": True}, {}, "there is no certificate on disk"),
        (FILE, {"serial_number": 6}, "nginx serves another one"),
        (FILE, {}, "nginx serves another one"),
        ({**FILE, "expired": True}, {"serial_number": 7}, "has expired"),
        ({**FILE, "valid_at": {"tomorrow": False}}, {"serial_number": 7}, "within a day"),
        ({**FILE, "subject_alt_name": ["DNS:a.test", "DNS:b.test"]}, {"serial_number": 7}, "it is not for www.a.test"),
    ],
)
def test_certificates(file: dict[str, Any], shown: dict[str, Any], words: str) -> None:
    problems = checks_edge.certificate_problems(SITES, [file], [shown])
    assert len(problems) == bool(words) and all(words in problem for problem in problems)
