# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Who may reach what: rules of a host, judged and put into one shape. Pure functions: values in, values or sentences out.

A rule opens one port (or range) of a host to sources: ``{name, port, proto, from, interface, container}``. Rules only ever
allow; whatever no rule names stays closed. So their order means nothing, and nobody has to think about it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Union

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names as inventory_names

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

KEYS = frozenset("name port proto from interface container".split())
ACCESS_KEYS = KEYS | {"at"}
PROTOCOLS = ("tcp", "udp")
ANY = "any"
EVERYWHERE = ("0.0.0.0/0", "::/0")
# Becomes part of a comment in UFW's and nftables' rules, where a quote would end it.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,60}")
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
# Groups that the design knows. One that an inventory leaves out has no hosts; any other name is a mistake.
GROUPS = frozenset("edge app db cache monitoring logging backup".split())


def as_list(value: Any) -> list[Any]:
    """One thing or several: always a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def network(source: Any) -> Network:
    """A source as a network.

    :raises ValueError: it is no address and no network, or one with bits to the right of its mask.
    """
    return ipaddress.ip_network(str(source).strip())


def port_range(port: Any) -> tuple[int, int]:
    """First and last port of ``443`` or ``"8000:8010"``.

    :raises ValueError: it is neither.
    """
    found = re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?", str(port)) if not isinstance(port, bool) else None
    if not found:
        raise ValueError
    first, last = int(found[1]), int(found[2] or found[1])
    if not 0 < first <= last < 65536:
        raise ValueError
    return first, last


def access_rules(
    access: Iterable[Mapping[str, Any]], host: str, groups: Mapping[str, Any], addresses: Mapping[str, Any]
) -> list[Any]:
    """The rules of one host, from the table that says for all of them who may reach what.

    :param access: rules with ``at`` (groups whose hosts have the port) and with groups among ``from``.
    :param groups: the inventory's groups; ``addresses`` is host -> the address (or list of them) it comes from.
    :returns: rules with addresses. A source that is neither a group nor an address stays, for :func:`rule_problems` to report.
    """
    rules: list[Any] = []
    for entry in access:
        if not isinstance(entry, Mapping):
            rules.append(entry)
            continue
        if "at" in entry and not any(host in groups.get(group, []) for group in as_list(entry["at"])):
            continue
        sources: list[Any] = []
        for source in as_list(entry.get("from")):
            if source in groups or source in GROUPS:
                others = [other for other in groups.get(source, []) if other != host]  # a host reaches itself anyhow
                sources += [address for other in others for address in as_list(addresses.get(other))]
            else:
                sources.append(source)
        rule = {key: value for key, value in entry.items() if key != "at"}
        if "from" in entry:
            rule["from"] = list(dict.fromkeys(sources))
        rules.append(rule)
    return rules


def normalised(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules that :func:`rule_problems` found good, all in one shape.

    ``port`` and every source are strings, ``from`` a list (``any`` is both families' everything); a rule without a source is left
    out, for nobody may use it.
    """
    done = []
    for rule in rules:
        sources: list[str] = []
        for source in as_list(rule.get("from")):
            sources += EVERYWHERE if source == ANY else [spelled(network(source))]
        if sources:
            first, last = port_range(rule["port"])
            done.append(
                {
                    "name": rule["name"],
                    "port": str(first) if first == last else f"{first}:{last}",
                    "proto": rule.get("proto") or "tcp",
                    "from": widest(sources),
                    "interface": rule.get("interface") or "",
                    "container": bool(rule.get("container")),
                }
            )
    return done


def widest(sources: Iterable[str]) -> list[str]:
    """Sources without those that lie within another one: nftables refuses intervals that overlap."""
    once = list(dict.fromkeys(sources))
    return [source for source in once if not any(other != source and within(source, [other]) for other in once)]


def spelled(net: Network) -> str:
    """A network as UFW writes it: a single address has no mask."""
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def rule_problems(rules: Any, interfaces: Iterable[str], variable: str = "firewall_rules") -> list[str]:
    """Judge rules: unknown keys, impossible ports, sources and interfaces, and rules that say the same twice.

    :param interfaces: the network interfaces of the host.
    :returns: one sentence for each problem: the rule, what is wrong, what to do.
    """
    problems: list[str] = []
    if not isinstance(rules, (list, tuple)):
        return problems  # the argument specification reports it
    names: set[str] = set()
    good: list[dict[str, Any]] = []
    for index, rule in enumerate(rules):
        if not isinstance(rule, Mapping):
            problems.append(f"{variable}[{index}]: is not a mapping. Write {{name: https, port: 443, from: any}}.")
            continue
        where = f"{variable}[{rule.get('name', index)}]"
        found = _one_rule(where, rule, interfaces)
        if not found and str(rule["name"]) in names:
            found = [f"{where}: there is a rule of this name already. Give each its own."]
        names.add(str(rule.get("name")))
        problems += found
        if not found:
            good += normalised([rule])
    return problems + _overlaps(good, variable)


