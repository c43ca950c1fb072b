# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 by h2. GOAWAY is handled here: h2 takes it for the end, but what is in flight is still answered after it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from wire import Answer, Connection, Failure, Request, Source, Target, Unprocessed

GOAWAY = 7
STREAMS = 100  # at once on a connection; nginx allows 128


@dataclass(slots=True)
class Stream:
    result: asyncio.Future[Answer]
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Http2(Connection):
    def __init__(self) -> None:
        super().__init__()
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.streams: dict[int, Stream] = {}
        self.frames = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        if (data := self.h2.data_to_send()) and not self.transport.is_closing():
            self.transport.write(data)

    async def ask(self, host: str, request: Request) -> Answer:
        number = self.h2.get_next_available_stream_id()
        stream = self.streams[number] = Stream(asyncio.get_running_loop().create_future())
        headers = [(":method", request.method), (":path", request.path), (":scheme", "https"), (":authority", host)]
        headers += [("user-agent", "kasaneha-load"), ("accept", "*/*"), *request.headers.items()]
        post = request.method == "POST"
        headers += [("content-length", str(len(request.body)))] if post else []
        try:
            self.h2.send_headers(number, headers, end_stream=not post)
            if post:
                self.h2.send_data(number, request.body, end_stream=True)
            self.flush()
            answer = await stream.result
        except Failure as failure:
            failure.reused = failure.unanswered and self.answered > 0
            raise
        except ProtocolError as error:
            raise Failure(f"HTTP/2: {type(error).__name__}: {error}") from error
        except asyncio.CancelledError:  # too late: the server need not go on
            self.reset(number)
            raise
        finally:
            self.streams.pop(number, None)
            if not self.open and not self.streams:
                self.transport.close()
        self.answered += 1
        return answer

    def reset(self, number: int) -> None:
        try:
            self.h2.reset_stream(number, ErrorCodes.CANCEL)
            self.flush()
        except ProtocolError:
            pass  # it is closed already

    def data_received(self, data: bytes) -> None:
        self.frames += data
        begin = position = 0
        try:
            while len(self.frames) >= position + 9:
                end = position + 9 + int.from_bytes(self.frames[position : position + 3])
                if len(self.frames) < end:
                    break
                if self.frames[position + 3] == GOAWAY:
                    self.feed(bytes(self.frames[begin:position]))
                    self.go_away(bytes(self.frames[position + 9 : end]))
                    begin = end
                position = end
            self.feed(bytes(self.frames[begin:position]))
        except ProtocolError as error:
            self.ended(f"HTTP/2: {type(error).__name__}: {error}", lost=False)
            self.flush()  # h2 tells the server why
            self.transport.close()
        del self.frames[:position]

    def feed(self, data: bytes) -> None:
        for event in self.h2.receive_data(data) if data else ():
            stream = self.streams.get(getattr(event, "stream_id", None) or 0)
            if isinstance(event, DataReceived):
                # Also for a stream that was given up: its bytes count against the connection's window.
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if stream is None or stream.result.done():
                continue
            if isinstance(event, ResponseReceived):
                fields = dict(event.headers)
                stream.status, stream.headers = int(fields[":status"]), fields
            elif isinstance(event, DataReceived):
                stream.body += event.data
            elif isinstance(event, StreamEnded):
                stream.result.set_result(Answer(stream.status, stream.headers, bytes(stream.body)))
            elif isinstance(event, StreamReset):
                stream.result.set_exception(Failure(f"the stream was reset: error {event.error_code}"))
        self.flush()

    def go_away(self, payload: bytes) -> None:
        self.open = False  # for new requests
        last = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        for number, stream in self.streams.items():
            if number > last and not stream.result.done():
                stream.result.set_exception(Unprocessed())
        if not self.streams:
            self.transport.close()

    def ended(self, why: str, lost: bool = True) -> None:
        self.open = False
        for stream in self.streams.values():
            if not stream.result.done():
                begun = bool(stream.status)
                text = f"{why} {'inside' if begun else 'before'} the answer"
                stream.result.set_exception(Failure(text, unanswered=lost and not begun))


class Http2Line:
    """A place for a connection of one source; many requests at once."""

    def __init__(self, target: Target, source: Source) -> None:
        self.target, self.source = target, source
        self.connection: Http2 | None = None
        self.connecting = asyncio.Lock()
        self.places = asyncio.Semaphore(STREAMS)

    async def ask(self, request: Request) -> Answer:
        async with self.places:
            async with self.connecting:
                if not (self.connection and await self.connection.usable()):
                    self.connection = None  # what is in flight on the old one goes on there
                    self.connection = await self.target.connect(Http2, "h2", self.source)
                connection = self.connection
            return await connection.ask(self.target.host, request)

    def close(self) -> None:
        if self.connection:
            self.connection.close()
