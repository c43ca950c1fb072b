# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator counts what it must: each way in which a server can cost a request, and none where it costs none.

No containers: a server in this process misbehaves at the requests it is told to.
"""

from __future__ import annotations

import asyncio
import collections
import importlib.util
import json
import re
import signal
import socket
import ssl
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from .boxes import self_signed

LOAD = Path(__file__).parents[2] / "lab/images/load/load.py"
HEAD = "HTTP/1.1 {} Some Reason\r\nX-Release: v1.0.0\r\nX-Colour: blue\r\n"
STREAM = [b'data: {"token": "a"}\n\n', b'data: {"token": "b"}\n\n', b'event: done\ndata: {"stored": true}\n\n']
clock = pytest.mark.clock
needs_h2 = pytest.mark.skipif(not importlib.util.find_spec("h2"), reason="the Python package h2 is not installed")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server:
    """Answers like the example application. `faults`: number of the request, from 1 -> what happens to it."""

    def __init__(self, faults: dict[int, str]) -> None:
        self.faults = faults
        self.requests = 0
        self.connections = 0
        self.api: dict[str, list[float]] = collections.defaultdict(list)  # client -> when it asked the API

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        second = writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        try:
            await (self.http2 if second else self.http1)(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client left
        finally:
            writer.close()

    def next(self, path: str, writer: asyncio.StreamWriter) -> str:
        self.requests += 1
        if path.startswith("/api/"):
            self.api[writer.get_extra_info("peername")[0]].append(asyncio.get_running_loop().time())
        fault = self.faults.get(self.requests, "")
        # A fault of streams waits for the next stream.
        if fault.startswith("stream_") and "/messages" not in path:
            self.faults[self.requests + 1] = fault
            return ""
        return fault

    @staticmethod
    def body(path: str) -> tuple[int, bytes]:
        answers = {"/api/v1/token": b'{"token": "t"}', "/api/v1/sessions": b'{"id": "s"}'}
        return 201 if path == "/api/v1/sessions" else 200, answers.get(path, b"x" * 2000)

    async def http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1]
            assert "\r\nhost: kasaneha.test\r\n" in head
            length = re.search(r"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            if not await self.answer1(path, self.next(path, writer), writer) or "connection: close" in head:
                return

    async def answer1(self, path: str, fault: str, writer: asyncio.StreamWriter) -> bool:
        """True: the connection stays."""
        code, body = self.body(path)
        if fault.isdigit():
            code = int(fault)
        if fault == "close":
            return False
        if fault == "reset":
            writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if fault == "late" or fault.startswith("stall"):
            await asyncio.sleep(0.5 if fault == "stall" else 1.5)
        if "seconds=" in path:
            await asyncio.sleep(float(path.rpartition("=")[2]))
        head = HEAD.format(code)
        if "/messages" in path:
            writer.write(f"{head}Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            writer.write(b"".join(chunk(part) for part in STREAM[: 2 if fault.startswith("stream_") else 3]))
            writer.write(b"" if fault == "stream_cut" else b"0\r\n\r\n")
            await writer.drain()
            return fault != "stream_cut"
        if fault in ("chunks_cut", "chunks_bad") or path == "/about":  # well behaved: the same in two chunks
            end = {"chunks_cut": b"", "chunks_bad": b"zz\r\n\r\n"}.get(fault, chunk(body[1000:]) + b"0\r\n\r\n")
            writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk(body[:1000]) + end)
            await writer.drain()
            return fault != "chunks_cut"
        lines = {"endless": "", "old": "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"}
        head += lines.get(fault, f"Content-Length: {len(body)}\r\n")
        sent = {"short": body[:10], "long": body + b"!"}.get(fault, body)
        writer.write(f"{head}\r\n".encode() + sent)
        await writer.drain()
        return fault not in ("short", "endless", "leave")

    async def http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.events import RequestReceived, StreamEnded

        connection, paths, done = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8")), {}, asyncio.Event()
        connection.initiate_connection()
        answers: set[asyncio.Task[None]] = set()

        async def answer(stream: int) -> None:
            fault = self.next(paths[stream], writer)
            code, body = self.body(paths[stream])
            if fault == "h2_refuse":  # this one and what comes after it was never looked at
                writer.write(goaway(stream - 2))
                return
            if fault == "h2_leave":  # the last one, and it is answered
                writer.write(goaway(stream))
                await writer.drain()
                await asyncio.sleep(0.1)
            if fault == "close":
                done.set()
                return
            if fault == "reset":
                connection.reset_stream(stream, 2)
            else:
                headers = [(":status", fault if fault.isdigit() else str(code)), ("x-release", "v1.0.0"), ("x-colour", "blue")]
                connection.send_headers(stream, headers)
                connection.send_data(stream, body, end_stream=fault != "short")
            writer.write(connection.data_to_send())
            if fault == "short":
                done.set()

        async def read() -> None:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        paths[event.stream_id] = dict(event.headers)[":path"]
                    elif isinstance(event, StreamEnded):
                        answers.add(asyncio.ensure_future(answer(event.stream_id)))
                writer.write(connection.data_to_send())

        waiting = {asyncio.ensure_future(read()), asyncio.ensure_future(done.wait())}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


def goaway(last: int) -> bytes:
    return b"\x00\x00\x08\x07\x00" + struct.pack(">III", 0, last, 0)


class Run:
    """The generator against such a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self_signed(folder, "kasaneha.test")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "self_signed.crt", folder / "self_signed.key")
        self.context.set_alpn_protocols(["h2", "http/1.1"])

    def __call__(self, *options: str, faults: dict[int, str] | None = None, term: bool = False) -> dict[str, Any]:
        """Half a second of 50 requests on keep-alive connections, unless the options say otherwise."""
        self.server = Server(dict(faults or {}))
        return asyncio.run(self.run(options, term))

    async def run(self, options: tuple[str, ...], term: bool) -> dict[str, Any]:
        listening = await asyncio.start_server(self.server.serve, "127.0.0.1", 0, ssl=self.context)
        address = "{}:{}".format(*listening.sockets[0].getsockname())
        out = self.folder / "out.jsonl"
        defaults = (
            f"--rate 100 --seconds 0.5 --mix keepalive=1 --connections 4 --slow 0 --streams 0 --timeout 20 --out {out}".split()
        )
        command = [sys.executable, str(LOAD), "--address", address, *defaults, *options]
        load = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        try:
            if term:
                assert await asyncio.wait_for(load.stdout.readline(), 90) == b"load: started\n"
                load.send_signal(signal.SIGTERM)
            said, errors = await asyncio.wait_for(load.communicate(), 90)
        finally:
            if load.returncode is None:
                load.kill()
            listening.close()
        assert load.returncode == 0, errors.decode()
        result = json.loads(said.splitlines()[-1])
        result["records"] = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(result["records"]) == result["total"]
        assert sum(1 for record in result["records"] if record["error"]) == result["failed"]
        return result


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("load"))