def _one_rule(where: str, rule: Mapping[str, Any], interfaces: Iterable[str]) -> list[str]:
    problems = [f"{where}.{key}: is not set." for key in ("name", "port", "from") if rule.get(key) is None]
    problems += inventory_names.unknown_keys(where, rule, KEYS, "a rule")
    if rule.get("name") is not None and not NAME.fullmatch(str(rule["name"])):
        problems.append(f"{where}.name: use letters, digits, blanks, dots, underscores and dashes.")
    if rule.get("port") is not None:
        try:
            port_range(rule["port"])
        except ValueError:
            problems.append(f"{where}.port: {rule['port']!r} is neither a port (443) nor a range of ports ('8000:8010').")
    if rule.get("proto") not in (None, *PROTOCOLS):
        problems.append(f"{where}.proto: {rule['proto']!r} is not one of {', '.join(PROTOCOLS)}.")
    if not isinstance(rule.get("container", False), bool):
        problems.append(f"{where}.container: is neither true nor false.")
    problems += source_problems(f"{where}.from", rule.get("from"))
    interface = rule.get("interface")
    if interface == "lo":
        problems.append(f"{where}.interface: lo is never closed. Take the rule out.")
    elif interface and interface not in (known := sorted(interfaces)):
        problems.append(f"{where}.interface: this host has no {interface!r}. It has {', '.join(known)}.")
    return problems


def source_problems(where: str, sources: Any) -> list[str]:
    """Judge where somebody may come from: ``any``, addresses, networks."""
    problems = []
    for source in as_list(sources):
        if source == ANY:
            continue
        try:
            found = network(source)
        except ValueError as error:
            try:
                hint = f"the network is {ipaddress.ip_network(str(source), strict=False)}"
            except ValueError:
                hint = "write an address or a network, the name of a group, or any" if ":" not in str(error) else str(error)
            problems.append(f"{where}: {source!r} is no address, network or group of the inventory; {hint}.")
            continue
        if found.is_loopback or found.is_multicast or (found.prefixlen == found.max_prefixlen and found.is_unspecified):
            problems.append(f"{where}: nobody can come from {source}. Take it out.")
        elif found.prefixlen == 0:
            problems.append(f"{where}: {source} is everything. Write any, which means both families.")
    return problems


def _overlaps(rules: list[dict[str, Any]], variable: str) -> list[str]:
    """Two rules of which one says what the other says already: one of them does not mean what its author thinks."""
    problems = []
    for index, one in enumerate(rules):
        for other in rules[index + 1 :]:
            wider, narrower = (one, other) if covers(one, other) else (other, one)
            if covers(wider, narrower):
                problems.append(
                    f"{variable}[{narrower['name']}]: {described(narrower)} is allowed by {variable}[{wider['name']}]"
                    f" ({described(wider)}) already. Take one of them out."
                )
    return problems


def covers(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Whether all that one rule allows is allowed by another one; both as :func:`normalised` makes them."""
    if wide["proto"] != narrow["proto"] or (wide["container"] != narrow["container"] and not wide["container"]):
        return False
    if wide["interface"] and wide["interface"] != narrow["interface"]:
        return False
    (first, last), (low, high) = port_range(wide["port"]), port_range(narrow["port"])
    return first <= low and high <= last and all(within(source, wide["from"]) for source in narrow["from"])


def within(source: Any, sources: Iterable[Any]) -> bool:
    """Whether an address or network lies within one of several."""
    net = network(source)
    return any(net.version == outer.version and net.subnet_of(outer) for outer in map(network, sources))  # type: ignore[arg-type]


def described(rule: Mapping[str, Any]) -> str:
    """A normalised rule in a few words."""
    sources = ", ".join(source for source in rule["from"] if source not in EVERYWHERE) or "anywhere"
    return f"{rule['port']}/{rule['proto']} from {sources}" + (f" on {rule['interface']}" if rule["interface"] else "")


def ssh_problems(wanted: Any, listening: Iterable[Any], sources: Any, client: str) -> list[str]:
    """Judge who may come in by SSH, before anything can cut it.

    :param wanted: ``firewall_ssh_ports``; ``listening`` are the ports on which this host really answers SSH.
    :param sources: ``firewall_ssh_from``; ``client`` the address from which this very run comes, empty if it does not come by SSH.
    """
    problems: list[str] = []
    if not isinstance(wanted, (list, tuple)) or not isinstance(sources, (list, tuple)):
        return problems
    heard = sorted({int(port) for port in listening})
    for port in wanted:
        try:
            first, last = port_range(port)
        except ValueError:
            first = last = 0
        if first != last or first not in heard:
            problems.append(
                f"firewall_ssh_ports: nothing answers SSH on port {port} of this host (it does on"
                f" {', '.join(map(str, heard)) or 'no port'}). Correct the port, or let sshd listen there first."
            )
    if not heard:
        problems.append(
            "firewall_ssh_ports: no SSH server was found on this host, and closing everything else would lock you out."
        )
    if not sources:
        problems.append("firewall_ssh_from: lets nobody in. Write [any], or the addresses from which you work.")
    found = source_problems("firewall_ssh_from", sources)
    allowed = [net for source in sources for net in (EVERYWHERE if source == ANY else [source])]
    if sources and not found and client and not within(client.split("%")[0], allowed):
        found = [f"firewall_ssh_from: you come from {client}, which is not among them: you would lock yourself out. Add it."]
    return problems + found


def daemon_problems(options: Mapping[str, Any]) -> list[str]:
    """Settings of Docker with which neither its ports nor this firewall work, of its file and of the flags of its unit."""
    where = "/etc/docker/daemon.json or a flag of Docker's unit"
    problems = []
    for key in ("iptables", "ip6tables"):
        if options.get(key) is False:
            problems.append(
                f'{where}: "{key}": false leaves containers without isolation and a way out. Remove it; the container firewall closes what Docker opens.'
            )
    if options.get("firewall-backend", "iptables") != "iptables":
        problems.append(f'{where}: "firewall-backend" must be iptables beside UFW, which drops what the other backend forwards.')
    return problems
