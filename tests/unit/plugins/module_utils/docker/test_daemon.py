# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of dockerd on a server that is not empty: what is written, what is refused, and what must not stop."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.docker import daemon

OURS = {"live-restore": True, "log-driver": "journald", "no-new-privileges": True, "userland-proxy": False}
HERE = daemon.State(running=True)
FOREIGN = daemon.Container("shop", "no")


def wanted(current: dict[str, Any], options: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    """What daemon.json will be."""
    plan = daemon.plan(replace(HERE, text=json.dumps(current), **state), OURS if options is None else options)
    assert plan.problems == []
    return json.loads(plan.text)


def problems(current: dict[str, Any], options: dict[str, Any] | None = None, **state: Any) -> str:
    return "\n".join(daemon.plan(replace(HERE, text=json.dumps(current), **state), OURS if options is None else options).problems)


UNIT = """[Unit]
ExecStart=/no
[Service]
EnvironmentFile=-/etc/default/docker
# ExecStart=/usr/bin/commented
ExecStart=/usr/sbin/dockerd -H fd:// \\
  --containerd=/run/containerd/containerd.sock $DOCKER_OPTS
"""


@pytest.mark.parametrize(
    ("more", "files", "expected"),
    [
        ("", {}, ""),
        (
            "",
            {"/etc/default/docker": '# DOCKER_OPTS="--no"\nDOCKER_OPTS="--debug --dns 10.0.0.1"\nOTHER=1'},
            "--debug --dns 10.0.0.1",
        ),
        ("", {"/etc/default/docker": "DOCKER_OPTS=--debug \\\n  --ipv6"}, "--debug --ipv6"),
        ("[Service]\nEnvironment=DOCKER_OPTS=--debug", {}, "--debug"),
        ('[Service]\nEnvironment="DOCKER_OPTS=--debug --ipv6" X=1', {}, "--debug --ipv6"),
        # The file wins over the unit, a drop-in's file over that of the unit.
        ("[Service]\nEnvironment=DOCKER_OPTS=--no", {"/etc/default/docker": "DOCKER_OPTS=--debug"}, "--debug"),
        ("[Service]\nEnvironmentFile=/b", {"/etc/default/docker": "DOCKER_OPTS=--no", "/b": "DOCKER_OPTS=--debug"}, "--debug"),
        ("[Service]\nEnvironmentFile=\n", {"/etc/default/docker": "DOCKER_OPTS=--no"}, ""),
        ("[Install]\nEnvironment=DOCKER_OPTS=--no", {}, ""),
    ],
)
def test_the_command_line_of_the_unit(more: str, files: dict[str, str], expected: str) -> None:
    words = daemon.command(f"{UNIT}\n{more}", files)
    assert words == ["/usr/sbin/dockerd", "-H", "fd://", "--containerd=/run/containerd/containerd.sock", *expected.split()]


def test_a_drop_in_replaces_the_command_line() -> None:
    drop_in = "[Service]\nExecStart=\nExecStart=-/usr/bin/dockerd --label 'a b' --data-root=${ROOT}/docker\nEnvironment=ROOT=/srv"
    assert daemon.command(UNIT + drop_in, {}) == ["/usr/bin/dockerd", "--label", "a b", "--data-root=/srv/docker"]
    assert daemon.command("", {}) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-H fd:// --host=tcp://10.0.0.1", {"hosts": ["fd://", "tcp://10.0.0.1"]}),
        ("-Hfd:// -D -l warn", {"hosts": ["fd://"], "debug": ["true"], "log-level": ["warn"]}),
        ("--live-restore --debug=false", {"live-restore": ["true"], "debug": ["false"]}),
        ("--log-driver json-file --log-opt max-size=1m --log-opt=max-file=3", {"log-driver": ["json-file"], "log-opts": ["max-size=1m", "max-file=3"]}),
        ("--insecure-registry a:5000 --registry-mirror=https://b", {"insecure-registries": ["a:5000"], "registry-mirrors": ["https://b"]}),
        ("--dns 10.0.0.1 --dns-search x --dns-opt y", {"dns": ["10.0.0.1"], "dns-search": ["x"], "dns-opts": ["y"]}),
        ("", {}),
    ],
)  # fmt: skip
def test_flags_have_the_names_of_daemon_json(words: str, expected: dict[str, list[str]]) -> None:
    assert daemon.flags(words.split()) == expected


