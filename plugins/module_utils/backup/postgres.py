# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""PostgreSQL in a container, asked with the client programs of its own image.

A client container shares the server's network and one directory with this host, so that dumps pass through a FIFO or a bind mount and
never through Docker's daemon. Its first process reads our end of a pipe: when this process dies, however it dies, the container
ends, and with it every program and session in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import sql as backup_sql
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import (
    BAD_INPUT,
    DUMP_FAILED,
    LOCKED,
    BackupError,
    Config,
    failure,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.io.docker import run as run_command

LABEL = "kasaneha.deploy.backup"
SHARED = "/run/backup"  # the runtime directory, as the client sees it
WORK = "/work"  # the directory of a restore, as the client sees it
# Puts an open fence down if we die with it: the database must not stay closed because nobody is left to open it.
GUARD = f"cat >/dev/null; [ ! -e {SHARED}/undo.sql ] || psql -Xqd postgres -f {SHARED}/undo.sql"
LOCK_KEY = 0x6B6173616E656861  # of the advisory lock that two hosts would meet at


class Process(subprocess.Popen[bytes]):
    """A process; what it says on its standard error is kept."""

    # Whoever uses one of these has asked for it.
    stdin: IO[bytes]
    stdout: IO[bytes]

    def __init__(
        self, argv: Sequence[str], stdin: Any = subprocess.DEVNULL, stdout: Any = subprocess.PIPE, **options: Any
    ) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        super().__init__(argv, stdin=stdin, stdout=stdout, stderr=self.said, **options)


# By systemd or a person, by a terminal that was closed, by Ctrl-C.
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextlib.contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Meet whatever asks to end with a handler during the body; what is ignored, as under nohup, stays so."""
    asked = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in asked}
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Asked to end during the body, do so after it: what it makes must be known to the one who puts it away."""
    asked: list[int] = []
    try:
        with _handled(lambda number, _frame: asked.append(number)):
            yield
    finally:
        if asked:
            signal.raise_signal(asked[0])


@contextlib.contextmanager
def put_away() -> Iterator[None]:
    """Asked to end during the body, leave it by SystemExit: everything is put away on the way out, and told. Once is enough."""

    def end(number: int, _frame: object) -> None:
        for other in ENDS:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    with _handled(end):
        yield


@contextlib.contextmanager
def _runtime(config: Config, kind: str) -> Iterator[Path]:
    """A directory in memory for one container, gone after the body."""
    path = None
    try:
        with uninterrupted():
            path = Path(tempfile.mkdtemp(prefix=f"{config.instance}-{kind}-", dir=config.runtime))
        yield path
    finally:
        if path:
            shutil.rmtree(path, ignore_errors=True)  # must not hide why the body failed; sweep() removes what is left


def docker(*arguments: str, timeout: float = 120) -> str:
    """Run docker; what it printed.

    :raises BackupError: it failed; the message is what it said.
    """
    try:
        code, out, err = run_command(["docker", *arguments], timeout)
    except FileNotFoundError as error:
        raise BackupError("docker is not installed on this host.", BAD_INPUT) from error
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"docker {arguments[0]} did not answer within {timeout:g} s.", DUMP_FAILED) from error
    if code:
        raise BackupError(f"docker {arguments[0]}: {last_lines(err) or code}", DUMP_FAILED)
    return out


def last_lines(text: str, count: int = 5) -> str:
    """The end of what a program said."""
    return " | ".join(line.strip() for line in text.strip().splitlines()[-count:])


def server(container: str) -> dict[str, Any]:
    """The container that PostgreSQL runs in: image, identity, when it started.

    :raises BackupError: it is not there, or does not run.
    """
    try:
        found = json.loads(docker("inspect", "--type", "container", container))[0]
    except BackupError as error:
        if "no such" not in str(error).lower():
            raise
        raise BackupError(
            f"container: {container} does not exist on this host. It is the one that PostgreSQL runs in.", BAD_INPUT
        ) from error
    if not found["State"]["Running"]:
        raise BackupError(f"container: {container} does not run (it is {found['State']['Status']}). Start it first.", BAD_INPUT)
    return {
        "container": container,
        "container_id": found["Id"],
        "started_at": found["State"]["StartedAt"],
        "image": found["Config"]["Image"],
        "image_id": found["Image"],
        "port": next((entry[7:] for entry in found["Config"].get("Env") or [] if entry.startswith("PGPORT=")), "5432"),
    }


