# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 for a client that trusts nothing: an answer whose end cannot be known is a failure."""

from __future__ import annotations

import asyncio
import re

from wire import Answer, Connection, Failure, Request, Source, Target

STATUS = re.compile(r"HTTP/1\.1 (\d{3})(?: .*)?")
FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;.*)?")


class Http1(Connection):
    """One request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray()
        self.waiting: asyncio.Future[Answer] | None = None
        self.stray = False
        self.forget()

    def forget(self) -> None:
        self.status = 0  # 0: the head is not complete yet
        self.headers: dict[str, str] = {}
        self.length: int | None = None  # None: chunked
        self.body = bytearray()

    async def ask(self, host: str, request: Request, last: bool) -> Answer:
        if self.stray:
            raise Failure("bytes that answer no request")
        lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {host}", "user-agent: kasaneha-load", "accept: */*"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"content-length: {len(request.body)}"] if request.method == "POST" else []
        lines += ["connection: close"] if last else []
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + request.body)
        try:
            answer = await self.waiting
        except Failure as failure:
            failure.reused = failure.unanswered and self.answered > 0
            raise
        finally:
            self.waiting = None
        self.answered += 1
        if last or answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def data_received(self, data: bytes) -> None:
        if self.waiting is None or self.waiting.done():
            self.stray = True
            return
        self.buffer += data
        try:
            if (answer := self.parse()) is not None:
                self.forget()
                self.waiting.set_result(answer)
        except Failure as failure:
            self.waiting.set_exception(failure)

    def ended(self, why: str) -> None:
        self.open = False
        if self.waiting and not self.waiting.done():
            if begun := bool(self.buffer or self.status):
                why = f"{why} inside the {'body' if self.status else 'head'}"
            self.waiting.set_exception(Failure(why if begun else f"{why} before the answer", unanswered=not begun))

    def parse(self) -> Answer | None:
        while not self.status:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self.buffer[:end].decode("latin-1")
            del self.buffer[: end + 4]
            self.read_head(head)
        if self.length is None:
            if not self.unchunk():
                return None
        elif len(self.buffer) < self.length:
            return None
        else:
            self.body = self.buffer[: self.length]
            del self.buffer[: self.length]
        if self.buffer:
            raise Failure("bytes after the end of the answer")
        return Answer(self.status, self.headers, bytes(self.body))

    def read_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        if not (status := STATUS.fullmatch(first)):
            raise Failure(f"not a status line: {first[:80]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            if not (found := FIELD.fullmatch(line)):
                raise Failure(f"not a header: {line[:80]!r}")
            name = found[1].lower()
            headers[name] = f"{headers[name]}, {found[2]}" if name in headers else found[2]
        code = int(status[1])
        if 100 <= code < 200:
            return  # a word before the answer
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if coding is not None and (length is not None or coding.lower() != "chunked"):
            raise Failure(f"transfer-encoding {coding!r}, content-length {length!r}")
        if coding is None and code in (204, 304):
            length = "0"
        elif coding is None and not re.fullmatch(r"\d{1,12}", length or ""):
            raise Failure(f"content-length {length!r}: the end of the body cannot be known")
        self.status, self.headers, self.length = code, headers, None if coding else int(length or 0)

    def unchunk(self) -> bool:
        while (end := self.buffer.find(b"\r\n")) >= 0:
            if not (found := SIZE.fullmatch(self.buffer[:end])):
                raise Failure(f"not the size of a chunk: {bytes(self.buffer[:20])!r}")
            size = int(found[1], 16)
            if not size:
                # Trailers, if any, up to an empty line; without them it follows at once.
                over = self.buffer.find(b"\r\n\r\n", end)
                if over < 0:
                    return False
                del self.buffer[: over + 4]
                return True
            begin = end + 2
            if len(self.buffer) < begin + size + 2:
                return False
            if self.buffer[begin + size : begin + size + 2] != b"\r\n":
                raise Failure("a chunk is longer than its size")
            self.body += self.buffer[begin : begin + size]
            del self.buffer[: begin + size + 2]
        return False


class Line:
    """A place for a connection of one source; asked again once it has answered."""

    def __init__(self, target: Target, source: Source) -> None:
        self.target, self.source = target, source
        self.connection: Http1 | None = None

    async def ask(self, request: Request, last: bool = False) -> Answer:
        if self.connection and not await self.connection.usable():
            self.connection = None
        if not self.connection:
            self.connection = await self.target.connect(Http1, "http/1.1", self.source)
        try:
            return await self.connection.ask(self.target.host, request, last)
        except BaseException:
            self.connection.abort()  # nobody knows what else would come on it
            self.connection = None
            raise

    def close(self) -> None:
        if self.connection:
            self.connection.close()
