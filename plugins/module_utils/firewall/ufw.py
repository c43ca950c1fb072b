# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""UFW's rules: what is there, what should be there, and the few commands between the two. Pure functions and values.

UFW writes each rule into ``user.rules`` (IPv4) or ``user6.rules`` below a line ``### tuple ###`` with fixed fields. That line says
more than ``ufw status``, also while UFW is off. A rule that carries our tag in its comment is ours; all others are foreign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules as firewall_rules

SETTINGS = {  # /etc/default/ufw: nothing comes in or through that no rule names
    "IPV6": "yes",
    "DEFAULT_INPUT_POLICY": "DROP",
    "DEFAULT_OUTPUT_POLICY": "ACCEPT",
    "DEFAULT_FORWARD_POLICY": "DROP",
}
TUPLE = "### tuple ### "
# What UFW lets in by itself and no server needs: mDNS and SSDP, the neighbours' search for printers and players.
DISCOVERY = re.compile(r"^-A ufw6?-before-input .*--dport (5353|1900) -j ACCEPT\s*$", re.MULTILINE)
# The beginnings of every chain of UFW's: without one of them its rules are there and do nothing.
HOOKS = {
    False: ("-P INPUT DROP", "-P FORWARD DROP", "-A INPUT -j ufw-before-input", "-A ufw-before-input -j ufw-user-input"),
    True: ("-P INPUT DROP", "-P FORWARD DROP", "-A INPUT -j ufw6-before-input", "-A ufw6-before-input -j ufw6-user-input"),
}


@dataclass(frozen=True)
class Entry:
    """One rule of one family, as UFW keeps it."""

    v6: bool
    action: str  # allow, deny_log, route:allow …
    proto: str
    dport: str
    dst: str
    sport: str
    src: str
    direction: str  # in, out, in_eth0, in_eth0!out_br0
    dapp: str = ""
    sapp: str = ""
    comment: str = field(default="", compare=False)  # UFW does not count it either

    @property
    def verb(self) -> str:
        """``allow``, ``deny``, ``reject`` or ``limit``."""
        return self.action.split(":")[-1].split("_")[0]


def parse(text: str, v6: bool) -> list[Entry]:
    """The rules of a rules file. Lines that are no rule are passed over."""
    entries = []
    for line in text.splitlines():
        if not line.startswith(TUPLE):
            continue
        words = line[len(TUPLE) :].split()
        comment = ""
        if words and words[-1].startswith("comment="):
            comment = bytes.fromhex(words.pop()[len("comment=") :]).decode(errors="replace")
        if len(words) == 7:
            action, proto, dport, dst, sport, src, direction = words
            entries.append(Entry(v6, action, proto, dport, dst, sport, src, direction, comment=comment))
        elif len(words) == 9:
            action, proto, dport, dst, sport, src, dapp, sapp, direction = words
            dapp, sapp = ("" if app == "-" else app.replace("%20", " ") for app in (dapp, sapp))
            entries.append(Entry(v6, action, proto, dport, dst, sport, src, direction, dapp, sapp, comment))
    return entries


def desired(rules: Iterable[Mapping[str, Any]], tag: str, ipv6: bool) -> list[Entry]:
    """The entries that rules mean; rules as :func:`firewall_rules.normalised` makes them."""
    entries: dict[Entry, None] = {}
    for rule in rules:
        for source in rule["from"]:
            v6 = ":" in source
            if v6 and not ipv6:
                continue
            interface = rule.get("interface") or ""
            entry = Entry(
                v6, "allow", rule["proto"], rule["port"], "::/0" if v6 else "0.0.0.0/0", "any", source,
                f"in_{interface}" if interface else "in", comment=f"{tag}: {rule['name']}",
            )  # fmt: skip
            entries.setdefault(entry)
    return list(entries)


