# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's own driver `fluentd` with the role's options, against a real server of the forward protocol (npm: @fluent-org/logger)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .boxes import until

ROOT = Path(__file__).parent.parent.parent
PORT = 24299
SERVER = """
const { FluentServer } = require("@fluent-org/logger");
const server = new FluentServer({ listenOptions: { port: %d, host: "127.0.0.1" } });
server.on("entry", (tag, time, record) => console.log(JSON.stringify({ tag, ...record, log: String(record.log) })));
server.listen();
"""
OPTIONS = yaml.safe_load((ROOT / "roles/app/vars/main.yml").read_text())["_app_log_drivers"]["fluentd"]


def docker(*arguments: str) -> None:
    """A driver that waits for somebody to listen would wait for ever."""
    subprocess.run(["docker", *arguments], check=True, capture_output=True, timeout=120)


def inspected(name: str) -> dict[str, Any]:
    """The state of a container."""
    done = subprocess.run(["docker", "inspect", "--format", "{{json .State}}", name], check=True, capture_output=True)
    return json.loads(done.stdout)


def lines(folder: Path) -> list[str]:
    """What the server has written down so far."""
    return (folder / "out").read_text().splitlines()


@pytest.fixture
def container() -> Iterator[str]:
    name = "kasaneha-lab-fluentd-driver"
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    yield name
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forward")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", "@fluent-org/logger@1.0.10"], cwd=folder, check=False
    )
    if done.returncode:
        pytest.skip("npm cannot install @fluent-org/logger")
    (folder / "server.js").write_text(SERVER % PORT)
    return folder


def test_containers_do_not_notice_that_nobody_listens(container: str, server: Path) -> None:
    options = {**OPTIONS, "fluentd-address": f"127.0.0.1:{PORT}", "labels": "kasaneha.deploy.service"}
    arguments = [word for key, value in options.items() for word in ("--log-opt", f"{key}={value}")]
    script = "trap 'exit 0' TERM; for i in $(seq 200); do echo line $i; sleep 0.1 & wait $!; done"
    docker("run", "--detach", "--name", container, "--label", "kasaneha.deploy.service=backend", "--log-driver", "fluentd", *arguments,
                     "debian:trixie-slim", "sh", "-c", script)  # fmt: skip
    docker("stop", "--time", "60", container)  # by its own end, and before the last line
    assert inspected(container)["ExitCode"] == 0
    docker("start", container)  # nobody has listened so far
    with (server / "out").open("w") as out, subprocess.Popen(["node", "server.js"], cwd=server, stdout=out) as listener:
        until("what was written before it listened", lambda: sum(line.startswith("{") for line in lines(server)) > 20, 60)
        listener.terminate()
    entries = [json.loads(line) for line in lines(server) if line.endswith("}")]
    assert len(entries) > 20 and all(
        entry["tag"] == "docker" and entry["kasaneha.deploy.service"] == "backend" for entry in entries
    )
    assert [entry["log"] for entry in entries if entry["log"] == "line 1"]  # what was written before it listened
    docker("stop", "--time", "60", container)
    assert inspected(container)["ExitCode"] == 0
