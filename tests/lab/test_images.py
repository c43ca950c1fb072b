# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of the images that the roles use, in real containers.

The same tests hold the upstream images to it where they can be had: LAB_POSTGRES_IMAGE=postgres:15-alpine,
LAB_REDIS_IMAGE=redis:7-alpine, LAB_REGISTRY_IMAGE=registry:2.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import urllib.error
import urllib.request

import pytest
from docker.errors import DockerException, ImageNotFound

from .boxes import HARDENED, TMP, self_signed, tar, until

PGDATA = "/var/lib/postgresql/15/data"  # as the app role mounts it: one volume, one folder per major version
AS_70 = {
    **HARDENED,
    "user": "70:70",
    "tmpfs": {**TMP, "/var/run/postgresql": "mode=0700,uid=70,gid=70,size=1m"},
}
HOOKS = "/docker-entrypoint-initdb.d"


# --- PostgreSQL ---------------------------------------------------------------------------------


def postgres(lab, command=None, *, ready: bool = True, **options):
    environment = {"POSTGRES_PASSWORD": "of-this-test", "POSTGRES_INITDB_ARGS": "--no-sync"} | options.pop("environment", {})
    container = lab.start("postgres", command, environment=environment, **options)
    if ready:
        container.until("PostgreSQL over TCP", lambda: container.run("pg_isready", "-q", "-h", "127.0.0.1")[0] == 0)
    return container


def sql(container, query: str, database: str = "postgres", user: str = "postgres") -> str:
    code, output = container.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-c", query)
    assert code == 0, output
    return output


def login(client, password: str, options: str = "", user: str = "postgres") -> tuple[int, str]:
    target = f"host=db user={user} dbname=postgres connect_timeout=5 {options}"
    return client.run("psql", "-XAtq", target, "-c", "select 'in'", PGPASSWORD=password)


def test_postgres_settings_from_files(lab):
    password = secrets.token_urlsafe(24)
    # Readable by root alone: the entrypoint reads before it drops root.
    files = {"/password": (password + "\n", 0o400, 0), "/user": ("kasaneha\n", 0o400, 0), "/db": ("kasaneha_db", 0o400, 0)}
    network = lab.network()
    environment = {"POSTGRES_PASSWORD_FILE": "/password", "POSTGRES_USER_FILE": "/user", "POSTGRES_DB_FILE": "/db"}
    server = postgres(lab, environment=environment | {"POSTGRES_PASSWORD": ""}, files=files, network=network, aliases=["db"])
    client = lab.start("postgres", ["sleep", "infinity"], network=network)

    assert login(client, password, user="kasaneha") == (0, "in")
    code, output = login(client, "wrong", user="kasaneha")
    assert code == 2 and "password authentication failed" in output
    code, output = login(client, "", user="kasaneha")
    assert code == 2 and "no password supplied" in output
    assert sql(server, "select current_user, current_database()", "kasaneha_db", "kasaneha") == "kasaneha|kasaneha_db"
    assert (
        sql(server, "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'kasaneha'", user="kasaneha") == "t"
    )
    outside = "select auth_method from pg_hba_file_rules where address = 'all'"
    assert sql(server, outside, user="kasaneha") == "scram-sha-256"
    shown = json.dumps(lab.client.api.inspect_container(server.id)) + server.run("env")[1] + server.said()
    assert password not in shown and "POSTGRES_PASSWORD_FILE=/password" in shown
    environ = server.run("cat", "/proc/1/environ", user="70:70")[1]
    assert "PGDATA=" in environ and "POSTGRES_USER=kasaneha" in environ
    if "LAB_POSTGRES_IMAGE" not in os.environ:  # upstream's leaves it in the server's environment
        assert password not in environ


@pytest.mark.parametrize("options", [{}, {"user": "70:70"}], ids=["root", "70"])
def test_postgres_refuses_to_start_without_a_password(lab, options):
    container = postgres(lab, environment={"POSTGRES_PASSWORD": ""}, ready=False, **options)
    assert container.ended() == 1
    assert "Database is uninitialized and superuser password is not specified" in container.said()


def test_postgres_refuses_value_and_file(lab):
    container = postgres(lab, environment={"POSTGRES_PASSWORD_FILE": "/password"}, ready=False)
    assert container.ended() == 1
    assert "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set" in container.said()