def command(entry: Entry, delete: bool = False) -> list[str]:
    """The arguments of ``ufw`` that add or delete one entry of one family."""
    words = ["route"] if entry.action.startswith("route:") else []
    words += ["delete"] if delete else []
    words.append(entry.verb)
    for side in entry.direction.split("!"):
        way, _dash, interface = side.partition("_")
        words += [way, "on", interface] if interface else [way] if way == "out" else []
    words += entry.action.split("_")[1:]  # log, log-all
    for way, address, port, app in (("from", entry.src, entry.sport, entry.sapp), ("to", entry.dst, entry.dport, entry.dapp)):
        words += [way, address]
        words += ["app", app] if app else ["port", port] if port != "any" else []
    if entry.proto != "any" and not entry.dapp and not entry.sapp:
        words += ["proto", entry.proto]
    return words + (["comment", entry.comment] if entry.comment and not delete else [])


def shown(entry: Entry) -> str:
    """One line of a diff."""
    words = [entry.action.replace("_", " ")] + (
        [entry.direction.replace("_", " ").replace("!", " ")] if entry.direction != "in" else []
    )
    words.append(entry.dapp or f"{entry.dport}/{entry.proto}")
    words += [f"to {entry.dst}"] if entry.dst not in firewall_rules.EVERYWHERE else []
    words.append("from " + {"0.0.0.0/0": "anywhere", "::/0": "anywhere (IPv6)"}.get(entry.src, entry.src))
    return " ".join(words) + (f"  # {entry.comment}" if entry.comment else "")