@pytest.mark.parametrize(
    ("current", "options", "expected"),
    [
        ({}, OURS, OURS),
        ({"dns": ["10.0.0.1"]}, OURS, {**OURS, "dns": ["10.0.0.1"]}),
        # Options of a driver go with it, whether it was named or is Docker's own choice.
        ({"log-driver": "json-file", "log-opts": {"max-size": "10m"}}, OURS, OURS),
        ({"log-opts": {"max-size": "10m"}}, OURS, OURS),
        ({"log-opts": {"tag": "x"}}, {**OURS, "log-opts": {"labels": "a"}}, {**OURS, "log-opts": {"labels": "a"}}),
        ({"log-driver": "journald", "log-opts": {"tag": "x"}}, OURS, {**OURS, "log-opts": {"tag": "x"}}),
        (
            {"log-driver": "json-file", "log-opts": {"max-size": "10m"}},
            {"log-driver": "json-file", "log-opts": {"max-file": "3"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}},
        ),
        ({"log-opts": {"max-size": "10m"}}, {"debug": True}, {"debug": True, "log-opts": {"max-size": "10m"}}),
        ({"log-driver": "journald", "log-opts": {"tag": "x"}}, {"log-driver": None}, {}),
        ({"log-opts": {"max-size": "1m"}, "debug": True}, {"log-opts": None, "debug": None}, {}),
        ({"features": {"a": True}, "dns": ["x"]}, {"features": {"b": True}, "dns": ["y"]}, {"features": {"a": True, "b": True}, "dns": ["y"]}),
    ],
)  # fmt: skip
def test_settings_are_merged(current: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert wanted(current, options) == expected
    assert wanted(expected, options) == expected


def test_what_is_as_wanted_is_not_written_again() -> None:
    text = json.dumps(OURS)  # in an order and with spaces of somebody's own
    plan = daemon.plan(replace(HERE, text=text, live_restore=True), OURS)
    assert plan == daemon.Plan(text, daemon.dump(OURS), changed=False, reload=False, restart=False, problems=[], live=True)


@pytest.mark.parametrize(
    ("flags", "current", "options", "gone"),
    [
        ({"userland-proxy": ["false"]}, {}, OURS, "userland-proxy"),
        ({"live-restore": ["true"]}, {}, OURS, "live-restore"),
        ({"log-driver": ["journald"]}, {}, OURS, "log-driver"),
        ({"insecure-registries": ["b", "a"]}, {}, {**OURS, "insecure-registries": ["a", "b"]}, "insecure-registries"),
        ({"log-opts": ["tag=x"]}, {}, {**OURS, "log-opts": {"tag": "x"}}, "log-opts"),
        ({"hosts": ["fd://"]}, {"hosts": ["fd://"]}, OURS, "hosts"),
        ({"mtu": ["1400"]}, {"mtu": 1400}, OURS, "mtu"),
    ],
)
def test_what_a_flag_says_already_is_not_said_again(
    flags: dict[str, list[str]], current: dict[str, Any], options: dict[str, Any], gone: str
) -> None:
    assert gone not in wanted(current, options, flags=flags)
    assert gone in wanted(current, options)  # without the flag it is


@pytest.mark.parametrize(
    ("flags", "current", "options", "words"),
    [
        ({"log-driver": ["json-file"]}, {}, OURS, ["docker_daemon_options.log-driver", '"journald"', "json-file", "{log-driver: null}"]),
        ({"live-restore": ["false"]}, {}, OURS, ["docker_daemon_options.live-restore", "{live-restore: null}"]),
        ({"hosts": ["fd://"]}, {"hosts": ["tcp://10.0.0.1"]}, OURS, ["/etc/docker/daemon.json: hosts", "or the setting"]),
        ({"log-opts": ["max-size=1m"]}, {}, OURS, ["--log-opt: max-size", "journald"]),
        ({"config-file": ["/srv/docker.json"]}, {}, OURS, ["/etc/docker/daemon.json: is not what dockerd reads", "/srv/docker.json"]),
        ({}, {"log-driver": "journald", "log-opts": {"max-size": "1m"}}, OURS, ["log-opts: max-size", "journald", "{log-opts: null}"]),
        ({}, {}, {**OURS, "log-driver": "local", "log-opts": {"tag": "x"}}, ["log-opts: tag", "local"]),
    ],
)  # fmt: skip
def test_what_dockerd_would_not_start_with_is_refused(
    flags: dict[str, list[str]], current: dict[str, Any], options: dict[str, Any], words: list[str]
) -> None:
    said = problems(current, options, flags=flags)
    assert len(said.splitlines()) == 1 and all(word in said for word in words), said


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ({"runtimes": ["a=/b"]}, {"runtimes": {"c": {"path": "/d"}}}),  # the one that dockerd takes from both
        ({"log-driver": ["json-file"]}, {**OURS, "log-driver": None}),
        ({"config-file": ["/etc/docker/daemon.json"]}, OURS),
        ({}, {"log-driver": "fluentd", "log-opts": {"max-size": "1"}}),  # a driver whose options we do not know
        ({}, {"log-driver": "local", "log-opts": {"max-size": "1m", "mode": "non-blocking", "new": "x"}}),
    ],
)
def test_what_dockerd_starts_with_is_not_refused(flags: dict[str, list[str]], options: dict[str, Any]) -> None:
    assert problems({}, options, flags=flags) == ""