def test_postgres_defaults(lab):
    server = postgres(lab)
    code, output = server.run("stat", "-c", "%u:%g", "/proc/1", PGUSER="postgres")
    assert (code, output) == (0, "70:70"), "root was not dropped"
    query = "select pg_encoding_to_char(encoding), datcollate from pg_database where datname = 'postgres'"
    assert sql(server, query) == "UTF8|en_US.utf8"
    assert sql(server, "show server_version").startswith("15.")
    assert sql(server, "show data_directory") == "/var/lib/postgresql/data"
    assert sql(server, "show listen_addresses") == "*"
    for tool in ("psql", "pg_dump", "pg_restore", "pg_isready", "pg_basebackup"):
        assert "15." in server.run(tool, "--version")[1]
    config = lab.client.images.get(lab.image("postgres")).attrs["Config"]
    assert config["StopSignal"] == "SIGINT" and config["Cmd"] == ["postgres"]
    assert "5432/tcp" in config["ExposedPorts"] and "/var/lib/postgresql/data" in config["Volumes"]
    assert postgres(lab, ["--version"], ready=False).ended() == 0  # a flag alone means the server, and makes no cluster


def test_postgres_hooks_run_once_in_order(lab):
    files = {
        f"{HOOKS}/40-last.sql.gz": (gzip.compress(b"insert into steps (name) values ('gz');"), 0o644, 0),
        f"{HOOKS}/10-first.sql": (
            "create table steps (id serial, name text); insert into steps (name) values ('sql');",
            0o644,
            0,
        ),
        f"{HOOKS}/20-run.sh": (
            '#!/bin/sh\npsql -d "$POSTGRES_DB" -U "$POSTGRES_USER" -c "insert into steps (name) values (\'run\')"',
            0o755,
            0,
        ),
        f"{HOOKS}/30-source.sh": ("docker_process_sql -c \"insert into steps (name) values ('source')\"", 0o644, 0),
        f"{HOOKS}/50-notes.txt": ("not a hook", 0o644, 0),
    }
    server = postgres(lab, environment={"POSTGRES_DB": "kasaneha_db"}, files=files)
    steps = "select string_agg(name, ' ' order by id) from steps"
    assert sql(server, steps, "kasaneha_db") == "sql run source gz"
    assert server.said().count("10-first.sql") == 1 and "ignoring /docker-entrypoint-initdb.d/50-notes.txt" in server.said()
    sql(server, "insert into steps (name) values ('second start')", "kasaneha_db")

    server.restart(timeout=10)
    server.until("second start", lambda: server.run("pg_isready", "-q", "-h", "127.0.0.1")[0] == 0)
    assert "Skipping initialization" in server.said()
    assert server.said().count("10-first.sql") == 1
    assert sql(server, steps, "kasaneha_db") == "sql run source gz second start"


def test_postgres_failing_hook_fails_the_container(lab):
    files = {
        f"{HOOKS}/10-bad.sql": ("create table fine (id int); select no_such_column;", 0o644, 0),
        f"{HOOKS}/20-never.sql": ("create table never (id int);", 0o644, 0),
    }
    server = postgres(lab, files=files, ready=False)
    assert server.ended() != 0
    assert 'column "no_such_column" does not exist' in server.said() and "20-never.sql" not in server.said()
    # Upstream's trap, kept on purpose: the next start takes the half-made cluster for a finished one.
    server.start()
    server.until("next start", lambda: server.run("pg_isready", "-q", "-h", "127.0.0.1")[0] == 0)
    assert "Skipping initialization" in server.said()
    assert sql(server, "select to_regclass('fine') is not null, to_regclass('never') is null") == "t|t"


def test_postgres_hardened_on_a_named_volume(lab):
    volume = lab.volume()
    options = {"volumes": {volume: {"bind": "/var/lib/postgresql", "mode": "rw"}}, "environment": {"PGDATA": PGDATA}} | AS_70
    server = postgres(lab, **options)
    assert server.run("stat", "-c", "%u:%g", "/var/lib/postgresql") == (0, "70:70")
    assert server.run("touch", "/etc/written")[0] != 0, "the root file system is writable"
    status = server.run("cat", "/proc/1/status")[1]
    assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
    sql(server, "create table kept as select 42 as answer")
    first = sql(server, "select system_identifier from pg_control_system()")
    server.stop(timeout=10)
    lab.remove(server)

    again = postgres(lab, **options | {"environment": {"PGDATA": PGDATA, "POSTGRES_PASSWORD": ""}})
    assert sql(again, "select answer from kept") == "42"
    assert sql(again, "select system_identifier from pg_control_system()") == first
    other = postgres(lab, **options | {"volumes": {lab.volume(): {"bind": "/var/lib/postgresql", "mode": "rw"}}})
    assert sql(other, "select to_regclass('kept') is null") == "t", "another volume has the same data"


