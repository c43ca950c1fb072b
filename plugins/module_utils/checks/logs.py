# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Checks of a host's logs: what roles/logging/tasks/observe.yml printed, judged. Pure functions: values in, checks out."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.kasaneha.deploy.plugins.module_utils.checks.firewall import check

READ = ("local", "json-file", "journald", "fluentd")  # log drivers of Docker from which somebody reads
LOCAL_PORTS = (19531, 19532, 24224, 5601, 9200)  # of the journal, Fluentd, Kibana and Elasticsearch: never for everybody
EVERYBODY = ("0.0.0.0", "*", "[::]")  # noqa: S104 - compared, not listened on
SLACK = 1.125  # files that are written to are not shortened: one eighth more may be there


def probe_problems(lines: Iterable[str]) -> dict[str, str]:
    """What became of the line that was written to try the way: ``line`` and ``secret``, each empty or what is wrong.

    :param lines: ``token <text>``, ``canary <text>``, and ``found <line>`` for each line that was found.
    """
    told = _told(lines)
    token, canary = told["token"][0], told["canary"][0]
    found = "\n".join(told.get("found", []))
    return {
        "line": "" if token in found else f"{token} is not among what was found: {found or 'nothing'}",
        "secret": f"{canary} is shown" if canary in found else "" if "[redacted]" in found else "nothing was redacted",
    }


def checks(lines: Iterable[str], limit_mb: int, server: str = "", status: int = 0) -> list[dict[str, str]]:
    """Judge a host's logs.

    :param lines: those of :func:`probe_problems`, and ``unit <name> <is-active>``, ``container <name> <log driver>``,
        ``listening <address:port>``, ``journal <bytes>``.
    :param limit_mb: what the journal may take.
    :param server: the log server that this host sends to, empty if none; ``status`` is what it answered (406: it takes lines).
    """
    lines = list(lines)
    told, probe = _told(lines), probe_problems(lines)
    units = dict(line.rpartition(" ")[::2] for line in told.get("unit", []))
    down = {unit: f"journalctl --unit {unit} says why" for unit, state in units.items() if state != "active"}
    upload = down.pop("systemd-journal-upload", "")
    containers = [line.rpartition(" ")[::2] for line in told.get("container", [])]
    size = int(told["journal"][0])
    found = [
        check("logs: the collector runs", down.values()),
        check("logs: a line is found within 10 s", probe["line"]),
        check("logs: its secret is not shown", "" if probe["line"] else probe["secret"]),
        check(
            "logs: every container logs where somebody reads",
            [f"{name.lstrip('/')} logs to {driver}" for name, driver in containers if driver not in READ],
        ),
        check("logs: nothing of them listens to everybody", [entry for entry in told.get("listening", []) if _public(entry)]),
        check("logs: the journal keeps to its limit", "" if size <= limit_mb * 2**20 * SLACK else f"it has {size} bytes"),
    ]
    if server:
        silent = "" if status == 406 else f"{server} does not take them"  # noqa: PLR2004 - what a server without a page says
        found.append(check("logs: the log server takes the lines of this host", [silent, upload]))
    return found


def _told(lines: Iterable[str]) -> dict[str, list[str]]:
    """What each kind of line says."""
    told: dict[str, list[str]] = {}
    for line in lines:
        kind, _blank, rest = line.partition(" ")
        told.setdefault(kind, []).append(rest)
    return told


def _public(listener: str) -> bool:
    """Whether something of the logs listens at an address, as ``ss`` writes it, that everybody can reach."""
    host, _colon, port = listener.rpartition(":")
    return host in EVERYBODY and int(port) in LOCAL_PORTS