class Programs:
    """A container of the server's image in which client programs run, and how they reach their server."""

    def __init__(self, name: str, runtime: Path) -> None:
        self.name, self.runtime = name, runtime

    def start(self, *argv: str, stdin: int | IO[bytes] = subprocess.DEVNULL, stdout: int = subprocess.PIPE, database: str = "postgres"
              ) -> Process:  # fmt: skip
        """Start a program in the container; what it says on its standard error is kept for :func:`words`."""
        command = ["docker", "exec", "-i", "-e", f"PGDATABASE={database}", self.name, *argv]
        return Process(command, stdin=stdin, stdout=stdout)

    def run(self, *argv: str, database: str = "postgres", code: int = DUMP_FAILED, deadline: float | None = None) -> str:
        """Run a program to its end; what it printed.

        :raises BackupError: it failed, with the given exit code. Damaged: what it was given cannot be read.
        """
        process = self.start(*argv, database=database)
        try:
            out, _none = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise BackupError(f"{argv[0]} was not done within {deadline:g} s.", code) from error
        if process.returncode:
            said = words(process)
            raise failure(f"{argv[0]}: {said}", code, [(process.returncode, said)])
        return out.decode(errors="replace")

    def sql(self, text: str, database: str = "postgres", code: int = DUMP_FAILED) -> list[Any]:
        """Run SQL in one session, stopping at the first error; the rows of its queries, each one JSON."""
        with self.session(database, code) as session:
            return session.ask(text)

    @contextlib.contextmanager
    def session(self, database: str, code: int = DUMP_FAILED) -> Iterator[Session]:
        """A session of psql that lives as long as the body."""
        process = self.start(
            "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse", stdin=subprocess.PIPE, database=database
        )
        try:
            yield Session(process, code)
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


class Session:
    """A conversation with psql."""

    def __init__(self, process: Process, code: int) -> None:
        self.process, self.code = process, code
        self._first = backup_sql.ENCODING

    def ask(self, text: str) -> list[Any]:
        """Send SQL; the lines that it returns up to its end, each one JSON.

        :raises BackupError: it failed, or the session ended.
        """
        end = f"-- {secrets.token_hex(8)}"
        sent, first, self._first = True, self._first, ""
        try:
            self.process.stdin.write(f"{first}{text}\n;\n\\echo '{end}'\n".encode(errors="surrogateescape"))
            self.process.stdin.flush()
        except BrokenPipeError:
            sent = False
        rows: list[Any] = []
        for line in iter(self.process.stdout.readline, b"") if sent else ():
            said = line.decode(errors="surrogateescape")
            if said.strip() == end:
                return rows
            if not said.endswith("\n"):
                break  # the session ended in the middle of it
            rows.append(json.loads(said))
        self.process.wait()
        raise BackupError(f"PostgreSQL: {words(self.process) or 'the session ended'}", self.code)

    def one(self, text: str) -> Any:
        """The only row of a query."""
        return self.ask(text)[0]


def words(process: Process) -> str:
    """The last lines that a program of a container wrote to its standard error."""
    said = process.said
    said.seek(max(0, said.seek(0, os.SEEK_END) - 4000))
    return last_lines(said.read().decode(errors="replace")) or f"exit code {process.returncode}"


@contextlib.contextmanager
def client(config: Config, found: Mapping[str, Any], work: Path | None = None) -> Iterator[Programs]:
    """A client container beside a server, with a runtime directory of its own; both are gone afterwards.

    :param found: what :func:`server` returned, or an image alone; ``work`` a directory to be seen as /work.
    """
    name = f"{config.instance}-backup-{secrets.token_hex(4)}"
    with _runtime(config, "backup") as runtime:
        # Mounts: unlike a volume, one whose directory is gone already is an error and does not make the directory again.
        # S108 warns of a /tmp that others share: this one is the container's own.
        command = ["docker", "run", "--rm", "-i", "--init", "--name", name, "--label", f"{LABEL}={config.instance}",
                   "--network", f"container:{found['container_id']}" if found["container_id"] else "none", "--user", "0:0", "--cap-drop", "ALL", "--read-only",
                   "--security-opt", "no-new-privileges", "--pids-limit", "256", "--log-driver", "none", "--tmpfs", "/tmp",  # noqa: S108
                   *_mount(runtime, SHARED), *(_mount(work, WORK) if work else []),
                   "-e", "PGHOST=127.0.0.1", "-e", f"PGPORT={found['port']}", "-e", f"PGUSER={config.user}", "-e", f"PGPASSFILE={SHARED}/pgpass",
                   "-e", f"PGAPPNAME={name}", "-e", "PGCONNECT_TIMEOUT=10", "-e", "LC_ALL=C",
                   "--entrypoint", "sh", found["image_id"], "-c", GUARD]  # fmt: skip
        password_file(config, runtime / "pgpass")
        with _container(command, name):
            yield Programs(name, runtime)


