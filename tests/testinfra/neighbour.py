# SPDX-License-Identifier: GPL-3.0-or-later
"""A neighbour of a lab server on the same network, who routes to wherever the server would forward: what an outsider can try."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

LAB = "kasaneha-lab"
IMAGE = "kasaneha-lab/load:1"
CONTAINERS6 = "fd00:77::/64"


class Neighbour:
    """A container beside the server, with the address ``source`` and, routed through it, ``far``."""

    def __init__(self, server: str, source: str, far: str = "10.9.0.5") -> None:
        self.server, self.source, self.far = server, source, far
        self.server6, self.source6 = (f"2001:db8:113::{address.rpartition('.')[2]}" for address in (server, source))
        self.name = f"{LAB}-neighbour-of-{server.rpartition('.')[2]}"

    def start(self) -> None:
        """Come up, and send whatever goes to containers, or to the server's own loopback, to the server."""
        self.stop()
        knock = Path(__file__).parent / "knock.py"
        run(
            "docker", "run", "--detach", "--rm", f"--name={self.name}", f"--network={LAB}", f"--ip={self.source}", f"--ip6={self.source6}",
            "--cap-add=NET_ADMIN", "--sysctl=net.ipv4.conf.all.route_localnet=1", f"--volume={knock}:/knock.py:ro", "--entrypoint=sleep",
            IMAGE, "infinity",
        )  # fmt: skip
        for command in (
            f"route add 172.16.0.0/12 via {self.server}",
            f"-6 route add {CONTAINERS6} via {self.server6}",
            f"address add {self.far}/32 dev eth0",
            "address del 127.0.0.1/8 dev lo",
            f"route add 127.0.0.1/32 via {self.server}",
        ):
            run("docker", "exec", self.name, "ip", *command.split())

    def stop(self) -> None:
        """Go away; not being there is no fault."""
        subprocess.run(["docker", "rm", "--force", self.name], capture_output=True, check=False)

    def knock(self, doors: list[str], source: str = "-") -> set[str]:
        """Which of ``address,port`` open."""
        return set(json.loads(run("docker", "exec", self.name, "python3", "/knock.py", source, "0", *doors)))

    def watch(self, doors: list[str]) -> subprocess.Popen[str]:
        """Knock until `watched`, without waiting for it."""
        run("docker", "exec", self.name, "rm", "-f", "/tmp/enough")
        command = ["docker", "exec", self.name, "python3", "/knock.py", "-", "600", *doors]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def watched(self, watcher: subprocess.Popen[str]) -> set[str]:
        """Which of the doors were open at any time since `watch`."""
        assert watcher.poll() is None, "it did not watch to the end"
        run("docker", "exec", self.name, "touch", "/tmp/enough")
        return set(json.loads(watcher.communicate()[0]))


def run(*command: str) -> str:
    """Run a command on this machine; its output, or a failed test with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
