# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Grafana's dashboards from a short list of panels: the classic model, which files may provision in every version from 10 on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

SCHEMA = 41  # of Grafana 11.6; later versions migrate it as they load it
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS, WIDTH, HEIGHT = 3, 8, 8


def dashboards(short: Iterable[Mapping[str, Any]], interval: str = "15s") -> list[dict[str, Any]]:
    """Every dashboard in Grafana's own form."""
    return [dashboard(entry, interval) for entry in short]


def dashboard(short: Mapping[str, Any], interval: str) -> dict[str, Any]:
    """One dashboard: panels three in a row, hosts to choose, releases as marks, the same names for sources everywhere."""
    return {
        "uid": short["uid"],
        "title": short["title"],
        "tags": ["kasaneha"],
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
