#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP load at a constant rate, by a client that never asks twice: what it counts is what users would have lost.

Open loop: when a request is due does not depend on the answers before it, and its time is measured from that moment,
so that a server which stalls cannot hide it. The last line on stdout is the result, one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import resource
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TextIO
from urllib.parse import urlsplit

from http1 import Line
from wire import Answer, Failure, Request, Source, Target, Unprocessed, add_sources

Ask = Callable[[Request], Awaitable[Answer]]
PATHS = "/,/api/v1/info,/about,POST /api/v1/token"
LATE = 0.05  # seconds behind the schedule
DRAIN = 40.0  # seconds for what is in flight at the end
USERS = 100  # names; few enough to stay small in a database, enough not to wait for one another's row
SHOWN = 10  # failures told in full


def shares(text: str) -> dict[str, float]:
    """`a=50,b=30`; without a number, 1."""
    found = dict(re.fullmatch(r"(.+?)(?:=([\d.]+))?", part.strip()).groups() for part in text.split(","))  # type: ignore[union-attr]
    return {name: float(share or 1) for name, share in found.items() if float(share or 1)}


class Paths:
    """Chooses what is asked next, so that no source asks the API more often than the edge lets it."""

    def __init__(self, text: str) -> None:
        self.random = random.Random(1)  # noqa: S311 - the same mix each time, not a secret
        parts = shares(text)
        self.all = [tuple(name.split(" ")) if " " in name else ("GET", name) for name in parts]
        self.weights = list(parts.values())
        self.pages = [index for index, (_, path) in enumerate(self.all) if not path.startswith("/api/")]
        self.owed: deque[int] = deque()

    def next(self, source: Source) -> Request:
        [index] = self.random.choices(range(len(self.all)), self.weights)
        may = source.may_ask_the_api()
        if index in self.pages:
            if may and self.owed:
                index = self.owed.popleft()
        elif not may and self.pages:
            self.owed.append(index)  # another source asks it
            index = self.random.choice(self.pages)
        method, path = self.all[index]
        if index not in self.pages:
            source.used = time.monotonic()
        if method == "POST":
            return Request.post(path, {"name": f"load {self.random.randrange(USERS)}"})
        return Request(method, path)