HTTP1_FAULTS = {
    "close": "before the answer",
    "reset": "before the answer",
    "502": "status 502",
    "429": "status 429",
    "206": "status 206",
    "302": "status 302",
    "short": "inside the body",
    "long": "bytes after the end",
    "endless": "cannot be known",
    "old": "transfer-encoding",
    "chunks_cut": "inside the body",
    "chunks_bad": "size of a chunk",
    "late": "within 1 s",
}


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=clock) if fault == "late" else fault for fault in HTTP1_FAULTS])
def test_a_fault_of_http1_is_one_failure(run, fault):
    path = "/" if fault in ("short", "long", "endless", "old") else "/,/about,POST /api/v1/token"
    result = run("--paths", path, *(["--timeout", "1"] if fault == "late" else []), faults={20: fault, 30: fault})
    assert result["total"] == 50 and result["failed"] == 2, result["failures"]
    assert all(HTTP1_FAULTS[fault] in failure["error"] for failure in result["failures"])
    # Only where not one byte of an answer came on a connection that had answered before.
    assert result["reused_connection_failures"] == (2 if fault in ("close", "reset") else 0)
    assert run.server.requests == 50  # nothing was asked twice


def test_a_fresh_connection_that_ends_is_nothing_a_browser_would_repeat(run):
    result = run("--mix", "fresh=1", faults={10: "close", 20: "reset"})
    assert result["failed"] == 2 and result["reused_connection_failures"] == 0
    assert run.server.connections == 50


