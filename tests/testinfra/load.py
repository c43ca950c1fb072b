# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on a server of the lab while a test does something to it: `with Load(address) as load: …; result = load.stop()`."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import docker

IMAGE, NETWORK = "kasaneha-lab/load:1", "kasaneha-lab"
STARTS_WITHIN = 120.0  # seconds; the slow request and the stream answer before it is said
# A slow request and a stream are always in flight, so that each switch meets them; every drain waits for them, so here they are short.
SHORT: dict[str, Any] = {"slow": 2, "stream-seconds": 2}
ENDS_WITHIN = 60  # the generator itself gives up after 40


class Load:
    """Runs from the moment it is made until `stop`. Being left always removes the container.

    One at a time: two of them would claim the same addresses on the lab's network.
    """

    def __init__(
        self,
        address: str,
        rate: float = 200,
        sources: str = "198.51.100.128-198.51.100.191",
        slow: float = 5,
        streams: int = 1,
        **others: Any,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kasaneha-load-"))
        self.client = docker.from_env(timeout=ENDS_WITHIN + 30)
        options = {
            "address": address,
            "rate": rate,
            "sources": sources,
            "slow": slow,
            "streams": streams,
            "out": "/out/requests",
            **others,
        }
        name = f"kasaneha-load-{secrets.token_hex(4)}"
        self.container: Any = None
        self.records: list[dict[str, Any]] = []
        try:
            self.container = self.client.containers.run(
                IMAGE, [f"--{key}={value}" for key, value in options.items()], name=name, detach=True, network=NETWORK,
                cap_add=["NET_ADMIN"], labels={"kasaneha.lab.load": name}, volumes=[f"{self.folder}:/out"],
            )  # fmt: skip
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
