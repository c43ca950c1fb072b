# SPDX-License-Identifier: GPL-3.0-or-later
"""What must change nothing on a running server: bad input (one clear message that names variable, host and remedy), one
phase alone, check mode with its secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .playbook import play, with_secrets

# A second application on the same server, so that nothing is installed of it yet.
OTHER = {
    "app_name": "other",
    "app_postgres_enabled": False,
    "app_redis_enabled": False,
    "app_postgres_ca_host": "",
    "app_migrations": {},
    "nginx_sites": [{"name": "other", "names": ["other.test"], "certificate": "other", "upstream": "web"}],
}


def service(**changes: Any) -> dict[str, Any]:
    """One service whose image does not exist, on ports that are free."""
    return {"image": "registry.lab:5000/kasaneha/nothing", "port": 80, "publish": {"blue": 19000, "green": 19001}, **changes}


# What is wrong at once -> what the one message must say of each; a run costs half a minute, so they share few.
CASES = {
    "values": (
        {
            **OTHER,
            "app_redis_enabled": True,
            "app_secrets": with_secrets(jwt_secret="your_jwt_secret_here", gemini_api_key=""),
            "docker_min_memory_mb": 10_000_000,
            "docker_min_disk_mb": 1_000_000_000,
            "_docker_os": "Plan9 4",
            "app_bind_address": "0.0.0.0",
            "app_redis_bind_address": "10.0.0.5",
            "app_release": "",
            "app_services": {
                "web": service(imgae="x", memory="512", secrets={"ONE": "jwt_secret", "TWO": "gemini_api_key"}),
                "ssh": service(publish={"blue": 22, "green": 19003}),
                "one": service(publish={"blue": 19004, "green": 19004}),
                "two": service(publish={"blue": 18080, "green": 18180}),  # of the application that runs here
            },
            "nginx_sites": [{"name": "x", "names": ["X.test"], "certificate": "x", "upstream": "wbe"}],
            "app_relase": "v1",
        },
        [
            ["app_secrets.jwt_secret: is a placeholder", "vault"],
            ["app_secrets.gemini_api_key: is not set", "ansible-vault"],
            ["docker_min_memory_mb", "larger server"],
            ["docker_min_disk_mb", "Make room"],
            ["Plan9 4 is not supported", "Debian 13"],
            ["/etc/docker/daemon.json: is not a JSON object"],
            ["app_bind_address: '0.0.0.0' is not a loopback or private address"],
            ["app_redis_bind_address", "app_redis_password_secret"],
            ["app_release: is not set"],
            ["app_services.web.imgae: is not a key of a service", "Did you mean image?"],
            ["app_services.web.memory: '512' is no amount of memory", "512m"],
            ["app_relase: is no variable of this collection", "Did you mean app_release?"],
            ["'X.test' has capitals", "Write x.test"],
            ["app_services.ssh.publish.blue: port 22 is taken by sshd"],
            ["all want port 19004"],
            ["app_services.two.publish.", "is taken by the container kasaneha-backend-"],
            ["'wbe' is not one of nginx_upstreams", "Did you mean web?"],
        ],
    ),
    "types and an undefined variable": (
        {
            "app_start_timeout": "soon",
            "app_secrets": "canary-5e1f",
            "docker_min_memory_mb": 10_000_000,
            "app_release": 1.10,
            "site_domains": "{{ no_such_variable }}",
            "certbot_staging": "y",
        },
        [
            ["certbot_staging: 'y'", "Write true or false"],
            ["app_start_timeout", "int"],
            ["app_secrets", "dict"],
            ["docker_min_memory_mb", "larger server"],
            ["app_release: 1.1 is a number", 'Quote it: app_release: "'],
            ["no_such_variable", "is undefined"],
        ],
    ),
}  # fmt: skip


@pytest.fixture
def strange_daemon(root: Callable[[str], str]) -> Iterator[None]:
    """Settings of Docker that are no JSON; they are left alone."""
    root("cp /etc/docker/daemon.json /root/daemon.json && echo '{,}' > /etc/docker/daemon.json")
    try:
        yield
        assert root("cat /etc/docker/daemon.json").strip() == "{,}"
    finally:
        root("mv /root/daemon.json /etc/docker/daemon.json")


@pytest.mark.usefixtures("strange_daemon")
@pytest.mark.parametrize("case", CASES)
def test_refused_before_anything_is_changed(case):
    variables, problems = CASES[case]
    done = play("site.yml", **variables)
    assert done.returncode != 0
    message = done.stdout[done.stdout.index("problem(s) to solve first; nothing was changed") :]
    lines = [line for line in message.splitlines() if "- ready: " in line]
    for words in problems:
        assert any(all(word in line for word in words) for line in lines), (words, message)
    assert re.search(r"changed=0 ", done.stdout) and not re.search(r"^changed:", done.stdout, re.MULTILINE)
    assert "canary-5e1f" not in done.stdout + done.stderr


def test_an_image_that_does_not_exist_changes_nothing(root):
    before = root("docker ps --all --quiet; find /etc /opt -newer /proc/1 -name '*other*'")
    done = play("site.yml", **OTHER, app_services={"web": service()}, app_release="v9.9.9")
    assert done.returncode != 0
    assert "app_services.web.image, release v9.9.9" in done.stdout
    assert "Nothing of the application was changed" in done.stdout
    assert re.search(r"changed=0 ", done.stdout)
    assert root("docker ps --all --quiet; find /etc /opt -newer /proc/1 -name '*other*'") == before


def test_the_record_wins_over_the_inventory_and_secrets_are_in_no_output(secrets):
    secret = "another-secret-of-forty-characters-length"
    changed = {"app_secrets": with_secrets(jwt_secret=secret), "app_release": "v9.9.9"}
    done = play("site.yml", "--check", "--diff", "-vvv", **changed)
    assert done.returncode == 0 and re.search(r"changed=[1-9]", done.stdout)
    said = " ".join(done.stdout.split())
    assert "v1.0.0 stays" in said and "v1.0.0 is started again as green" in said
    # What the caller typed on the command line is shown back by -vvv; everything else is ours to hide.
    text = done.stdout.replace(json.dumps(changed), "") + done.stderr
    for name, value in {**secrets, "changed": secret}.items():
        assert value not in text, f"{name} is shown"


LONG = [
    pytest.param(tag, marks=pytest.mark.long)
    for tag in ("docker_configure", "app_service", "nginx_configure", "nginx_verify", "release")
]


@pytest.mark.parametrize("tag", ["app_configure", *LONG])
def test_each_phase_works_alone(tag):
    done = play("site.yml", "--tags", tag)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"changed=0 ", done.stdout)
