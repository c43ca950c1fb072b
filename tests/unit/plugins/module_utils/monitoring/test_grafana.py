# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards that Grafana can provision from files, with panels of today, units and legends."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.monitoring import grafana

FILE = Path(__file__).parents[5] / "roles/monitoring/files/dashboards.yml"
SHORT = yaml.safe_load(FILE.read_text())
DASHBOARDS = grafana.dashboards(SHORT, app="shop")
PANELS = [(dashboard["title"], panel) for dashboard in DASHBOARDS for panel in dashboard["panels"]]
MINE: dict[str, Any] = {
    "title": 'The "AI"',
    "expr": 'sum(rate(ai_requests_total{instance,kind="x"}[$__rate_interval])) / sum(rate(all{instance}[$__rate_interval]))',
    "unit": "percentunit",
    "description": "Of all requests",
}


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two panels lie on one another."""
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in (("x", "w"), ("y", "h")))


def test_the_first_design_is_kept() -> None:
    [metrics] = [dashboard for dashboard in DASHBOARDS if dashboard["title"] == "Shop Metrics"]
    assert {"API Request Rate", "Database Connections"} <= {panel["title"] for panel in metrics["panels"]}


def test_dashboards_bear_the_name_of_the_application() -> None:
    assert {dashboard["uid"] for dashboard in DASHBOARDS} == {f"shop-{short['uid']}" for short in SHORT}
    assert {dashboard["tags"][0] for dashboard in DASHBOARDS} == {"shop"}
    assert not [dashboard["title"] for dashboard in DASHBOARDS if "{" in dashboard["title"]]


def test_panels_of_the_operator_come_last_on_the_first_dashboard() -> None:
    more = grafana.dashboards(SHORT, "15s", "shop", [MINE])
    assert more[1:] == DASHBOARDS[1:]
    assert more[0]["panels"][:-1] == DASHBOARDS[0]["panels"]
    panel = more[0]["panels"][-1]
    assert (panel["title"], panel["type"]) == ('The "AI"', "timeseries")
    assert 'ai_requests_total{instance=~"$instance",kind="x"}[$__rate_interval]' in panel["targets"][0]["expr"]


def test_panels_of_the_operator_are_recorded_for_the_page() -> None:
    """Prometheus knows no variable of Grafana's."""
    [group] = grafana.panel_rules([MINE])
    assert group == {
        "name": "panels",
        "rules": [
            {
                "record": "kasaneha:panel",
                "expr": 'sum(rate(ai_requests_total{kind="x"}[5m])) / sum(rate(all{}[5m]))',
                "labels": {"title": 'The "AI"', "unit": "%", "description": "Of all requests"},
            }
        ],
    }
    assert grafana.panel_rules([]) == []
    # What is judged elsewhere does not break what is made of the rest.
    assert [rule["labels"]["title"] for group in grafana.panel_rules([{"title": "x"}, MINE]) for rule in group["rules"]] == [
        MINE["title"]
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"legnd": "x"}, """monitoring_extra_panels[The "AI"]: does not know 'legnd'. Use description, expr, legend, title, type, unit."""),
        ({"expr": ""}, """monitoring_extra_panels[The "AI"]: needs `expr`, """),
        ({"title": None}, "monitoring_extra_panels[0]: needs `title`, "),
        ({"unit": "requests"}, """monitoring_extra_panels[The "AI"].unit: 'requests' is none of Bps, bytes, none, ops, percentunit, reqps, s."""),
        ({"type": "graph"}, """monitoring_extra_panels[The "AI"].type: 'graph' is none of stat, timeseries."""),
    ],
)  # fmt: skip
def test_a_panel_that_is_none_is_refused(changes: dict[str, Any], expected: str) -> None:
    [problem] = grafana.panel_problems([{**MINE, **changes}])
    assert problem.startswith(expected)


def test_good_panels_and_two_of_one_title() -> None:
    assert grafana.panel_problems([MINE, {**MINE, "title": "Other", "type": "stat", "legend": "x"}]) == []
    [problem] = grafana.panel_problems([MINE, MINE])
    assert problem == """monitoring_extra_panels[The "AI"]: there is another panel of this title. Give each its own."""
    assert grafana.panel_problems("panels") == []  # the argument specification reports it


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard["uid"])
def test_a_file_can_provision_it(dashboard: dict[str, Any]) -> None:
    # Wrapped in {"dashboard": …}, as for the interface, a file is refused; with an id or inputs it is somebody's export.
    assert not {"dashboard", "id", "__inputs", "apiVersion", "spec"} & set(dashboard)
    assert len(dashboard["uid"]) <= 40 and dashboard["schemaVersion"] >= 39 and not dashboard["editable"]
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert not any(overlap(*pair) for pair in combinations(places, 2)) and all(place["x"] + place["w"] <= 24 for place in places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    assert dashboard["annotations"]["list"][0]["expr"].startswith("max by (release")


def test_names_are_unique() -> None:
    assert (
        len({dashboard["uid"] for dashboard in DASHBOARDS})
        == len({dashboard["title"] for dashboard in DASHBOARDS})
        == len(DASHBOARDS)
    )


@pytest.mark.parametrize(("title", "panel"), PANELS, ids=lambda value: value if isinstance(value, str) else value["title"])
def test_panels(title: str, panel: dict[str, Any]) -> None:
    assert panel["type"] in ("timeseries", "stat") and panel["description"]  # `graph` and `singlestat` are gone
    assert panel["fieldConfig"]["defaults"]["unit"] in grafana.UNITS
    for target in panel["targets"]:
        assert target["datasource"] == grafana.SOURCE
        assert target["legendFormat"] or panel["type"] == "stat", title
        assert "rate(" not in target["expr"] or "$__rate_interval" in target["expr"]
        assert "{instance}" not in target["expr"] and "{instance," not in target["expr"]


def test_hosts_that_are_chosen() -> None:
    assert grafana.expression('a{instance} / b{instance,x="y"}') == 'a{instance=~"$instance"} / b{instance=~"$instance",x="y"}'
    assert grafana.expression("sum by (instance) (x)") == "sum by (instance) (x)"
