"""HTTP answers byte for byte, from a raw socket, and a connection that asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, TypeVar

from streamlic.errors import StreamlicError
from streamlic.truto.account_pages import AccountPages
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.page_driver import next_request, retry_later
from streamlic.truto.request import LicensesRequest
from streamlic.truto.retry import Retry, RetryPolicy
from streamlic.truto.settings import ConnectionSettings

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
OTHER_ACCOUNT = "0aa44730-dd91-461e-bd6a-aedd9e0ad79d"
TOKEN = 'se"cret/token'
"""It has characters that JSON escapes, or may escape."""
BODY = b'{"result":[{"id":"a"},{"id":"b"}],"next_cursor":null}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
REQUEST = LicensesRequest(account=ACCOUNT)
PATIENT = RetryPolicy(backoff_seconds=0)
"""Asks again, at once, for longer than a test may take: for servers that recover."""
T = TypeVar("T")
Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return an answer that its Content-Length frames."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


def chunked(body: bytes, *, is_ended: bool = True) -> bytes:
    """Return an answer of one chunk, with the last chunk of length 0 or without."""
    last = b"0\r\n\r\n" if is_ended else b""
    return OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body) + last


class Asked(list[bytes]):
    """The heads of the requests that came, and over how many connections."""

    connections = 0


@asynccontextmanager
async def server(
    *answers: Answer, is_kept: bool = False, tls: SSLContext | None = None
) -> AsyncIterator[tuple[str, Asked]]:
    """Give each request the next answer, the last one ever after.

    The connection is closed after an answer, unless ``is_kept``.
    """
    asked = Asked()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.connections += 1
        try:
            while True:
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                answer = answers[min(len(asked), len(answers)) - 1]
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(writer)
                await writer.drain()
                if not is_kept:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", asked


def connection(
    url: str, token: TokenSource | None = None, *, is_direct: bool = False, **given: Any
) -> Connection:
    """Return a connection without pacing, which asks four times for a page that fails, at once."""
    policy = RetryPolicy(retry_for_seconds=0, backoff_seconds=0)
    given = {"rate_limit": None, "retry": policy, **given}
    return Connection(
        ConnectionSettings(token=token or TokenSource.from_value(TOKEN), base_url=url, **given),
        is_direct=is_direct,
    )


async def body_of(asking: Connection, request: LicensesRequest = REQUEST) -> bytes:
    """Ask once, and return the whole body."""
    async with asking.page(request) as page:
        return b"".join([chunk async for chunk in page.chunks()])


async def with_retries(
    asking: Connection,
    read: Callable[[], Awaitable[T]],
    on_retry: Callable[[Retry], None] | None = None,
    *,
    attempts: int = 1_000,
) -> T:
    """Read a page with the retries of the connection's policy, in so many attempts at most."""
    pages = AccountPages(REQUEST, asking.policy)
    for _ in range(attempts):
        assert await next_request(pages)
        try:
            return await read()
        except StreamlicError as error:
            retry_later(asking, pages, error, on_retry)
    raise AssertionError
