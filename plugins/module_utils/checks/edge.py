# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Checks of a live edge, from outside. Each gets something that asks (io.http.Server), so that a test can answer instead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.checks.firewall import check
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http

STRANGER = "not-ours.invalid"
HEADERS = ("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Permissions-Policy")
PRIVATE = ("/metrics", "/.env", "/.git/config")
MOVED = (301, 302, 303, 307, 308)


def checks(
    edge: Any, sites: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], exempt: Sequence[str], token: str
) -> list[dict[str, str]]:
    """Everything that can be asked from outside.

    :param sites: as in ``nginx_sites``; ``limits`` and ``exempt`` as in ``nginx_limits`` and ``nginx_limit_exempt``.
    :param token: a word that makes one request findable in the log.
    """
    main = [str(site["names"][0]) for site in sites]
    every = [name for site in sites for name in [*site["names"], *site.get("redirect_names", [])]]
    edge.ask(main[0], f"/{token}", headers={"X-Forwarded-For": "192.0.2.66", "X-Real-IP": "192.0.2.66", "X-Request-ID": 'a"b'})
    found = [
        _guarded("every site answers", lambda: site_problems(edge, sites)),
        _guarded("TLS 1.2 and 1.3, and nothing older", lambda: version_problems(edge, main[0])),
        _guarded("every name has a TLS of its own, strangers have none", lambda: name_problems(edge, every)),
        _guarded("requests for a name that is not ours get no answer", lambda: stranger_problems(edge, main[0])),
        _guarded("HTTP leads to HTTPS, other names to the first", lambda: redirect_problems(edge, sites)),
        _guarded("security headers once on every answer, no versions", lambda: header_problems(edge, sites)),
        _guarded("what is internal is not public", lambda: private_problems(edge, main)),
        _guarded("POST is not redirected", lambda: post_problems(edge, sites)),
        _guarded("hashed assets of the first page are there and never change", lambda: asset_problems(edge, sites)),
    ]
    what, target = "too many requests get 429, and nothing worse", limited(sites, limits)
    if not target:
        return [*found, check(what, skipped="no location has a limit for every request")]
    if edge.local and exempt and rules.within(edge.local, exempt):
        return [*found, check(what, skipped=f"{edge.local} is exempt from limits")]
    return [*found, _guarded(what, lambda: limit_problems(edge, *target))]


def _guarded(what: str, ask: Callable[[], Iterator[str]]) -> dict[str, str]:
    try:
        return check(what, ask())
    except OSError as error:
        return check(what, f"there is no connection: {error}")