def test_postgres_tls(lab, tmp_path):
    key, certificate = self_signed(tmp_path, "db")
    wrong_ca = self_signed(tmp_path, "db")[1]
    network = lab.network()
    arguments = ["-c", "ssl=on", "-c", "ssl_cert_file=/tls.crt", "-c", "ssl_key_file=/tls.key"]
    server = postgres(
        lab,
        arguments,
        files={"/tls.key": (key, 0o600, 70), "/tls.crt": (certificate, 0o644, 70)},
        user="70:70",
        network=network,
        aliases=["db", "elsewhere"],
    )
    client = lab.start(
        "postgres",
        ["sleep", "infinity"],
        files={"/right.crt": (certificate, 0o644, 0), "/wrong.crt": (wrong_ca, 0o644, 0)},
        network=network,
    )
    assert sql(server, "show ssl") == "on"
    assert login(client, "of-this-test", "sslmode=verify-full sslrootcert=/right.crt") == (0, "in")
    code, output = login(client, "of-this-test", "sslmode=verify-full sslrootcert=/wrong.crt")
    assert code == 2 and "certificate verify failed" in output
    code, output = login(client, "of-this-test", "host=elsewhere sslmode=verify-full sslrootcert=/right.crt")
    assert code == 2 and "does not match host name" in output
    code, output = login(client, "wrong", "sslmode=verify-full sslrootcert=/right.crt")
    assert code == 2 and "password authentication failed" in output


def test_postgres_is_not_ready_over_tcp_while_it_is_made(lab):
    pause = ("until [ -e /tmp/go ]; do sleep 0.1; done", 0o644, 0)
    server = postgres(lab, files={f"{HOOKS}/pause.sh": pause}, ready=False)
    server.until("socket during init", lambda: server.run("pg_isready")[0] == 0)
    server.until("hook", lambda: "pause.sh" in server.said())
    assert server.run("pg_isready", "-h", "127.0.0.1")[0] == 2
    server.run("touch", "/tmp/go")
    server.until("TCP after init", lambda: server.run("pg_isready", "-h", "127.0.0.1")[0] == 0)
    assert "PostgreSQL init process complete" in server.said()


def test_postgres_stops_cleanly(lab):
    server = postgres(lab)
    sql(server, "create table kept as select generate_series(1, 1000)")
    # A session in the middle of its work: what a "smart" shutdown would wait for.
    server.exec_run(["psql", "-U", "postgres", "-c", "select pg_sleep(60)"], detach=True)
    server.until(
        "session", lambda: sql(server, "select count(*) from pg_stat_activity where query like 'select pg_sleep%'") == "1"
    )
    server.stop(timeout=50)  # who waits for the session of 60 s is killed: 137
    assert server.ended() == 0
    assert "received fast shutdown request" in server.said()

    since = len(server.said())
    server.start()
    server.until("start", lambda: server.run("pg_isready", "-q", "-h", "127.0.0.1")[0] == 0)
    assert "automatic recovery" not in server.said()[since:] and "database system was shut down" in server.said()[since:]
    since = len(server.said())
    server.kill()  # what the word looks like
    server.start()
    server.until("start", lambda: server.run("pg_isready", "-q", "-h", "127.0.0.1")[0] == 0)
    assert "automatic recovery" in server.said()[since:]
    assert sql(server, "select count(*) from kept") == "1000"


# --- Redis --------------------------------------------------------------------------------------


def redis(lab, command=None, *, answer: str = "PONG", **options):
    container = lab.start("redis", command, **options)
    container.until("Redis", lambda: answer in container.run("redis-cli", "ping")[1])
    return container


@pytest.mark.parametrize("options", [{}, {"user": "999:1000"} | HARDENED], ids=["root", "999-hardened"])
def test_redis_defaults(lab, options):
    network = lab.network()
    server = redis(lab, network=network, aliases=["cache"], **options)
    assert server.run("stat", "-c", "%u:%g", "/proc/1", "/data") == (0, "999:1000\n999:1000")
    assert server.run("redis-cli", "config", "get", "protected-mode")[1].split() == ["protected-mode", "no"]
    assert "redis_version:7." in server.run("redis-cli", "info", "server")[1]
    client = lab.start("redis", ["sleep", "infinity"], network=network)
    assert client.run("redis-cli", "-h", "cache", "ping") == (0, "PONG")
    assert server.run("redis-cli", "set", "a", "1")[1] == "OK" and server.run("redis-cli", "save")[1] == "OK"
    assert server.run("stat", "-c", "%a", "/data/dump.rdb") == (0, "600")


