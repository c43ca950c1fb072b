# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Decisions about backups, without a disk, a clock or a database: configuration, names, retention, room, shrinking."""

from __future__ import annotations

import datetime
import posixpath
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health

# Exit codes of the command, and of the failures that the modules report.
(OK, UNEXPECTED, BAD_INPUT, LOCKED, DUMP_FAILED, VERIFY_FAILED, UPLOAD_FAILED, RESTORE_FAILED, RESTORE_UNDONE,
 NOT_CHECKED) = range(10)  # fmt: skip

ID = re.compile(r"(\d{8}T\d{6})Z-[0-9a-f]{6}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MAX_NAME = 63  # bytes of a PostgreSQL name
# Whoever names one of these as the place for backups has mistyped.
NO_ROOTS = set(
    "/ /bin /boot /dev /etc /home /lib /opt /proc /root /run /srv /sys /tmp /usr /usr/local /var /var/lib /var/log".split()
)
RULES = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")


class BackupError(Exception):
    """What stopped a backup, a check or a restore; the message is for the operator, `code` for whoever runs the command."""

    def __init__(self, message: str, code: int = UNEXPECTED) -> None:
        super().__init__(message)
        self.code = code


class Damaged(BackupError):
    """A verdict on a set: its bytes are not those that were written, a decoder cannot read them, or they do not become what was dumped.

    Nothing else counts against a set: whatever else stops a check is about the host that it runs on.
    """


# What ends a program though the bytes that it was given are sound, as programs say it under LC_ALL=C: the C library, Docker,
# PostgreSQL's libpq and server, a throw-away server that lacks what ours has, and age with somebody else's key.
_HOST = re.compile(
    r"No space left|not enough memory|[Cc]annot allocate memory|[Oo]ut of memory|Too many open files|Disk quota|Input/output error|"
    r"Permission denied|Read-only file system|Docker daemon|response from daemon|No such container|OCI runtime|"
    r"out of shared memory|canceling statement due to|connection to server|server closed the connection|terminating connection|"
    r"the database system is|could not (extend|access) file|could not (open extension control file|connect to server)|"
    r"tablespace .* does not exist|shared_preload_libraries|"
    r"no identity matched|malformed secret key|unknown identity"
)


def blame(code: int, said: str) -> str:
    """Whom it is about that a program failed: the `set` whose bytes it was given, or the `host`; empty: others ended before it did.

    :param code: its exit code, or minus the signal that ended it; ``said`` what it wrote to its standard error.
    """
    if code in (-13, 128 + 13) or "Broken pipe" in said:
        return ""
    # 125 to 127 are Docker's own; above 128 a signal ended the program in its container.
    return "host" if code < 0 or code >= 125 or _HOST.search(said) else "set"


def failure(message: str, code: int, ended: Iterable[tuple[int, str]]) -> BackupError:
    """What the failure of programs that belong together is: :class:`Damaged` when one of them gave a verdict and nothing on this host failed.

    :param ended: exit code and words of each that failed.
    """
    blamed = {blame(*each) for each in ended}
    return (Damaged if "set" in blamed and "host" not in blamed else BackupError)(message, code)


@dataclass(frozen=True)
class Config:
    """What is backed up, where to, and for how long; the keys of ``/etc/<app>/backup.json``."""

    instance: str  # whose sets these are
    root: str  # the directory that holds the sets
    container: str  # where PostgreSQL runs
    database: str
    user: str  # a superuser
    password_file: str = ""  # on this host; empty where 127.0.0.1 is trusted
    files: list[dict[str, Any]] = field(default_factory=list)  # {name, path, optional}
    retention: dict[str, Any] = field(default_factory=dict)
    min_keep: int = 3  # verified sets that retention never goes below
    stale_hours: int = 48  # without a newer verified set nothing is removed any more
    recipients: list[str] = field(default_factory=list)  # public keys of age
    remotes: list[str] = field(default_factory=list)  # rclone's remote:path
    rclone_config: str = ""
    remote_check: str = "hash"  # or download
    probes: list[Any] = field(default_factory=list)  # URLs, or mappings of one and what it must answer; one that does is proof
    probe_seconds: int = 60
    guard: str = "warn"  # or fail, when a set is suddenly much smaller
    metrics: str = ""  # a .prom file of node_exporter
    keep_old_days: int = 7  # the database that a restore replaced
    jobs: int = 0  # of pg_restore; 0: one for each core
    level: int = 3  # of zstd
    reserve_mb: int = 200  # of the disk, never to be used
    runtime: str = "/run"


def config_problems(raw: Any) -> list[str]:
    """What is wrong with a configuration, one sentence each; empty: nothing."""
    if not isinstance(raw, Mapping):
        return ["the configuration is no JSON object."]
    known = {entry.name: entry for entry in fields(Config)}
    problems = [f"{name}: is unknown." for name in sorted(set(raw) - set(known))]
    for name in ("instance", "root", "container", "database", "user"):
        if not isinstance(raw.get(name), str) or not raw[name]:
            problems.append(f"{name}: is not set.")
    kinds = {"list[str]": list, "list[Any]": list, "list[dict[str, Any]]": list, "dict[str, Any]": dict, "int": int, "str": str}
    for name, entry in known.items():
        if name in raw and not isinstance(raw[name], kinds[str(entry.type)]):
            problems.append(f"{name}: {raw[name]!r} is not of type {entry.type}.")
    if problems:
        return problems
    if not NAME.fullmatch(raw["instance"]):
        problems.append(f"instance: {raw['instance']!r} is no plain name (small letters, digits, - and _).")
    root = raw["root"]
    if not root.startswith("/") or posixpath.normpath(root) != root or root in NO_ROOTS:
        problems.append(
            f"root: {root!r} is no place for backups. Name a directory of their own, such as /var/backups/{raw['instance']}."
        )
    names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in raw.get("files", [])]
    for directory, entry in zip(names, raw.get("files", [])):
        if not isinstance(directory, str) or not NAME.fullmatch(directory) or names.count(directory) > 1:
            problems.append(f"files: {directory!r} is no plain name of its own.")
        elif not str(entry.get("path", "")).startswith("/"):
            problems.append(f"files.{directory}: {entry.get('path')!r} is no absolute path.")
        elif f"{posixpath.normpath(root)}/".startswith(f"{posixpath.normpath(entry['path'])}/"):
            problems.append(f"files.{directory}: {entry['path']} holds the backups themselves. Name what is inside it.")
    for key in raw.get("recipients", []):
        if not re.fullmatch(r"age1[0-9a-z]{50,}", str(key)):
            problems.append("recipients: not every entry is a public key of age (age1…; `age-keygen -y` prints it).")
            break
    for remote in raw.get("remotes", []):
        if not re.fullmatch(r"[\w.-]+:.*|/.+", str(remote)):
            problems.append(f"remotes: {remote!r} is no rclone remote:path.")
    for number, probe in enumerate(raw.get("probes", [])):
        problems += health.probe_problems(f"probes[{number}]", probe)
    for name, choices in (("guard", ("warn", "fail")), ("remote_check", ("hash", "download"))):
        if raw.get(name, choices[0]) not in choices:
            problems.append(f"{name}: {raw[name]!r} is not one of {', '.join(choices)}.")
    if not 1 <= raw.get("level", 3) <= 19:
        problems.append(f"level: {raw['level']} is none of zstd's levels 1 to 19.")
    return problems + policy_problems(raw.get("retention", {}), raw.get("min_keep", 3))


