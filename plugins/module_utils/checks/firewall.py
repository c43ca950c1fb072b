# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Checks of a host's firewall: what was seen there and from outside, judged. Pure functions: values in, checks out.

A check is ``{check, problem, skipped}``: what is checked in a few words, what is wrong (empty: nothing), and why it could not be asked
(empty: it was).
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules as firewall_rules


def check(what: str, problems: Iterable[str] | str = "", skipped: str = "") -> dict[str, str]:
    """One check; several problems become one sentence."""
    text = problems if isinstance(problems, str) else "; ".join(dict.fromkeys(filter(None, problems)))
    return {"check": what, "problem": text, "skipped": skipped}


def firewall_checks(seen: Mapping[str, Any]) -> list[dict[str, str]]:
    """Judge a host's firewall.

    :param seen: ``problems`` (of the inventory), ``actions`` and ``unconfirmed`` (of ufw_state in check mode), ``container_firewall`` (what the
        container firewall's own check says), ``lines`` (``unit <name> <is-enabled>``, ``requires <units>`` of docker.service, ``listening <address:port>``),
        ``networks`` and ``containers`` as Docker tells them, ``interfaces`` behind the container firewall, ``scans`` of port_scan, ``rules``
        (normalised), ``ssh_ports``, ``ssh_from``, and ``client``, the address from which SSH comes.
    """
    ssh = [{"name": "ssh", "port": port, "from": seen["ssh_from"]} for port in seen["ssh_ports"]]
    rules = [*seen["rules"], *firewall_rules.normalised(ssh)]
    told: dict[str, list[str]] = {"unit": [], "requires": [], "listening": []}
    for line in seen["lines"]:
        kind, _blank, rest = line.partition(" ")
        told.setdefault(kind, []).append(rest)
    checks = [
        check("rules of the inventory can be applied", seen["problems"]),
        check("UFW's rules, written and loaded, are those of the inventory", seen["actions"]),
        check("no change of the firewall waits for its proof", "one does; run site.yml again" if seen["unconfirmed"] else ""),
        check("the container firewall is loaded as it is written", seen["container_firewall"]),
        check("UFW and the container firewall come back at boot, before Docker", unit_problems(told["unit"], told["requires"])),
        check(
            "every network of containers is behind the container firewall",
            bridge_problems(bridges(seen["networks"]), seen["interfaces"]),
        ),
        check("containers publish nothing that no rule names", published_problems(published(seen["containers"]), rules)),
    ]
    for scan in seen["scans"]:
        family = "IPv6" if ":" in scan["address"] else "IPv4"
        what = f"what is open from here ({family}, {len(scan['ports'])} ports asked) is what the inventory names"
        if not scan["error"]:
            checks.append(check(what, scan_problems(scan, rules, told["listening"], seen["client"])))
        elif family == "IPv6":
            checks.append(check(what, skipped=f"there is no way to {scan['address']} from here ({scan['error']})"))
        else:
            checks.append(check(what, f"{scan['address']}: {scan['error']}"))
    return checks


def bridges(networks: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Network -> bridge, of those networks that have one."""
    return {
        entry["Name"]: (entry.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{entry['Id'][:12]}"
        for entry in networks
        if entry.get("Driver") == "bridge"
    }


def published(containers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What containers publish, as :func:`published_problems` wants it."""
    return [
        {"name": entry["Names"][0].lstrip("/"), "address": port["IP"], "port": port["PublicPort"], "proto": port["Type"]}
        for entry in containers
        for port in entry.get("Ports") or []
        if port.get("PublicPort") and port.get("IP")
    ]


def unit_problems(units: Iterable[str], requires: Sequence[str]) -> list[str]:
    """Services that must come at boot (``<name> <is-enabled>``); Docker must need the container firewall, if there is a Docker."""
    pairs = [line.partition(" ")[::2] for line in units]
    problems = [f"{unit} is {state or 'not there'}" for unit, state in pairs if state != "enabled"]
    if requires and "container-firewall.service" not in requires[0].split():
        problems.append("docker.service starts without the container firewall")
    return problems


def bridge_problems(bridges: Mapping[str, str], patterns: Sequence[str]) -> list[str]:
    """Networks of containers (name -> bridge) that none of ``firewall_container_interfaces`` covers."""
    return [
        f"{name} ({bridge}) is not: add it to firewall_container_interfaces"
        for name, bridge in bridges.items()
        if not any(fnmatch.fnmatchcase(bridge, pattern) for pattern in patterns)
    ]


def published_problems(published: Iterable[Mapping[str, Any]], rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """Ports that containers publish to other hosts although no rule lets anybody through to them.

    :param published: ``name``, ``address``, ``port``, ``proto``.
    """
    problems = []
    through = [rule for rule in rules if rule["container"]]
    for entry in published:
        address = ipaddress.ip_address(entry["address"])
        named = any(rule["proto"] == entry["proto"] and _in(rule, entry["port"]) for rule in through)
        if not address.is_loopback and not named:
            problems.append(f"{entry['name']} publishes {entry['address']} port {entry['port']}/{entry['proto']}")
    return problems


def _in(rule: Mapping[str, Any], port: int) -> bool:
    first, last = firewall_rules.port_range(rule["port"])
    return first <= int(port) <= last


def scan_problems(
    scan: Mapping[str, Any], rules: Sequence[Mapping[str, Any]], listening: Iterable[str], client: str
) -> list[str]:
    """Compare what answered with who may reach what.

    :param listening: ``address:port`` of everything that listens on the host, as ``ss`` writes it.
    :param client: the address from which SSH comes, as good a guess as any for where the scan came from; of the other family, what
        rules say about single sources is not judged.
    """
    v6 = ":" in scan["address"]
    same = bool(client) and (":" in client) == v6
    heard = {int(entry.rpartition(":")[2]) for entry in listening if _reaches(entry, scan["address"])}
    problems = []
    for text, state in scan["ports"].items():
        port = int(text)
        named = [rule for rule in rules if rule["proto"] == "tcp" and _in(rule, port)]
        everybody = any(source in rule["from"] for rule in named for source in firewall_rules.EVERYWHERE if (":" in source) == v6)
        me = same and any(firewall_rules.within(client, rule["from"]) for rule in named)
        allowed = (everybody or me) and not all(rule["interface"] for rule in named)
        if state == "open" and not allowed and (same or not named):
            problems.append(f"{port} is open, and no rule allows it")
        elif state != "open" and allowed and port in heard:
            problems.append(f"{port} should be open, and is {state}")
    if not any(state == "open" for state in scan["ports"].values()):
        problems.append("nothing answers at all, so this says nothing")
    return problems


def _reaches(listener: str, address: str) -> bool:
    """Whether a listener, as ``ss`` writes it, can be reached at an address."""
    host = listener.rpartition(":")[0].strip("[]").split("%")[0]
    everything = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - compared, not listened on
    return host in ("*", everything, address)


def report(hosts: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """One screen: every check of every host, what failed with its reason, and the count."""
    lines: list[str] = []
    count = {"ok": 0, "FAIL": 0, "skip": 0}
    for host, checks in hosts.items():
        lines.append(host)
        for entry in checks:
            state = "skip" if entry["skipped"] else "FAIL" if entry["problem"] else "ok"
            count[state] += 1
            reason = " ".join((entry["skipped"] or entry["problem"]).split())  # what programs say may have lines of its own
            lines.append(f"  {state:<5} {entry['check']}" + (f": {reason}" if reason else ""))
    lines.append(f"{count['ok']} passed, {count['FAIL']} FAILED, {count['skip']} skipped")
    return "\n".join(lines)
