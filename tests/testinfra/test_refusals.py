# SPDX-License-Identifier: GPL-3.0-or-later
"""What must change nothing on a running server: bad input (one clear message that names variable, host and remedy), one
phase alone, check mode with its secrets."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .playbook import play

# A second application on the same server, so that nothing is installed of it yet.
OTHER = {
    "app_name": "other",
    "app_postgres_enabled": False,
    "app_redis_enabled": False,
    "app_postgres_ca_host": "",
    "app_migrations": {},
    "nginx_sites": [],
}


def service(**changes: Any) -> dict[str, Any]:
    """One service whose image does not exist, on ports that are free."""
    return {"image": "registry.lab:5000/kasaneha/nothing", "port": 80, "publish": {"blue": 19000, "green": 19001}, **changes}


# What is wrong at once -> what the one message must say of each; a run costs half a minute, so they share few.
CASES = {
    "values": (
        {
            "vault_jwt_secret": "your_jwt_secret_here",
            "vault_gemini_api_key": "",
            "docker_min_memory_mb": 10_000_000,
            "docker_min_disk_mb": 1_000_000_000,
            "_docker_os": "Plan9 4",
            "app_bind_address": "0.0.0.0",
            "app_redis_bind_address": "10.0.0.5",
            "nginx_sites": [{"name": "x", "names": ["x.test"], "certificate": "x", "upstream": "nobody"}],
        },
        [
            ["app_secrets.jwt_secret: is a placeholder", "vault"],
            ["app_secrets.gemini_api_key: is not set", "ansible-vault"],
            ["docker_min_memory_mb", "larger server"],
            ["docker_min_disk_mb", "Make room"],
            ["Plan9 4 is not supported", "Debian 13"],
            ["app_bind_address: '0.0.0.0' is not a loopback or private address"],
            ["app_redis_bind_address", "app_redis_password_secret"],
            ["'nobody' is not one of nginx_upstreams"],
        ],
    ),
    "types": (
        {"app_start_timeout": "soon", "app_secrets": "canary-5e1f", "docker_min_memory_mb": 10_000_000},
        [["app_start_timeout", "int"], ["app_secrets", "dict"], ["docker_min_memory_mb", "larger server"]],
    ),
    "undefined variable": ({"site_domains": "{{ no_such_variable }}"}, [["no_such_variable", "is undefined"]]),
    "services": (
        {
            **OTHER,
            "app_services": {
                "web": service(imgae="x"),
                "ssh": service(publish={"blue": 22, "green": 19003}),
                "one": service(publish={"blue": 19004, "green": 19004}),
            },
            "app_release": "",
        },
        [
            ["app_services.web.imgae: is not a key"],
            ["app_services.ssh.publish.blue: port 22 is taken by sshd"],
            ["all want port 19004"],
            ["app_release: is not set"],
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_before_anything_is_changed(case):
    variables, problems = CASES[case]
    done = play("site.yml", **variables)
    assert done.returncode != 0
    message = done.stdout[done.stdout.index("problem(s) to solve first; nothing was changed") :]
    lines = [line for line in message.splitlines() if "- molecule-default: " in line]
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


def test_the_record_wins_over_the_inventory():
    done = play("site.yml", "--check", app_release="v9.9.9")
    assert done.returncode == 0
    assert "v1.0.0 stays" in done.stdout.replace("\n", " ").replace("        ", " ") and re.search(r"changed=0 ", done.stdout)


def test_secrets_are_in_no_output(secrets):
    done = play("site.yml", "--check", "--diff", "-vvv", vault_jwt_secret="another-secret-of-forty-characters-length")
    assert done.returncode == 0 and re.search(r"changed=[1-9]", done.stdout)
    for name, value in {**secrets, "changed": "another-secret-of-forty-characters-length"}.items():
        # What the caller typed on the command line is shown back by -vvv; everything else is ours to hide.
        text = done.stdout.replace('{"vault_jwt_secret": "another-secret-of-forty-characters-length"}', "")
        assert value not in text + done.stderr, f"{name} is shown"


def test_settings_of_docker_that_are_no_json_are_left_alone(root):
    root("cp /etc/docker/daemon.json /root/daemon.json && echo '{,}' > /etc/docker/daemon.json")
    try:
        done = play("site.yml")
        assert done.returncode != 0 and "/etc/docker/daemon.json: is not a JSON object. Mend it" in done.stdout
        assert root("cat /etc/docker/daemon.json").strip() == "{,}"
    finally:
        root("mv /root/daemon.json /etc/docker/daemon.json")


LONG = [
    pytest.param(tag, marks=pytest.mark.long)
    for tag in ("docker_configure", "app_service", "nginx_configure", "nginx_verify", "release")
]


@pytest.mark.parametrize("tag", ["app_configure", *LONG])
def test_each_phase_works_alone(tag):
    done = play("site.yml", "--tags", tag)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"changed=0 ", done.stdout)
