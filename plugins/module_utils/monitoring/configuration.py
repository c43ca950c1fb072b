# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What is watched, by which rules, and who is told. Pure functions: values in, configuration or sentences out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules as firewall_rules
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import grafana

SEVERITIES = ("critical", "warning", "info")
KINDS = ("email", "slack", "webhook")
RECEIVER_KEYS = frozenset({"name", "severities", "channel", "token", *KINDS})
SECRETS = "/etc/prometheus/secrets"
OWN_JOBS = ("prometheus", "alertmanager", "site")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
# What is silent while one of these explains it.
CAUSES = "HostDown|DockerDown|PostgresDown|RedisDown|NginxDown|ServiceDown|EdgeServesNothing"
# What is wrong with the whole site, or with a service, bears the name of no host. It hangs on each part: what its only host can
# suffer. Parts by the job that asks them; a job whose targets bear the label `service` asks a service.
SITE = "SiteDown|ServiceSlow|ErrorBudget.*"
PARTS = {
    "nginx": "HostDown|NginxDown|EdgeServesNothing",
    "postgres": "HostDown|DockerDown|PostgresDown",
    "redis": "HostDown|DockerDown|RedisDown",
}
SERVICE = "HostDown|DockerDown|ServiceDown"
# What follows from them is known later, by the collector or by a health check: at the end it must not be told of on its own.
OUTLASTS = "90s"