class Load:
    def __init__(self, options: argparse.Namespace, out: TextIO | None) -> None:
        self.options, self.out = options, out
        url, address = urlsplit(options.url), urlsplit(f"//{options.address}")
        port = address.port or url.port or 443
        self.target = Target(url.netloc, url.hostname or "", (address.hostname or "", port))
        self.sources = add_sources(options.sources, options.device) if options.sources else [Source()]
        self.given = 0  # sources given out, round-robin
        self.paths = Paths(options.paths)
        self.mix = shares(options.mix)
        if unknown := set(self.mix) - {"keepalive", "fresh", "h2"}:
            raise SystemExit(f"--mix: what is {unknown}?")
        self.lines: asyncio.Queue[Line] = asyncio.Queue()  # the idle keep-alive connections, the longest idle first
        self.h2_lines: deque[Any] = deque()
        self.stopping = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.expected = set(self.mix) | ({"slow"} if options.slow else set()) | ({"sse"} if options.streams else set())
        self.total, self.failed = Counter[str](), Counter[str]()
        self.counts = Counter({"reused_connection_failures": 0, "goaway_replayed": 0, "late": 0, "waited_for_connection": 0})
        self.times: list[float] = []
        self.failures: list[dict[str, Any]] = []

    def source(self) -> Source:
        self.given += 1
        return self.sources[self.given % len(self.sources)]

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self.stopping.set)
        for _ in range(self.options.connections):
            self.lines.put_nowait(Line(self.target, self.source()))
        if "h2" in self.mix:
            from http2 import Http2Line  # only now: without HTTP/2 no library is needed

            self.h2_lines.extend(Http2Line(self.target, self.source()) for _ in range(self.options.h2_connections))
        begin = loop.time()
        self.epoch = time.time() - begin
        if self.options.slow:
            self.spawn(self.always(self.slow))
        for number in range(self.options.streams):
            self.spawn(self.always(self.stream, number))
        await self.schedule(begin)
        seconds = loop.time() - begin
        self.stopping.set()
        if self.tasks and (await asyncio.wait(self.tasks, timeout=DRAIN))[1]:
            unfinished = list(self.tasks)
            for task in unfinished:
                task.cancel()
            await asyncio.wait(unfinished)
        return self.result(seconds)

    def spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)

    def done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            raise SystemExit(f"a fault of the generator itself: {error!r}") from error

    async def schedule(self, begin: float) -> None:
        """The heart: what is due is started, whatever became of the requests before it."""
        loop, rate, chance = asyncio.get_running_loop(), self.options.rate, random.Random(2)  # noqa: S311 - as above
        kinds, weights = list(self.mix), list(self.mix.values())
        number = 0
        while not self.stopping.is_set() and not 0 < self.options.seconds * rate <= number:
            due = begin + number / rate
            await asyncio.sleep(max(0, due - loop.time()))  # when behind: only what else is ready gets a turn
            [kind] = chance.choices(kinds, weights)
            self.spawn(self.one(kind, due))
            number += 1

    async def one(self, kind: str, due: float) -> None:
        loop = asyncio.get_running_loop()
        self.counts["late"] += loop.time() - due > LATE
        if kind == "keepalive":
            try:
                line = await self.lines.get()
            except asyncio.CancelledError:
                self.record(kind, due, Request("", ""), None, f"no connection was free {DRAIN:g} s after the end")
                return
            self.counts["waited_for_connection"] += loop.time() - due > LATE
            try:
                await self.attempt(kind, due, line.ask, self.paths.next(line.source))
            finally:
                self.lines.put_nowait(line)
        elif kind == "fresh":
            fresh = Line(self.target, self.source())
            await self.attempt(kind, due, lambda request: fresh.ask(request, last=True), self.paths.next(fresh.source))
        else:
            self.h2_lines.rotate(1)
            h2 = self.h2_lines[0]
            await self.attempt(kind, due, h2.ask, self.paths.next(h2.source))

    async def always(self, work: Callable[..., Awaitable[bool]], *arguments: Any) -> None:
        """One after the other; where it fails, with a pause, for a server that is down must not be flooded."""
        while not self.stopping.is_set():
            if not await work(*arguments):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), 1)

    async def slow(self) -> bool:
        fresh = Line(self.target, self.source())
        request = Request("GET", f"/api/v1/slow?seconds={self.options.slow:g}")
        now = asyncio.get_running_loop().time()
        return bool(await self.attempt("slow", now, lambda it: fresh.ask(it, last=True), request, self.options.slow))

    async def stream(self, number: int) -> bool:
        """What a user does: a token, a session, and a message that is answered word by word."""
        loop, line, seconds = asyncio.get_running_loop(), Line(self.target, self.source()), self.options.stream_seconds

        async def step(request: Request, check: Callable[[Answer], Any], extra: float = 0) -> Any:
            answer = await self.attempt("sse", loop.time(), line.ask, request, extra, check)
            return answer and check(answer)

        try:
            token = await step(
                Request.post("/api/v1/token", {"name": f"stream {number}"}), lambda it: json.loads(it.body)["token"]
            )
            if not token:
                return False
            who = {"authorization": f"Bearer {token}"}
            session = await step(Request.post("/api/v1/sessions", {"title": "load"}, **who), lambda it: json.loads(it.body)["id"])
            if not session:
                return False
            path = f"/api/v1/sessions/{session}/messages?seconds={seconds:g}"
            return bool(await step(Request.post(path, {"text": "Is anybody lost?"}, **who), whole_stream, seconds))
        finally:
            line.close()

    async def attempt(
        self, kind: str, due: float, ask: Ask, request: Request, extra: float = 0, check: Callable[[Answer], Any] | None = None
    ) -> Answer | None:
        """Ask once, and write down what came of it. The answer, if it is a good one."""
        answer, error, reused = None, "", False
        try:
            async with asyncio.timeout_at(due + self.options.timeout + extra):
                answer = await self.ask(ask, request)
            if answer.status not in (200, 201):
                error = f"status {answer.status}"
            elif check:
                check(answer)
        except Failure as failure:
            error, reused = str(failure), failure.reused
        except TimeoutError:
            error = f"no complete answer within {self.options.timeout + extra:g} s"
        except OSError as failure:
            error = f"{type(failure).__name__}: {failure}"
        except (ValueError, LookupError, TypeError) as failure:
            error = f"not the answer that was expected: {failure!r}"
        except asyncio.CancelledError:
            error = f"not finished {DRAIN:g} s after the end"
        self.counts["reused_connection_failures"] += reused
        self.record(kind, due, request, answer, error)
        return None if error else answer

    async def ask(self, ask: Ask, request: Request) -> Answer:
        while True:
            try:
                return await ask(request)
            except Unprocessed:
                self.counts["goaway_replayed"] += 1

    def record(self, kind: str, due: float, request: Request, answer: Answer | None, error: str) -> None:
        milliseconds = round((asyncio.get_running_loop().time() - due) * 1000, 2)
        headers = answer.headers if answer else {}
        entry = {
            "start": round(due + self.epoch, 4),
            "kind": kind,
            "method": request.method,
            "path": request.path,
            "status": answer.status if answer else 0,
            "ms": milliseconds,
            "release": headers.get("x-release", ""),
            "colour": headers.get("x-colour", ""),
            "error": error,
        }
        self.total[kind] += 1
        if kind in self.mix:
            self.times.append(milliseconds)
        if error:
            self.failed[kind] += 1
            if len(self.failures) < SHOWN:
                self.failures.append(entry)
                print(json.dumps(entry), file=sys.stderr, flush=True)
        elif kind in self.expected and (kind != "sse" or "/messages" in request.path):
            self.expected.discard(kind)
            if not self.expected:
                print("load: started", flush=True)
        if self.out:
            self.out.write(json.dumps(entry) + "\n")

    def result(self, seconds: float) -> dict[str, Any]:
        times = sorted(self.times)

        def percentile(part: float) -> float | None:
            return times[math.ceil(part * len(times)) - 1] if times else None

        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "total": self.total.total(),
            "failed": self.failed.total(),
            **self.counts,
            "seconds": round(seconds, 3),
            "rate": round(len(times) / seconds, 2),
            "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99),
            "max_ms": percentile(1),
            "kinds": {kind: {"total": count, "failed": self.failed[kind]} for kind, count in sorted(self.total.items())},
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
            "failures": self.failures,
        }