def test_a_file_that_is_no_json_is_refused_and_left_alone() -> None:
    plan = daemon.plan(daemon.State(text="{,}"), OURS)
    assert plan.text == "{,}" and not plan.changed and "is not a JSON object" in plan.problems[0]


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ("", {}, {}),
        ('{"iptables": true}', {"iptables": ["false"], "hosts": ["fd://"]}, {"iptables": False, "hosts": "fd://"}),
        ('{"icc": false}', {"ip6tables": ["true"]}, {"icc": False, "ip6tables": True}),
        ("{,}", {"debug": ["true"]}, {"debug": True}),
        ('{"proxies": {"http-proxy": "http://u:geheim@p"}}', {}, {"proxies": {"http-proxy": "http://***@p"}}),
    ],
)
def test_the_settings_that_are_in_force(text: str, flags: dict[str, list[str]], expected: dict[str, Any]) -> None:
    assert daemon.in_force(daemon.State(text=text, flags=flags)) == expected


@pytest.mark.parametrize(
    ("current", "options", "state", "reload", "restart"),
    [
        ({}, OURS, {}, True, True),
        (OURS, OURS, {"live_restore": True}, False, False),
        (OURS, OURS, {}, True, False),  # the file says it, the daemon was never told
        ({**OURS, "live-restore": False}, OURS, {}, True, False),
        (OURS, {**OURS, "live-restore": False}, {"live_restore": True}, True, False),
        (OURS, {**OURS, "live-restore": None}, {"live_restore": True}, False, True),  # it is not turned off by silence
        ({**OURS, "live-restore": False}, OURS, {"swarm": True}, False, False),  # nor does silence differ from "no"
        ({**OURS, "debug": True}, {**OURS, "debug": False}, {"live_restore": True}, False, True),
        ({}, OURS, {"running": False}, False, True),
        ({}, OURS, {"swarm": True}, False, True),
        (OURS, OURS, {"live_restore": True, "unfinished": True}, False, True),
        (OURS, OURS, {"unfinished": True}, True, True),
        ({}, OURS, {"flags": {"live-restore": ["true"]}, "live_restore": True}, False, True),
    ],
)
def test_live_restore_is_turned_on_before_a_restart(
    current: dict[str, Any], options: dict[str, Any], state: dict[str, Any], reload: bool, restart: bool
) -> None:
    plan = daemon.plan(replace(HERE, text=json.dumps(current), **state), options)
    assert (plan.reload, plan.restart, plan.changed) == (reload, restart, reload or restart)
    assert plan.problems == []


def test_the_way_back_keeps_live_restore() -> None:
    """A daemon that starts without it ends the containers that it finds."""
    plan = daemon.plan(replace(HERE, text='{"dns": ["10.0.0.1"]}'), OURS)
    assert json.loads(plan.safe) == {"dns": ["10.0.0.1"], "live-restore": True}
    assert daemon.plan(replace(HERE, text='{"mtu": 1400}', swarm=True), OURS).safe == '{"mtu": 1400}'
    assert daemon.plan(replace(HERE, swarm=True), OURS).safe == ""


