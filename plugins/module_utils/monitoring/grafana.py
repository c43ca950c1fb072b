# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Dashboards from a short list of panels: Grafana's classic model, which files may provision in every version from 10 on. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA = 41  # of Grafana 11.6; later versions migrate it as they load it
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS, WIDTH, HEIGHT = 3, 8, 8
# Grafana's name of a unit -> how Prometheus' page writes it (roles/monitoring/files/console/page.lib, `number`).
UNITS = {"none": "n", "s": "s", "bytes": "B", "reqps": "/s", "ops": "/s", "Bps": "B/s", "percentunit": "%"}
TYPES = ("stat", "timeseries")
NEEDED, OPTIONAL = ("title", "expr", "unit", "description"), ("legend", "type")


def dashboards(
    short: Sequence[Mapping[str, Any]], interval: str = "15s", app: str = "app", panels: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Every dashboard in Grafana's own form.

    :param short: dashboards with ``uid``, ``title`` and ``panels``; a ``{app}`` in a title is the application's name.
    :param interval: how often Prometheus asks, such as ``15s``.
    :param app: begins the identifier of each, and is its tag.
    :param panels: of the operator, at the end of the first one.
    """
    return [
        dashboard({**entry, "panels": [*entry["panels"], *([] if number else panels)]}, interval, app)
        for number, entry in enumerate(short)
    ]


def dashboard(short: Mapping[str, Any], interval: str, app: str) -> dict[str, Any]:
    """One dashboard: panels three in a row, hosts to choose, releases as marks, the same names for sources everywhere."""
    return {
        "uid": f"{app}-{short['uid']}",
        "title": short["title"].replace("{app}", app.capitalize()),
        "tags": [app],
        "editable": False,
        "schemaVersion": SCHEMA,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [hosts()]},
        "annotations": {"list": [releases()]},
        "panels": [panel(number, entry, interval) for number, entry in enumerate(short["panels"])],
    }


def panel(number: int, short: Mapping[str, Any], interval: str) -> dict[str, Any]:
    """One panel at its place."""
    kind = short.get("type", "timeseries")
    target = {
        "refId": "A",
        "datasource": SOURCE,
        "expr": expression(short["expr"]),
        "legendFormat": short.get("legend", ""),
        "interval": interval,
    }
    options: dict[str, Any] = {
        "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name" if short.get("legend") else "value"},
    }
    return {
        "id": number + 1,
        "type": kind,
        "title": short["title"],
        "description": short["description"],
        "datasource": SOURCE,
        "gridPos": {"x": number % COLUMNS * WIDTH, "y": number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": short["unit"], "min": 0}, "overrides": []},
        "options": options[kind],
        "targets": [{**target, "instant": kind == "stat", "range": kind != "stat"}],
    }


def expression(text: str) -> str:
    """`{instance}` is the hosts that are chosen."""
    return re.sub(r"\{instance(?=[,}])", '{instance=~"$instance"', text)


def hosts() -> dict[str, Any]:
    """The variable $instance."""
    query = "label_values(up, instance)"
    return {
        "name": "instance",
        "label": "Host",
        "type": "query",
        "datasource": SOURCE,
        "query": {"qryType": 1, "query": query, "refId": "instance"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def releases() -> dict[str, Any]:
    """A mark where a release began to serve, from its own metric: nobody has to tell Grafana."""
    return {
        "name": "Releases",
        "enable": True,
        "iconColor": "blue",
        "datasource": SOURCE,
        "expr": "max by (release, colour, result) (kasaneha_deploy_timestamp_seconds) * 1000",
        "titleFormat": "{{release}} {{result}}",
        "useValueForTime": "on",
    }


# --- panels of the operator -----------------------------------------------------------------------------------
def panel_problems(panels: Any) -> list[str]:
    """Judge the operator's panels, as far as that needs no Prometheus."""
    problems: list[str] = []
    seen: set[str] = set()
    for index, panel in enumerate(panels if isinstance(panels, list) else []):
        if not isinstance(panel, Mapping):
            continue  # the argument specification reports it
        title = str(panel.get("title") or "")
        where = f"monitoring_extra_panels[{title or index}]"
        for key in sorted(set(panel) - {*NEEDED, *OPTIONAL}):
            problems.append(f"{where}: does not know {key!r}. Use {', '.join(sorted((*NEEDED, *OPTIONAL)))}.")
        missing = [f"`{key}`" for key in NEEDED if not panel.get(key)]
        if missing:
            problems.append(f"{where}: needs {', '.join(missing)}, as every panel in roles/monitoring/files/dashboards.yml has.")
        if panel.get("unit") and panel["unit"] not in UNITS:
            problems.append(f"{where}.unit: {panel['unit']!r} is none of {', '.join(sorted(UNITS))}.")
        if panel.get("type", "stat") not in TYPES:
            problems.append(f"{where}.type: {panel['type']!r} is none of {', '.join(TYPES)}.")
        if title and title in seen:
            problems.append(f"{where}: there is another panel of this title. Give each its own.")
        seen.add(title)
    return problems


def panel_rules(panels: Any) -> list[dict[str, Any]]:
    """The operator's panels as a group of rules that record them for the page, in five minutes' steps and for all hosts.

    Prometheus judges the expressions before it takes them, which it does not do with those of a page. None without panels;
    those that :func:`panel_problems` refuses are left out.
    """
    good = [panel for panel in panels if isinstance(panel, Mapping) and not panel_problems([panel])]
    rules = [
        {
            "record": "kasaneha:panel",
            "expr": re.sub(r"\{instance(?=[,}]),?", "{", panel["expr"]).replace("$__rate_interval", "5m"),
            "labels": {"title": panel["title"], "unit": UNITS[panel["unit"]], "description": panel["description"]},
        }
        for panel in good
    ]
    return [{"name": "panels", "rules": rules}] if rules else []
