# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What an application must answer to show that it works: ``health`` of a service, and the probes of a backup.

Both are a plain path (or URL), or a mapping with what else is sent and expected. All but :func:`ask` is pure.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http

KEYS = ("host", "status", "headers", "body", "timeout")  # beside path or url
SERVED = (200, 204)  # what a release may answer
SUCCESS = tuple(range(200, 300))  # what proves that an application works on restored data
TIMEOUT = 5.0  # seconds for one request
SEARCHED = 65536  # bytes of an answer, from its beginning
SHOWN = 80  # characters of an answer that does not match

# RFC 1123, and perhaps a port, which belongs into the header Host where it is not 80.
HOST = re.compile(
    r"(?=.{1,253}(?::|\Z))(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110: token
ASCII = re.compile(r"[\t -~]*")  # one line that can be sent as it is
PATH = re.compile(r"[!-~]*")  # without blanks and control characters; what else a server takes is its own affair


def health_check(value: Any, good: Sequence[int] = SERVED) -> dict[str, Any]:
    """The key ``health`` of a service with everything that it leaves out.

    :param value: a path, a mapping of `KEYS` and ``path``, or nothing; :func:`health_problems` has judged it.
    :param good: the status codes that are good where it names none.
    :returns: ``path``, ``host`` (empty: that of the address), ``status`` (a list), ``headers``, ``body`` (empty: any),
        ``timeout`` (seconds).
    """
    given = value if isinstance(value, Mapping) else {"path": value}
    status = given.get("status")
    status = good if status is None else status if isinstance(status, (list, tuple)) else [status]
    return {
        "path": given.get("path") or "/",
        "host": given.get("host") or "",
        "status": [int(code) for code in status],
        "headers": {name: str(text) for name, text in (given.get("headers") or {}).items()},
        "body": given.get("body") or "",
        "timeout": TIMEOUT if given.get("timeout") is None else float(given["timeout"]),
    }


def probe_check(value: Any) -> tuple[str, dict[str, Any]]:
    """A probe of a backup: its URL, and the rest as :func:`health_check` has it.

    :param value: a URL, or a mapping of `KEYS` and ``url``; :func:`probe_problems` has judged it.
    """
    if not isinstance(value, Mapping):
        return value, health_check(None, SUCCESS)
    return value["url"], health_check({key: value.get(key) for key in KEYS}, SUCCESS)


def health_problems(where: str, value: Any) -> list[str]:
    """Judge the key ``health`` of a service: one sentence for each mistake.

    :param where: the variable and its key, such as ``app_services.backend.health``.
    """
    if value is None or isinstance(value, str):
        return _path_problems(where, value)
    if not isinstance(value, Mapping):
        return [f"{where}: is neither a path nor a mapping. Write /health, or {{path: /health, host: …}}."]
    return _key_problems(where, value, "path") + _path_problems(f"{where}.path", value.get("path")) + _rest_problems(where, value)


def probe_problems(where: str, value: Any) -> list[str]:
    """Judge a probe of a backup: one sentence for each mistake.

    :param where: the variable and its number, such as ``backup_probes[0]``.
    """
    if value is None or isinstance(value, str):
        return _url_problems(where, value)
    if not isinstance(value, Mapping):
        example = "http://127.0.0.1:8080/health"
        return [f"{where}: is neither a URL nor a mapping. Write {example}, or {{url: {example}, host: …}}."]
    return _key_problems(where, value, "url") + _url_problems(f"{where}.url", value.get("url")) + _rest_problems(where, value)


def answer_problem(status: int, body: bytes, check: Mapping[str, Any], release_key: str = "", release: str = "") -> str:
    """What is wrong with an answer, with what was expected; empty: it is good.

    :param body: its first megabyte.
    :param check: as :func:`health_check` has it.
    :param release_key: the field of its JSON that names the release; empty: the application cannot say.
    """
    return (
        status_problem(status, check["status"])
        or _body_problem(body[:SEARCHED].decode(errors="replace"), check["body"])
        or release_problem(http.decoded(body) if release_key else None, release_key, release)
    )


def status_problem(status: int, good: Sequence[int] = SERVED) -> str:
    """What is wrong with a status of HTTP; empty: it is one of the good ones."""
    if status in good:
        return ""
    names = ["2xx"] if tuple(good) == SUCCESS else [str(code) for code in good]
    return f"status {status}, not {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}"


def release_problem(body: Any, release_key: str, release: str) -> str:
    """What is wrong with the release that an answer names; empty: nothing, or it need not name one.

    :param body: the decoded JSON, or text.
    """
    told = body.get(release_key) if isinstance(body, Mapping) else None
    if not release_key or told == release:
        return ""
    advice = "" if told is None or isinstance(told, str) else ": no string. Let the application write it in quotes"
    return f"{release_key} is {told!r}, not {release!r}{advice}"


def ask(url: str, check: Mapping[str, Any], release_key: str = "", release: str = "") -> tuple[int, str]:
    """Ask once, and judge the answer. No redirect is followed.

    :param check: as :func:`health_check` has it; its path is part of the URL.
    :returns: the status of HTTP (0: there was no answer), and what is wrong; empty: nothing.
    """
    host = {"Host": check["host"]} if check["host"] else {}
    status, body, reason = http.fetch(url, check["timeout"], {**check["headers"], **host})
    return status, answer_problem(status, body, check, release_key, release) if status else reason


def _body_problem(text: str, pattern: str) -> str:
    try:
        if not pattern or re.search(pattern, text):
            return ""
    except re.error:  # a controller's Python may be newer than that of a server
        return f"body cannot be compared: this host's Python does not know {pattern!r}"
    return f"body does not match {pattern!r}: {text[:SHOWN]!r}{' …' if len(text) > SHOWN else ''}"


def _key_problems(where: str, value: Mapping[str, Any], target: str) -> list[str]:
    known = sorted({target, *KEYS})
    problems = []
    for key in value:
        near = difflib.get_close_matches(str(key).lower(), known, 1)
        if key not in known:
            advice = f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(known)}."
            problems.append(f"{where}.{key}: is no key of a health check. {advice}")
    return problems