def site_problems(edge: Any, sites: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The first probe of each site, which is its first page unless it names another: an API need not have one."""
    for site in sites:
        name, probe = site["names"][0], (site.get("probes") or ["/"])[0]
        path = str(probe["path"] if isinstance(probe, Mapping) else probe)
        answer = edge.ask(name, path)
        if answer.status != 200:
            yield f"{name}{path if path != '/' else ''} answers {answer.status or answer.body}"


def version_problems(edge: Any, name: str) -> Iterator[str]:
    """Old versions are refused, and the new ones are not (a refusal of everything would prove nothing)."""
    for version in http.VERSIONS:
        agreed = edge.handshake(name, version)
        if version in ("TLSv1", "TLSv1.1") and agreed:
            yield f"{version} is accepted"
        if version in ("TLSv1.2", "TLSv1.3") and not agreed:
            yield f"{version} is refused"


def name_problems(edge: Any, names: Sequence[str]) -> Iterator[str]:
    """Our names get TLS; another one, and none at all, do not."""
    yield from (f"{name} gets none" for name in names if not edge.handshake(name))
    yield from (
        f"{who} gets one" for name, who in ((STRANGER, "a stranger's name"), (None, "a bare address")) if edge.handshake(name)
    )


def stranger_problems(edge: Any, name: str) -> Iterator[str]:
    """A foreign Host gets nothing, on either port; 421 says at least that it is not ours."""
    for tls, port in ((False, "HTTP"), (True, "HTTPS")):
        answer = edge.ask(name, "/", tls=tls, host=STRANGER)
        if answer.status not in (0, 421):
            yield f"{port} answers {answer.status} to Host: {STRANGER}"
    if edge.ask(edge.address if ":" not in edge.address else f"[{edge.address}]", "/", tls=False).status:
        yield "HTTP answers to the bare address"


def redirect_problems(edge: Any, sites: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where a redirect leads is part of it."""
    for site in sites:
        for name, tls in [(name, False) for name in site["names"]] + [
            (name, tls) for name in site.get("redirect_names", []) for tls in (False, True)
        ]:
            wanted = f"https://{name if name in site['names'] else site['names'][0]}/x?y=1"
            answer = edge.ask(name, "/x?y=1", tls=tls)
            if answer.status not in (301, 308) or answer.all("Location") != [wanted]:
                yield f"{'https' if tls else 'http'}://{name} answers {answer.status} {' '.join(answer.all('Location'))}, not 301 {wanted}".replace(
                    "  ", " "
                )


def header_problems(edge: Any, sites: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Answers of every kind: pages, errors of nginx and of the application, what limits and redirects say."""
    for site in sites:
        name = site["names"][0]
        for path in [
            "/",
            "/health",
            *PRIVATE,
            "/no-such-page",
            *(str(location["path"]) for location in site.get("locations", [])),
        ]:
            answer = edge.ask(name, path)
            where = f"{name}{path} ({answer.status})"
            for header in HEADERS:
                count = len(answer.all(header))
                if count != 1:
                    yield f"{where} has {header} {count} times"
            if "text/html" in "".join(answer.all("Content-Type")) and len(answer.all("Content-Security-Policy")) != 1:
                yield f"{where} has no Content-Security-Policy of its own"
            if answer.all("X-Powered-By") or re.search(r"\d", "".join(answer.all("Server"))):
                yield f"{where} tells what it is made of"


def private_problems(edge: Any, names: Sequence[str]) -> Iterator[str]:
    """Files and numbers that are nobody's business."""
    for name in names:
        for path in PRIVATE:
            answer = edge.ask(name, path)
            if answer.status not in (403, 404):
                yield f"{name}{path} answers {answer.status}"


def post_problems(edge: Any, sites: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A redirect would turn a POST into a GET."""
    for site in sites:
        for location in site.get("locations", []):
            path = str(location["path"])
            answer = edge.ask(site["names"][0], f"{path}none" if path.endswith("/") else path, method="POST")
            if answer.status in MOVED:
                yield f"POST {location['path']} answers {answer.status}"


def asset_problems(edge: Any, sites: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the first page needs is there; what is not there does not stay in caches for a year."""
    for site in sites:
        if not site.get("assets"):
            continue
        name, prefix = site["names"][0], str(site["assets"])
        page = edge.ask(name, "/").body
        links = list(dict.fromkeys(re.findall(rf'(?:src|href)="({re.escape(prefix)}[^"]+)"', page)))
        for path in links:
            answer = edge.ask(name, path)
            if answer.status != 200 or "immutable" not in "".join(answer.all("Cache-Control")):
                yield f"{path} answers {answer.status} {''.join(answer.all('Cache-Control'))}".rstrip()
        if "immutable" in "".join(edge.ask(name, f"{prefix}no-such-file.js").all("Cache-Control")):
            yield f"{prefix}no-such-file.js is immutable although it does not exist"


def limited(sites: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]) -> tuple[str, str, int] | None:
    """A place where every request counts: name, path, and how many it takes to meet the limit."""
    for site in sites:
        for location in site.get("locations", []):
            for limit in location.get("limits", []):
                if limit in limits and "only" not in limits[limit]:
                    rate = int(re.sub(r"\D.*", "", str(limits[limit]["rate"])) or 10)
                    return site["names"][0], str(location["path"]), int(limits[limit]["burst"]) + 3 * rate + 10
    return None


def limit_problems(edge: Any, name: str, path: str, count: int) -> Iterator[str]:
    """A burst, faster than the limit."""
    statuses = edge.burst(name, path, count)
    if 429 not in statuses:
        yield f"{count} requests for {path} met no limit"
    worse = sorted({status for status in statuses if status >= 500 or not status})
    if worse:
        yield f"{path} answered {', '.join(map(str, worse))} as well"


def log_problems(lines: Sequence[str], token: str) -> list[str]:
    """The one request that claimed to come from elsewhere, as the edge wrote it down.

    :param lines: of the access log, those with the token.
    """
    if not lines:
        return [f"the request for /{token} is not in the access log"]
    problems = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            problems.append("a line of the access log is no JSON")
            continue
        if entry.get("client") == "192.0.2.66":
            problems.append("X-Forwarded-For of a client is taken for its address")
        if '"' in str(entry.get("request_id", "")):
            problems.append("X-Request-ID of a client is taken for ours")
    return problems


def certificate_problems(
    sites: Sequence[Mapping[str, Any]], disk: Sequence[Mapping[str, Any]], served: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What is served must be what is on disk, and valid.

    :param disk: of each site the certificate on disk: ``serial_number``, ``subject_alt_name``, ``expired``, ``valid_at``; empty if
        there is none. ``served``: of each site ``serial_number`` of the one that nginx shows.
    """
    problems = []
    for site, file, shown in zip(sites, disk, served):
        name = site["certificate"]
        if not file or "serial_number" not in file:
            problems.append(f"{name}: there is no certificate on disk")
            continue
        if str(shown.get("serial_number", "")) != str(file["serial_number"]):
            problems.append(f"{name}: nginx serves another one than the one on disk; reload it")
        if file.get("expired") or not file.get("valid_at", {}).get("tomorrow", True):
            problems.append(f"{name}: it has expired, or will within a day")
        covered = [str(entry)[4:] for entry in file.get("subject_alt_name") or []]
        for wanted in [*site["names"], *site.get("redirect_names", [])]:
            if wanted not in covered and "*." + wanted.partition(".")[2] not in covered:
                problems.append(f"{name}: it is not for {wanted}")
    return problems
