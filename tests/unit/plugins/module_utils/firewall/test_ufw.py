# SPDX-License-Identifier: GPL-3.0-or-later
"""UFW's rules: read as UFW 0.36.2 writes them, compared, and turned into the few commands that are needed."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules as firewall_rules
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import ufw

# As UFW wrote them; comments are hexadecimal.
RULES = """*filter
:ufw-user-input - [0:0]
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=6b6173616e6568613a20737368
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### deny any any 0.0.0.0/0 any 203.0.113.9 in
-A ufw-user-input -s 203.0.113.9 -j DROP

### tuple ### allow_log tcp 8000:8010 0.0.0.0/0 any 10.0.0.0/8 in_eth1
-A ufw-user-input -i eth1 -p tcp -m multiport --dports 8000:8010 -s 10.0.0.0/8 -j ACCEPT

### tuple ### allow tcp 80,443 0.0.0.0/0 any 0.0.0.0/0 Nginx%20Full - in
-A ufw-user-input -p tcp -m multiport --dports 80,443 -j ACCEPT -m comment --comment 'dapp_Nginx%20Full'

### tuple ### route:allow tcp 80 172.18.0.2 any 0.0.0.0/0 in_eth0!out_br0
-A ufw-user-forward -i eth0 -o br0 -p tcp -d 172.18.0.2 --dport 80 -j ACCEPT

