# SPDX-License-Identifier: GPL-3.0-or-later
"""Knock at doors from a neighbouring container: knock.py <source or -> <seconds> <address,port[/udp]> …; prints those that open, as JSON.

A UDP port is open if whatever listens there answers: those of the tests send back what they get.
With seconds it goes on knocking for so long, or until there is a file /tmp/enough, and prints every door that was open at any time.
"""

import json
import os
import socket
import sys
import threading
import time

source, seconds, doors = sys.argv[1], float(sys.argv[2]), [door.rpartition(",") for door in sys.argv[3:]]
opened = set()


def knock(address: str, door: str) -> None:
    port, _slash, proto = door.partition("/")
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.settimeout(1)
    try:
        if source != "-":
            sock.bind((source, 0))
        sock.connect((address, int(port)))
        if proto == "udp":
            sock.send(b"?")
            sock.recv(1)
        opened.add(f"{address},{door}")
    except OSError:
        pass  # silent, refused, no way: not open
    finally:
        sock.close()


until = time.monotonic() + seconds
while True:
    threads = [threading.Thread(target=knock, args=(address, door)) for address, _comma, door in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if time.monotonic() >= until or os.path.exists("/tmp/enough"):
        break
    time.sleep(0.05)
print(json.dumps(sorted(opened)))
