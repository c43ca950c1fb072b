# SPDX-License-Identifier: GPL-3.0-or-later
"""Knock at doors from a neighbouring container: knock.py <source or -> <seconds> <address,port> …; prints those that open, as JSON.

With seconds it goes on knocking for so long, and prints every door that was open at any time.
"""

import json
import socket
import sys
import threading
import time

source, seconds, doors = sys.argv[1], float(sys.argv[2]), [door.rpartition(",") for door in sys.argv[3:]]
opened = set()


def knock(address: str, port: int) -> None:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(1)
    try:
        if source != "-":
            sock.bind((source, 0))
        sock.connect((address, port))
        opened.add(f"{address},{port}")
    except OSError:
        pass  # silent, refused, no way: not open
    finally:
        sock.close()


until = time.monotonic() + seconds
while True:
    threads = [threading.Thread(target=knock, args=(address, int(port))) for address, _comma, port in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if time.monotonic() >= until:
        break
    time.sleep(0.05)
print(json.dumps(sorted(opened)))