def role_problems(raw: Any) -> list[str]:
    """The same in the words of the role's variables."""
    names = {"instance": "app", "root": "dir", "metrics": "metrics_file"}
    found = []
    for problem in config_problems(raw):
        name = re.match(r"[a-z_]+", problem)
        word = name[0] if name else ""
        found.append(f"backup_{names.get(word, word)}{problem[len(word) :]}")
    return found


def policy_problems(policy: Mapping[str, Any], min_keep: Any = 3) -> list[str]:
    """What is wrong with a retention policy."""
    problems = [f"retention.{name}: is unknown." for name in sorted(set(policy) - {*RULES, "keep_within_days"})]
    for rule, value in [*policy.items(), ("min_keep", min_keep)]:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            problems.append(f"retention.{rule}: {value!r} is no number from 0 up.")
    if not problems and not any(policy.values()):
        problems.append("retention: keeps nothing. Say how many sets to keep, such as keep_daily: 14.")
    if not problems and min_keep < 1:
        problems.append("min_keep: at least one verified set must always stay.")
    return problems


# --- names --------------------------------------------------------------------------------------------


def set_id(now: float, random: str) -> str:
    """The name of a set: UTC to the second, and six hexadecimal digits because a second is long."""
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    return f"{moment:%Y%m%dT%H%M%SZ}-{random[:6]}"


