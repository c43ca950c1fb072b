# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Settings of dockerd on a server that is not empty: daemon.json merged, compared with the flags of its unit, and tried. Pure functions.

dockerd starts with nothing that it does not like, and takes every container with it: what it would refuse is found before the file
is written, and what would stop for good is named.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import json_problems

CONFIG = "/etc/docker/daemon.json"
LIVE_RESTORE = "live-restore"

SHORT = {
    "b": "bridge", "D": "debug", "G": "group", "g": "graph", "H": "hosts", "l": "log-level", "p": "pidfile", "s": "storage-driver",
}  # fmt: skip
# Flags that may be given several times have another name in daemon.json; all others have the same.
PLURAL = {
    "insecure-registry": "insecure-registries",
    "add-runtime": "runtimes",
    **{
        f"{name}-opt": f"{name}-opts" for name in ("cluster-store", "default-network", "dns", "exec", "log", "storage")
    },
    **{
        name: f"{name}s"
        for name in (
            "authorization-plugin", "cdi-spec-dir", "default-address-pool", "default-ulimit", "host", "label", "node-generic-resource",
            "registry-mirror",
        )
    },
}  # fmt: skip
IN_BOTH = {"runtimes"}  # the only one that dockerd takes from both

# Options that only one of the drivers knows are what is left behind when the driver changes. Asked of Docker 20.10 and 26.1.
_FILES = {"max-size", "max-file", "compress"}
_FIELDS = {"labels", "labels-regex", "env", "env-regex", "tag"}
LOG_OPTIONS = {"json-file": _FILES | _FIELDS, "local": _FILES, "journald": _FIELDS, "none": set()}

# A daemon with another value does not find the containers of the old one, or their network, whatever live-restore says.
LOSES_CONTAINERS = {
    "bip": None, "bridge": None, "containerd": None, "containerd-namespace": None, "data-root": "/var/lib/docker",
    "exec-root": "/var/run/docker", "fixed-cidr": None, "graph": None, "storage-driver": None, "userns-remap": None,
}  # fmt: skip
SURVIVES = {"always", "unless-stopped"}  # on-failure does not: a container that was stopped has not failed


@dataclass(frozen=True)
class Container:
    """A container that runs; ``task`` belongs to Swarm, which starts another one."""

    name: str
    policy: str
    task: bool = False


@dataclass(frozen=True)
class State:
    """What a host has."""

    text: str = ""  # of daemon.json; empty without one
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)  # key of daemon.json -> values
    running: bool = False
    live_restore: bool = False  # of the daemon that runs
    swarm: bool = False
    containers: Sequence[Container] = ()
    unfinished: bool = False  # a run was killed before dockerd was seen to start with the file


class Plan(NamedTuple):
    """What is to be done."""

    text: str  # of daemon.json
    safe: str  # with which dockerd comes back if it does not start with the new one; empty for no file
    changed: bool
    reload: bool  # live-restore can be turned on or off by a reload, and a restart then keeps the containers
    restart: bool
    problems: list[str]
    live: bool = False  # whether live-restore is wanted


def dump(settings: Mapping[str, Any]) -> str:
    """As daemon.json is written."""
    return json.dumps(settings, indent=4, sort_keys=True) + "\n"


def command(unit: str, files: Mapping[str, str]) -> list[str]:
    """The command line with which systemd starts a service.

    :param unit: text of the unit and of its drop-ins, in their order.
    :param files: what the environment files contain that ``environment_files`` names; those that are missing are left out.
    """
    start, environment = "", {}
    for key, value in _settings(unit):
        if key == "ExecStart":
            start = value.lstrip("@-:+!|")
        elif key == "Environment":
            environment.update(_assignments(value) if value else {})
    for path in environment_files(unit):
        for line in files.get(path, "").replace("\\\n", " ").splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith(("#", ";")):
                environment[name.strip()] = value.strip().strip("\"'")
    words: list[str] = []
    for word in _split(start):
        alone = re.fullmatch(r"\$(\w+)", word)
        if alone:
            words += _split(environment.get(alone[1], ""))
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: environment.get(found[1], ""), word))
    return words


def environment_files(unit: str) -> list[str]:
    """Paths of the environment files of a unit."""
    paths: list[str] = []
    for key, value in _settings(unit):
        if key == "EnvironmentFile":
            paths = [*paths, value.lstrip("-")] if value else []
    return paths