@contextlib.contextmanager
def scratch(config: Config, image: str, user: str, work: Path) -> Iterator[Programs]:
    """A throw-away server without network, of the given image; ready when the body runs, gone after it."""
    name = f"{config.instance}-drill-{secrets.token_hex(4)}"
    fast = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=4GB"
    script = f'docker-entrypoint.sh postgres {fast} & server=$!; cat >/dev/null; kill -INT "$server"; wait "$server"'
    with _runtime(config, "drill") as runtime:
        command = ["docker", "run", "--rm", "-i", "--init", "--name", name, "--label", f"{LABEL}={config.instance}", "--network", "none",
                   "--security-opt", "no-new-privileges", "--log-driver", "none", "--shm-size", "256m",
                   *_mount(runtime, SHARED), *_mount(work, WORK, "readonly"),
                   "-e", "POSTGRES_HOST_AUTH_METHOD=trust", "-e", f"POSTGRES_USER={user}", "-e", "POSTGRES_DB=postgres",
                   "-e", "PGHOST=127.0.0.1", "-e", f"PGUSER={user}", "-e", f"PGAPPNAME={name}", "-e", "LC_ALL=C",
                   "--entrypoint", "sh", image, "-c", script]  # fmt: skip
        with _container(command, name) as process:
            programs = Programs(name, runtime)
            _until_ready(programs, process)
            yield programs


def _mount(directory: Path, target: str, *options: str) -> list[str]:
    return ["--mount", ",".join([f'"type=bind","source={directory}","target={target}"', *options])]


def _until_ready(programs: Programs, process: Process, seconds: float = 120) -> None:
    """Over TCP: the temporary server of the first start answers on its socket only."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if run_command(["docker", "exec", programs.name, "pg_isready", "-q"])[0] == 0:
            return
        time.sleep(0.2)
    raise BackupError(f"the throw-away server did not start: {words(process)}", DUMP_FAILED)


@contextlib.contextmanager
def _container(command: Sequence[str], name: str) -> Iterator[Process]:
    """A container that lives as long as the body, or this process."""
    process = None
    try:
        with uninterrupted():
            process = Process(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            if process.poll() is not None:
                raise BackupError(f"the client container did not start: {words(process)}", DUMP_FAILED)
            if run_command(["docker", "inspect", "-f", "{{.State.Running}}", name])[1].strip() == "true":
                break
            if time.monotonic() > deadline:
                raise BackupError("the client container did not start within 60 s.", DUMP_FAILED)
            time.sleep(0.05)
        yield process
    finally:
        if process:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                run_command(["docker", "rm", "--force", "--volumes", name])
                process.wait()


def password_file(config: Config, path: Path) -> None:
    """Give libpq the password in a file that root alone can read, on a file system in memory."""
    password = ""
    if config.password_file:
        try:
            password = Path(config.password_file).read_text().rstrip("\n")
        except OSError as error:
            raise BackupError(f"password_file: {config.password_file} cannot be read: {error.strerror}.", BAD_INPUT) from error
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"*:*:*:*:{escaped}\n")


def sweep(config: Config) -> list[str]:
    """Remove what a killed run left: containers, directories in memory. Only under the lock; what was removed."""
    names = docker("ps", "--all", "--filter", f"label={LABEL}={config.instance}", "--format", "{{.Names}}").split()
    if names:
        docker("rm", "--force", "--volumes", *names)
    directories = [
        *Path(config.runtime).glob(f"{config.instance}-backup-*"),
        *Path(config.runtime).glob(f"{config.instance}-drill-*"),
    ]
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
    return [*names, *map(str, directories)]


def claim(session: Session, seconds: float = 3) -> None:
    """Take the lock that hosts meet at which back up the same database, for as long as the session lives.

    :raises BackupError: somebody else holds it.
    """
    deadline = time.monotonic() + seconds
    while not session.one(f"SELECT to_json(pg_try_advisory_lock({LOCK_KEY}))"):
        if time.monotonic() > deadline:
            raise BackupError("Another one is at work on this database, from another host or for another instance.", LOCKED)
        time.sleep(0.2)  # asked again: waiting in the server would end in an error, and the session with it


def facts(session: Session) -> dict[str, Any]:
    """The ``database`` part of a manifest, of a database that nobody else uses yet: every row in it is counted."""
    found = session.one(backup_sql.CATALOG)
    views = [{key: entry[key] for key in ("schema", "name", "kind")} for entry in found["tables"] if entry["kind"] == "m"]
    return {
        **session.one(backup_sql.DATABASE),
        "tables": [*session.ask(backup_sql.COUNTS), *views],
        "sequences": session.ask(backup_sql.SEQUENCES),
        "large_objects": session.one(backup_sql.LARGE_OBJECTS),
        "extensions": found["extensions"],
        "invalid": found["invalid"],
    }


def moment(session: Session) -> dict[str, Any]:
    """What there is in a database that others use, and where its sequences are; no table is touched."""
    found: dict[str, Any] = session.one(backup_sql.CATALOG)
    found["sequences"] = session.ask(backup_sql.SEQUENCES_NOW)
    return found
