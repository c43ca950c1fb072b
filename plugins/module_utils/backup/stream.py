# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Bytes on their way into a set and out of it: compressed, encrypted, hashed and decoded again while they pass.

No shell: every process is ours, every exit code counts, and whoever fails stops all the others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import postgres
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.file import CHUNK, File
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import (
    BAD_INPUT,
    DUMP_FAILED,
    VERIFY_FAILED,
    BackupError,
    failure,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.postgres import Process

SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)  # Python 3.10 knows its name
Progress = Callable[[int], None]  # called with the bytes so far


def start(command: Sequence[str], stdin: Any = subprocess.DEVNULL, stdout: Any = subprocess.PIPE) -> Process:
    """Start a program of this host; what it says on its standard error is kept.

    :raises BackupError: it is not installed.
    """
    try:
        process = Process(command, stdin, stdout, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError as error:
        raise BackupError(f"{command[0]} is not installed on this host: apt-get install {command[0]}", BAD_INPUT) from error
    for pipe in (process.stdin, process.stdout):
        if pipe:
            widen(pipe.fileno())
    return process


def widen(descriptor: int) -> None:
    """Let a pipe hold a megabyte: programs that pass much on wake each other less often."""
    with contextlib.suppress(OSError):  # no pipe, or more than this kernel allows
        fcntl.fcntl(descriptor, SET_PIPE_SIZE, 1 << 20)


def argv(process: Process) -> list[str]:
    """What a process was started as."""
    return [str(word) for word in cast("list[str]", process.args)]


def check(processes: Sequence[Process], good: Sequence[int] = (0,), code: int = DUMP_FAILED) -> None:
    """Wait for all; every one of them must have done its work.

    :raises BackupError: some did not; the message is what each of these said. Damaged: what they were given cannot be read.
    """
    wrong, ended = [], []
    for process in processes:
        result = process.wait()
        if result not in good:
            program = next(
                (word for word in argv(process) if word in ("pg_dump", "pg_restore", "psql", "vacuumdb")), argv(process)[0]
            )
            ended.append((result, postgres.words(process)))
            wrong.append(f"{program}: {ended[-1][1] if result >= 0 else f'killed by signal {-result}'}")
    if wrong:
        raise failure("; ".join(wrong), code, ended)


def end(processes: Sequence[Process]) -> None:
    """Nobody outlives a failure."""
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()


def fifo(directory: Path, name: str) -> Path:
    """A FIFO that only root may open."""
    path = directory / name
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    return path


def read_end(path: Path, writer: Process) -> int:
    """Open a FIFO for reading once a program writes to it, or has ended without."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    widen(descriptor)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not poll.poll(50) and writer.poll() is None:
        pass
    os.set_blocking(descriptor, True)
    return descriptor


def write_end(path: Path, reader: Process, seconds: float = 60) -> int:
    """Open a FIFO for writing once a program reads from it.

    :raises BackupError: none does.
    """
    deadline = time.monotonic() + seconds
    while reader.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # ENXIO: nobody reads yet
            os.set_blocking(descriptor, True)
            widen(descriptor)
            return descriptor
        time.sleep(0.01)
    reader.kill()
    reader.wait()
    raise BackupError(f"a program that was to read a dump did not start: {postgres.words(reader)}", DUMP_FAILED)


class Decoder:
    """Reads what the compressor wrote, and lets somebody judge it: pg_restore in a container, tar on this host."""

    def __init__(self, processes: Sequence[Process], optional: bool = False, reader: Reader | None = None) -> None:
        self.processes = list(processes)  # the first one is zstd
        self.optional = optional  # it may stop reading when it has seen enough
        self.reader = reader  # takes what the judge writes; it ends with the judge

    def write(self, chunk: bytes) -> None:
        """Give it compressed bytes."""
        try:
            self.processes[0].stdin.write(chunk)
        except BrokenPipeError:
            if not self.optional:
                raise

    def close(self) -> None:
        """There are no more."""
        with contextlib.suppress(BrokenPipeError):
            self.processes[0].stdin.close()

    def join(self) -> None:
        """Wait until all that the judge wrote was taken."""
        if self.reader:
            self.reader.join()

    def taken(self) -> None:
        """Make sure that it was, once :meth:`join` has returned.

        :raises Exception: whatever whoever takes it has raised.
        """
        if self.reader and self.reader.failure:
            raise self.reader.failure


def container_decoder(
    programs: postgres.Programs, name: str, *command: str, database: str = "postgres", optional: bool = False,
    take: Callable[[bytes], object] | None = None,
) -> Decoder:  # fmt: skip
    """A decoder whose judge is a program of the container, reading its standard input; it prints to ``<name>.out``.

    :param take: gets what it prints instead, piece by piece, in a thread of its own.
    """
    path = fifo(programs.runtime, name)
    printed = fifo(programs.runtime, f"{name}.out") if take else None
    # pg_restore opens a file twice, which a FIFO does not allow: it gets it as its standard input.
    script = f'exec "$@" <{postgres.SHARED}/{name} >{postgres.SHARED}/{name}.out'
    judge = programs.start("sh", "-c", script, "sh", *command, stdout=subprocess.DEVNULL, database=database)
    target = write_end(path, judge)
    try:
        unpack = start(["zstd", "-q", "-dc"], subprocess.PIPE, target)
    finally:
        os.close(target)
    return Decoder([unpack, judge], optional, Reader(printed, judge, take) if take and printed else None)


class Reader(threading.Thread):
    """Takes what a program writes to a FIFO, until it has ended."""

    def __init__(self, path: Path, writer: Process, take: Callable[[bytes], object]) -> None:
        super().__init__()
        self.path, self.writer, self.take = path, writer, take
        self.failure: Exception | None = None  # of whoever takes it; the rest is read all the same, for the writer's sake
        self.start()

    def run(self) -> None:
        """In its own thread."""
        source = read_end(self.path, self.writer)
        try:
            for chunk in iter(lambda: os.read(source, CHUNK), b""):
                if not self.failure:
                    self._give(chunk)
        finally:
            os.close(source)

    def _give(self, chunk: bytes) -> None:
        try:
            self.take(chunk)
        except Exception as error:  # noqa: BLE001 - a thread's own would be nobody's; this one is raised where it is waited for
            self.failure = error


def tar_decoder() -> Decoder:
    """A decoder that lists an archive of files; the last process counts its entries."""
    unpack = start(["zstd", "-q", "-dc"], subprocess.PIPE)
    listing = start(["tar", "--list", "--file", "-"], unpack.stdout)
    count = start(["wc", "-l"], listing.stdout)
    for process in (unpack, listing):
        process.stdout.close()
    return Decoder([unpack, listing, count])


def store(
    source: int,
    sources: Sequence[Process],
    path: Path,
    recipients: Sequence[str],
    level: int,
    decoders: Sequence[Decoder] = (),
    progress: Progress | None = None,
    good: Sequence[int] = (0,),
) -> dict[str, Any]:
    """Compress what comes from a descriptor into a file, encrypted if there are recipients, and prove it on the way.

    :param sources: the processes that write to the descriptor; ``good`` the exit codes that they may have.
    :param path: the file without ``.zst`` and ``.age``.
    :returns: name, bytes, sha256, and how long it took.
    :raises BackupError: any process failed, or what is on the disk is not what was written.
    """
    began = time.monotonic()
    pack = start(["zstd", "-q", f"-{level}", "-T0", "-c"], source)
    os.close(source)
    processes = [*sources, pack, *(process for decoder in decoders for process in decoder.processes)]
    plain = 0
    broken: list[OSError] = []
    lock: Process | None = None
    writer: threading.Thread | None = None
    target = File(path.with_name(path.name + (".zst.age" if recipients else ".zst")))
    try:
        if recipients:
            lock = start(["age", "--encrypt", *(word for key in recipients for word in ("--recipient", key))], subprocess.PIPE)
            processes.append(lock)
            writer = threading.Thread(target=_copy, args=(lock, target, broken))
            writer.start()
        sink = lock.stdin if lock else target
        for chunk in iter(lambda: os.read(pack.stdout.fileno(), CHUNK), b""):
            plain += len(chunk)
            sink.write(chunk)
            for decoder in decoders:
                decoder.write(chunk)
            if progress:
                progress(plain)
        for decoder in decoders:
            decoder.close()
        sink.close()
        if writer:
            writer.join()
            target.close()
        if broken:
            raise broken[0]
    except OSError as error:
        gone = _ended(processes)
        end(processes)
        if writer:
            writer.join()
        cause = broken[0] if broken else error
        if not isinstance(cause, BrokenPipeError):
            raise BackupError(f"{path}: {cause.strerror} after {target.bytes} bytes.", DUMP_FAILED) from error
        check(gone)  # whoever went first says why
        raise BackupError(
            f"{path.name}: {', '.join(argv(process)[0] for process in gone)} ended too early.", DUMP_FAILED
        ) from error
    except BaseException:
        end(processes)
        raise
    finally:
        target.abandon()
        for decoder in decoders:
            decoder.join()
    check(sources, good)
    check([pack, *([lock] if lock else [])])
    for decoder in decoders:
        # One that had seen enough made its zstd write to nobody.
        check(decoder.processes[1:] if decoder.optional else decoder.processes, code=VERIFY_FAILED)
        decoder.taken()
    if plain < 1:
        raise BackupError(f"{path.name}: nothing was written.", DUMP_FAILED)
    if recipients:
        expect_encrypted(target.path, plain)
    if not target.proven():
        raise BackupError(f"{target.path}: the disk does not give back what was written.", VERIFY_FAILED)
    return {
        "name": target.path.name,
        "bytes": target.bytes,
        "sha256": target.sha256,
        "seconds": round(time.monotonic() - began, 2),
    }


def _ended(processes: Sequence[Process], seconds: float = 2) -> list[Process]:
    """Those that have ended; somebody has, or is about to."""
    deadline = time.monotonic() + seconds
    while True:
        found = [process for process in processes if process.poll() is not None]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


def _copy(process: Process, target: File, failure: list[OSError]) -> None:
    """Write what a process says to a file, until it ends; a failure is for whoever waits."""
    try:
        for chunk in iter(lambda: os.read(process.stdout.fileno(), CHUNK), b""):
            target.write(chunk)
    except OSError as error:
        failure.append(error)
        process.kill()


def encrypted_size(plain: int) -> int:
    """Bytes of age's payload: a nonce, and a tag for each 64 KiB."""
    return 16 + plain + 16 * max(1, -(-plain // 65536))


def expect_encrypted(path: Path, plain: int) -> None:
    """Nobody here can decrypt the file, but how it begins and how long it is can be told.

    :raises BackupError: it is not what age makes of so many bytes.
    """
    with path.open("rb") as file:
        head = file.read(8192)
    header = head.find(b"\n", head.find(b"\n--- ") + 1) + 1
    if not head.startswith(b"age-encryption.org/v1\n") or path.stat().st_size - header != encrypted_size(plain):
        raise BackupError(f"{path.name}: age did not write what it should have.", VERIFY_FAILED)


def opened(path: Path, identity: str = "", stdout: Any = subprocess.PIPE) -> list[Process]:
    """The processes that give back what a file of a set was made of; the last one's standard output is it.

    :param identity: age's private key, for a file that is encrypted; it goes through a pipe and is written nowhere.
    """
    if path.suffix != ".age":
        return [start(["zstd", "-q", "-dc", str(path)], stdout=stdout)]
    if not identity:
        raise BackupError(
            f"{path.name} is encrypted. Give the identity (the private key) that belongs to its recipient.", BAD_INPUT
        )
    unlock = start(["age", "--decrypt", "--identity", "-", str(path)], subprocess.PIPE)
    with contextlib.suppress(BrokenPipeError):
        unlock.stdin.write(identity.encode())
        unlock.stdin.close()
    unpack = start(["zstd", "-q", "-dc"], unlock.stdout, stdout)
    unlock.stdout.close()
    return [unlock, unpack]
