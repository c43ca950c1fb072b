# SPDX-License-Identifier: GPL-3.0-or-later
"""Around every request: its id, X-Release, metrics, one line in the log, and the count that a drain waits for."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable
from time import perf_counter

from prometheus_client import Counter, Histogram
from starlette.responses import JSONResponse

log = logging.getLogger("kasaneha")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
PROBES = ("/health", "/metrics")  # never worth waiting for
REQUESTS = Counter("http_requests_total", "HTTP requests", ["method", "path", "status"])
DURATION = Histogram("http_request_duration_seconds", "From the request to the end of its answer", ["method", "path"])


class Traffic:
    def __init__(self, app, release: str, on_proxied: Callable[[], None]) -> None:
        self.app = app
        self.release = release
        self.on_proxied = on_proxied  # a request came through a proxy, so this release is served
        self.in_flight = 0
        self.draining = False

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        began, status = perf_counter(), None
        headers = dict(scope["headers"])
        if b"x-forwarded-for" in headers:
            self.on_proxied()
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if re.fullmatch(r"[\w.:-]{1,64}", given, re.ASCII) else uuid.uuid4().hex
        counted = scope["path"] not in PROBES

        async def send_marked(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-release", self.release.encode()),
                    (b"x-request-id", request_id.encode()),
                    # A client that keeps its connection would send its next request to a closed door.
                    *([(b"connection", b"close")] if self.draining else []),
                ]
            await send(message)

        self.in_flight += counted
        try:
            await self.app(scope, receive, send_marked)
        except asyncio.CancelledError:  # the drain is over and this request was not
            if status is None:
                await JSONResponse({"detail": "the server stopped"}, 503)(scope, receive, send_marked)
            log.warning("request cut off", extra={"fields": {"request_id": request_id}})
        except Exception:
            # The framework has answered 500 already, or the stream is broken off: what is left is to say so.
            log.exception("request failed", extra={"fields": {"request_id": request_id}})
        finally:
            self.in_flight -= counted
            self._record(scope, request_id, status or 500, perf_counter() - began)

    def _record(self, scope, request_id: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        path = getattr(scope.get("route"), "path", "unmatched")  # the template: ids would make endless series
        REQUESTS.labels(method, path, str(status)).inc()
        DURATION.labels(method, path).observe(seconds)
        # No query string and no headers: that is where secrets travel.
        fields = {
            "request_id": request_id,
            "method": method,
            "path": scope["path"],
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "release": self.release,
        }
        log.info("request", extra={"fields": fields})
