"""Object stores as tests open them, and a server that is stopped for a while."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.object_store import ObjectStore
from tests.support.object_servers import ObjectServer

SHORT_SECONDS = 1.0
"""A lease whose end a test can wait for."""


def opened(
    dest: str,
    scratch: Path,
    *,
    takes_over: bool = False,
    lease_seconds: float = SHORT_SECONDS,
    retries: int = 10,
) -> ObjectStore:
    """Open the store of a URL, as a process of its own would."""
    return ObjectStore(
        parsed_url(dest),
        scratch=str(scratch),
        upload_bytes=32 << 20,
        takes_over=takes_over,
        lease_seconds=lease_seconds,
        retries={
            "max_retries": retries,
            "backoff": {"init_backoff": timedelta(milliseconds=1)},
        },
    )


@contextmanager
def stopped(server: ObjectServer) -> Iterator[None]:
    """Let a server answer nothing while the context lasts."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)