@dataclass(frozen=True)
class Observed:
    """What is on the host."""

    installed: bool = False
    active: bool = False
    pending: bool = False  # a change waits for its proof
    entries: tuple[Entry, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)  # of /etc/default/ufw
    logging: str = ""
    discovery: bool = False  # UFW's own rules let mDNS and SSDP in
    stale: bool = False  # what is loaded is not what is written


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order."""

    settings: Mapping[str, str] = field(default_factory=dict)
    drop_discovery: bool = False
    first: str = ""  # before rules are touched: reload
    add: tuple[Entry, ...] = ()
    remove: tuple[Entry, ...] = ()
    logging: str = ""
    last: str = ""  # enable or reload

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.settings or self.drop_discovery or self.add or self.remove or self.logging or self.last)

    @property
    def lines(self) -> list[str]:
        """Each step in a few words."""
        steps = [f"set {key}={value}" for key, value in self.settings.items()]
        steps += ["stop letting in mDNS and SSDP"] if self.drop_discovery else []
        steps += [f"add {shown(entry)}" for entry in self.add] + [f"delete {shown(entry)}" for entry in self.remove]
        steps += [f"set logging {self.logging}"] if self.logging else []
        return steps + ([self.last] if self.last else [])


def is_own(entry: Entry, tag: str) -> bool:
    """Whether a rule carries our tag."""
    return entry.comment.startswith(f"{tag}: ")


def plan(now: Observed, target: Iterable[Entry], tag: str, purge: bool, logging: str, ipv6: bool) -> Plan:
    """Decide.

    A foreign rule that says what is desired is enough and stays foreign; with ``purge`` it becomes ours. Entries that are ours and no
    longer desired go; with ``purge`` every other one goes too. Rules are added before any is deleted.
    """
    target = list(target)
    there = {entry: entry for entry in now.entries}
    add = [
        entry
        for entry in target
        if entry not in there or (there[entry].comment != entry.comment and (purge or is_own(there[entry], tag)))
    ]
    remove = [entry for entry in now.entries if entry not in target and (purge or is_own(entry, tag))]
    settings = {
        key: value for key, value in {**SETTINGS, "IPV6": "yes" if ipv6 else "no"}.items() if now.settings.get(key) != value
    }
    reload_needed = bool(settings) or now.discovery or now.stale
    # Without its IPv6 chains UFW could not add IPv6 rules.
    first = "reload" if now.active and ("IPV6" in settings or now.stale) else ""
    last = "enable" if not now.active else "reload" if reload_needed else ""
    return Plan(settings, now.discovery, first, tuple(add), tuple(remove), logging if now.logging != logging else "", last)


def dead_rules(now: Observed, target: Iterable[Entry], tag: str, purge: bool) -> list[str]:
    """Foreign rules that stand before ours and refuse all that ours would allow: UFW takes the first that fits. And those that ours
    would replace, for UFW keeps one rule for the same sources and port.

    :returns: one sentence for each; the firewall must not be touched, for what is desired would not come true.
    """
    problems = []
    foreign = [entry for entry in now.entries if not purge and not is_own(entry, tag)]
    for entry in target:
        for other in foreign:
            same = (
                not other.action.startswith("route:")
                and other.verb != entry.verb
                and replace(other, action=entry.action) == entry
            )
            if same or (other.v6 == entry.v6 and other.verb in ("deny", "reject") and _refuses(other, entry)):
                problems.append(
                    f"{entry.comment}: a foreign rule comes first, '{shown(other)}'. Delete it (ufw {' '.join(command(other, delete=True))}),"
                    " or take the rule out of the inventory, or set firewall_purge_foreign."
                )
    return problems


def _refuses(other: Entry, entry: Entry) -> bool:
    if other.action.startswith("route:") or other.direction not in ("in", entry.direction):
        return False
    if other.sport != "any" or other.dst not in firewall_rules.EVERYWHERE or other.proto not in ("any", entry.proto):
        return False
    try:
        low, high = firewall_rules.port_range(entry.dport)
        spans = [(1, 65535)] if other.dport == "any" else [firewall_rules.port_range(part) for part in other.dport.split(",")]
        return any(first <= low and high <= last for first, last in spans) and firewall_rules.within(entry.src, [other.src])
    except ValueError:
        return False


def is_stale(written: Mapping[bool, str], loaded: Mapping[bool, str]) -> bool:
    """Whether what is loaded is not what is written, by number of rules in each chain, and by what leads to them.

    :param written: the rules files, by whether they are IPv6's; ``loaded`` likewise ``iptables -S`` and ``ip6tables -S``.
    """
    for v6, text in written.items():
        lines = loaded.get(v6, "").splitlines()
        if not all(hook in lines for hook in HOOKS[v6]):
            return True
        for chain in ("input", "output", "forward"):
            start = f"-A ufw{'6' if v6 else ''}-user-{chain} "
            if sum(line.startswith(start) for line in text.splitlines()) != sum(line.startswith(start) for line in lines):
                return True
    return False


def read_settings(text: str) -> dict[str, str]:
    """``KEY=value`` lines, with or without quotes."""
    return {found[1]: found[2].strip('"') for found in re.finditer(r"^([A-Z0-9_]+)=(.*?)\s*$", text, re.MULTILINE)}


def write_settings(text: str, settings: Mapping[str, str]) -> str:
    """The same file with other values; lines that are not there are added."""
    for key, value in settings.items():
        line = f'{key}="{value}"' if key.startswith("DEFAULT_") else f"{key}={value}"
        text, count = re.subn(rf"^{key}=.*$", line, text, count=1, flags=re.MULTILINE)
        text += "" if count else f"{line}\n"
    return text


def without_discovery(text: str) -> str:
    """``before.rules`` without what lets mDNS and SSDP in; the lines stay as comments."""
    return DISCOVERY.sub(lambda found: f"# not on a server: {found[0].rstrip()}", text)


def describe(now: Observed, done: Plan | None = None) -> str:
    """The firewall in lines, as it is or as a plan will leave it: the two sides of a diff."""
    done = done or Plan()
    entries = [entry for entry in now.entries if entry not in done.remove and entry not in done.add] + list(done.add)
    settings = {**now.settings, **done.settings}
    lines = [f"status: {'active' if now.active or done.last == 'enable' else 'inactive'}"]
    lines += [f"{key}={settings[key]}" for key in SETTINGS if key in settings]
    lines.append(f"logging: {done.logging or now.logging or 'off'}")
    lines.append(f"mDNS and SSDP: {'let in' if now.discovery and not done.drop_discovery else 'closed'}")
    return "\n".join(lines + sorted(shown(entry) for entry in entries)) + "\n"
