# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 12: the engine and the edge are real, the application was planned only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from .playbook import play

CONFIG = "/etc/docker/daemon.json"


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
    settings = json.loads(root(f"cat {CONFIG}"))
    assert settings["max-concurrent-downloads"] == 4  # not ours: stays
    assert settings["log-driver"] == "journald"  # ours: wins
    assert "log-opts" not in settings  # those of json-file, with which journald does not start
    assert "userland-proxy" not in settings  # a flag says it, and Docker takes it from one place only
    assert "--userland-proxy=false" in root("tr '\\0' ' ' < /proc/$(pidof dockerd)/cmdline")


@pytest.fixture
def shop(root: Callable[[str], str]) -> Iterator[None]:
    """Somebody's container without a restart policy: since before the first run it is the same process, whatever a test does."""
    yield
    assert root("docker inspect --format '{{.State.Running}} {{.State.Pid}}' shop").split() == [
        "true",
        root("cat /root/shop.pid").strip(),
    ]


def test_a_container_that_nothing_starts_again_outlived_the_first_run(root, shop):
    started = root("systemctl show --property=ActiveEnterTimestampMonotonic --value docker; docker inspect --format '{{.State.Pid}}' shop | "
                   "xargs -I{} awk '{print $22 * 1000000 / 100}' /proc/{}/stat").split()  # fmt: skip
    assert float(started[0]) > float(started[1])  # Docker was restarted since


def test_settings_that_docker_does_not_start_with_are_put_back(host, root, shop):
    before = root(f"cat {CONFIG}")
    done = host.ansible(
        "kasaneha.deploy.docker_daemon", json.dumps({"options": {"registry-mirrors": ["nonsense"]}}), check=False, become=True
    )
    assert (
        "dockerd does not start with the new" in done["msg"]
        and 'invalid mirror: unsupported scheme "" in "nonsense"' in done["msg"]
    ), done
    assert "The old file is back, and Docker runs with it" in done["msg"]
    assert root(f"cat {CONFIG}") == before and ".before" not in root("ls /etc/docker")
    assert root("systemctl is-active docker").strip() == "active"


@pytest.fixture(scope="module")
def swarm(root: Callable[[str], str]) -> Iterator[None]:
    """An active Swarm, which needs live-restore to be off."""
    root(f'sed -i \'s/"live-restore": true/"live-restore": false/\' {CONFIG} && systemctl reload docker')
    root("until docker info --format '{{.LiveRestoreEnabled}}' | grep -q false; do sleep 0.2; done")
    root("docker swarm init --advertise-addr 127.0.0.1")
    yield
    root("docker swarm leave --force")
    root(f'sed -i \'s/"live-restore": false/"live-restore": true/\' {CONFIG} && systemctl reload docker')


def test_swarm_goes_without_live_restore(host, swarm, shop):
    done = host.ansible(
        "kasaneha.deploy.docker_daemon", json.dumps({"options": {"live-restore": True}}), check=False, become=True
    )
    assert (done["changed"], done["restarted"], done["problems"]) == (False, False, []), done


def test_what_is_in_the_way_is_named_before_anything_is_changed(swarm, shop):
    done = play(
        "playbooks/preflight.yml", app_postgres_bind_address="127.0.0.1", app_postgres_port=19000, nginx_served=False, nginx_status_port=19000,
        docker_daemon_extra_options={"userland-proxy": True, "log-opts": {"max-size": "1m"}},
    )  # fmt: skip
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and re.search("changed=0 ", said), said[-3000:]
    for words in (
        "app_postgres_port: port 19000 is taken by the container shop.",
        "nginx_status_port: port 19000 is taken by the container shop.",
        "docker_daemon_options.userland-proxy: is true, and Docker's unit says false by a flag",
        "log-opts: max-size is not an option of the log driver journald",
        "shop would stop for good: no restart policy, and Swarm refuses live-restore",
    ):
        assert words in said, (words, said[-3000:])


def test_check_mode_changed_nothing(root):
    root("test ! -e /opt/kasaneha && test ! -e /etc/kasaneha/secrets && test ! -e /var/lib/kasaneha/release.json")
