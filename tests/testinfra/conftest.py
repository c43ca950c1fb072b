# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks on a running server share."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .load import SHORT, Load

ROOT = Path(__file__).parent.parent.parent
SITE = os.environ.get("SITE", "kasaneha.test")  # a rehearsal names its own, and where its secrets are


@pytest.fixture(scope="module")
def variables(host: Any) -> dict[str, Any]:
    """The host's variables as the inventory gives them."""
    return host.backend.get_variables()


@pytest.fixture(scope="module")
def root(host: Any) -> Callable[[str], str]:
    """Run a shell command as root on the server; its output, or a failed test with what it said."""

    def run(command: str) -> str:
        with host.sudo():
            done = host.run(command)
        assert done.rc == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def converged() -> list[str]:
    """What site.yml changed when the scenario converged: `host: task (item)`, written by tests/callback/changed.py."""
    return json.loads(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "changed-site.json").read_text())


@pytest.fixture(scope="module")
def containers(root: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """`docker inspect` of every container on the server, by name."""
    return {entry["Name"].lstrip("/"): entry for entry in json.loads(root("docker inspect $(docker ps --all --quiet)"))}


@pytest.fixture(scope="module")
def lab_secrets() -> dict[str, str]:
    """The real random secrets of the lab, of all its servers."""
    return {
        file.name: file.read_text().split()[0]
        for file in Path(os.environ.get("LAB_SECRETS", ROOT / "lab/state/secrets")).iterdir()
    }


@pytest.fixture(scope="module")
def secrets(variables: dict[str, Any], lab_secrets: dict[str, str]) -> dict[str, str]:
    """Those of the application, to be searched for where they must not be."""
    return {name: lab_secrets[name] for name in ("postgres_password", "jwt_secret", "gemini_api_key")}


@pytest.fixture(scope="module")
def browse(
    variables: dict[str, Any], root: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[int, dict[str, str], str]]:
    """Ask the site from outside, by name and through TLS that is verified: status, headers, body."""
    certificate = tmp_path_factory.mktemp("tls") / "site.pem"
    certificate.write_text(root("cat /etc/kasaneha/tls/kasaneha/fullchain.pem"))

    def ask(path: str, *options: str, name: str = SITE, scheme: str = "https") -> tuple[int, dict[str, str], str]:
        port = 443 if scheme == "https" else 80
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", str(certificate), "--dump-header", "-",
             "--resolve", f"{name}:{port}:{variables['ansible_host']}", *options, f"{scheme}://{name}{path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ConnectionError(done.stderr)
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        lines = head.splitlines()
        headers: dict[str, str] = {}
        for line in lines[1:]:
            key, _, value = line.partition(": ")
            headers[key.lower()] = f"{headers[key.lower()]}, {value}" if key.lower() in headers else value
        return int(lines[0].split()[1]), headers, body

    return ask


@pytest.fixture(scope="module")
def record(root) -> Callable[[], dict[str, Any]]:
    """The record of releases as it stands."""
    return lambda: json.loads(root("cat /var/lib/kasaneha/release.json"))


@pytest.fixture(scope="module")
def serving(browse) -> Callable[[], str]:
    """The release that answers users."""
    return lambda: json.loads(browse("/api/v1/info")[2])["release"]


@pytest.fixture(scope="module")
def users(variables) -> Iterator[Load]:
    """Users at work the whole time."""
    with Load(variables["ansible_host"], rate=30, **SHORT) as load:  # many more in benchmarks/deploy.py
        yield load


@pytest.fixture(scope="module")
def ask(root, variables) -> Callable[[str], Any]:
    """Ask Prometheus on the server."""
    fetch = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"
    api = f"http://{variables['ansible_host']}:9090/monitoring/api/v1"
    return lambda path: json.loads(root(f"python3 -c '{fetch}' '{api}/{path}'"))["data"]


@pytest.fixture(scope="module")
def received(root) -> Callable[[], list[dict[str, Any]]]:
    """All that the receivers got so far."""
    return lambda: [json.loads(line) for line in root("cat /var/lib/received.jsonl").splitlines()]