# --- who is asked -------------------------------------------------------------------------------------------
def scrape_jobs(
    jobs: Iterable[Mapping[str, Any]], groups: Mapping[str, Any], addresses: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The targets of every job, from a table of groups and ports as the firewall has one.

    :param jobs: ``{name, at, port}`` and perhaps ``path``, ``labels``, ``addresses`` (host -> address, in place of the common one).
    :returns: ``{name, path, targets: [{address, labels}]}``; rows of one name become one job, one without hosts is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in jobs:
        where = row.get("addresses") or addresses
        hosts = dict.fromkeys(host for group in firewall_rules.as_list(row.get("at")) for host in groups.get(group, []))
        targets = [
            {
                "address": f"{inventory_problems.bracketed(str(where.get(host, host)))}:{row['port']}",
                "labels": {"instance": host, **row.get("labels", {})},
            }
            for host in hosts
        ]
        if targets:
            job = found.setdefault(row["name"], {"name": row["name"], "path": row.get("path", "/metrics"), "targets": []})
            job["targets"] += targets
    return list(found.values())


def job_problems(jobs: Any) -> list[str]:
    """Judge jobs as :func:`scrape_jobs` makes them."""
    problems: list[str] = []
    seen: set[str] = set()
    asked: dict[str, str] = {}
    for job in jobs if isinstance(jobs, list) else []:
        name = str(job.get("name", "")) if isinstance(job, Mapping) else ""
        where = f"monitoring_jobs[{name}]"
        if not NAME.fullmatch(name):
            problems.append(f"{where}: a job needs a name of small letters, digits, dashes and underscores.")
            continue
        if name in seen or name in OWN_JOBS:
            problems.append(f"{where}: there is another job of this name. Give each its own.")
        seen.add(name)
        for target in job.get("targets") or []:
            key = f"{target['address']}{job.get('path', '')}"
            if asked.get(key, name) != name:
                problems.append(f"{where}: {target['address']} is asked by {asked[key]} already. Take one of the two out.")
            asked[key] = name
        if not job.get("targets"):
            problems.append(f"{where}: has no targets. Give it some, or take it out.")
    return problems


# --- rules --------------------------------------------------------------------------------------------------
def alert_rules(
    files: Iterable[Mapping[str, Any]], without: Iterable[str] = (), runbook: str = "", objective: float = 0.995
) -> dict[str, Any]:
    """Our rules as one file: without those that are switched off, each with the address of its page.

    :param files: files with groups, as Prometheus reads them.
    """
    groups: list[dict[str, Any]] = [
        {
            "name": "settings",
            "rules": [
                {"record": "kasaneha:slo_objective", "expr": f"vector({objective})"},
                *([{"record": "kasaneha:runbook", "expr": "vector(1)", "labels": {"url": runbook}}] if runbook else []),
            ],
        }
    ]
    unwanted = set(without)
    for group in (group for file in files for group in file["groups"]):
        rules = []
        for rule in group["rules"]:
            if "record" in rule:
                rules.append(dict(rule))
            elif rule["alert"] not in unwanted:
                pages = {"runbook": f"{runbook}#{rule['alert'].lower()}"} if runbook else {}
                longer = {"keep_firing_for": OUTLASTS} if rule["alert"] in CAUSES.split("|") else {}
                rules.append({**rule, **longer, "annotations": {**rule["annotations"], **pages}})
        groups.append({"name": group["name"], "rules": rules})
    return {"groups": [group for group in groups if group["rules"]]}


def rule_problems(extra: Any, off: Any, known: Iterable[str]) -> list[str]:
    """Judge the operator's own rules, as far as that needs no Prometheus, and the names of those that are off."""
    problems: list[str] = []
    names = set(known)
    for name in off if isinstance(off, list) else []:
        if name not in names:
            problems.append(f"monitoring_alerts_off: there is no alert {name!r}. docs/alerts.md has all of them.")
    for index, group in enumerate(extra if isinstance(extra, list) else []):
        where = f"monitoring_extra_rules[{group.get('name', index) if isinstance(group, Mapping) else index}]"
        rules = group.get("rules") if isinstance(group, Mapping) else None
        if not isinstance(rules, list) or not group.get("name"):
            problems.append(f"{where}: is no group. Write {{name: mine, rules: [{{alert: …, expr: …}}]}}.")
            continue
        for rule in rules:
            name = str(rule.get("alert") or rule.get("record") or "") if isinstance(rule, Mapping) else ""
            if not name or not rule.get("expr"):
                problems.append(f"{where}: a rule needs `alert` or `record`, and `expr`.")
            elif "alert" in rule:
                severity = (rule.get("labels") or {}).get("severity")
                if severity not in SEVERITIES:
                    problems.append(f"{where}.{name}: severity {severity!r} is none of {', '.join(SEVERITIES)}.")
                if name in names:
                    problems.append(f"{where}.{name}: there is an alert of this name. Choose another, or switch ours off.")
    return problems


# --- who is told --------------------------------------------------------------------------------------------
def kind_of(receiver: Mapping[str, Any]) -> str:
    """By what a receiver is told; empty when that is not one thing."""
    found = [kind for kind in KINDS if kind in receiver]
    return found[0] if len(found) == 1 else ""


def receiver_problems(receivers: Any, smtp: Any, heartbeat: str) -> list[str]:
    """Judge who is told, without ever repeating a secret."""
    problems: list[str] = []
    names: set[str] = set()
    for index, receiver in enumerate(receivers if isinstance(receivers, list) else []):
        if not isinstance(receiver, Mapping):
            continue  # the argument specification reports it
        name = str(receiver.get("name", ""))
        where = f"monitoring_receivers[{name or index}]"
        if not NAME.fullmatch(name) or name in names or name in ("nobody", "heartbeat"):
            problems.append(f"{where}: needs a name of its own, of small letters, digits, dashes and underscores.")
        names.add(name)
        for key in sorted(set(receiver) - RECEIVER_KEYS):
            problems.append(f"{where}: does not know {key!r}. Use {', '.join(sorted(RECEIVER_KEYS))}.")
        unknown = [severity for severity in firewall_rules.as_list(receiver.get("severities")) if severity not in SEVERITIES]
        if unknown:
            problems.append(f"{where}.severities: {', '.join(map(repr, unknown))} is none of {', '.join(SEVERITIES)}.")
        kind = kind_of(receiver)
        if not kind:
            problems.append(f"{where}: needs exactly one of {', '.join(KINDS)}.")
        elif kind == "email":
            to = firewall_rules.as_list(receiver["email"])
            if not to or not all(re.fullmatch(r"[^@\s]+@[^@\s]+", str(entry)) for entry in to):
                problems.append(f"{where}.email: is no list of addresses.")
            if not isinstance(smtp, Mapping) or not smtp.get("host") or not smtp.get("from"):
                problems.append("monitoring_smtp: `host` (name:port) and `from` are needed to send mail.")
        else:
            problems += secret_url_problems(f"{where}.{kind}", receiver[kind])
        if "token" in receiver:
            problems += inventory_problems.secret_problems({"token": receiver["token"]}, ["token"], True, where)
    if isinstance(smtp, Mapping) and smtp.get("username"):
        problems += inventory_problems.secret_problems({"password": smtp.get("password")}, ["password"], False, "monitoring_smtp")
    if heartbeat:
        problems += secret_url_problems("monitoring_heartbeat_url", heartbeat)
    return list(dict.fromkeys(problems))


def secret_url_problems(where: str, url: Any) -> list[str]:
    """Judge an address that is a secret, because whoever knows it may write there."""
    if not url:
        return [f"{where}: is not set. Put the address into the vault."]
    parts = urlsplit(str(url))
    if parts.scheme not in ("http", "https") or not parts.hostname or inventory_problems.PLACEHOLDER.match(str(url)):
        return [f"{where}: is no http(s) address."]
    return []


def only_hosts(jobs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, bool]]:
    """The parts of the site that one host alone has: name of the job, that host, whether it is a service."""
    found = []
    for job in jobs:
        labels = [target["labels"] for target in job["targets"]]
        hosts = {each["instance"] for each in labels}
        service = any(each.get("service") for each in labels)
        if len(hosts) == 1 and (service or job["name"] in PARTS):
            found.append((job["name"], hosts.pop(), service))
    return found


