# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on a server of the lab while a test does something to it: `with Load(address) as load: …; result = load.stop()`."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError

IMAGE, NETWORK = "kasaneha-lab/load:1", "kasaneha-lab"
# First and last address of the users of one test. No server of the lab has one of these (lab/create.yml).
RANGES = tuple((f"198.51.100.{first}", f"198.51.100.{first + 7}") for first in range(192, 224, 8))
MANY = (("198.51.100.128", "198.51.100.191"),)  # those of a benchmark, which runs alone
STARTS_WITHIN = 120.0  # seconds; the slow request and the stream answer before it is said
LABEL = "kasaneha.lab.load"
LONGEST = 3600  # seconds; one that a killed test left behind ends then, and its addresses are free
# A slow request and a stream are always in flight, so that each switch meets them; every drain waits for them, so here they are short.
SHORT: dict[str, Any] = {"slow": 2, "stream-seconds": 2}
ENDS_WITHIN = 60  # the generator itself gives up after 40


class Load:
    """Runs from the moment it is made until `stop`. Being left always removes the container.

    Several may run side by side, in one scenario or in many: each has a range of addresses to itself.
    """

    def __init__(
        self,
        address: str,
        rate: float = 200,
        ranges: Sequence[tuple[str, str]] = RANGES,
        slow: float = 5,
        streams: int = 1,
        **others: Any,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kasaneha-load-"))
        self.client = docker.from_env(timeout=ENDS_WITHIN + 30)
        options = {
            "address": address,
            "rate": rate,
            "slow": slow,
            "streams": streams,
            "seconds": LONGEST,
            "out": "/out/requests",
            **others,
        }
        self.container: Any = None
        self.records: list[dict[str, Any]] = []
        try:
            self._start(options, ranges)
            self._wait()
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def said(self, **which: bool) -> str:
        return self.container.logs(**which).decode()

    def last_words(self) -> str:
        """What it said beside the requests that failed; the first of it is the reason, the rest its consequences."""
        lines = [line for line in self.said().splitlines() if not line.startswith("{")]
        return "\n".join(lines[:60])

    def _start(self, options: dict[str, Any], ranges: Sequence[tuple[str, str]]) -> None:
        """Start it with the first range that no other one has; wait for one if all are taken.

        The container's own address is the first of the range, and Docker gives an address only once. Its MAC address follows from that,
        so that an address is always behind the same one: a server that still knows it from another test sends its answers to the right place.
        """
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.container:
            assert time.monotonic() < deadline, f"no range of addresses became free; see docker ps --filter label={LABEL}"
            for first, last in ranges:
                name = f"kasaneha-load-{secrets.token_hex(4)}"
                container = self.client.containers.create(
                    IMAGE, [f"--{key}={value}" for key, value in {**options, "sources": f"{first}-{last}"}.items()], name=name,
                    network=NETWORK, networking_config={NETWORK: self.client.api.create_endpoint_config(ipv4_address=first)},
                    mac_address="02:42:" + IPv4Address(first).packed.hex(":"), cap_add=["NET_ADMIN"], labels={LABEL: name},
                    volumes=[f"{self.folder}:/out"],
                )  # fmt: skip
                try:
                    container.start()
                except APIError as error:
                    container.remove(force=True)
                    if "already in use" not in str(error):
                        raise
                else:
                    self.container = container
                    break
            else:
                time.sleep(1)

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        while "load: started" not in self.said().splitlines():
            self.container.reload()
            assert self.container.status != "exited" and time.monotonic() < deadline, f"no load:\n{self.last_words()}"
            time.sleep(0.2)

    def failures_since(self, moment: float) -> list[dict[str, Any]]:
        """The failed requests that began since then (seconds since the epoch) and have ended by now."""
        lines = (self.folder / "requests").read_text().splitlines()
        complete = [json.loads(line) for line in lines if line.endswith("}")]
        since = [entry for entry in complete if entry["start"] >= moment]
        assert len(since) > 20, "nobody was there"
        return [entry for entry in since if entry["error"]]

    def stop(self) -> dict[str, Any]:
        """Ends what is in flight well; the summary; all requests stand in `records`."""
        self.container.reload()
        assert self.container.status == "running", f"the load generator has ended before its time:\n{self.last_words()}"
        self.container.kill("SIGTERM")
        code = self.container.wait(timeout=ENDS_WITHIN)["StatusCode"]
        assert code == 0, f"the load generator ended with {code}:\n{self.last_words()}"
        result = json.loads(self.said(stderr=False).splitlines()[-1])
        self.records = [json.loads(line) for line in (self.folder / "requests").read_text().splitlines()]
        assert len(self.records) == result["total"]
        self.remove()
        return result

    def remove(self) -> None:
        if self.container:
            self.container.remove(force=True)
            self.container = None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.client.close()
