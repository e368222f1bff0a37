"""An S3 server in this process (moto), which can kill its client at a write, or lose an answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTS", "AWS_SECRET_ACCESS_KEY": "opens-nothing"}

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WatchedS3:
    """A server; what happens at a write is set between requests.

    ``kills`` is the number of the write at which the client dies, from 1, and ``is_before``
    whether it dies before the write is done. ``loses`` is the number of a write that is done, and
    answered with an error.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._has_client = threading.Event()
        self._client = 0
        self.env = {**KEYS, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        """The variables by which clients find it."""
        self.writes = 0
        self.kills = self.loses = 0
        self.is_before = False

    def watch(self, *, kills: int = 0, is_before: bool = False, loses: int = 0) -> None:
        """Count writes from here on."""
        self.writes = 0
        self.kills, self.is_before, self.loses = kills, is_before, loses
        self._has_client.clear()

    def has_client(self, process: int) -> None:
        """Set the process that is killed."""
        self._client = process
        self._has_client.set()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        number = 0
        if environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
            with self._lock:
                self.writes += 1
                number = self.writes
        if number and number == self.kills and self.is_before:
            self._kill()
            return []
        if number and number == self.loses:
            list(self._application(environ, lambda *_: None))
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return []
        answer = list(self._application(environ, start_response))
        if number and number == self.kills:
            self._kill()
        return answer

    def _kill(self) -> None:
        self._has_client.wait(timeout=60)
        os.kill(self._client, signal.SIGKILL)


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Log nothing: neither requests, nor that the client has gone."""


@contextmanager
def watched_s3() -> Iterator[WatchedS3]:
    """Run a server while the context lasts."""
    watched = WatchedS3(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, watched, threaded=True, request_handler=_Silent)
    watched.env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield watched
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
