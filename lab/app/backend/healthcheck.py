# SPDX-License-Identifier: GPL-3.0-or-later
"""What the container's health check runs, so that the image needs no curl."""

import http.client
import os


def check() -> int:
    host = os.environ.get("HOST") or "0.0.0.0"
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(address, int(os.environ.get("PORT") or 8080), timeout=4)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        print(answer.status, answer.read(1000).decode(errors="replace"))
        return 0 if answer.status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        print(error)
        return 1