def test_redis_arguments(lab):
    flags = redis(lab, ["--maxmemory", "5mb"])
    assert flags.run("redis-cli", "config", "get", "maxmemory")[1].split() == ["maxmemory", "5242880"]
    guarded = redis(lab, ["/data/own.conf", "--maxmemory", "6mb"], files={"/data/own.conf": ("protected-mode yes\n", 0o644, 999)})
    assert guarded.run("redis-cli", "config", "get", "protected-mode")[1].split()[1] == "yes"
    assert guarded.run("redis-cli", "config", "get", "maxmemory")[1].split()[1] == "6291456"
    version = lab.start("redis", ["--version"])
    assert version.ended() == 0 and "v=7." in version.said()
    other = lab.start("redis", ["echo", "as given"])
    assert other.ended() == 0 and other.said() == "as given\n"


def test_redis_users_from_a_file_and_data_that_stays(lab):
    password = secrets.token_urlsafe(24)
    volume, network = lab.volume(), lab.network()
    config = 'aclfile /run/users.acl\nappendonly yes\nappendfsync always\nsave ""\n'
    users = f"user default off\nuser probe on nopass +ping\nuser kasaneha on >{password} ~* &* +@all\n"
    files = {"/run/redis.conf": (config, 0o644, 0), "/run/users.acl": (users, 0o400, 999)}
    options = {
        "user": "999:1000",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "volumes": {volume: {"bind": "/data", "mode": "rw"}},
        "network": network,
        "aliases": ["cache"],
        "files": files,
        "answer": "NOAUTH",
    }
    server = redis(lab, ["/run/redis.conf"], **options)
    client = lab.start("redis", ["sleep", "infinity"], network=network)

    def ask(*command: str, user: str = "kasaneha", secret: str = password) -> str:
        login = ["redis-cli", "-h", "cache", "--no-auth-warning"] + (["--user", user] if user else [])
        return client.run(*login, *command, **({"REDISCLI_AUTH": secret} if user else {}))[1]

    assert ask("set", "answer", "42") == "OK"
    assert "NOAUTH" in ask("get", "answer", user="")
    assert "WRONGPASS" in ask("get", "answer", secret="wrong")
    assert ask("ping", user="probe", secret="any") == "PONG" and "NOPERM" in ask("get", "answer", user="probe", secret="any")
    shown = json.dumps(lab.client.api.inspect_container(server.id)) + server.said()
    assert password not in shown and "/run/redis.conf" in shown

    server.kill()
    lab.remove(server)
    server = redis(lab, ["/run/redis.conf"], **options)
    assert ask("get", "answer") == "42"
    assert ask("config", "get", "appendonly").split() == ["appendonly", "yes"]


# --- Registry -----------------------------------------------------------------------------------


def registry(lab, volume: str):
    """A registry on the volume, and its address on this machine; Docker chooses the port."""
    volumes = {volume: {"bind": "/var/lib/registry", "mode": "rw"}}
    server = lab.start("registry", ports={"5000/tcp": ("127.0.0.1", None)}, volumes=volumes, **HARDENED)
    server.until("registry", lambda: "listening on" in server.said())
    return server, server.address


@pytest.fixture
def small_image(lab):
    """build(name, tag) makes an image of a kilobyte; every trace of it is removed."""
    made = []

    def build(name: str, tag: str):
        packed = tar({"Dockerfile": ("FROM scratch\nCOPY content /\n", 0o644, 0), "content": (secrets.token_hex(500), 0o644, 0)})
        options = {"fileobj": io.BytesIO(packed), "custom_context": True, "rm": True, "forcerm": True}
        made.append(lab.client.images.build(tag=f"{name}:{tag}", **options)[0])
        return made[-1]

    yield build
    for image in made:
        with contextlib.suppress(ImageNotFound):
            lab.client.images.remove(image.id, force=True)


def ask_for(address: str, digest: str, method: str) -> int:
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    request = urllib.request.Request(f"http://{address}/v2/kasaneha/small/manifests/{digest}", method=method, headers=accept)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_registry_gives_back_what_it_was_given(lab, small_image):
    images, volume = lab.client.images, lab.volume()
    server, address = registry(lab, volume)
    if "LAB_REGISTRY_IMAGE" not in os.environ:  # upstream's runs as root
        assert server.top(ps_args="-o pid,uid")["Processes"][0][1] == "5000"
    name = f"{address}/kasaneha/small"
    image = small_image(name, "v1")
    for line in images.push(name, tag="v1", stream=True, decode=True):
        assert "error" not in line, line
    image.reload()
    [digest] = [known.split("@")[1] for known in image.attrs["RepoDigests"] if known.startswith(name)]

    images.remove(image.id, force=True)
    with pytest.raises(ImageNotFound):
        images.get(image.id)
    back = images.pull(f"{name}@{digest}")
    assert back.id == image.id and f"{name}@{digest}" in back.attrs["RepoDigests"]
    with pytest.raises(DockerException, match="not found|unknown"):
        images.pull(f"{name}@sha256:{'0' * 64}")

    # A registry made again on the same volume still has it; a deleted manifest is gone.
    images.remove(image.id, force=True)
    lab.remove(server)
    server, address = registry(lab, volume)
    name = f"{address}/kasaneha/small"
    assert images.pull(f"{name}@{digest}").id == image.id
    images.remove(image.id, force=True)
    # Asked for itself, not by a pull: the daemon may still know the manifest.
    assert [ask_for(address, digest, method) for method in ("GET", "DELETE", "GET")] == [200, 202, 404]