def id_time(name: str) -> float | None:
    """When a set was begun, by its name, in seconds since the epoch; None: that is no set's name."""
    found = ID.fullmatch(name)
    if not found:
        return None
    try:
        moment = datetime.datetime.strptime(found[1], "%Y%m%dT%H%M%S")
    except ValueError:
        return None
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def beside(database: str, purpose: str, identity: str) -> str:
    """The name of a database beside another one, never longer than PostgreSQL allows."""
    room = MAX_NAME - len(f"__restore_{set_id(0, '0' * 6)}")  # the same for every purpose, so that names can be found again
    return f"{database.encode()[:room].decode(errors='ignore')}__{purpose}_{identity.lower()}"


def kept_databases(names: Iterable[str], database: str, now: float, days: float) -> list[str]:
    """Databases that restores replaced and that nobody returned to in so many days."""
    old, prefix = [], beside(database, "before", "")
    for name in names:
        identity = name[len(prefix) :]
        moment = id_time(identity[:16].upper() + identity[16:]) if name.startswith(prefix) else None
        if moment is not None and now - moment > days * 86400:
            old.append(name)
    return sorted(old)


# --- retention ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One set, as retention sees it."""

    id: str
    at: float  # when it was begun, in seconds since the epoch
    verified: bool = True
    keep: bool = False  # for as long as somebody says so
    offsite_missing: bool = False  # it must be elsewhere as well, and is not yet


@dataclass(frozen=True)
class Plan:
    """What retention keeps and why, and what it removes."""

    keep: dict[str, list[str]]
    remove: list[str]
    note: str = ""  # why nothing is removed, if something else than the rules says so


def _bucket(form: str) -> Callable[[float], str]:
    return lambda at: datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime(form)


BUCKETS: dict[str, Callable[[float], str]] = {
    "keep_last": repr,
    "keep_hourly": _bucket("%Y%m%d%H"),
    "keep_daily": _bucket("%Y%m%d"),
    "keep_weekly": _bucket("%G%V"),
    "keep_monthly": _bucket("%Y%m"),
    "keep_yearly": _bucket("%Y"),
}


def retention(
    entries: Iterable[Entry], now: float, policy: Mapping[str, int], min_keep: int = 3, stale_hours: float = 48
) -> Plan:
    """Decide which sets stay, by grandfather, father and son over the *verified* ones.

    Whatever the history: the newest verified set stays, as many verified ones as ``min_keep`` (if there are so many), those
    that somebody wants kept, those that are not yet where they must be, and all of the future. Without a verified set of the last
    ``stale_hours`` nothing is removed at all: a failing backup must not eat the good ones. A set whose last check was not good counts
    for no other one, and goes when it would have gone had the check been good, no sooner: its copies elsewhere may be sound.

    :raises BackupError: the policy would keep nothing.
    """
    problems = policy_problems(policy, min_keep)
    if problems:
        raise BackupError(" ".join(problems), BAD_INPUT)
    ordered = sorted(entries, key=lambda entry: (entry.at, entry.id), reverse=True)
    reasons: dict[str, list[str]] = {entry.id: [] for entry in ordered}
    good = [entry for entry in ordered if entry.verified and entry.at <= now]
    for entry in ordered:
        if entry.at > now:
            reasons[entry.id].append("from the future")
        if entry.keep:
            reasons[entry.id].append("kept by hand")
        if entry.offsite_missing:
            reasons[entry.id].append("not off-site yet")
        if not entry.verified and (not good or entry.at >= good[0].at):
            reasons[entry.id].append("nothing verified since")
    for name, why in _by_rules(good, policy, min_keep).items():
        reasons[name] += why
    for entry in ordered:
        if not entry.verified and entry.at <= now:
            alike = sorted([*good, entry], key=lambda each: (each.at, each.id), reverse=True)
            why = _by_rules(alike, policy, min_keep)[entry.id]
            reasons[entry.id] += [f"{', '.join(why)} if its last check had been good"] if why else []
    if not good or now - good[0].at > stale_hours * 3600:
        note = f"No verified set is younger than {stale_hours:g} hours: nothing is removed."
        return Plan({entry.id: reasons[entry.id] or ["nothing newer is good"] for entry in ordered}, [], note)
    keep = {name: why for name, why in reasons.items() if why}
    return Plan(keep, [name for name in reasons if name not in keep])


