# SPDX-License-Identifier: GPL-3.0-or-later
"""`kasaneha.deploy.new` in an empty directory, with an empty ansible.cfg: what it writes is an inventory that Ansible reads."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ASKED = {"app_name": "shop", "image": "ghcr.io/me/shop:1.10", "domain": "shop.example.org", "server": "203.0.113.10"}
FILES = {"hosts.yml", "group_vars/all/app.yml", "group_vars/all/vault.yml"}
CANARY = "canary-registry-4711"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command where a user stands."""
    (tmp_path / "ansible.cfg").touch()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}

    def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**inherited, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
               "ANSIBLE_NOCOLOR": "1", **environment}  # fmt: skip
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return command


def new(run: Run, *options: str, environment: dict[str, str] | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    asked = [word for name, value in {**ASKED, **changes}.items() for word in ("-e", f"{name}={value}")]
    return run("ansible-playbook", "kasaneha.deploy.new", "-i", "localhost,", *asked, *options, **(environment or {}))


def written(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def variables(run: Run, *options: str) -> dict[str, Any]:
    """What Ansible reads of the server."""
    done = run("ansible-inventory", "-i", "shop", "--list", *options)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)["_meta"]["hostvars"]["shop-1"]


def test_three_short_files_that_explain_themselves(run: Run, tmp_path: Path) -> None:
    done = new(run, postgres="true", redis="true", ssh_user="deploy", ssh_port="2222", container_port="80", health="/up")
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    assert written(tmp_path / "shop") == FILES
    for name in FILES:
        lines = (tmp_path / "shop" / name).read_text().splitlines()
        assert len(lines) <= 25 and not any("{{ new" in line for line in lines)
        keys = [
            line
            for line in lines
            if re.search(r":( |$)", line) and not re.fullmatch(r"\s*(all|hosts|web|app_services|nginx_sites):", line)
        ]
        assert all("#" in line for line in keys if "redis_password" not in line), name
    assert stat.S_IMODE((tmp_path / "shop/group_vars/all/vault.yml").stat().st_mode) == 0o600
    assert "NOT encrypted" in done.stdout and "ansible-vault encrypt shop/group_vars/all/vault.yml" in done.stdout
    assert "ansible-playbook kasaneha.deploy.site -i shop" in done.stdout
    found = variables(run)
    assert found["ansible_host"] == "203.0.113.10" and found["ansible_user"] == "deploy" and found["ansible_port"] == 2222
    assert found["app_release"] == "1.10" and found["nginx_sites"] == [{"names": ["shop.example.org"], "upstream": "web"}]
    assert found["app_services"] == {
        "web": {
            "image": "ghcr.io/me/shop",
            "port": 80,
            "health": "/up",
            "secrets": {"DATABASE_URL": "postgres_url", "REDIS_URL": "redis_url"},
        }
    }
    passwords = found["app_secrets"]
    assert passwords.keys() == {"postgres_password", "redis_password"} and len(set(passwords.values())) == 2
    assert all(re.fullmatch("[A-Za-z0-9]{40}", password) for password in passwords.values())
    assert not any(password in done.stdout for password in passwords.values())


def test_the_smallest_application(run: Run, tmp_path: Path) -> None:
    assert new(run).returncode == 0
    found = variables(run)
    assert (
        found["app_services"] == {"web": {"image": "ghcr.io/me/shop", "port": 8080, "health": "/"}} and found["app_secrets"] == {}
    )
    commented = (tmp_path / "shop/group_vars/all/app.yml").read_text()  # what is only shown must be right when it is used
    for line in re.findall(r"^    # (\w+: .*?)(?: #.*)?$", commented, re.MULTILINE):
        assert yaml.safe_load(line), line


def test_secrets_are_encrypted_where_a_vault_password_is_at_hand(run: Run, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of this test alone")
    environment = {"ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "password"), "REGISTRY_PASSWORD": CANARY}
    done = new(run, "-vvv", "--diff", environment=environment, registry_user="me", postgres="true")
    assert done.returncode == 0, done.stdout
    file = tmp_path / "shop/group_vars/all/vault.yml"
    assert file.read_text().startswith("$ANSIBLE_VAULT;") and "NOT encrypted" not in done.stdout
    assert "Every run needs it: --ask-vault-pass" in done.stdout
    found = variables(run, "--vault-password-file", "password")
    assert found["app_registry_login"] == [{"registry": "ghcr.io", "username": "me", "password": CANARY}]
    assert CANARY not in done.stdout + done.stderr and found["app_secrets"]["postgres_password"] not in done.stdout + done.stderr
    without = run("ansible-playbook", "kasaneha.deploy.site", "-i", "shop")
    assert without.returncode != 0 and re.search("[Vv]ault", without.stderr + without.stdout) and "changed=" not in without.stdout


def test_a_server_that_does_not_answer_is_named_with_what_was_tried(run: Run) -> None:
    assert new(run, server="127.0.0.1", ssh_port="1", ssh_user="deploy").returncode == 0
    done = run("ansible-playbook", "kasaneha.deploy.site", "-i", "shop")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and "1 server(s) cannot be reached; nothing was changed: - shop-1: " in said, said
    assert "ansible_host (127.0.0.1), ansible_port (1) and ansible_user (deploy)" in said and "changed=0" in said


def test_a_vault_id_is_as_good(run: Run, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of this test alone")
    assert new(run, "--vault-id", "prod@password").returncode == 0
    assert (tmp_path / "shop/group_vars/all/vault.yml").read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod")


def test_what_cannot_work_is_told_at_once_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    done = new(run, image="ghcr.io/me/shop", domain="https://shop.example.org", postgress="true")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and "4 problem(s) to solve first; nothing was written" in said, said
    for sentence in (f"app_name: {tmp_path}/shop exists", "has no tag", "Write shop.example.org", "Did you mean postgres?"):
        assert sentence in said, said
    assert written(tmp_path / "shop") == set()
    assert "app_name: is not set" in new(run, app_name="").stdout


def test_check_mode_writes_nothing(run: Run, tmp_path: Path) -> None:
    done = new(run, "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert not (tmp_path / "shop").exists()