def _settings(unit: str) -> list[tuple[str, str]]:
    """Key and value of each line of the section [Service]."""
    found, section = [], ""
    for line in re.sub(r"\\\n\s*", " ", unit).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        key, equals, value = line.partition("=")
        if section == "[Service]" and equals and not line.startswith(("#", ";")):
            found.append((key.strip(), value.strip()))
    return found


def _split(text: str) -> list[str]:
    """Words; quotes are respected, and a stray one is a character like any other."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _assignments(text: str) -> dict[str, str]:
    return {name: value for name, equals, value in (word.partition("=") for word in _split(text)) if equals}


def flags(words: Sequence[str]) -> dict[str, list[str]]:
    """Flags of dockerd, by the keys that daemon.json has for them; one without a value says ``true``.

    :param words: the command line without the program.
    """
    found: dict[str, list[str]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--") and len(name) > 1:  # -Hfd://
            name, equals, value = name[0], "=", name[1:] + equals + value
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        key = SHORT.get(name, name) if not word.startswith("--") else PLURAL.get(name, name)
        found.setdefault(key, []).append(value)
    return found


def says(values: Sequence[str], setting: Any) -> bool:
    """Whether a flag says the same as a setting of daemon.json."""
    if isinstance(setting, bool):
        return values[-1].lower() in (("true", "1", "t") if setting else ("false", "0", "f"))
    if isinstance(setting, Mapping):
        return dict(value.partition("=")[::2] for value in values) == {key: str(value) for key, value in setting.items()}
    if isinstance(setting, list):
        return sorted(values) == sorted(map(str, setting))
    return values[-1] == str(setting)


def in_force(state: State) -> dict[str, Any]:
    """All settings, of the file and of the flags; none of a file that is no JSON object. What may be secret is left out."""
    said = {"true": True, "false": False}
    here = {} if json_problems(state.text or "{}", CONFIG) else json.loads(hidden(state.text or "{}"))
    return {**here, **{key: said.get(values[-1].lower(), hidden(values[-1])) for key, values in state.flags.items()}}


def merged(current: Mapping[str, Any], options: Mapping[str, Any], state: State) -> dict[str, Any]:
    """The settings that are wanted on top of those that are there; ``None`` removes one.

    Options of a log driver go with it, live-restore is left out where Swarm is active, and what a flag says already is not
    said again.
    """
    flag = (state.flags.get("log-driver") or [""])[-1]
    before = current.get("log-driver") or flag or "json-file"
    after = options.get("log-driver", before) or flag or "json-file"
    base = {key: value for key, value in current.items() if key != "log-opts" or after == before}
    found = _combined(base, options)
    if state.swarm and found.get(LIVE_RESTORE):
        del found[LIVE_RESTORE]
    return {
        key: value
        for key, value in found.items()
        if not (key in state.flags and key not in IN_BOTH and says(state.flags[key], value))
    }


def _combined(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in more.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = _combined(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def plan(state: State, options: Mapping[str, Any]) -> Plan:
    """What brings a host's dockerd to its settings, and what stands in the way.

    :param options: as in ``docker_daemon_options``.
    """
    broken = json_problems(state.text or "{}", CONFIG)
    if broken:
        return Plan(state.text, state.text, False, False, False, broken)
    current = json.loads(state.text or "{}")
    wanted = merged(current, options, state)
    off = {LIVE_RESTORE: False}  # which is the same as silence
    different = {key for key in {*current, *wanted} if {**off, **current}.get(key) != {**off, **wanted}.get(key)}
    live = wanted.get(LIVE_RESTORE) is True
    # The daemon takes this one setting by a reload, if the file has it; where there is nothing else, no restart is needed.
    reload = state.running and live != state.live_restore and (live or different == {LIVE_RESTORE} <= {*wanted})
    changed = bool(different) or state.unfinished or reload
    restart = changed and not (reload and different <= {LIVE_RESTORE} and not state.unfinished)
    return Plan(
        text=dump(wanted) if different else state.text,
        # The daemon may have live-restore by a reload only: one that starts without it ends the containers that it finds.
        safe=dump({**current, LIVE_RESTORE: True}) if live else state.text,
        changed=changed,
        reload=reload,
        restart=restart,
        problems=_reads(state)
        + _conflicts(wanted, options, state)
        + _log_options(wanted, state)
        + (_stopped(current, wanted, state, live or _flag(state, LIVE_RESTORE)) if restart else []),
        live=live,
    )


def _flag(state: State, key: str) -> bool:
    return key in state.flags and says(state.flags[key], True)


def _reads(state: State) -> list[str]:
    path = (state.flags.get("config-file") or [CONFIG])[-1]
    return [] if path == CONFIG else [
        f"{CONFIG}: is not what dockerd reads; its unit names --config-file={path}. Move the settings to {CONFIG}, and take the flag out."
    ]  # fmt: skip


def _conflicts(wanted: Mapping[str, Any], options: Mapping[str, Any], state: State) -> list[str]:
    """Settings that a flag gives otherwise: dockerd starts with neither."""
    found = []
    for key in sorted({*wanted} & {*state.flags} - IN_BOTH):
        ours = options.get(key) is not None
        where = f"docker_daemon_options.{key}" if ours else f"{CONFIG}: {key}"
        way_out = f", or set docker_daemon_extra_options: {{{key}: null}} to leave it to the flag" if ours else ", or the setting"
        found.append(
            hidden(
                f"{where}: is {json.dumps(wanted[key])}, and Docker's unit says {', '.join(state.flags[key])} by a flag; dockerd does not start"
                f" with both. Take the flag out (systemctl cat docker.service, /etc/default/docker){way_out}."
            )
        )
    return found


def _log_options(wanted: Mapping[str, Any], state: State) -> list[str]:
    """Options that belong to another log driver; ``dockerd --validate`` takes them, dockerd does not start."""
    driver = wanted.get("log-driver") or (state.flags.get("log-driver") or ["json-file"])[-1]
    here, by_flag = wanted.get("log-opts") or {}, [value.partition("=")[0] for value in state.flags.get("log-opts", [])]
    if driver not in LOG_OPTIONS or not isinstance(here, Mapping):
        return []
    foreign = {option for known in LOG_OPTIONS.values() for option in known} - LOG_OPTIONS[driver]
    return [
        f"{where}: {', '.join(bad)} is not an option of the log driver {driver}, with which dockerd would not start. {way_out}"
        for where, names, way_out in (
            (
                f"{CONFIG}: log-opts",
                here,
                "Remove it there (docker_daemon_extra_options: {log-opts: null} does), or change log-driver.",
            ),
            (
                "--log-opt",
                by_flag,
                "Take the flag out (systemctl cat docker.service, /etc/default/docker), or change log-driver.",
            ),
        )
        for bad in [sorted(foreign & {*names})]
        if bad
    ]


def _stopped(current: Mapping[str, Any], wanted: Mapping[str, Any], state: State, live: bool) -> list[str]:
    """Containers that a restart of Docker would stop for good."""
    found = []
    mortal = sorted(entry.name for entry in state.containers if not entry.task and entry.policy not in SURVIVES)
    if mortal and not live:
        why = "Swarm refuses live-restore" if state.swarm else "live-restore is off (docker_daemon_options)"
        names = " ".join(mortal)
        found.append(
            f"docker: has to restart for its new settings, and {names} would stop for good: no restart policy, and {why}."
            f" Give them one (docker update --restart unless-stopped {names}), or stop them first."
        )
    lost = sorted(
        key for key, default in LOSES_CONTAINERS.items() if (current.get(key) or default) != (wanted.get(key) or default)
    )
    if lost and state.containers:
        names = " ".join(sorted(entry.name for entry in state.containers))
        found.append(
            f"docker_daemon_options.{lost[0]}: another value parts Docker from the containers that run ({names}), live-restore or not."
            f" Stop them first (docker stop {names}), or leave {lost[0]} as it is."
        )
    return found


def reason(lines: Sequence[str]) -> str:
    """Why dockerd did not start, of what the journal has of its unit."""
    said = [re.sub(r'^time=\S+ level=\w+ msg="((?:\\.|[^"\\])*)".*$', r"\1", line).replace('\\"', '"') for line in lines]
    words = ("failed to start daemon", "unable to configure the Docker daemon", "Error starting", "failed to load")
    telling = [text for line, text in zip(lines, said) if "level=fatal" in line or text.startswith(words)]
    return hidden((telling or said or ["the journal says nothing"])[-1].strip())


def hidden(text: str) -> str:
    """The same without what may be secret: passwords in URLs (proxies), tokens among the options of log drivers."""
    text = re.sub(r"://[^/@\s\"]+@", "://***@", text)
    return re.sub(r'("[^"]*(?:token|password|secret|key)[^"]*": )"[^"]*"', r'\1"***"', text, flags=re.IGNORECASE)
