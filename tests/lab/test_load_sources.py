# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of several tests at once: each load generator has a range of the lab's addresses that no other one and no server has."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address, summarize_address_range

import pytest

from ..testinfra import load
from ..testinfra.load import MANY, RANGES, Load
from .boxes import Box

NOBODY = "198.51.100.1:9"  # answers nothing


@pytest.fixture(autouse=True)
def unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be answered to have its addresses."""
    monkeypatch.setattr(Load, "_wait", lambda _: None)


def addresses(users: Load) -> tuple[set[str], str]:
    """The IPv4 addresses of a generator once it has all of them, and its MAC address."""
    wait = "import socket, time\nwhile True:\n try: socket.socket().bind(('{}', 0)); break\n except OSError: time.sleep(0.1)"
    last = next(word for word in users.container.attrs["Args"] if word.startswith("--sources=")).rpartition("-")[2]
    box = Box(users.container)
    code, said = box.run("timeout", "20", "python3", "-c", wait.format(last))
    assert code == 0, said + users.last_words()
    links = json.loads(box.run("ip", "-json", "-4", "address", "show", "dev", "eth0")[1])
    mac = json.loads(box.run("ip", "-json", "link", "show", "dev", "eth0")[1])[0]["address"]
    return {entry["local"] for entry in links[0]["addr_info"]}, mac


def users() -> Load:
    made = Load(NOBODY, rate=1, slow=0, streams=0)
    made.container.reload()
    return made


def test_each_has_addresses_to_itself_and_an_address_stays_behind_one_mac_address(monkeypatch):
    with users() as one, users() as other:
        (mine, my_mac), (theirs, their_mac) = addresses(one), addresses(other)
        assert len(mine) == len(theirs) == 8 and not mine & theirs and my_mac != their_mac
        # A server that has just heard of them answers whoever has them next.
        one.remove()
        with users() as next_one:
            assert addresses(next_one) == (mine, my_mac)
            # All are taken: the next one waits, and says for what.
            monkeypatch.setattr(load, "STARTS_WITHIN", 2)
            taken = sorted(mine, key=IPv4Address)
            with pytest.raises(AssertionError, match="no range of addresses became free"):
                Load(NOBODY, ranges=[(taken[0], taken[-1])], rate=1, slow=0, streams=0)
    left = subprocess.run(["docker", "ps", "--all", "--quiet", "--filter", "status=created", "--filter", f"label={load.LABEL}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert not left.stdout


def test_no_server_has_an_address_of_users():
    spans = [(IPv4Address(first), IPv4Address(last)) for first, last in (*RANGES, *MANY)]
    for number, (first, last) in enumerate(spans):
        assert list(summarize_address_range(first, last)) and not any(
            first <= end and start <= last for start, end in spans[:number]
        )
    files = subprocess.run(["git", "grep", "-hoE", r"198\.51\.100\.[0-9]+", "--", "molecule", "lab", "inventories", "tests/testinfra"],
                           capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    ends = {str(address) for span in spans for address in span}
    servers = {IPv4Address(address) for address in files if address not in ends}
    assert IPv4Address("198.51.100.22") in servers
    assert not [address for address in servers for first, last in spans if first <= address <= last]
    # Servers of any other inventory: from .100 up (lab/create.yml).
    assert all(first > IPv4Address("198.51.100.127") for first, _ in spans)