def whole_stream(answer: Answer) -> bool:
    """Complete as HTTP is not enough: a proxy may end an answer well that the server never finished."""
    *events, rest = answer.body.split(b"\n\n")
    if rest or not events or not events[-1].startswith(b"event: done"):
        raise ValueError(f"no `event: done` at the end: {answer.body[-80:]!r}")
    return True


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--url", default="https://kasaneha.test", help="scheme and name of the site")
    add("--address", required=True, help="IPv4 address[:port] to connect to")
    add("--rate", type=float, default=300, help="requests per second")
    add("--mix", default="keepalive=50,fresh=30,h2=20", help="shares of the kinds of connection")
    add("--paths", default=PATHS, help="[METHOD ]path[=share],…; a path with a query needs its share")
    add("--slow", type=float, default=5, help="seconds that the slow request takes; 0: none")
    add("--streams", type=int, default=1, help="streamed answers at any time")
    add("--stream-seconds", type=float, default=5, help="how long a streamed answer takes")
    add("--sources", default="", help="first-last: own addresses, so that the edge sees many clients")
    add("--device", default="eth0", help="gets the addresses that are missing")
    add("--connections", type=int, default=24, help="keep-alive connections")
    add("--h2-connections", type=int, default=4, help="HTTP/2 connections")
    add("--seconds", type=float, default=0, help="0: until SIGTERM or SIGINT")
    add("--timeout", type=float, default=30, help="seconds after which a request has failed")
    add("--out", default="", help="file for one line of JSON a request")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a server that stalls leaves thousands of connections open
    with open(chosen.out or "/dev/null", "w", buffering=1) as out:  # line by line: a test reads while it grows

        async def run() -> dict[str, Any]:
            return await Load(chosen, out if chosen.out else None).run()

        result = asyncio.run(run())
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
