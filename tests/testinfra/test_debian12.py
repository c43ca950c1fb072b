# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 12: the engine and the edge are real, the application was planned only."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize("name", ["docker", "nginx"])
def test_service_runs_and_starts_at_boot(host, name):
    assert host.service(name).is_running
    assert host.service(name).is_enabled


def test_http2_is_spoken_in_the_way_of_nginx_1_22(root):
    assert "listen 443 ssl http2;" in root("cat /etc/nginx/nginx.conf")
    root("nginx -t")


def test_without_a_colour_the_edge_says_so(browse):
    status, headers, body = browse("/")
    assert status == 503 and headers["retry-after"] == "300" and "Back in a moment" in body
    assert browse("/health")[0] == 200


def test_daemon_settings_are_in_force(root):
    assert "journald" in root("docker info --format '{{.LoggingDriver}}'")
    assert "true" in root("docker info --format '{{.LiveRestoreEnabled}}'")


def test_settings_of_others_stay_in_the_daemon_s_configuration(root):
    settings = json.loads(root("cat /etc/docker/daemon.json"))
    assert settings["max-concurrent-downloads"] == 4  # not ours: stays
    assert settings["log-driver"] == "journald"  # ours: wins


def test_check_mode_changed_nothing(root):
    root("test ! -e /opt/kasaneha && test ! -e /etc/kasaneha/secrets && test ! -e /var/lib/kasaneha/release.json")
