# SPDX-License-Identifier: GPL-3.0-or-later
"""What an old server is recognised by, what stops a takeover, and which lines leave a crontab."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.adopt import decide

SECRET = "postgres://kasaneha:canary-9a51@postgres/kasaneha_db"
WANTED = {"major": 15, "hosts": ["one"], "docker_source": "distribution", "reserve": 0}
SERVICES = {"backend": {"user": "10001:10001", "volumes": ["uploads:/app/uploads"]}, "frontend": {}}


def container(name: str, **changes: Any) -> dict[str, Any]:
    """Of `docker inspect` what is looked at."""
    ports = {f"{port}/tcp": [{"HostIp": "", "HostPort": str(port)}] for port in changes.get("ports", [])}
    mounts = [{"Destination": inside, "Source": source} for inside, source in changes.get("mounts", {}).items()]
    return {
        "Name": f"/{name}",
        "State": {"Status": changes.get("status", "running")},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}, "PortBindings": ports},
        "Mounts": mounts,
        "Config": {"Image": "image", "Env": changes.get("env", []), "Labels": changes.get("labels")},
    }


def server(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """The design's containers, some of them otherwise."""
    design: dict[str, dict[str, Any]] = {
        "postgres": {
            "env": ["POSTGRES_USER=kasaneha", "POSTGRES_DB=kasaneha_db"],
            "mounts": {"/var/lib/postgresql/data": "/v/pg"},
        },
        "backend": {"env": [f"DATABASE_URL={SECRET}"], "mounts": {"/app/uploads": "/opt/k/uploads"}},
        "nginx": {"ports": [80, 443], "mounts": {"/etc/nginx/ssl": "/opt/k/ssl", "/etc/nginx/nginx.conf": "/opt/k/nginx.conf"}},
    }
    return [container(f"kasaneha_{name}", **{**entry, **changes.get(name, {})}) for name, entry in design.items()]


