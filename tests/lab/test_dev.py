# SPDX-License-Identifier: GPL-3.0-or-later
"""The developer's machine: `site.yml -i inventories/dev` as a user who is not root, with real sources, real builds and real edits.

The tests of this file follow one day and stand in its order.
"""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from .boxes import Lab, until
from .developer import PORTS, Developer, edit

pytestmark = pytest.mark.long  # npm and Debian's node packages are fetched, which takes minutes where nothing is cached


@pytest.fixture(scope="module")
def developer() -> Iterator[Developer]:
    with tempfile.TemporaryDirectory(prefix="kasaneha-dev-") as folder:  # pytest's own folders are root's alone
        made = Developer(Path(folder))
        try:
            yield made
        finally:
            made.away()


def changes(done: subprocess.CompletedProcess[str]) -> int:
    """How much a run changed; it must have gone well."""
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return int(re.findall(r"changed=(\d+) ", done.stdout)[-1])


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the preflight refused; it must have changed nothing."""
    assert done.returncode != 0
    assert re.findall(r"changed=(\d+) ", done.stdout)[-1] == "0", done.stdout[-3000:]
    told = done.stdout.split("nothing was changed:")[-1].split("PLAY RECAP")[0]
    return [line.strip()[len("- dev: ") :] for line in told.splitlines() if line.strip().startswith("- dev: ")]


def holding(port: int) -> socket.socket:
    held = socket.create_server(("127.0.0.1", port))
    held.listen()
    return held


# --- what cannot work is said before anything is there ----------------------------------------------


def test_one_message_for_each_thing_that_is_missing(developer: Developer) -> None:
    (developer.home / "empty").mkdir()
    with holding(PORTS["dev_backend_port"]):
        done = developer.site(dev_frontend=str(developer.home / "nowhere"), dev_backend=str(developer.home / "empty"))
    found = problems(done)
    assert [problem.split(" on dev")[0] for problem in found[:2]] == [
        f"app_services.backend.build.dockerfile: there is no Dockerfile {developer.home}/empty/Dockerfile.dev",
        f"app_services.frontend.source.path: there is no directory {developer.home}/nowhere",
    ]
    assert re.fullmatch(r"app_services.backend.publish: port 28080 is taken by .*Stop it, or choose another port\.", found[2])
    assert len(found) == 3
    assert not developer.run("docker", "ps", "--all", "--quiet", "--filter", f"name={developer.app}").stdout


def test_a_user_who_may_not_use_docker_is_told_how(developer: Developer) -> None:
    (told,) = problems(developer.site(groups="--clear-groups"))
    assert told.startswith(f"Docker: the user {developer.user} may not use it")
    assert f"sudo usermod -aG docker {developer.user}" in told


def test_a_docker_that_does_not_answer(developer: Developer) -> None:
    (told,) = problems(developer.site(env={"DOCKER_HOST": "unix:///nowhere/docker.sock"}))
    assert told.startswith("Docker: does not answer")


# --- the first run, and the second ----------------------------------------------------------------------


def test_the_first_run_brings_everything_up(developer: Developer) -> None:
    began = time.monotonic()
    assert changes(developer.site()) > 0
    print(f"first run: {time.monotonic() - began:.0f} s")
    assert "Good morning" in developer.page()
    assert developer.greeting() == "Good morning"
    assert "/debug/pprof/" in requests.get(developer.url("dev_pprof_port", "/debug/pprof/"), timeout=10).text
    assert developer.sql("SELECT version FROM schema_migrations") == "001_entries.sql"
    times = re.findall(r"T(\S+)Z$", developer.started(), re.MULTILINE)
    assert times[:2] < times[2:3] < times[3:]  # databases, backend, frontend


def test_the_second_run_changes_nothing(developer: Developer) -> None:
    before = developer.started()
    assert changes(developer.site()) == 0
    assert changes(developer.site("--check", "--diff")) == 0
    assert developer.started() == before


def test_nothing_is_root_s_and_nothing_is_outside(developer: Developer) -> None:
    for folder in (developer.frontend, developer.backend, developer.checkout):
        assert not developer.run("find", str(folder), "!", "-user", developer.user).stdout
    assert not list((developer.frontend / "node_modules").iterdir())  # the container has its own
    assert (developer.checkout / ".dev").stat().st_mode & 0o077 == 0  # secrets are in there
    for folder in ("/etc", "/opt", "/var/lib"):
        assert not Path(folder, developer.app).exists()


def reached(lab: Lab, gateway: str, ports: list[int]) -> list[int]:
    """Which ports of this machine a container beside the developer's reaches."""
    script = "".join(f"(exec 3<>/dev/tcp/{gateway}/{port}) 2>/dev/null && echo {port}; " for port in ports)
    box = lab.start("debian:trixie-slim", ["bash", "-c", f"{script}true"])
    assert box.ended() == 0
    return [int(port) for port in box.said().split()]