# --- Applications of other people ---------------------------------------------------------------

RELEASES = ("v1.0.0", "v1.1.0")
# As the role app starts a service of which the inventory says neither user nor directories.
SERVICE = {"user": "10001:10001", "tmpfs": TMP, **HARDENED}


def config(lab, image: str) -> dict:
    return lab.client.images.get(image).attrs["Config"]


def test_pages_are_another_page_and_other_hashed_files_in_each_release(lab):
    found = {}
    for release in RELEASES:
        site = lab.start(f"kasaneha-lab/pages:{release}", ports={"80/tcp": ("127.0.0.1", None)}, **SERVICE)
        page = until("page", lambda site=site: site.get("/"), box=site).text
        assert f"This is release {release}." in page
        found[release] = {path: site.get(path).content for path in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)}
        for path, content in found[release].items():
            assert hashlib.sha256(content).hexdigest()[:8] == path.split(".")[1]
        assert site.get("/assets/style.00000000.css").status_code == 404  # the negative control
        asked = config(lab, f"kasaneha-lab/pages:{release}")
        assert not asked["Labels"] and not asked["Volumes"] and asked["User"] == "65534:65534"
    first, second = found.values()
    assert len(first) == len(second) == 3 and len(first.items() & second.items()) == 1


def test_miniflux_is_the_stock_one_and_says_what_the_role_asks(lab):
    network = lab.network()
    postgres(lab, environment={"POSTGRES_DB": "reader"}, network=network, aliases=["db"])
    environment = {
        "DATABASE_URL": "postgres://postgres:of-this-test@db/reader?sslmode=disable",
        "METRICS_COLLECTOR": "1", "METRICS_ALLOWED_NETWORKS": "172.16.0.0/12,192.168.0.0/16",
        "CREATE_ADMIN": "1", "ADMIN_USERNAME": "admin", "ADMIN_PASSWORD": "of-this-test",
    }  # fmt: skip
    options = {"network": network, "environment": environment, **SERVICE}
    image, other = (f"kasaneha-lab/miniflux:{release}" for release in RELEASES)

    early = lab.start(image, **options)
    assert early.ended() == 1 and "schema is not up to date" in early.said()
    migration = lab.start(image, ["miniflux", "-migrate"], **options)
    assert migration.ended() == 0, migration.said()
    reader = lab.start(image, ports={"8080/tcp": ("127.0.0.1", None)}, **options)
    reader.until("health", lambda: reader.get("/healthcheck").ok)
    assert reader.get("/healthcheck").text == "OK"
    assert "\nminiflux_users " in reader.get("/metrics").text
    assert reader.get("/v1/categories").status_code == 401
    assert reader.get("/v1/categories", auth=("admin", "of-this-test")).json()[0]["title"] == "All"
    closed = lab.start(image, ports={"8080/tcp": ("127.0.0.1", None)},
                       **{**options, "environment": {**environment, "METRICS_ALLOWED_NETWORKS": "127.0.0.1/32"}})  # fmt: skip
    closed.until("health", lambda: closed.get("/healthcheck").ok)
    assert closed.get("/metrics").status_code == 404

    # Every file that the package brought is as it came; those that are left out are named, so it was asked.
    named = reader.run("dpkg", "--verify", "miniflux")[1].splitlines()
    assert named and all(line.startswith("missing") and "/usr/share/" in line for line in named), named
    program = "/usr/bin/miniflux"
    sums = [box.run("sha256sum", program)[1] for box in (reader, lab.start(other, ["sleep", "60"], **options))]
    assert sums[0] == sums[1] and program in sums[0]
    for release in RELEASES:
        asked = config(lab, f"kasaneha-lab/miniflux:{release}")
        assert asked["Labels"] == {"org.opencontainers.image.version": release} and asked["User"] == "65534:65534"
    assert lab.client.images.get(image).id != lab.client.images.get(other).id