def _by_rules(good: Sequence[Entry], policy: Mapping[str, int], min_keep: int) -> dict[str, list[str]]:
    """Why each of these sets stays, all of them verified and the newest first."""
    reasons: dict[str, list[str]] = {entry.id: [] for entry in good}
    for entry in good[:min_keep]:
        reasons[entry.id].append("newest verified" if entry is good[0] else f"one of the last {min_keep} verified")
    for rule, bucket in BUCKETS.items():
        left, last = policy.get(rule, 0), ""
        for number, entry in enumerate(good):
            # The oldest fills a slot that nothing fills yet, so that a young history is not thrown away.
            if left and (bucket(entry.at) != last or number == len(good) - 1):
                reasons[entry.id].append(rule[5:])
                last, left = bucket(entry.at), left - 1
    for entry in good:
        if good[0].at - entry.at <= policy.get("keep_within_days", 0) * 86400 and policy.get("keep_within_days"):
            reasons[entry.id].append(f"within {policy['keep_within_days']} days")
    return reasons


# --- a restore ------------------------------------------------------------------------------------------


def missing_contents(tables: Mapping[str, int], live_rows: bool, unfilled: Iterable[str]) -> list[str]:
    """Why a set would leave nothing in the place of something; empty: it would not.

    :param tables: name -> rows, of the set; ``live_rows`` whether the live database has any.
    :param unfilled: directories that have files, for which the set has none.
    """
    why = (
        ["no table"]
        if not tables
        else ["no row, where the live database has some"]
        if live_rows and not any(tables.values())
        else []
    )
    return [*why, *(f"no file for {directory}, where there are some" for directory in unfilled)]


# --- a run ----------------------------------------------------------------------------------------------


def fresh(entries: Iterable[Entry], now: float, max_age: float) -> str:
    """The newest verified set if it is younger than so many seconds; empty: there is none."""
    good = [entry for entry in entries if entry.verified and 0 <= now - entry.at <= max_age]
    return max(good, key=lambda entry: entry.at).id if good else ""


def room_problem(path: str, free: int, last_set: int, database: int, reserve: int) -> str:
    """Why there is too little room for another set; empty: there is enough. All in bytes.

    :param last_set: size of the newest set; 0: there is none, and half of the database's size is the guess.
    """
    needed = int(last_set * 1.2) if last_set else database // 2
    if free - reserve >= needed:
        return ""
    return (
        f"{path}: {free} bytes are free, {needed} are needed for a set and {reserve} stay reserved. "
        "Make room, or lower the retention and run prune; nothing was removed."
    )


def shrunk(size: int, rows: Mapping[str, int], sizes: Sequence[int], rows_before: Mapping[str, int]) -> list[str]:
    """Signs that data is gone: far smaller than the last sets, or a table that had rows and has none.

    :param sizes: of the newest verified sets, in bytes; ``rows_before`` the counts of the newest one.
    """
    signs = []
    usual = statistics.median(sizes[:5]) if sizes else 0
    if size < usual / 2:
        signs.append(f"the set has {size} bytes, the last ones had {int(usual)}")
    emptied = sorted(name for name, count in rows_before.items() if count > 0 and rows.get(name) == 0)
    if emptied:
        signs.append(f"empty since the last set: {', '.join(emptied[:10])}")
    return signs