def test_swarm_goes_without_live_restore() -> None:
    assert wanted({}, swarm=True) == {key: value for key, value in OURS.items() if key != "live-restore"}
    assert wanted({"live-restore": False}, {}, swarm=True) == {"live-restore": False}


SWARM, OFF = {"swarm": True}, {"options": {**OURS, "live-restore": False}}


@pytest.mark.parametrize(
    ("container", "case", "stops"),
    [
        (FOREIGN, {}, False),  # live-restore keeps it
        (FOREIGN, SWARM, True),
        (FOREIGN, OFF, True),
        (replace(FOREIGN, policy="on-failure"), SWARM, True),
        (replace(FOREIGN, policy="unless-stopped"), SWARM, False),
        (replace(FOREIGN, policy="always"), OFF, False),
        (replace(FOREIGN, task=True), SWARM, False),
    ],
)
def test_who_would_stop_for_good_is_named(container: daemon.Container, case: dict[str, Any], stops: bool) -> None:
    said = problems({}, containers=[container], **case)
    assert bool(said) == stops
    if stops:
        assert "shop would stop for good" in said and "docker update --restart unless-stopped shop" in said
        assert ("Swarm refuses live-restore" in said) == (case is SWARM)


def test_without_a_restart_nobody_stops() -> None:
    settings = {key: value for key, value in OURS.items() if key != "live-restore"}
    assert problems(settings, containers=[FOREIGN], swarm=True) == ""
    assert problems({**settings, "debug": True}, {**OURS, "debug": False}, containers=[FOREIGN], swarm=True) != ""


@pytest.mark.parametrize(
    ("current", "options", "stops"),
    [
        ({}, {"bip": "10.9.0.1/24"}, True),
        ({"data-root": "/srv/docker"}, {"data-root": "/srv/other"}, True),
        ({}, {"data-root": "/var/lib/docker"}, False),  # where it is already
        ({"bip": "10.9.0.1/24"}, {"mtu": 1400}, False),
    ],
)
def test_what_live_restore_does_not_bridge_is_refused_while_containers_run(
    current: dict[str, Any], options: dict[str, Any], stops: bool
) -> None:
    safe = replace(FOREIGN, policy="always")
    said = problems(current, {**OURS, **options}, containers=[safe], live_restore=True)
    assert ("docker stop shop" in said) == bool(said) == stops
    assert problems(current, {**OURS, **options}, live_restore=True) == ""  # nothing runs


JOURNAL = [
    "Starting docker.service - Docker Application Container Engine...",
    'time="2026-11-29T13:05:09.472089340Z" level=info msg="Starting up"',
    "failed to start daemon: failed to set log opts: unknown log opt 'max-size' for journald log driver",
    'time="2026-11-29T13:05:09.488Z" level=info msg="stopping event stream" error="context canceled" module=libcontainerd',
    "docker.service: Main process exited, code=exited, status=1/FAILURE",
]
FATAL = 'time="2026-11-29T13:06:15Z" level=fatal msg="Error starting cluster component: \\"x\\" is incompatible with swarm mode"'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (JOURNAL, "failed to start daemon: failed to set log opts: unknown log opt 'max-size' for journald log driver"),
        ([*JOURNAL[:2], FATAL, JOURNAL[-1]], 'Error starting cluster component: "x" is incompatible with swarm mode'),
        ([*JOURNAL[:2], JOURNAL[-1]], JOURNAL[-1]),
        ([], "the journal says nothing"),
        (
            ["failed to start daemon: proxy http://user:geheim@10.0.0.1:3128"],
            "failed to start daemon: proxy http://***@10.0.0.1:3128",
        ),
    ],
)
def test_the_reason_of_the_journal(lines: list[str], expected: str) -> None:
    assert daemon.reason(lines) == expected


def test_no_secret_is_shown() -> None:
    shown = daemon.hidden(
        daemon.dump({"log-opts": {"splunk-token": "geheim", "tag": "x"}, "proxies": {"https-proxy": "http://u:geheim@p"}})
    )
    assert "geheim" not in shown and '"tag": "x"' in shown and 'p"' in shown
    assert "geheim" not in problems({"https-proxy": "http://u:geheim@p"}, flags={"https-proxy": ["http://v:geheim@p"]})
