# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the application together, and answers whoever asks how it is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import journal
import psycopg
import redis.asyncio
from database import Database
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, Info, generate_latest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from settings import Settings
from traffic import Traffic


def create(settings: Settings, on_proxied: Callable[[], None]) -> tuple[Traffic, Database]:
    app = FastAPI(title="kasaneha", openapi_url=None)
    app.include_router(journal.router, prefix="/api/v1")
    app.state.settings = settings
    database = app.state.database = Database(settings.database_url, settings.release)
    traffic = Traffic(app, settings.release, on_proxied)
    cache = connect_cache(settings.redis_url)
    Info("app", "The running release").info({"release": settings.release, "env": settings.env})

    async def database_state() -> tuple[str, bool | None]:
        try:
            [row] = await database.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", within=2)
            return "ok", row["ssl"]
        except (TimeoutError, psycopg.Error):
            return "does not answer", None

    async def cache_state(command: str, *values: str) -> tuple[str, Any]:
        if cache is None:
            return "off", None
        try:
            return "ok", await cache.execute_command(command, *values)
        except (redis.asyncio.RedisError, OSError):
            return "does not answer", None

    @app.get("/health")
    async def health(response: Response) -> dict[str, str]:
        (database_is, _), (cache_is, _) = await asyncio.gather(database_state(), cache_state("PING"))
        good = database_is == "ok" and cache_is in ("ok", "off") and not traffic.draining
        response.status_code = 500 if settings.fault == "health_500" else 200 if good else 503
        return {
            "status": "ok" if response.status_code == 200 else "unavailable",
            "release": settings.release,
            "database": database_is,
            "cache": cache_is,
            **({"draining": "yes"} if traffic.draining else {}),
        }

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/v1/info")
    async def info() -> dict[str, Any]:
        (database_is, tls), (cache_is, visits) = await asyncio.gather(database_state(), cache_state("INCR", "kasaneha:visits"))
        return {
            "release": settings.release,
            "env": settings.env,
            "hostname": socket.gethostname(),
            "database": database_is,
            "database_tls": tls,
            "cache": cache_is,
            "visits": visits,
            "sentry": bool(settings.sentry_dsn),
        }

    @app.get("/api/v1/slow")
    async def slow(seconds: float = Query(1, ge=0, le=60)) -> dict[str, float]:
        await asyncio.sleep(seconds)
        return {"seconds": seconds}

    @app.exception_handler(psycopg.OperationalError)
    @app.exception_handler(asyncio.TimeoutError)
    async def no_database(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "the database does not answer"}, 503)

    return traffic, database


def connect_cache(url: str) -> redis.asyncio.Redis | None:
    if not url:
        return None  # development may run without one
    return redis.asyncio.from_url(
        url,
        socket_timeout=1,
        socket_connect_timeout=1,
        # One more try on a fresh connection: an idle one learns of a restart only when it is used.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[redis.asyncio.ConnectionError],
    )