def test_a_server_that_is_down_costs_every_request(run):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        result = run("--address", f"127.0.0.1:{nobody.getsockname()[1]}", "--slow", "1", "--streams", "1")
    assert result["failed"] == result["total"] and "Refused" in result["failures"][0]["error"]
    assert result["kinds"]["keepalive"]["total"] == 50
    assert result["kinds"]["slow"]["total"] <= 3  # no flood


def test_connections_that_end_while_idle_cost_nothing(run):
    """The positive control for HTTP/1.1: the next request goes to a new connection, and is the first one sent."""
    result = run(faults=dict.fromkeys(range(5, 50, 5), "leave"))
    assert result["failed"] == 0, result["failures"]
    assert result["total"] == run.server.requests == 50
    assert run.server.connections > 8


@clock
def test_a_stall_is_not_hidden_by_what_waited_behind_it(run):
    result = run("--connections", "1", faults={10: "stall"})
    assert result["failed"] == 0 and result["late"] < 5  # late is what the generator itself could not keep
    assert sum(1 for record in result["records"] if record["ms"] > 100) > 15
    assert result["max_ms"] > 450 and result["waited_for_connection"] > 15


@pytest.mark.parametrize(("fault", "said"), [("stream_cut", "inside the body"), ("stream_end", "event: done")])
def test_a_stream_without_its_end_is_a_failure(run, fault, said):
    result = run("--streams", "1", "--stream-seconds", "0.1", faults={5: fault})
    assert result["failed"] == result["kinds"]["sse"]["failed"] == 1
    assert said in result["failures"][0]["error"] and result["reused_connection_failures"] == 0


def test_on_a_signal_what_is_in_flight_is_finished(run):
    mix = "keepalive=3,fresh=1"
    result = run("--seconds", "0", "--mix", mix, "--slow", "0.8", "--streams", "2", "--stream-seconds", "0.5", term=True)
    assert result["failed"] == 0, result["failures"]
    assert set(result["kinds"]) == {"keepalive", "fresh", "slow", "sse"}
    assert result["kinds"]["sse"]["total"] % 3 == 0  # token, session and message of each
    assert {record["release"] for record in result["records"]} == {"v1.0.0"}
    assert {record["colour"] for record in result["records"]} == {"blue"}
    assert {(record["method"], record["path"]) for record in result["records"]} >= {
        ("POST", "/api/v1/token"),
        ("GET", "/about"),
    }


@clock
def test_no_source_asks_the_api_too_often(run):
    result = run("--rate", "100", "--connections", "3", "--mix", "keepalive=1,fresh=1", "--sources", "127.0.1.1-127.0.1.8")
    assert result["failed"] == 0
    assert set(run.server.api) == {f"127.0.1.{last}" for last in range(1, 9)}
    for times in run.server.api.values():
        assert len(times) <= 6


@needs_h2
@clock  # who is busy has several requests on one connection, and each of them is lost
@pytest.mark.parametrize(
    ("fault", "said"),
    [("502", "status 502"), ("reset", "was reset"), ("close", "before the answer"), ("short", "inside the answer")],
)
def test_a_fault_of_http2_is_one_failure(run, fault, said):
    result = run("--mix", "h2=1", faults={20: fault, 30: fault})
    assert result["total"] == run.server.requests == 50 and result["failed"] == 2, result["failures"]
    assert all(said in failure["error"] for failure in result["failures"])
    assert result["reused_connection_failures"] == (2 if fault == "close" else 0)


@needs_h2
@clock
def test_goaway_costs_nothing_that_was_in_flight_and_lets_the_rest_be_sent_again(run):
    result = run("--mix", "h2=1", faults={20: "h2_leave", 30: "h2_refuse"})
    assert result["failed"] == 0, result["failures"]
    assert result["total"] == 50 and result["goaway_replayed"] == 1 and run.server.requests == 51


@needs_h2
@clock
def test_a_server_that_behaves_costs_nothing(run):
    mix = "keepalive=50,fresh=30,h2=20"
    result = run("--rate", "150", "--mix", mix, "--slow", "0.5", "--streams", "1", "--stream-seconds", "0.5")
    assert result["failed"] == result["goaway_replayed"] == 0, result["failures"]
    assert {kind for kind, counts in result["kinds"].items() if counts["total"]} == {"keepalive", "fresh", "h2", "slow", "sse"}
    assert result["rate"] > 140 and len(result["records"]) == result["total"] > 75
