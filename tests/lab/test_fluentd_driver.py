# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's own driver `fluentd` with the role's options, against a real server of the forward protocol (npm: @fluent-org/logger)."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
PORT = 24299
SERVER = """
const { FluentServer } = require("@fluent-org/logger");
const server = new FluentServer({ listenOptions: { port: %d, host: "127.0.0.1" } });
server.on("entry", (tag, time, record) => console.log(JSON.stringify({ tag, ...record, log: String(record.log) })));
server.listen();
"""
OPTIONS = yaml.safe_load((ROOT / "roles/app/vars/main.yml").read_text())["_app_log_drivers"]["fluentd"]


def docker(*arguments: str) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    subprocess.run(["docker", *arguments], check=True, capture_output=True)
    return time.monotonic() - began


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
    started = docker("run", "--detach", "--name", container, "--label", "kasaneha.deploy.service=backend", "--log-driver", "fluentd", *arguments,
                     "debian:trixie-slim", "sh", "-c", script)  # fmt: skip
    assert started < 10
    assert docker("stop", "--time", "5", container) < 5 and docker("start", container) < 10  # nobody has listened so far
    with (server / "out").open("w") as out, subprocess.Popen(["node", "server.js"], cwd=server, stdout=out) as listener:
        time.sleep(8)
        listener.terminate()
    entries = [json.loads(line) for line in (server / "out").read_text().splitlines()]
    assert len(entries) > 20 and all(
        entry["tag"] == "docker" and entry["kasaneha.deploy.service"] == "backend" for entry in entries
    )
    assert [entry["log"] for entry in entries if entry["log"] == "line 1"]  # what was written before it listened
    assert docker("stop", "--time", "5", container) < 8
