# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector with a real journald, a real Docker and containers that print: in one box, without a server around it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import zipapp

BOX, WRITER = "kasaneha-lab-logs", "kasaneha-lab-logs-writer"
APP = "lablogs"
CONFIG = {
    "app": APP, "containers": True, "files": [], "secret_dirs": ["/secrets"], "redact": [], "anonymous": False, "burst_lines": 2000,
    "burst_bytes": 4 << 20, "burst_seconds": 5, "metrics": "", "max_bytes": 1, "upload": False,
}  # fmt: skip
START = """
mkdir -p /run/systemd/journal /run/log/journal /var/log/journal /etc/systemd/journald.conf.d /secrets; systemd-machine-id-setup
printf 'c4n4ry/of+this server' >/secrets/one
printf '[Journal]\\nStorage=persistent\\nRateLimitIntervalSec=0\\n' >/etc/systemd/journald.conf.d/lab.conf
/usr/lib/systemd/systemd-journald & sleep 1; journalctl --flush
# What systemd does with the service: Restart=always.
while :; do lablogs-logs collect; sleep 0.3; done
"""
Find = Callable[..., list[dict[str, str]]]


def docker(*arguments: str, check: bool = True) -> str:
    return subprocess.run(["docker", *arguments], check=check, capture_output=True, text=True).stdout


def write(script: str, *options: str) -> None:
    """A container of the application that runs a script."""
    docker("rm", "--force", WRITER, check=False)
    labels = [
        "--label",
        f"kasaneha.deploy.app={APP}",
        "--label",
        "kasaneha.deploy.service=writer",
        "--label",
        "kasaneha.deploy.release=v1",
    ]
    docker(
        "run",
        "--detach",
        "--name",
        WRITER,
        "--log-driver",
        "local",
        *labels,
        *options,
        "--entrypoint",
        "bash",
        "kasaneha-lab/server:trixie",
        "-c",
        script,
    )


@pytest.fixture(scope="module")
def find(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Find]:
    """Asks the command, for as long as it takes to find so many."""
    folder = tmp_path_factory.mktemp("logs")
    (folder / "logs").write_bytes(zipapp.pack("logs.command"))
    (folder / "logs").chmod(0o755)
    (folder / "logs.json").write_text(json.dumps(CONFIG))
    docker("rm", "--force", BOX, check=False)
    docker("run", "--detach", "--name", BOX, "--tmpfs", "/run", "--volume=/var/run/docker.sock:/var/run/docker.sock",
           f"--volume={folder}/logs:/usr/local/sbin/{APP}-logs:ro", f"--volume={folder}/logs.json:/etc/{APP}/logs.json:ro", "--entrypoint", "bash",
           "kasaneha-lab/server:trixie", "-c", START)  # fmt: skip

    def ask(*options: str, count: int = 1, seconds: float = 15) -> list[dict[str, str]]:
        end = time.monotonic() + seconds
        while True:
            found = [json.loads(line) for line in docker("exec", BOX, f"{APP}-logs", "--json", *options).splitlines()]
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.3)

    yield ask
    docker("rm", "--force", "--volumes", BOX, WRITER, check=False)


def test_lines_of_every_kind(find: Find) -> None:
    write("""
echo '{"level":"error","message":"kinds one","token":"c4n4ry-token"}'; echo 'kinds two c4n4ry/of+this server' >&2
head -c 40960 /dev/zero | tr '\\0' x; echo kinds three; printf 'kinds four \\xff日本語\\n'
printf 'Traceback (most recent call last):\\n  kinds five\\n    y\\nValueError: z\\n' >&2; echo -n kinds without end
""")
    found = find("--grep", "kinds", count=6)
    assert (
        len(found) == 6
        and {entry["service"] for entry in found} == {"writer"}
        and {entry["release"] for entry in found} == {"v1"}
    )
    by = {
        next(word for word in ("one", "two", "three", "four", "five", "without") if f"kinds {word}" in entry["message"]): entry
        for entry in found
    }
    assert by["one"]["level"] == "err" and json.loads(by["one"]["message"])["token"] == "[redacted]"
    assert by["two"]["message"] == "kinds two [redacted]" and by["two"]["stream"] == "stderr"
    assert len(by["three"]["message"]) == 40960 + len("kinds three") and by["four"]["message"] == "kinds four \\xff日本語"
    assert by["five"]["message"].count("\n") == 3
    # In the journal itself, not only in what the command shows.
    assert "c4n4ry" not in docker("exec", BOX, "journalctl", "--output=cat", "--all", "--no-pager")


def test_a_collector_that_is_killed_again_and_again_loses_nothing_and_says_nothing_twice(find: Find) -> None:
    write("for i in $(seq 500); do echo kill-out-$i; echo kill-err-$i >&2; sleep 0.01; done")
    for _ in range(4):
        time.sleep(1.3)
        docker("exec", BOX, "bash", "-c", f"kill -9 $(pgrep --full '^/usr/bin/python3 .*/{APP}-logs collect')")
    docker("wait", WRITER)
    found = [entry["message"] for entry in find("--grep", "kill-(out|err)-", count=1000)]
    assert len(found) == 1000 == len(set(found))


def test_a_container_that_starts_again_goes_on_where_it_ended(find: Find) -> None:
    write("echo again-$RANDOM-$SECONDS; echo again-end")
    for _ in range(3):
        docker("wait", WRITER)
        docker("start", WRITER)
    docker("wait", WRITER)
    assert len(find("--grep", "again-", count=8)) == 8


def test_who_writes_too_much_is_cut_off_and_comes_back(find: Find) -> None:
    write("for i in $(seq 6000); do echo much-$i; done; sleep 6; echo much-calm")
    assert find("--grep", "much-calm", seconds=20)
    kept = find("--grep", "much-[0-9]")
    assert 2000 <= len(kept) <= 4000  # of at most two windows
    assert find("--grep", "more than 2000 lines")[0]["level"] == "warning"