### END RULES ###
"""
SSH = ufw.Entry(False, "allow", "tcp", "22", "0.0.0.0/0", "any", "0.0.0.0/0", "in", comment="kasaneha: ssh")
WEB = replace(SSH, dport="443", comment="kasaneha: https")
GOOD = ufw.Observed(installed=True, active=True, entries=(SSH, WEB), settings=ufw.SETTINGS, logging="low")


def decide(now: ufw.Observed, *target: ufw.Entry, purge: bool = False) -> ufw.Plan:
    """The plan, with what is usual."""
    return ufw.plan(now, target, "kasaneha", purge, "low", True)


def test_rules_are_read() -> None:
    entries = ufw.parse(RULES, v6=False)
    assert [entry.verb for entry in entries] == ["allow", "deny", "allow", "allow", "allow"]
    assert entries[0] == SSH and entries[0].comment == "kasaneha: ssh"
    assert entries[3].dapp == "Nginx Full"


@pytest.mark.parametrize("text", ["", "no rules", "### tuple ### allow tcp 22", "### tuple ### "])
def test_what_is_no_rule_is_passed_over(text: str) -> None:
    assert ufw.parse(text, v6=False) == []


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (0, "allow from 0.0.0.0/0 to 0.0.0.0/0 port 22 proto tcp"),
        (1, "deny from 203.0.113.9 to 0.0.0.0/0"),
        (2, "allow in on eth1 log from 10.0.0.0/8 to 0.0.0.0/0 port 8000:8010 proto tcp"),
        (3, "allow from 0.0.0.0/0 to 0.0.0.0/0 app 'Nginx Full'"),
        (4, "route allow in on eth0 out on br0 from 0.0.0.0/0 to 172.18.0.2 port 80 proto tcp"),
    ],
)
def test_commands(index: int, words: str) -> None:
    entry = ufw.parse(RULES, v6=False)[index]
    add = shlex.split(words)
    assert ufw.command(entry) == add + (["comment", "kasaneha: ssh"] if index == 0 else [])
    position = 1 if add[0] == "route" else 0
    assert ufw.command(entry, delete=True) == [*add[:position], "delete", *add[position:]]


def test_rules_become_entries_of_both_families() -> None:
    rules = firewall_rules.normalised(
        [{"name": "web", "port": 443, "from": "any"}, {"name": "db", "port": 5432, "from": ["10.0.0.1", "fd00::1"]}]
    )
    both = ufw.desired(rules, "kasaneha", ipv6=True)
    assert [(entry.v6, entry.dport, entry.src) for entry in both] == [
        (False, "443", "0.0.0.0/0"), (True, "443", "::/0"), (False, "5432", "10.0.0.1"), (True, "5432", "fd00::1"),
    ]  # fmt: skip
    assert {entry.comment for entry in both} == {"kasaneha: web", "kasaneha: db"}
    assert [entry.v6 for entry in ufw.desired(rules, "kasaneha", ipv6=False)] == [False, False]


FOREIGN = replace(SSH, dport="8080", comment="mine")
CASES: dict[str, tuple[ufw.Observed, list[ufw.Entry], bool, dict[str, Any]]] = {
    "all is well": (GOOD, [SSH, WEB], False, {}),
    "a new rule": (GOOD, [SSH, WEB, replace(WEB, dport="80")], False, {"add": (replace(WEB, dport="80"),)}),
    "a rule that left the list": (GOOD, [SSH], False, {"remove": (WEB,)}),
    "a foreign rule stays": (replace(GOOD, entries=(SSH, FOREIGN)), [SSH], False, {}),
    "a foreign rule goes": (replace(GOOD, entries=(SSH, FOREIGN)), [SSH], True, {"remove": (FOREIGN,)}),
    "a foreign rule is enough": (replace(GOOD, entries=(SSH, FOREIGN)), [SSH, replace(FOREIGN, comment="kasaneha: x")], False, {}),
    "a foreign rule becomes ours": (
        replace(GOOD, entries=(SSH, FOREIGN)), [SSH, replace(FOREIGN, comment="kasaneha: x")], True, {"add": (FOREIGN,)},
    ),
    "another name": (GOOD, [SSH, replace(WEB, comment="kasaneha: tls")], False, {"add": (WEB,)}),
    "another tag is foreign": (replace(GOOD, entries=(SSH, replace(WEB, comment="kasaneha2: x"))), [SSH], False, {}),
    "UFW is off": (replace(GOOD, active=False), [SSH, WEB], False, {"last": "enable"}),
    "a default was opened": (
        replace(GOOD, settings={**ufw.SETTINGS, "DEFAULT_INPUT_POLICY": "ACCEPT"}), [SSH, WEB], False,
        {"settings": {"DEFAULT_INPUT_POLICY": "DROP"}, "last": "reload"},
    ),
    "IPv6 was left out": (
        replace(GOOD, settings={**ufw.SETTINGS, "IPV6": "no"}), [SSH, WEB], False,
        {"settings": {"IPV6": "yes"}, "first": "reload", "last": "reload"},
    ),
    "neighbours' discovery": (replace(GOOD, discovery=True), [SSH, WEB], False, {"drop_discovery": True, "last": "reload"}),
    "somebody flushed": (replace(GOOD, stale=True), [SSH, WEB], False, {"first": "reload", "last": "reload"}),
    "another level of logging": (replace(GOOD, logging="full"), [SSH, WEB], False, {"logging": "low"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_plan(case: str) -> None:
    now, target, purge, expected = CASES[case]
    plan = decide(now, *target, purge=purge)
    assert plan == ufw.Plan(**expected)
    assert plan.changed == bool(expected) == bool(plan.lines)


def test_a_plan_once_carried_out_is_empty() -> None:
    target = [SSH, replace(WEB, comment="kasaneha: tls")]
    plan = decide(ufw.Observed(installed=True, discovery=True), *target)
    assert plan.settings == ufw.SETTINGS and plan.last == "enable" and plan.logging == "low"
    done = replace(GOOD, entries=tuple(target))
    assert not decide(done, *target).changed
    assert ufw.describe(ufw.Observed(discovery=True), plan) == ufw.describe(done)
    assert ufw.describe(ufw.Observed(discovery=True)) != ufw.describe(done)


@pytest.mark.parametrize(
    ("other", "dead"),
    [
        ({"action": "deny"}, True),  # the very same, refused: ours would replace it
        ({"action": "reject"}, True),
        ({"action": "limit"}, True),
        ({"action": "deny", "dport": "any", "proto": "any"}, True),
        ({"action": "deny", "dport": "400:500"}, True),
        ({"action": "deny", "dport": "80,443"}, True),
        ({"action": "deny_log", "dport": "any", "proto": "any"}, True),
        ({"action": "deny", "src": "203.0.113.9"}, False),  # one banned address is not everybody
        ({"action": "deny", "dport": "80"}, False),
        ({"action": "deny", "proto": "udp"}, False),
        ({"action": "deny", "direction": "in_eth1"}, False),
        ({"action": "deny", "direction": "out"}, False),
        ({"action": "route:deny"}, False),
        ({"action": "deny", "dst": "192.0.2.1"}, False),
        ({"action": "deny", "v6": True, "src": "::/0", "dst": "::/0"}, False),
        ({"action": "allow", "dport": "any"}, False),
    ],
)
def test_rules_of_others_that_come_first(other: dict[str, Any], dead: bool) -> None:
    foreign = replace(WEB, comment="", **other)
    now = replace(GOOD, entries=(foreign,))
    problems = ufw.dead_rules(now, [WEB], "kasaneha", purge=False)
    assert bool(problems) == dead
    assert all("kasaneha: https" in problem and "ufw " in problem for problem in problems)
    assert ufw.dead_rules(now, [WEB], "kasaneha", purge=True) == []  # it goes


LOADED = "\n".join([*ufw.HOOKS[False], "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT"])
WRITTEN = "### tuple ###\n-A ufw-user-input -p tcp --dport 22 -j ACCEPT\n"


@pytest.mark.parametrize(
    ("written", "loaded", "stale"),
    [
        (WRITTEN, LOADED, False),
        (WRITTEN, "", True),
        (WRITTEN, LOADED.replace("-P INPUT DROP", "-P INPUT ACCEPT"), True),
        (WRITTEN, LOADED.replace("-A INPUT -j ufw-before-input", ""), True),
        (WRITTEN, "\n".join(ufw.HOOKS[False]), True),
        ("", LOADED, True),
        (WRITTEN, LOADED + "\n-A ufw-user-forward -j ACCEPT", True),
    ],
)
def test_what_is_loaded_against_what_is_written(written: str, loaded: str, stale: bool) -> None:
    assert ufw.is_stale({False: written}, {False: loaded}) == stale


def test_settings_are_read_and_written() -> None:
    text = '# a comment\nIPV6=no\nDEFAULT_INPUT_POLICY="ACCEPT"\nOTHER=1\n'
    assert ufw.read_settings(text) == {"IPV6": "no", "DEFAULT_INPUT_POLICY": "ACCEPT", "OTHER": "1"}
    done = ufw.write_settings(text, {"IPV6": "yes", "DEFAULT_INPUT_POLICY": "DROP", "DEFAULT_FORWARD_POLICY": "DROP"})
    assert done == '# a comment\nIPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nOTHER=1\nDEFAULT_FORWARD_POLICY="DROP"\n'


def test_discovery_is_closed_once() -> None:
    text = "-A ufw-before-input -p udp --sport 67 --dport 68 -j ACCEPT\n-A ufw-before-input -p udp -d 224.0.0.251 --dport 5353 -j ACCEPT\n"
    text += "-A ufw6-before-input -p udp -d ff02::f --dport 1900 -j ACCEPT\nCOMMIT\n"
    done = ufw.without_discovery(text)
    assert ufw.DISCOVERY.search(text) and not ufw.DISCOVERY.search(done)
    assert done.splitlines()[0] == text.splitlines()[0] and done.endswith("COMMIT\n") and done.count("# not on a server: ") == 2
    assert ufw.without_discovery(done) == done