def _path_problems(where: str, path: Any) -> list[str]:
    if path is None or path == "":
        return []
    if not isinstance(path, str) or not path.startswith("/"):
        return [f"{where}: {path!r} is no absolute path. Begin it with /."]
    if not PATH.fullmatch(path):
        return [f"{where}: {path!r} has characters that no path has. Encode them, such as %20 for a blank."]
    return []


def _url_problems(where: str, url: Any) -> list[str]:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        good = parts.scheme == "http" and parts.hostname and parts.port != 0 and PATH.fullmatch(url)
    except ValueError:  # a port that is none, a bracket without its other
        good = False
    what = "is not set" if url is None else f"{url!r} is no address to ask"
    return [] if good else [f"{where}: {what}. Write http://<address>:<port>/<path>; only plain HTTP is asked."]


def _rest_problems(where: str, value: Mapping[str, Any]) -> list[str]:
    """What is wrong with all but the keys' names, path and URL; a key without a value is one that is left out."""
    problems = []
    host, body, timeout = value.get("host"), value.get("body"), value.get("timeout")
    named = HOST.fullmatch(host) if isinstance(host, str) else None
    if host is not None and host != "" and not (named and int(named["port"] or 1) < 65536):
        problems.append(f"{where}.host: {host!r} is no host name. Write the name alone, such as shop.example.org.")
    problems += _status_problems(f"{where}.status", value.get("status"))
    problems += _header_problems(f"{where}.headers", value.get("headers"))
    try:
        wrong = "" if body is None or isinstance(body, str) else "it is no string"
        re.compile(body if isinstance(body, str) else "")
    except re.error as error:
        wrong = str(error)
    if wrong:
        problems.append(f"{where}.body: {body!r} is no regular expression: {wrong}.")
    try:
        seconds = TIMEOUT if timeout is None else float("nan" if isinstance(timeout, bool) else timeout)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        problems.append(f"{where}.timeout: {timeout!r} is no time to wait. Use seconds above 0.")
    return problems


def _status_problems(where: str, status: Any) -> list[str]:
    if status is None:
        return []
    codes = status if isinstance(status, (list, tuple)) else [status]
    advice = "Use numbers from 100 to 599."
    if not codes:
        return [f"{where}: names none. {advice}"]
    return [
        f"{where}: {code!r} is no status of HTTP. {advice}"
        for code in codes
        if isinstance(code, bool) or not isinstance(code, (int, str)) or not re.fullmatch("[1-5][0-9][0-9]", str(code))
    ]


def _header_problems(where: str, headers: Any) -> list[str]:
    if headers is None:
        return []
    if not isinstance(headers, Mapping):
        return [f"{where}: is no mapping. Write it as {{X-Forwarded-Proto: https}}."]
    problems = []
    for name, text in headers.items():
        if str(name).lower() == "host":
            problems.append(f"{where}.{name}: has a key of its own. Write it as host: shop.example.org.")
        elif not isinstance(name, str) or not HEADER.fullmatch(name):
            problems.append(f"{where}.{name}: is no name of a header. Use letters, digits and dashes.")
        elif isinstance(text, bool) or not isinstance(text, (str, int, float)) or not ASCII.fullmatch(str(text)):
            problems.append(f"{where}.{name}: is no value of a header. Write it in one line of ASCII; quote true and false.")
    return problems
