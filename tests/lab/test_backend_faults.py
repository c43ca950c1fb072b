# SPDX-License-Identifier: GPL-3.0-or-later
"""How the example application's backend ends, what it outlives, and the faults that it can be given."""

from __future__ import annotations

import re
import threading
import time

import pytest
import requests

from .application import ask, login, new_session
from .boxes import Box, until


def connected(app: Box, count: int) -> None:
    """Wait until so many requests are with the application: connections to its port 8080 that stand."""
    shown = re.compile(r"^ *\d+: \w+:1F90 \w+:\w+ 01 ", re.M)
    until("requests in flight", lambda: len(shown.findall(app.run("cat", "/proc/net/tcp", "/proc/net/tcp6")[1])) >= count)


def test_sigterm_lets_streams_and_requests_finish(backend):
    app = backend().healthy()
    me, url, results = login(app), app.url, {}
    session, stream = new_session(app, me), []
    work = [
        threading.Thread(
            target=lambda: results.update(slow=requests.get(url + "/api/v1/slow?seconds=4", timeout=60).status_code)
        ),
        threading.Thread(target=lambda: ask(app, me, session, "the last entry", 5, stream)),
    ]
    work[0].start()
    connected(app, 1)
    work[1].start()
    until("the first words of the stream", lambda: stream)
    app.kill("SIGTERM")
    draining = until(
        "503 while draining", lambda: (answer := requests.get(url + "/health", timeout=5)).status_code == 503 and answer
    )
    assert draining.json()["status"] == "unavailable" and draining.json()["database"] == "ok"
    for one in work:
        one.join()
    assert results["slow"] == 200 and stream[-1] == ("done", {"stored": True})
    assert app.ended() == 0 and '"cut_off": 0' in app.said()


def test_a_drain_is_bounded_and_an_idle_one_is_short(backend):
    app, idle = backend(DRAIN_SECONDS="1"), backend()
    url, answers = app.healthy().url, []
    request = threading.Thread(
        target=lambda: answers.append(requests.get(url + "/api/v1/slow?seconds=60", timeout=90).status_code)
    )
    request.start()
    connected(app, 1)
    app.kill("SIGTERM")
    assert app.ended(50) == 0  # and not after the 60 s of the request
    request.join()
    assert answers == [503] and '"cut_off": 1' in app.said()
    idle.healthy().kill("SIGTERM")
    assert idle.ended(20) == 0  # and not after the 25 s that a drain may take
    assert '"cut_off": 0' in idle.said()


# --- outages --------------------------------------------------------------------------------------


@pytest.mark.clock  # an answer about health has two seconds for the database
def test_it_outlives_outages_and_starts_without_a_database(services, backend):
    app = backend().healthy()
    app.reload()
    started = app.attrs["State"]["StartedAt"]
    burst = [threading.Thread(target=lambda: app.get("/api/v1/info")) for _ in range(8)]  # several connections in each pool
    for one in burst:
        one.start()
    for one in burst:
        one.join()
    services.postgres.stop()
    try:
        services.redis.restart()
        late = backend()
        answer = until("an answer", late.health)
        assert answer.status_code == 503 and answer.json()["status"] == "unavailable"
        assert late.run("./main", "healthcheck")[0] == 1
    finally:
        services.postgres.start()
    until("the database", lambda: services.sql("SELECT 1", quiet=True) == "1")
    # The very first request already finds a connection that works, though all that it has are dead.
    assert [app.health().json() for _ in range(5)] == [{"status": "ok", "release": "v1.0.0", "database": "ok", "cache": "ok"}] * 5
    login(app)
    until("health", lambda: late.health().ok)
    assert late.run("./main", "healthcheck")[0] == 0
    app.reload()
    assert app.attrs["State"]["StartedAt"] == started


@pytest.mark.clock
@pytest.mark.parametrize("part", ["database", "cache"])
def test_health_says_within_seconds_what_hangs(services, steady, part):
    server = {"database": services.postgres, "cache": services.redis}[part]
    server.pause()
    try:
        began, answer = time.monotonic(), steady.health()
        assert answer.status_code == 503 and time.monotonic() - began < 3
        assert {**answer.json(), part: "ok"} == {"status": "unavailable", "release": "v1.0.0", "database": "ok", "cache": "ok"}
        assert answer.json()[part] == "does not answer"
        token = requests.post(steady.url + "/api/v1/token", json={"name": "x"}, timeout=60)
        assert token.status_code == (503 if part == "database" else 200)
    finally:
        server.unpause()
    until("health", lambda: steady.health().ok)


# --- faults of the running server (those of migrations stand with the migrations) -----------------


def listens(app: Box) -> bool:
    try:
        return app.health().status_code > 0
    except requests.ConnectionError:
        return False


def test_fault_never_listens(backend):
    app = backend(FAULT="never_listens")
    until("the start", lambda: "fault never_listens" in app.said())
    time.sleep(1)
    assert app.status == "running" and not listens(app)
    app.kill("SIGTERM")
    assert app.ended() == 0


def test_fault_health_500(backend):
    app = backend(FAULT="health_500")
    answer = until("an answer", app.health)
    assert answer.status_code == 500 and app.get("/api/v1/info").status_code == 200
    assert app.run("./main", "healthcheck")[0] == 1


def test_fault_slow_start(backend):
    began = time.monotonic()
    app = backend(FAULT="slow_start", FAULT_SECONDS="4")
    while time.monotonic() - began < 3.5:
        assert not listens(app)
        time.sleep(0.2)
    app.healthy()


def test_fault_crash_after_served(backend):
    app = backend(FAULT="crash_after_served", FAULT_SECONDS="2").healthy()
    time.sleep(2.5)
    assert app.status == "running" and app.health().ok  # whoever asks it directly proves it, and does not use it
    assert app.get("/api/v1/info", headers={"X-Forwarded-For": "192.0.2.1"}).ok
    assert app.ended() == 1


def test_fault_ignore_sigterm(backend):
    app = backend(FAULT="ignore_sigterm").healthy()
    app.kill("SIGTERM")
    time.sleep(1.5)
    assert app.status == "running" and app.health().ok
    app.stop(timeout=1)
    assert app.ended() == 137


def test_a_built_in_fault_can_be_switched_off_and_a_release_costs_no_layer(lab, backend):
    tag = lab.build("backend", RELEASE="v9.9.9", FAULT="health_500")
    image, plain = lab.client.images.get(tag), lab.client.images.get(lab.image("backend"))
    assert image.labels["org.opencontainers.image.version"] == "v9.9.9"
    assert image.attrs["RootFS"]["Layers"] == plain.attrs["RootFS"]["Layers"] and image.id != plain.id
    answer = until("an answer", backend(tag).health)
    assert answer.status_code == 500 and answer.headers["X-Release"] == "v9.9.9"
    backend(tag, FAULT="").healthy()
