# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers for tests, and the few things that tests do with them."""

from __future__ import annotations

import io
import os
import re
import secrets
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import requests
from docker.utils.socket import frames_iter

ROOT = Path(__file__).parents[2]
APP = ROOT / "lab" / "app"
# lab/images.yml builds these. Tests never do: a lab that runs beside them pulls what these tags name.
TAGS = {
    "postgres": "kasaneha-lab/postgres:15",
    "postgres17": "kasaneha-lab/postgres:17",
    "redis": "kasaneha-lab/redis:7",
    "registry": "kasaneha-lab/registry:2",
    "backend": "kasaneha/backend:v1.0.0",
    "frontend": "kasaneha/frontend:v1.0.0",
    "edge:bookworm": "kasaneha-lab/edge:bookworm",
    "edge:trixie": "kasaneha-lab/edge:trixie",
}
# Seconds after which something will not happen any more, on a machine that does other things beside it: no measure of anything.
WAIT = 90
# What `run` wraps a command in: it begins once it is told to.
WAITING = 'read -r _; exec "$@" < /dev/null 2>&1'
LABELS = {"kasaneha-test": "lab"}
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
TMP = {"/tmp": "mode=1777,size=64m"}


def tar(files: dict[str, tuple[str | bytes, int, int]]) -> bytes:
    """name -> (content, mode, uid); the group has the user's number."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, (content, mode, uid) in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, uid, uid
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def self_signed(folder: Path, host: str) -> tuple[str, str]:
    key, certificate = folder / "self_signed.key", folder / "self_signed.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key.read_text(), certificate.read_text()


def until(what: str, answer: Callable[[], Any], seconds: float = WAIT, box: Box | None = None) -> Any:
    """The first answer that counts; with a box, no longer than it runs."""
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            last = answer()
            if last or isinstance(last, requests.Response):  # an answer of 500 counts as false, but is an answer
                return last
        except requests.ConnectionError as error:
            last = error
        assert not box or box.status != "exited", f"{what}: the container ended\n{box.said()}"
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:g} s; last seen: {last!r}\n{box.said() if box else ''}")


class Box:
    """A container, with the few questions that tests ask."""

    def __init__(self, container) -> None:
        self.container = container

    def __getattr__(self, name):
        return getattr(self.container, name)

    def run(self, *command: str, user: str = "", **environment: str) -> tuple[int, str]:
        """A command's exit code and what it printed. It waits for a line, since the Docker library loses what came together with the
        head of the answer, as on a busy machine: its connection begins behind what was read with that."""
        api = self.container.client.api
        waiting = ["sh", "-c", WAITING, "sh", *command]
        started = api.exec_create(self.container.id, waiting, stdin=True, user=user, environment=environment)["Id"]
        with api.exec_start(started, socket=True) as connection:
            connection._sock.sendall(b"\n")
            output = b"".join(part for _, part in frames_iter(connection, tty=False))
        return api.exec_inspect(started)["ExitCode"], output.decode().strip()

    def said(self, **which: bool) -> str:
        return self.container.logs(**which).decode()

    def ended(self, seconds: float = WAIT) -> int:
        return self.container.wait(timeout=seconds)["StatusCode"]

    def until(self, what: str, answer: Callable[[], Any], seconds: float = WAIT) -> Any:
        return until(what, answer, seconds, self)

    @property
    def status(self) -> str:
        self.container.reload()
        return self.container.status

    @property
    def address(self) -> str:
        """Of its only published port, for which Docker chose the number."""
        self.container.reload()
        bound = [bindings[0]["HostPort"] for bindings in self.container.ports.values() if bindings]
        assert len(bound) == 1, f"not running: {self.said()[-600:]}"
        return f"127.0.0.1:{bound[0]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def get(self, path: str, **options) -> requests.Response:
        return requests.get(self.url + path, timeout=WAIT, **options)

    def health(self) -> requests.Response:
        return self.get("/health")

    def healthy(self) -> Box:
        self.until("health", lambda: self.health().ok)
        return self

    def passes_its_own_check(self) -> None:
        check = self.container.client.api.inspect_container
        self.until("Docker's own health check", lambda: check(self.container.id)["State"]["Health"]["Status"] == "healthy")

    def resident(self) -> int:
        """MB of RAM of all its processes."""
        found = self.run("sh", "-c", "cat /proc/[0-9]*/status")[1]
        processes = re.findall(r"^Name:\s+(\S+).*?^VmRSS:\s+(\d+) kB", found, re.M | re.S)
        return sum(int(size) for name, size in processes if name not in ("sh", "cat")) // 1024


class Lab:
    """Makes containers, volumes, networks and images, and forgets none of them."""

    def __init__(self) -> None:
        self.client = docker.from_env(timeout=120)
        self.boxes: list[Box] = []
        self.rest: list[Callable[[], None]] = []

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_) -> None:
        self.clean()
        self.client.close()

    def image(self, name: str) -> str:
        """The lab's image of that name, the one that is named instead, or a tag as it is."""
        return os.environ.get(f"LAB_{name.upper()}_IMAGE") or TAGS.get(name, name)

    def build(self, name: str, **args: str) -> str:
        """The tag of a part of the application, built differently."""
        tag = f"kasaneha-test/{name}:{secrets.token_hex(4)}"
        self.client.images.build(path=str(APP / name), tag=tag, buildargs=args, rm=True, forcerm=True)
        self.rest.append(lambda: self.client.images.remove(tag))
        return tag

    def volume(self) -> str:
        volume = self.client.volumes.create(labels=LABELS)
        self.rest.append(volume.remove)
        return volume.name

    def network(self) -> str:
        network = self.client.networks.create(f"kasaneha-test-{secrets.token_hex(4)}", labels=LABELS)
        self.rest.append(network.remove)
        return network.name

    def start(self, image: str, command=None, *, files=None, aliases=(), **options) -> Box:
        """`files`: path -> (content, mode, uid), written before the first start; labels are added to the tests' own."""
        if aliases:
            endpoint = self.client.api.create_endpoint_config(aliases=list(aliases))
            options["networking_config"] = {options["network"]: endpoint}
        options["labels"] = {**LABELS, **options.get("labels", {})}
        box = Box(self.client.containers.create(self.image(image), command, **options))
        self.boxes.append(box)
        for path, file in (files or {}).items():
            folder, _, name = path.rpartition("/")
            assert box.put_archive(folder or "/", tar({name: file}))
        box.start()
        return box

    def remove(self, box: Box) -> None:
        self.boxes.remove(box)
        box.container.remove(force=True, v=True)

    def clean(self) -> None:
        failed = []
        for step in [lambda box=box: self.remove(box) for box in self.boxes[:]] + self.rest:
            try:
                step()
            except docker.errors.APIError as error:  # go on with the others, then say so
                failed.append(error)
        assert not failed
