# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alerts people hear of, by the real Alertmanager."""

from __future__ import annotations

import json

import yaml
from inhibition import held_back

from .test_monitoring import wait


def test_a_dead_host_holds_back_its_own_alerts_alone(root):
    """By Alertmanager itself: nobody is told of them, since their severity is none."""

    def say(alerts: list[dict[str, str]], minutes: int) -> None:
        labels = [
            " ".join(f"{key}={value}" for key, value in {**one, "severity": "none", "test": "inhibition"}.items())
            for one in alerts
        ]
        when = f"--start=$(date -u -d '1 hour ago' +%FT%TZ) --end=$(date -u -d '{minutes} minutes' +%FT%TZ)"
        root("; ".join(f"amtool --alertmanager.url=http://127.0.0.1:9093 alert add {one} {when}" for one in labels))

    def known() -> dict[tuple[str, str], list[str]]:
        query = "amtool --alertmanager.url=http://127.0.0.1:9093 alert query -a -i -s -u -o json test=inhibition"
        return {
            (one["labels"]["alertname"], one["labels"].get("instance", "")): one["status"]["inhibitedBy"]
            for one in json.loads(root(query))
        }

    def held(*causes: dict[str, str]) -> set[tuple[str, str]]:
        both = [*consequences, *causes]
        rules = yaml.safe_load(root("cat /etc/prometheus/alertmanager.yml"))["inhibit_rules"]
        back = {(one["alertname"], one.get("instance", "")) for one in held_back(rules, both)}
        say(both, 5)
        wait(
            lambda: {name for name, by in known().items() if by} == back and len(known()) == len(both),
            60,
            f"{causes} hold back {back}",
        )
        say(list(causes), -1)
        return back

    consequences = [
        {"alertname": "SiteDown", "symptom": "yes", "instance": "https://kasaneha.test/"},
        {"alertname": "ServiceSlow", "symptom": "yes", "job": "kasaneha-backend", "service": "backend"},
    ]
    consequences += [{"alertname": "SystemdUnitFailed", "symptom": "yes", "instance": host} for host in ("ready", "watched")]
    usual = {("ServiceSlow", "")}  # SiteDown explains it
    try:
        assert held() == usual
        assert held({"alertname": "HostDown", "instance": "watched"}) == usual | {("SystemdUnitFailed", "watched")}
        explained = usual | {("SystemdUnitFailed", "ready"), ("SiteDown", "https://kasaneha.test/")}
        assert held({"alertname": "HostDown", "instance": "ready"}) == explained
    finally:
        say(consequences, -1)