def inhibit_rules(jobs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is held back while something else explains it: on the same host, and what hangs on the only host of a part.

    Where a part of the site has two hosts, the fall of one of them explains nothing: the other should have served. A service
    explains the site and itself, not what another service suffers.
    """
    rules: list[dict[str, Any]] = [
        {"source_matchers": ['alertname="HostDown"'], "target_matchers": ['alertname!~"HostDown|Watchdog"'], "equal": ["instance"]},
        {"source_matchers": ['alertname="DockerDown"'], "target_matchers": ['alertname=~"PostgresDown|RedisDown|ServiceDown"'], "equal": ["instance"]},
        {"source_matchers": [f'alertname=~"{CAUSES}"'], "target_matchers": ['symptom="yes"'], "equal": ["instance"]},
    ]  # fmt: skip
    for name, host, service in only_hosts(jobs):
        cause = [f'alertname=~"{SERVICE if service else PARTS[name]}"', f"instance={json.dumps(host)}"]
        effect = [f'alertname=~"{SITE}"']
        if service:  # causes bear the job `node` or its own, effects the job `site` or its own
            cause.append(f'job=~"node|{name}"')
            effect.append(f'job=~"site|{name}"')
        rules.append({"source_matchers": cause, "target_matchers": effect})
        # A service is no healthier than its database, wherever it runs; it has a colour, a database has none.
        if name in ("postgres", "redis"):
            unwell = ['alertname=~"ContainerUnhealthy|ContainerRestarting"', 'colour!=""']
            rules.append({"source_matchers": cause, "target_matchers": unwell})
    return [
        *rules,
        {"source_matchers": ['alertname="SiteDown"'], "target_matchers": ['alertname=~"ErrorBudget.*|ServiceSlow"']},
        {"source_matchers": ['alertname="ErrorBudgetFastBurn"'], "target_matchers": ['alertname="ErrorBudgetSlowBurn"'], "equal": ["job", "service"]},
        {"source_matchers": ['alertname="DiskFull"'], "target_matchers": ['alertname=~"DiskAlmostFull|DiskFullIn24h"'], "equal": ["instance", "mountpoint"]},
    ]  # fmt: skip


def alertmanager(
    receivers: Sequence[Mapping[str, Any]], smtp: Mapping[str, Any], heartbeat: str, jobs: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Alertmanager's configuration; every secret stands in a file of its own (:func:`secret_files`).

    :param jobs: as :func:`scrape_jobs` makes them; they tell on which hosts the site hangs.
    """
    config: dict[str, Any] = {"global": {"resolve_timeout": "5m"}}
    if smtp.get("host"):
        config["global"].update(smtp_smarthost=smtp["host"], smtp_from=smtp["from"], smtp_require_tls=bool(smtp.get("tls", True)))
    if smtp.get("username"):
        config["global"].update(smtp_auth_username=smtp["username"], smtp_auth_password_file=f"{SECRETS}/smtp")
    routes: list[dict[str, Any]] = [
        {
            "matchers": ['alertname="Watchdog"'],
            "receiver": "heartbeat" if heartbeat else "nobody",
            "group_wait": "0s",
            "group_interval": "1m",
            "repeat_interval": "30s",  # less than the interval: each minute, not each second one
        }
    ]
    told: list[dict[str, Any]] = [{"name": "nobody"}]
    if heartbeat:
        told.append({"name": "heartbeat", "webhook_configs": [{"url_file": f"{SECRETS}/heartbeat", "send_resolved": False}]})
    for receiver in receivers:
        name, kind = receiver["name"], kind_of(receiver)
        severities = firewall_rules.as_list(receiver.get("severities")) or ["critical", "warning"]
        routes.append({"matchers": [f'severity=~"{"|".join(severities)}"'], "receiver": name, "continue": True})
        if kind == "email":
            one: dict[str, Any] = {"to": ", ".join(firewall_rules.as_list(receiver["email"]))}
        elif kind == "slack":
            one = {"api_url_file": f"{SECRETS}/{name}", "text": "{{ range .Alerts }}{{ .Annotations.description }}\n{{ end }}"}
            one.update({"channel": receiver["channel"]} if receiver.get("channel") else {})
        else:
            one = {"url_file": f"{SECRETS}/{name}"}
            if receiver.get("token"):
                one["http_config"] = {"authorization": {"credentials_file": f"{SECRETS}/{name}-token"}}
        told.append({"name": name, f"{kind}_configs": [{**one, "send_resolved": True}]})
    config["route"] = {
        "receiver": "nobody",
        "group_by": ["alertname", "instance"],
        "group_wait": "10s",
        "group_interval": "1m",
        "repeat_interval": "4h",
        "routes": routes,
    }
    config["inhibit_rules"] = inhibit_rules(jobs)
    config["receivers"] = told
    return config


def secret_files(receivers: Iterable[Mapping[str, Any]], smtp: Mapping[str, Any], heartbeat: str) -> dict[str, str]:
    """File name -> secret, for :func:`alertmanager`."""
    files = {"smtp": smtp.get("password", "") if smtp.get("username") else "", "heartbeat": heartbeat}
    for receiver in receivers:
        kind = kind_of(receiver)
        if kind in ("slack", "webhook"):
            files[receiver["name"]] = receiver[kind]
        if receiver.get("token"):
            files[f"{receiver['name']}-token"] = receiver["token"]
    return {name: value for name, value in files.items() if value}


# --- the rest -----------------------------------------------------------------------------------------------
def size_bytes(text: Any) -> int:
    """``2GB`` as a number; 0 when it is none."""
    found = re.fullmatch(r"(\d+)([KMGT]?B)", str(text))
    return int(found[1]) * UNITS[found[2]] if found else 0


def retention_problems(time: Any, size: Any, free: int, used: int) -> list[str]:
    """Judge how much is kept. Prometheus' limit leaves out what is being written: a fifth more is needed.

    :param free: bytes that are free where it is kept; 0: not known. ``used``: what Prometheus has there already.
    """
    problems = []
    if not re.fullmatch(r"\d+[hdwy]", str(time)):
        problems.append(f"monitoring_retention_time: {time!r} is no time. Write 30d.")
    wanted = size_bytes(size)
    if not wanted:
        problems.append(f"monitoring_retention_size: {size!r} is no size. Write 2GB.")
    elif free and wanted * 1.2 > free + used:
        problems.append(
            f"monitoring_retention_size: {size} and a fifth more do not fit: {(free + used) // 1024**2} MB are free under"
            " /var/lib/prometheus. Keep less, or take a larger disk."
        )
    return problems


def page_problems(users: Any) -> list[str]:
    """Judge who may look: names with hashes that nginx understands, never passwords."""
    problems = []
    for name, worth in users.items() if isinstance(users, Mapping) else []:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", str(name)):
            problems.append(f"monitoring_page_users: {name!r} is no name. Use letters, digits, dots, dashes and underscores.")
        if not re.fullmatch(r"\$(2[aby]|5|6|y)\$[^\s:]{20,}", str(worth)):
            problems.append(f"monitoring_page_users[{name}]: is no hash of a password. Make one: openssl passwd -6")
    return problems


def problems(settings: Mapping[str, Any], known: Iterable[str] = (), free: int = 0, used: int = 0, system: str = "") -> list[str]:
    """Everything that is wrong with the settings of a monitoring host.

    :param settings: the role's variables, without their prefix.
    :param known: the names of our alerts; ``system`` such as ``"debian 12"``, ``free`` and ``used`` bytes.
    """
    found = [
        *job_problems(settings["jobs"]),
        *rule_problems(settings["extra_rules"], settings["alerts_off"], known),
        *grafana.panel_problems(settings["extra_panels"]),
        *receiver_problems(settings["receivers"], settings["smtp"], settings["heartbeat_url"]),
        *retention_problems(settings["retention_time"], settings["retention_size"], free, used),
        *page_problems(settings["page_users"]),
    ]
    if system == "debian 12":
        found.append(
            "operating system: Alertmanager of Debian 12 (0.25) reads no secret address from a file."
            " Use a host with Debian 13 or Ubuntu 24.04 for the group monitoring."
        )
    for url in settings["probes"]:
        if not urlsplit(str(url)).hostname:
            found.append(f"monitoring_probes: {url!r} is no address. Write https://name/path.")
    objective = settings["slo_objective"]
    if isinstance(objective, (int, float)) and not 0.5 <= objective < 1:
        found.append(f"monitoring_slo_objective: {objective} is no share of good requests below one. Write 0.995.")
    return found


# --- how it is ----------------------------------------------------------------------------------------------
def target_problems(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """What Prometheus could not ask, from its own list of targets. Of the colours of one service, one has to answer."""

    def place(target: Mapping[str, Any]) -> tuple[str, str]:
        return target["labels"]["job"], target["labels"]["instance"]

    answered = {place(target) for target in targets if target["health"] == "up"}
    problems = []
    for target in targets:
        if target["health"] != "up" and not (target["labels"].get("colour") and place(target) in answered):
            job, instance = place(target)
            why = target.get("lastError") or "not asked yet"
            problems.append(f"{job} of {instance} ({target['scrapeUrl'].split('?')[0]}): {why}")
    return problems if targets else ["there are no targets"]


def alert_lines(alerts: Iterable[Mapping[str, Any]]) -> list[str]:
    """The alerts that fire, the worst first; Watchdog is none."""
    firing = [alert for alert in alerts if alert["state"] == "firing" and alert["labels"]["alertname"] != "Watchdog"]
    order = {severity: number for number, severity in enumerate(SEVERITIES)}
    firing.sort(key=lambda alert: (order.get(alert["labels"].get("severity", ""), 9), alert["labels"]["alertname"]))
    return [
        f"{alert['labels'].get('severity', '?')} {alert['labels']['alertname']}: {alert['annotations'].get('summary', '')}"
        f" (since {alert['activeAt'][:19]}Z)"
        for alert in firing
    ]
