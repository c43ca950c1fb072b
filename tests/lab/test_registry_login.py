# SPDX-License-Identifier: GPL-3.0-or-later
"""The role docker pulls from a real registry that needs a login, here by way of the Docker of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from .boxes import ROOT, Lab

USER = "newcomer"
# The registry takes bcrypt alone, which Debian's perl can make.
HASH = r"chomp(my $password = <STDIN>); print crypt($password, '$2b$04$abcdefghijklmnopqrstuu')"
SERVE = 'printf "%s\\n" "$LOGIN" >/tmp/htpasswd && exec registry serve /etc/docker/registry/config.yml'
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}", ansible_become: false}
  tasks:
    - ansible.builtin.include_role: {name: kasaneha.deploy.docker, tasks_from: pull}
      vars:
        docker_registry_login: "{{ [{'registry': registry, 'username': 'newcomer', 'password': lookup('env', 'PASSWORD')}] }}"
        docker_login_dir: "{{ directory }}"
        docker_pull_images: {app_image: "{{ image }}"}
"""


@pytest.fixture
def password() -> str:
    return f"canary-{secrets.token_hex(16)}"


@pytest.fixture
def image(lab: Lab, password: str) -> Iterator[str]:
    """The name of an image that is nowhere but in the registry."""
    hashed = subprocess.run(
        ["docker", "run", "--rm", "--interactive", "--network=none", "--entrypoint=perl", lab.image("registry"), "-e", HASH],
        input=password, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    settings = {
        "REGISTRY_AUTH": "htpasswd",
        "REGISTRY_AUTH_HTPASSWD_REALM": "lab",
        "REGISTRY_AUTH_HTPASSWD_PATH": "/tmp/htpasswd",
    }
    box = lab.start(
        "registry",
        ["-c", SERVE],
        entrypoint="sh",
        ports={"5000/tcp": ("127.0.0.1", None)},
        environment={**settings, "LOGIN": f"{USER}:{hashed}"},
    )
    box.until("the registry", lambda: box.get("/v2/").status_code == 401)
    name = f"{box.address}/lab/redis"
    lab.client.images.get(lab.image("redis")).tag(name, "v1")
    pushed = lab.client.images.push(name, "v1", auth_config={"username": USER, "password": password})
    lab.client.images.remove(f"{name}:v1")
    assert "errorDetail" not in pushed, pushed
    yield f"{name}:v1"
    with contextlib.suppress(docker.errors.ImageNotFound):
        lab.client.images.remove(f"{name}:v1")


Pull = Callable[[str, str], subprocess.CompletedProcess[str]]


@pytest.fixture
def pull(tmp_path: Path) -> Pull:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "logins").mkdir()

    def run(image: str, password: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                       "ANSIBLE_NOCOLOR": "1", "PASSWORD": password}  # fmt: skip
        variables = {"image": image, "registry": image.partition("/")[0], "directory": str(tmp_path / "logins")}
        return subprocess.run(
            ["ansible-playbook", "play.yml", "-i", "localhost,", "-e", json.dumps(variables), "-vvv", "--diff"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_an_image_comes_with_a_login_that_leaves_nothing(lab: Lab, image: str, password: str, pull: Pull, tmp_path: Path) -> None:
    done = pull(image, password)
    assert done.returncode == 0, done.stdout[-3000:]
    assert lab.client.images.get(image)
    assert list((tmp_path / "logins").iterdir()) == [] and password not in done.stdout + done.stderr
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    assert not own.exists() or image.partition("/")[0] not in own.read_text()


def test_a_login_that_is_refused_is_one_sentence(lab: Lab, image: str, pull: Pull, tmp_path: Path) -> None:
    wrong = f"canary-{secrets.token_hex(16)}"
    done = pull(image, wrong)
    sentence = f"localhost: app_registry_login: {image.partition('/')[0]} refuses the login of user {USER} ("
    assert done.returncode != 0 and sentence in done.stdout, done.stdout[-3000:]
    assert list((tmp_path / "logins").iterdir()) == [] and wrong not in done.stdout + done.stderr
    with pytest.raises(docker.errors.ImageNotFound):
        lab.client.images.get(image)


def test_an_image_that_is_not_there_is_named_by_its_variable(image: str, password: str, pull: Pull, tmp_path: Path) -> None:
    done = pull(image.replace(":v1", ":v9"), password)
    assert done.returncode != 0 and "localhost: app_image: " in done.stdout and "app_registry_login" in done.stdout, done.stdout[
        -3000:
    ]
    assert list((tmp_path / "logins").iterdir()) == []
