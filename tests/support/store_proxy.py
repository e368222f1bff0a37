"""Servers that stand for an object store in one respect: they answer as a test says.

Neither is a store. ``Answers`` gives one answer to every request, because no server here can be
made to expire credentials or to have another region. ``Forwarding`` hands requests on to a real
server, without some of their headers.
"""

from __future__ import annotations

import http.client
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Quiet(BaseHTTPRequestHandler):
    """What answers to one connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def body(self) -> bytes:
        """Read what the request sends."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Send an answer; one to HEAD has no body, and says its length in ``headers``."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def act(self) -> None:
        """Answer a request, of whatever method."""
        raise NotImplementedError

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = lambda self: self.act()  # noqa: N815


@contextmanager
def served(handler: type[Quiet]) -> Iterator[str]:
    """Run a server on a free port, and return its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def answering(answers: list[tuple[int, str]]) -> Iterator[str]:
    """Give these answers, each a status and a code, in turn, and the last one for ever."""

    class Answers(Quiet):
        def act(self) -> None:
            self.body()
            status, code = answers.pop(0) if len(answers) > 1 else answers[0]
            text = f"<Error><Code>{code}</Code><Message>signed with hunter2</Message></Error>"
            self.answer(status, [("ETag", '"1"')], text.encode() if code else b"")

    with served(Answers) as url:
        yield url


@contextmanager
def forwarding(
    port: int,
    *,
    without: Collection[str] = (),
    unknown: Collection[str] = (),
    paths: list[str] | None = None,
) -> Iterator[str]:
    """Hand requests on to a server on this machine, without some headers; note their paths.

    One with a header that is ``unknown`` gets 501, as some servers answer what they do not have.
    """

    class Forwarding(Quiet):
        def act(self) -> None:
            if paths is not None:
                paths.append(self.path)
            if any(name.lower() in unknown for name in self.headers):
                self.body()
                self.answer(501, [], b"<Error><Code>NotImplemented</Code></Error>")
                return
            server = http.client.HTTPConnection("127.0.0.1", port)
            kept = {n: v for n, v in self.headers.items() if n.lower() not in without}
            server.request(self.command, self.path, self.body(), kept)
            response: Any = server.getresponse()
            headers = [
                (name, value)
                for name, value in response.getheaders()
                if name.lower() not in ("transfer-encoding", "connection")
                and (name.lower() != "content-length" or self.command == "HEAD")
            ]
            self.answer(response.status, headers, response.read())
            server.close()

    with served(Forwarding) as url:
        yield url