def facts(old: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A server on which nothing is wrong."""
    return {"major": 15, "size": 5_000_000, "files": decide.directories(old, SERVICES, "/var/lib/kasaneha", {}), **changes}


def test_the_design_is_recognised_and_no_secret_leaves() -> None:
    ours = container("kasaneha-postgres", labels={decide.LABEL: "kasaneha"})
    old = decide.recognise([*server(), ours, container("shop_web", ports=[8081])], "kasaneha_")
    assert list(old["services"]) == ["nginx", "backend", "postgres"]  # in the order in which they are stopped
    postgres = old["services"]["postgres"]
    assert (postgres["user"], postgres["database"], postgres["data"]) == ("kasaneha", "kasaneha_db", "/v/pg")
    assert [entry["name"] for entry in old["others"]] == ["shop_web"]
    assert "canary" not in json.dumps(old)


@pytest.mark.parametrize(
    ("containers", "prefix", "services"),
    [
        ([], "kasaneha_", []),
        ([container("shop_web")], "kasaneha_", []),
        ([container("kasaneha-postgres", labels={decide.LABEL: "kasaneha"})], "kasaneha-", []),
        ([container("shop_postgres")], "shop_", ["postgres"]),  # any application of that shape
        (server(), "", []),
    ],
)
def test_nothing_else_is(containers: list[dict[str, Any]], prefix: str, services: list[str]) -> None:
    old = decide.recognise(containers, prefix)
    assert list(old["services"]) == services and not old["others"]


@pytest.mark.parametrize(
    ("mounts", "given", "source"),
    [
        ({"/app/uploads": "/opt/k/uploads"}, {}, "/opt/k/uploads"),
        ({"/app": "/opt/k"}, {}, "/opt/k/uploads"),
        ({"/app": "/opt/k", "/app/uploads": "/v/uploads"}, {}, "/v/uploads"),
        ({"/app/up": "/opt/k"}, {}, ""),
        ({}, {}, ""),
        ({}, {"uploads": "/srv/uploads"}, "/srv/uploads"),
    ],
)
def test_where_the_files_are(mounts: dict[str, str], given: dict[str, str], source: str) -> None:
    old = decide.recognise(server(backend={"mounts": mounts}), "kasaneha_")
    (folder,) = decide.directories(old, SERVICES, "/var/lib/kasaneha", given)
    assert folder == {"name": "uploads", "inside": "backend:/app/uploads", "source": source,
                      "target": "/var/lib/kasaneha/uploads", "owner": "10001:10001"}  # fmt: skip


def test_where_the_certificate_may_be() -> None:
    old = decide.recognise(server(), "kasaneha_")
    assert decide.certificate_directories(old, ["kasaneha.app"]) == [
        "/opt/k/ssl",
        "/opt/k/ssl/live/kasaneha.app",
        "/etc/letsencrypt/live/kasaneha.app",
    ]


@pytest.mark.parametrize(
    ("containers", "found", "wanted", "expected"),
    [
        (server(), {}, {}, []),
        (server(), {"major": 14}, {}, []),  # a dump moves it to the newer one
        (server(), {"major": 17}, {}, ["app_postgres_major: the data of kasaneha_postgres is of PostgreSQL 17"]),
        (server(), {"said": "no such role"}, {}, ["kasaneha_postgres: its database cannot be read: no such role"]),
        (server(postgres={"status": "restarting"}), {"major": 14}, {}, ["kasaneha_postgres: is restarting (its data is of PostgreSQL 14"]),
        (server(backend={"mounts": {}}), {}, {}, ["adopt_files.uploads: no directory of the server is mounted at backend:/app/uploads"]),
        ([*server(), container("proxy", ports=[443])], {}, {}, ["proxy: holds port 443"]),
        ([*server(), container("proxy", ports=[443], status="exited")], {}, {}, []),
        (server(nginx={"ports": []}), {}, {}, ["adopt_services: none of the old containers has port 80 or 443"]),
        (server(), {"installed": "/var/lib/k/release.json", "major": 17}, {}, ["/var/lib/k/release.json: a release of ours is here already"]),
        ([*server(), container("kasaneha_worker")], {}, {}, []),  # left alone, and named in the plan
        (server()[1:], {}, {}, ["adopt_prefix: there are kasaneha_nginx, kasaneha_backend, but no container of PostgreSQL"]),
        (server(), {}, {"hosts": ["one", "two"]}, ["inventory: a takeover is for one server, and this inventory has one, two"]),
        (server(), {"packages": ["docker-ce"]}, {}, ["docker_source: this server has Docker's own packages"]),
        (server(), {"packages": ["docker-ce"]}, {"docker_source": "docker"}, []),
    ],
)  # fmt: skip
def test_what_stops_it(
    containers: list[dict[str, Any]], found: dict[str, Any], wanted: dict[str, Any], expected: list[str]
) -> None:
    old = decide.recognise(containers, "kasaneha_")
    problems = decide.problems(old, facts(old, **found), {**WANTED, **wanted})
    assert [problem[: len(start)] for problem, start in zip_longest(problems, expected, fillvalue="")] == expected


@pytest.mark.parametrize(
    ("free", "reserve", "expected"),
    [
        (300, 0, []),
        (299, 0, ["disk: 299 MB are free, 300 MB are needed (the backup 100 MB in /b, the database 200 MB in /d)."]),
        (300, 1, ["disk: 300 MB are free, 301 MB are needed"]),
    ],
)
def test_room_for_the_backup_and_the_copy(free: int, reserve: int, expected: list[str]) -> None:
    mb = 1_000_000
    needs = [
        {"what": "the backup", "path": "/b", "device": 1, "free": free * mb, "bytes": 100 * mb},
        {"what": "the database", "path": "/d", "device": 1, "free": free * mb, "bytes": 200 * mb},
        {"what": "the files", "path": "/f", "device": 2, "free": 900 * mb, "bytes": 1 * mb},
    ]
    problems = decide.room_problems(needs, reserve * mb)
    assert [problem[: len(start)] for problem, start in zip_longest(problems, expected, fillvalue="")] == expected


@pytest.mark.parametrize(
    ("line", "system", "goes"),
    [
        ("0 12 * * * certbot renew --quiet", False, True),
        ("0 12 * * * /usr/bin/certbot -q renew", False, True),
        ("0 */12 * * * root test -x /usr/bin/certbot && certbot -q renew", True, False),  # the package's own
        ("0 2 * * * /opt/k/scripts/backup.sh", False, True),
        ("0 2 * * * cd /opt/k && ./backup.sh", False, True),
        ("0 2 * * * /opt/kept/backup.sh", False, False),
        ("0 2 * * * root docker exec kasaneha_postgres pg_dump", True, True),
        ("# docker exec kasaneha_postgres", False, False),
        ("HOME=/opt/k", False, False),
        ("15 3 * * * /usr/local/bin/mine", False, False),
        ("", False, False),
    ],
)
def test_which_lines_leave_a_crontab(line: str, system: bool, goes: bool) -> None:
    text = f"# first\n{line}\n@daily true\n"
    kept, gone = decide.cron_lines(text, "kasaneha_", ["/opt/k", ""], system)
    assert gone == ([line] if goes else [])
    assert kept == ("# first\n@daily true\n" if goes else text)


@pytest.mark.parametrize("phase", ["", "saved", "rehearsed", "switching", "returned", "done", "retired"])
def test_site_yml_says_what_to_do_until_it_is_done(phase: str) -> None:
    old = decide.recognise(server(), "kasaneha_")
    hint = decide.hint(old, phase, False)
    assert bool(hint) == (phase not in ("done", "retired")) and ("playbooks/adopt.yml" in hint or not hint)
    assert not decide.hint({"services": {}, "others": []}, phase, False)
    # Ours is here though nothing was taken over: the rest is nobody's business. After the way back it is.
    assert bool(decide.hint(old, phase, True)) == (phase not in ("", "done", "retired"))


def test_the_plan_names_everything() -> None:
    old = decide.recognise([*server(), container("shop_web")], "kasaneha_")
    lines = "\n".join(decide.plan(old, facts(old, certificate="/opt/k/ssl", cron=[{"path": "/c", "lines": ["0 2 * * * x"]}]), ""))
    for words in ("kasaneha_db of kasaneha_postgres (PostgreSQL 15, 5 MB)", "/opt/k/uploads to /var/lib/kasaneha/uploads",
                  "certificate of /opt/k/ssl", "stop kasaneha_nginx, kasaneha_backend, kasaneha_postgres", "remove from /c: 0 2 * * * x",
                  "leave alone: shop_web"):  # fmt: skip
        assert words in lines
    assert decide.plan(old, {}, "retired") == ["It was taken over already."]


@pytest.mark.parametrize(
    ("journal", "containers", "expected"),
    [
        ({}, server(), "this server runs an older deployment (kasaneha_nginx, kasaneha_backend, kasaneha_postgres)."),
        ({}, [], ""),
        (
            {"phase": "rehearsed", "problem": "no room"},
            server(),
            "not finished (rehearsed): the old site serves. Last time: no room. Run",
        ),
        ({"phase": "switching"}, server(), "not finished (switching): the old site serves. Run"),
        ({"phase": "done"}, server(), "not finished: the new site serves"),
        ({"phase": "retired"}, server(), "taken over; its containers are there, so playbooks/adopt_undo.yml can"),
        ({"phase": "retired"}, [], "taken over; its containers are gone"),
        ({"phase": "returned"}, server(), "taken over and given back"),
    ],
)
def test_how_it_stands(journal: dict[str, str], containers: list[dict[str, Any]], expected: str) -> None:
    said = decide.standing(decide.recognise(containers, "kasaneha_"), journal, installed=bool(journal))
    assert said.startswith(expected) and bool(said) == bool(expected)
