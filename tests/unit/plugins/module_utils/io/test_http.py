# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions over HTTP and TLS, to real servers of this process."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http as io_http

NAME = "app.kasaneha.test"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the path asks for, and keeps what it was asked."""

    asked: list[dict[str, Any]] = []

    def do_GET(self) -> None:
        self.asked.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
        status, body, headers = {
            "/": (200, b"hello", {}),
            "/json": (200, b'{"release": "v2"}', {"X-Colour": "green", "Content-Type": "application/json"}),
            "/number": (200, b"7", {}),
            "/bytes": (200, b"\xff", {}),
            "/down": (503, b"no", {"Retry-After": "10"}),
            "/moved": (301, b"", {"Location": "/json"}),
            "/slow": (200, b"late", {}),
        }.get(self.path.partition("?")[0], (404, b"nothing", {}))
        if self.path == "/slow":
            time.sleep(1)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server whose clients may go before they have their answer."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def asked() -> list[dict[str, Any]]:
    """What was asked in this test."""
    Handler.asked = []
    return Handler.asked


def serve(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on a port of its own, while the test runs."""
    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def plain() -> Iterator[int]:
    yield from serve()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody trusts, for another name."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=placeholder.invalid", "-keyout", str(path), "-out", str(path.with_suffix(".crt"))],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


@pytest.fixture
def site(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _sock, name, _context: Handler.asked.append({"sni": name})
    yield from serve(context)


ANSWERS = [
    ("/", 200, "hello"),
    ("/json", 200, {"release": "v2"}),
    ("/json?deep=1&of=%20a", 200, {"release": "v2"}),
    ("/number", 200, 7),
    ("/bytes", 200, "\ufffd"),
    ("/down", 503, "no"),
    ("/moved", 301, ""),  # an answer is an answer
    ("/nowhere", 404, "nothing"),
]


@pytest.mark.parametrize(("path", "status", "body"), [*ANSWERS, ("", 200, "hello")])
def test_fetch(plain: int, path: str, status: int, body: Any, asked: list[dict[str, Any]]) -> None:
    found, raw, reason = io_http.fetch(f"http://127.0.0.1:{plain}{path}")
    assert (found, io_http.decoded(raw), reason) == (status, body, "")
    assert [(question["path"], question["connection"]) for question in asked] == [(path or "/", "close")]


def test_fetch_with_headers(plain: int, asked: list[dict[str, Any]]) -> None:
    io_http.fetch(f"http://127.0.0.1:{plain}/", headers={"Host": NAME, "cOnnection": "x"})
    assert (asked[0]["host"], asked[0]["connection"]) == (NAME, "x")


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def silent(answer: bytes | None = None) -> Iterator[int]:
    """A listener that takes connections and says one thing, or nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        if answer is not None:

            def speak() -> None:
                client, _address = server.accept()
                with client:
                    client.recv(1000)
                    client.sendall(answer)

            threading.Thread(target=speak, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize("answer", [b"", b"220 mail.test\r\n", b"HTTP/1.1 200 OK\r\nContent-", b"\x15\x03\x01\x00\x02\x02"])
def test_what_is_no_http_is_no_answer(answer: bytes) -> None:
    for port in silent(answer):
        status, _body, why = io_http.fetch(f"http://127.0.0.1:{port}/", timeout=2)
        # A head that is cut short is still a head to Python; its status line was good.
        assert status == (200 if answer.startswith(b"HTTP/1.1 200") else 0)
        assert bool(why) == (not status)


def test_nobody_answers() -> None:
    status, body, why = io_http.fetch(f"http://127.0.0.1:{closed_port()}/")
    assert (status, body, "refused" in why) == (0, b"", True)
    assert io_http.fetch("http://no-such-name.invalid/")[0] == 0


@pytest.mark.parametrize("headers", [{"X": "a\r\nb: c"}, {"X": "日"}])
def test_what_cannot_be_sent_is_no_answer(plain: int, headers: dict[str, str], asked: list[dict[str, Any]]) -> None:
    status, _body, why = io_http.fetch(f"http://127.0.0.1:{plain}/", headers=headers)
    assert (status, bool(why), asked) == (0, True, [])


def test_the_time_is_kept(plain: int) -> None:
    began = time.monotonic()
    assert io_http.fetch(f"http://127.0.0.1:{plain}/slow", timeout=0.2) == (0, b"", "timed out")
    for port in silent():
        assert io_http.fetch(f"http://127.0.0.1:{port}/", timeout=0.2) == (0, b"", "timed out")
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("head", [b"", b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_answer_that_never_ends_is_none(head: bytes) -> None:
    """Each piece comes in time; the whole of it does not."""
    ended = threading.Event()

    def speak(server: socket.socket) -> None:
        client, _address = server.accept()
        with client, contextlib.suppress(OSError):
            client.recv(1000)
            client.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
            while not ended.wait(0.05):
                client.sendall(b"1\r\nx\r\n" if b"chunked" in head else b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=speak, args=[server])
        thread.start()
        began = time.monotonic()
        assert io_http.fetch(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.4) == (0, b"", "timed out")
        assert 0.3 < time.monotonic() - began < 2
        ended.set()
        thread.join()


def test_of_a_long_answer_the_beginning_is_read() -> None:
    for port in silent(b"HTTP/1.1 200 OK\r\nContent-Length: 1100000\r\n\r\n" + b"x" * 1_100_000):
        status, body, why = io_http.fetch(f"http://127.0.0.1:{port}/")
        assert (status, len(body), why) == (200, 1_000_000, "")


# --- as users do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status", "body"), ANSWERS)
def test_ask_site(site: int, path: str, status: int, body: Any) -> None:
    assert io_http.ask_site(NAME, path, port=site)[:2] == (status, body)


def test_a_site_is_asked_by_its_name_at_the_address(site: int, asked: list[dict[str, Any]]) -> None:
    _status, _body, headers = io_http.ask_site(NAME, "/json?a=1", port=site)
    assert headers["x-colour"] == "green"  # names in lower case
    handshake, question = asked
    assert handshake == {"sni": NAME}
    assert question["host"].partition(":")[0] == NAME
    assert (question["path"], question["connection"], question["user-agent"]) == ("/json?a=1", "close", "kasaneha.deploy probe")


def test_each_question_is_a_connection_of_its_own(site: int, asked: list[dict[str, Any]]) -> None:
    for _unused in range(3):
        io_http.ask_site(NAME, "/", port=site)
    assert sum("sni" in entry for entry in asked) == 3


def test_a_certificate_is_not_what_is_judged(certificate: Path, site: int) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection(("127.0.0.1", site)) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname=NAME)  # a browser would refuse it
    assert io_http.ask_site(NAME, "/", port=site)[0] == 200


def test_a_site_that_does_not_answer(plain: int) -> None:
    status, why, headers = io_http.ask_site(NAME, "/", port=closed_port())
    assert (status, "refused" in why, headers) == (0, True, {})
    status, why, headers = io_http.ask_site(NAME, "/", port=plain)  # no TLS there
    assert (status, bool(why), headers) == (0, True, {})
    for port in silent():
        status, why, headers = io_http.ask_site(NAME, "/", port=port, timeout=0.2)
        assert (status, "timed out" in why, headers) == (0, True, {})