def test_a_neighbouring_container_finds_no_port_open(developer: Developer, lab: Lab) -> None:
    open_one = lab.start("debian:trixie-slim", ["sleep", "60"], ports={"80/tcp": ("0.0.0.0", None)})
    open_one.reload()
    number = int(open_one.ports["80/tcp"][0]["HostPort"])
    gateway = open_one.attrs["NetworkSettings"]["Gateway"]
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    assert {port for port in PORTS.values() if f"127.0.0.1:{port} " in listening} == set(PORTS.values())
    assert reached(lab, gateway, [number, *PORTS.values()]) == [number]  # the one that is open to all is found


# --- edits ---------------------------------------------------------------------------------------------


def seconds_until(what: str, seen: Callable[[], Any], limit: float) -> float:
    began = time.monotonic()
    until(what, seen, limit)
    return time.monotonic() - began


def test_an_edit_is_served_without_a_restart(developer: Developer) -> None:
    before = developer.started()
    edit(developer.frontend / "src/pages/index.astro", "Good morning", "Good evening")
    page = seconds_until("the page", lambda: "Good evening" in developer.page(), 3)
    edit(developer.backend / "cmd/api/main.go", "Good morning", "Good night")
    answer = seconds_until("the backend", lambda: developer.greeting() == "Good night", 10)
    print(f"frontend {page:.2f} s, backend {answer:.2f} s")
    assert developer.started() == before


def test_what_does_not_compile_is_said_and_the_rest_stays(developer: Developer) -> None:
    before = developer.started()
    source = developer.backend / "cmd/api/main.go"
    edit(source, "func main() {", "func main() {\n\tunknown()")
    until("the compiler's message", lambda: "undefined: unknown" in developer.logs("backend"), 15)
    assert developer.greeting() == "Good night"  # the program before it
    edit(developer.frontend / "src/pages/index.astro", "const api =", "const api = =")
    until("the page's error", lambda: requests.get(developer.url("dev_frontend_port"), timeout=10).status_code == 500, 5)
    assert "index.astro" in developer.logs("frontend")
    edit(source, "\tunknown()\n", "")
    edit(developer.frontend / "src/pages/index.astro", "const api = =", "const api =")
    until("the page again", lambda: "Good evening" in developer.page(), 5)
    assert developer.started() == before


def test_a_build_that_fails_shows_its_last_lines_and_the_rest_stays(developer: Developer) -> None:
    before = developer.started()
    edit(developer.backend / "Dockerfile.dev", "WORKDIR /app", "WORKDIR /app\nRUN echo this is why && false")
    done = developer.site()
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and "Release dev cannot be built on dev. Nothing of the application was changed." in said
    assert "this is why" in said
    edit(developer.backend / "Dockerfile.dev", "\nRUN echo this is why && false", "")
    assert changes(developer.site()) == 0  # the same source is the same image
    assert developer.started() == before


# --- stop, start, reset ----------------------------------------------------------------------------------


def test_data_survive_stop_and_start(developer: Developer) -> None:
    """As it is typed: `make dev` with the settings in own.yml, which makes the Python environment the first time."""
    developer.sql("INSERT INTO entries (text) VALUES ('kept')")
    assert developer.make("dev-stop").returncode == 0
    with pytest.raises(requests.ConnectionError):
        developer.greeting()
    developer.settings()
    assert changes(developer.make("dev")) > 0
    assert developer.sql("SELECT text FROM entries") == "kept"
    assert developer.greeting() == "Good night"
    assert changes(developer.make("dev")) == 0
    assert not developer.run("find", str(developer.checkout), "!", "-user", developer.user).stdout


def test_logs_and_the_database_are_one_command_each(developer: Developer) -> None:
    said = developer.make("dev-logs", within=5).stdout
    assert re.search(r"^backend-1|^\S*backend\S* +\|", said, re.MULTILINE) and re.search(
        r"^\S*frontend\S* +\|", said, re.MULTILINE
    ), said
    assert "kept" in developer.make("dev-psql", stdin="SELECT text FROM entries;\n").stdout


def test_migrations_that_came_later_are_one_command(developer: Developer) -> None:
    (developer.backend / "migrations/002_more.sql").write_text("CREATE TABLE more (id bigint);")
    done = developer.run("make", "dev-migrate", f"DEV={developer.app}", "COMMAND=go run ./cmd/api migrate up")
    assert done.returncode == 0 and "applied migrations/002_more.sql" in done.stdout + done.stderr, done.stderr


def test_a_database_of_another_major_is_not_passed_over(developer: Developer) -> None:
    (told,) = problems(developer.site(app_postgres_major=17, app_postgres_image="kasaneha-lab/postgres:17"))
    assert told.startswith(
        f"app_postgres_major: is 17, but the volume {developer.app}-data_postgres holds a database of PostgreSQL 15."
    )


def test_reset_throws_the_data_away(developer: Developer) -> None:
    assert developer.make("dev-reset").returncode == 0
    left = developer.run("docker", "volume", "ls", "--quiet", "--filter", f"name={developer.app}").stdout
    left += developer.run("docker", "ps", "--all", "--quiet", "--filter", f"name={developer.app}").stdout
    assert not left
