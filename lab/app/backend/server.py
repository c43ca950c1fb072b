# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of the process: start, serve, drain, stop; and the faults that a release can be built with."""

from __future__ import annotations

import asyncio
import os
import signal
from time import monotonic

import app
import logs
import uvicorn
from settings import Settings


class Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are ours: uvicorn would close the door at once, where /health has to say 503 first."""


def run(settings: Settings) -> int:
    return asyncio.run(serve(settings))


async def serve(settings: Settings) -> int:
    log = logs.start()
    loop, stop, crash = asyncio.get_running_loop(), asyncio.Event(), []

    def on_signal() -> None:
        if settings.fault == "ignore_sigterm":
            log.warning("signal ignored")
        else:
            stop.set()

    def on_proxied() -> None:
        if settings.fault == "crash_after_served" and not crash:
            crash.append(loop.call_later(settings.fault_lasts(10), os._exit, 1))

    # As process 1 of a container, a signal without a handler has no effect at all.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if settings.fault in ("never_listens", "slow_start"):
        log.warning("fault %s", settings.fault)
        wait = settings.fault_lasts(15) if settings.fault == "slow_start" else None
        try:
            await asyncio.wait_for(stop.wait(), wait)
            return 0
        except TimeoutError:
            pass

    traffic, database = app.create(settings, on_proxied)
    await database.pool.open()  # returns at once; until the database answers, /health says so
    server = Server(
        uvicorn.Config(
            traffic,
            host=settings.host,
            port=settings.port,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,  # longer than any proxy's: the side that sends requests closes first
        )
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    log.info("started", extra={"fields": {"release": settings.release, "env": settings.env, "port": settings.port}})
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():  # the port is taken
        return 1

    traffic.draining = True
    log.info("draining", extra={"fields": {"in_flight": traffic.in_flight}})
    deadline = monotonic() + settings.drain_seconds
    while traffic.in_flight and monotonic() < deadline:
        await asyncio.sleep(0.05)
    cut = traffic.in_flight
    server.should_exit, server.force_exit = True, bool(cut)
    await serving
    await database.pool.close(timeout=1)
    log.info("stopped", extra={"fields": {"cut_off": cut}})
    return 0
