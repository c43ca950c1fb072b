# SPDX-License-Identifier: GPL-3.0-or-later
"""The example application's backend keeps the contract of lab/app/README.md, in real containers.

Every backend here runs read-only, without capabilities, without new privileges and as its own user, and
in the end its log is searched for the secrets that it was given.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator

import pytest
import requests

from .application import BASE_ENV, CACHE_PASSWORD, DATABASE_PASSWORD, MIGRATE, SECRETS, Services, ask, leaks, login, new_session
from .boxes import APP, Box, until


def test_health_info_and_metrics(backend):
    app = backend().healthy()
    answer = app.health()
    assert answer.json() == {"status": "ok", "release": "v1.0.0", "database": "ok", "cache": "ok"}
    assert answer.headers["X-Release"] == "v1.0.0"
    first, second = app.get("/api/v1/info").json(), app.get("/api/v1/info").json()
    assert first["database_tls"] is True and first["env"] == "production"
    assert first["hostname"] == app.id[:12] and second["visits"] == first["visits"] + 1
    assert app.get(f"/api/v1/nothing/{secrets.token_hex(4)}").headers["X-Release"] == "v1.0.0"
    app.get("/api/v1/slow", params={"seconds": 0})
    assert app.get("/api/v1/slow", params={"seconds": 61}).status_code == 422

    metrics = app.get("/metrics").text
    assert 'http_requests_total{method="GET",path="/api/v1/info",status="200"} 2.0' in metrics
    assert 'http_requests_total{method="GET",path="unmatched",status="404"} 1.0' in metrics
    assert 'app_info{env="production",release="v1.0.0"} 1.0' in metrics
    assert 'http_request_duration_seconds_count{method="GET",path="/api/v1/slow"} 2.0' in metrics
    app.passes_its_own_check()
    assert app.resident() < 75


def test_an_entry_is_answered_token_by_token_and_kept(steady):
    app, counter = steady, r"^gemini_api_requests_total (\S+)$"
    me, [before] = login(app), re.findall(counter, app.get("/metrics").text, re.M)
    session = new_session(app, me)
    events, times = ask(app, me, session, "Rain on the maple.", seconds=1)
    tokens = [data["token"] for event, data in events if event == "message"]
    assert len(tokens) > 10 and events[-1] == ("done", {"stored": True})
    assert times[-1] - times[0] > 0.5, "all tokens came at once"

    kept = app.get(f"/api/v1/sessions/{session}", headers=me).json()
    assert [(one["role"], one["text"]) for one in kept["messages"]] == [
        ("user", "Rain on the maple."),
        ("assistant", "".join(tokens)),
    ]
    assert session in [one["id"] for one in app.get("/api/v1/sessions", headers=me).json()]
    assert re.findall(counter, app.get("/metrics").text, re.M) == [str(float(before) + 1)]

    other = login(app, "sora")
    assert app.get(f"/api/v1/sessions/{session}", headers=other).status_code == 404
    for wrong in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": me["Authorization"][:-2] + "xx"}):
        assert app.get("/api/v1/sessions", headers=wrong).status_code == 401


def test_uploads_are_shared_by_both_colours(steady, backend):
    blue, green = steady, backend()
    me, content = login(blue), secrets.token_bytes(3_000_000)
    answer = requests.post(blue.url + "/api/v1/uploads", files={"file": ("leaf.html", content)}, headers=me, timeout=60)
    assert answer.status_code == 201 and answer.json()["size"] == len(content)
    path = f"/api/v1/uploads/{answer.json()['id']}"
    got = green.healthy().get(path, headers=me)
    assert got.content == content and got.headers["Content-Type"] == "application/octet-stream"
    assert green.get(path).status_code == 401 and green.get(path, headers=login(green, "sora")).status_code == 404


def test_logs_are_json_lines_with_the_request_id_and_no_token(steady):
    app, me = steady, login(steady)
    app.get("/api/v1/sessions", params={"key": "in-the-query"}, headers={**me, "X-Request-ID": "req-42"})
    app.get("/api/v1/sessions", headers={"X-Request-ID": 'x"} {forged'})
    token = me["Authorization"].split()[1]
    lines = [json.loads(line) for line in app.said().splitlines()]
    [line] = [line for line in lines if line.get("request_id") == "req-42"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/sessions", 200)
    assert not leaks(app.said(), [token, token.split(".")[2], "in-the-query", "forged"])
    assert leaks(app.said() + token, [token]), "the search itself does not work"


def test_it_runs_hardened(steady):
    app = steady
    assert app.run("id", "-u") == (0, "10001")
    code, output = app.run("touch", "/app/new")
    assert code != 0 and "Read-only" in output
    status = app.run("cat", "/proc/1/status")[1]
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M) and re.search(r"^CapBnd:\s+0+$", status, re.M)


# --- settings -------------------------------------------------------------------------------------


REFUSED: list[tuple[dict[str, str | None], str]] = [
    ({"JWT_SECRET": None}, "JWT_SECRET must have 32 characters"),
    ({"JWT_SECRET": "short-and-secret"}, "JWT_SECRET must have 32 characters"),
    ({"DATABASE_URL": None}, "DATABASE_URL is not set"),
    ({"DATABASE_URL": BASE_ENV["DATABASE_URL"].replace("verify-full", "disable")}, "DATABASE_URL must have sslmode"),
    ({"DATABASE_URL": BASE_ENV["DATABASE_URL"].replace("verify-full", "prefer")}, "DATABASE_URL must have sslmode"),
    ({"DATABASE_URL": BASE_ENV["DATABASE_URL"].partition("?")[0]}, "DATABASE_URL must have sslmode"),
    ({"DATABASE_URL": f"kasaneha:{DATABASE_PASSWORD}@postgres"}, "DATABASE_URL is not a PostgreSQL URL"),
    ({"REDIS_URL": CACHE_PASSWORD}, "REDIS_URL is not a Redis URL"),
    ({"PORT": "http"}, "PORT is not a number"),
    ({"FAULT": "gremlins"}, "FAULT must be one of"),
]


@pytest.fixture(scope="module")
def refused(services: Services) -> list[Box]:
    """Started all at once: each needs a second of its own to say no."""
    return [services.start(services.lab, **env) for env, _ in REFUSED]


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[message for _, message in REFUSED])
def test_bad_settings_are_refused_in_one_line_without_their_value(refused, number):
    app, (env, message) = refused[number], REFUSED[number]
    assert app.ended() == 1
    assert app.said().count("\n") == 1 and message in app.said()
    assert app.said(stdout=False) == app.said()
    assert not leaks(app.said(), [value for name, value in env.items() if value and name not in ("FAULT", "PORT")] + SECRETS)


def test_development_may_do_without_tls_and_secrets(backend):
    url = BASE_ENV["DATABASE_URL"].partition("?")[0] + "?sslmode=disable"
    app = backend(ENV="development", DATABASE_URL=url, REDIS_URL=None, JWT_SECRET=None, GEMINI_API_KEY=None).healthy()
    assert app.health().json()["cache"] == "off"
    assert app.get("/api/v1/info").json()["database_tls"] is False
    me = login(app)
    url = f"{app.url}/api/v1/sessions/{new_session(app, me)}/messages"
    answer = requests.post(url, json={"text": "x"}, headers=me, timeout=60)
    assert answer.status_code == 503 and "GEMINI_API_KEY" in answer.text


def test_both_kinds_of_secrets(lab, backend, steady, tmp_path):
    file_image = lab.build("backend", RELEASE="v1.0.0", SECRETS="file")
    names = ["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "GEMINI_API_KEY"]
    files, variables = {}, {}
    for name in names:
        (tmp_path / name).write_text(BASE_ENV[name] + "\n")
        (tmp_path / name).chmod(0o444)
        files[str(tmp_path / name)] = f"/run/secrets/{name.lower()}"
        variables[f"{name}_FILE"] = f"/run/secrets/{name.lower()}"
    nothing: dict[str, str | None] = dict.fromkeys(names)

    from_files = backend(file_image, files, **nothing, **variables).healthy()
    # Signed by one, accepted by the other: both read the same secret.
    me = login(from_files)
    assert steady.get("/api/v1/sessions", headers=me).status_code == 200
    assert ask(from_files, me, new_session(from_files, me), "hello", 0)[0][-1][0] == "done"
    assert not leaks(json.dumps(lab.client.api.inspect_container(from_files.id)), SECRETS)

    # Each kind ignores the other's.
    only_plain, only_files = backend(file_image), backend("backend", files, **nothing, **variables)
    missing = backend(file_image, None, **nothing, **variables)
    for app, message in (
        (only_plain, "DATABASE_URL is not set"),
        (only_files, "DATABASE_URL is not set"),
        (missing, "No such file"),
    ):
        assert app.ended() == 1 and message in app.said()


# --- migrations -----------------------------------------------------------------------------------


@pytest.fixture
def fresh(services: Services) -> Iterator[str]:
    name = f"fresh_{secrets.token_hex(4)}"
    services.sql(f"CREATE DATABASE {name}")
    yield name
    services.sql(f"DROP DATABASE {name} WITH (FORCE)")


def tables(services: Services, database: str) -> set[str]:
    return set(
        services.sql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace", database
        ).split()
    )


def test_migrations_run_once_and_one_migrator_waits_for_another(lab, services, fresh):
    url = BASE_ENV["DATABASE_URL"].replace("kasaneha_db", fresh)
    other = "SELECT pg_advisory_lock(hashtext('kasaneha/migrate')), pg_sleep(600)"
    holding = threading.Thread(target=lambda: services.sql(other, fresh, quiet=True))
    holding.start()
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    until("another one that holds it", lambda: services.sql(held) == "1")
    migrator = services.start(lab, command=MIGRATE, DATABASE_URL=url, JWT_SECRET=None)
    until(
        "a migrator that waits",
        lambda: services.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "1",
    )
    assert tables(services, fresh) == set()
    services.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()"
    )
    holding.join()
    assert migrator.ended() == 0
    output = migrator.said()
    steps = [line.split()[-1] for line in output.splitlines() if "migrate: applied" in line]
    assert steps == sorted(path.stem for path in (APP / "backend/migrations").glob("*.sql"))
    assert tables(services, fresh) == {"schema_migrations", "users", "sessions", "messages", "uploads"}
    code, output = services.migrate(DATABASE_URL=url)
    assert code == 0 and "0 applied, 3 were already there" in output


def test_fault_failing_migration_rolls_its_step_back(services, fresh):
    url = BASE_ENV["DATABASE_URL"].replace("kasaneha_db", fresh)
    for _ in range(2):  # on an empty database, and on one that has everything
        code, output = services.migrate(DATABASE_URL=url, FAULT="failing_migration")
        assert code == 1 and 'relation "not_there" does not exist' in output
        assert tables(services, fresh) == {"schema_migrations", "users", "sessions", "messages", "uploads"}
    assert services.migrate(DATABASE_URL=url.replace(DATABASE_PASSWORD, "wrong"))[0] == 1


def test_fault_slow_migration_holds_its_lock(lab, services):
    held = "SELECT count(*) FROM pg_locks WHERE relation = 'sessions'::regclass AND mode = 'AccessExclusiveLock' AND granted"
    assert services.sql(held) == "0"
    migrator = services.start(lab, command=MIGRATE, FAULT="slow_migration", FAULT_SECONDS="6")
    until("the lock", lambda: services.sql(held) == "1")
    assert migrator.ended() == 0 and services.sql(held) == "0"
