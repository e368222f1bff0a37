"""Asks: one session, a page at a time, its chunks as they arrive.

Rules:
1. ``pacing`` decides when and whether; this module waits and sends.
2. There is no timeout on the whole of a page, only on connecting, on silence between bytes and on
   too little progress while waiting for the network.
3. aiohttp's errors are translated here, once.
4. The token goes to the base URL's origin only; redirects elsewhere are refused.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import aiohttp
import tenacity
from yarl import URL

from streamlic._version import __version__
from streamlic.answers import api_error, one_line
from streamlic.credentials import TokenSource
from streamlic.encoding import ACCEPT_ENCODING, open_decompressor
from streamlic.errors import (
    ApiError,
    AuthenticationError,
    StreamlicError,
    TransportError,
    UsageError,
)
from streamlic.pacing import ACCOUNT_RATE_LIMIT, Pacing, RateLimit, RetryPolicy
from streamlic.request import LICENSES_PATH, LicensesRequest

DEFAULT_BASE_URL = "https://api.truto.one"
LINES_TYPES = frozenset(
    f"application/{name}"
    for name in ("x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-lines")
)
_PAGES_OF_PEOPLE = ("text/html", "application/xhtml+xml")
_ERROR_BODY_BYTES = 65_536
_MAX_REDIRECTS = 5
_READ_BUFFER_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Bounds on waiting for the network; there is none on a whole page.

    At least ``progress_bytes`` have to arrive in each ``progress_seconds`` spent waiting for them;
    time that the consumer takes does not count.
    """

    connect_seconds: float = 30.0
    silence_seconds: float = 60.0
    progress_seconds: float = 120.0
    progress_bytes: int = 1024


@dataclass(frozen=True)
class Retry:
    """One more attempt is due: why, after how many, and in how many seconds."""

    error: BaseException
    attempt: int
    wait_seconds: float


class Connection:
    """One session with the API. Use it as an asynchronous context manager."""

    def __init__(
        self,
        token: TokenSource,
        *,
        base_url: str = DEFAULT_BASE_URL,
        allow_http: bool = False,
        rate_limit: RateLimit | None = ACCOUNT_RATE_LIMIT,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._base = _checked_base(base_url, allow_http=allow_http)
        self._source = token
        self._token = token.read()
        self._timeouts = timeouts or Timeouts()
        self._policy = retry or RetryPolicy()
        self._pacing = Pacing(rate_limit)
        self._session: aiohttp.ClientSession | None = None
        self.retries = 0
        """How often a page was asked for again."""
        self.bytes_received = 0
        """The bytes of bodies that arrived, as they were on the wire."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._timeouts.connect_seconds,
                sock_read=self._timeouts.silence_seconds,
            ),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": ACCEPT_ENCODING,
                "User-Agent": f"streamlic/{__version__}",
            },
        )
        return self

    async def __aexit__(
        self,
        *raised: object,
    ) -> None:
        if self._session:
            await self._session.close()

    def attempts(self, on_retry: Callable[[Retry], None] | None = None) -> tenacity.AsyncRetrying:
        """Iterate over the attempts at one page, waiting in between as ``pacing`` says.

        ``async for attempt in connection.attempts(): with attempt: ...``. The last error is raised
        as it is.
        """
        waits: list[float] = []

        def is_worth_it(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            wait = self._policy.wait_seconds(error, state.attempt_number) if error else None
            waits[:] = [] if wait is None else [wait]
            return wait is not None

        def before_sleep(state: tenacity.RetryCallState) -> None:
            self.retries += 1
            error = state.outcome.exception() if state.outcome else None
            if on_retry and error:
                on_retry(Retry(error, state.attempt_number, waits[0]))

        return tenacity.AsyncRetrying(
            retry=is_worth_it,
            stop=tenacity.stop_never,
            wait=lambda _: waits[0],
            before_sleep=before_sleep,
            reraise=True,
        )

    @asynccontextmanager
    async def page(self, request: LicensesRequest) -> AsyncIterator[Page]:
        """Send one request and give its page. Left early, the page's connection is closed.

        Raises the ApiError that the answer means, or TransportError where none came.
        """
        response = await self._response(request)
        try:
            page = Page(self, response, self._timeouts)
            page.check()
            yield page
        finally:
            response.close()

    async def _response(self, request: LicensesRequest) -> aiohttp.ClientResponse:
        url = self._base.with_path(self._base.path.rstrip("/") + LICENSES_PATH)
        url = URL(f"{url}?{request.query_string()}", encoded=True)
        is_read_again = False
        redirects = 0
        while True:
            response = await self._send(url, request.account)
            if response.status == 200:
                return response
            if response.status in (301, 302, 303, 307, 308):
                redirects += 1
                url = self._redirected(response, url, redirects)
                response.close()
                continue
            error = await self._error(response, request.account)
            if isinstance(error, AuthenticationError) and not is_read_again:
                is_read_again = True
                before, self._token = self._token, self._source.read()
                if self._token != before:
                    continue
            raise error

    async def _send(self, url: URL, account: str) -> aiohttp.ClientResponse:
        if self._session is None:
            raise UsageError("a connection has to be entered first: async with connection")
        # Only time passes here: there is no event that could be waited for.
        while (delay := self._pacing.delay(account, time.monotonic())) > 0:  # noqa: ASYNC110
            await asyncio.sleep(delay)
        self._pacing.record(account, time.monotonic())
        with _translated(self._token):
            response = await self._session.get(
                url,
                allow_redirects=False,
                headers={"Authorization": f"Bearer {self._token}"},
            )
        headers = {name.lower(): value for name, value in response.headers.items()}
        self._pacing.observe(account, headers, time.monotonic())
        return response

    async def _error(self, response: aiohttp.ClientResponse, account: str) -> ApiError:
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = b""
        try:
            with _translated(self._token):
                decompressor = open_decompressor(headers.get("content-encoding", ""))
                while len(body) < _ERROR_BODY_BYTES and (data := await response.content.readany()):
                    for piece in decompressor.feed(data):
                        body += piece
                        if len(body) >= _ERROR_BODY_BYTES:
                            break
        except TransportError:
            pass  # The status alone says enough.
        finally:
            response.close()
        body = body.replace(self._token.encode(), b"***")
        return api_error(response.status, headers, body, account=account, now=datetime.now(UTC))

    def _redirected(self, response: aiohttp.ClientResponse, url: URL, redirects: int) -> URL:
        text = response.headers.get("Location", "")
        try:
            target = url.join(URL(text))
            is_ours = target.origin() == self._base.origin()
        except ValueError:
            is_ours = False
        if not text or not is_ours or redirects > _MAX_REDIRECTS:
            raise ApiError(
                f"HTTP {response.status}: redirected to {one_line(text) or 'nowhere'}, and the "
                f"token goes to {self._base.origin()} only, over {_MAX_REDIRECTS} redirects at "
                "most (--base-url)",
                status=response.status,
            )
        return target


class Page:
    """One answer of the API, whose body has yet to arrive."""

    def __init__(
        self, connection: Connection, response: aiohttp.ClientResponse, timeouts: Timeouts
    ) -> None:
        self._connection = connection
        self._response = response
        self._timeouts = timeouts
        self.content_type = response.headers.get("Content-Type", "").partition(";")[0].lower()
        self.is_lines = self.content_type.strip() in LINES_TYPES
        """Whether the body is newline-delimited, by its Content-Type."""

    def check(self, *, is_lines: bool | None = None) -> None:
        """Raise TransportError for a body that is none of ours, or whose end could not be seen.

        Newline-delimited records have no end of their own, so that HTTP has to frame them.
        """
        if self.content_type.strip() in _PAGES_OF_PEOPLE:
            raise TransportError(
                f"expected JSON, got {self.content_type}: is something between us and the API?"
            )
        headers = self._response.headers
        is_framed = "Content-Length" in headers or "Transfer-Encoding" in headers
        if (self.is_lines if is_lines is None else is_lines) and not is_framed:
            raise TransportError(
                "newline-delimited records came without Content-Length or chunked framing: "
                "it could not be seen if they were cut"
            )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, decompressed; TransportError where it is cut or corrupt."""
        encoding = self._response.headers.get("Content-Encoding", "")
        decompressor = open_decompressor(encoding)
        waited_seconds, arrived_bytes = 0.0, 0
        while True:
            begun = time.monotonic()
            with _translated(self._connection._token):  # noqa: SLF001  (it is kept out of messages)
                data = await self._response.content.readany()
            if not data:
                break
            self._connection.bytes_received += len(data)
            waited_seconds += time.monotonic() - begun
            arrived_bytes += len(data)
            if arrived_bytes >= self._timeouts.progress_bytes:
                waited_seconds, arrived_bytes = 0.0, 0
            elif waited_seconds >= self._timeouts.progress_seconds:
                raise TransportError(
                    f"only {arrived_bytes} bytes came in {waited_seconds:.0f} seconds of waiting"
                )
            for piece in decompressor.feed(data):
                yield piece
        decompressor.finish()


def _checked_base(text: str, *, allow_http: bool) -> URL:
    try:
        base = URL(text)
        port = base.port
    except ValueError:
        base, port = URL(), None
    if base.scheme not in ("http", "https") or not base.host or port == 0:
        raise UsageError(f"expected a URL such as {DEFAULT_BASE_URL}, got {text!r} (--base-url)")
    if base.user or base.password or base.query_string or base.fragment:
        raise UsageError("the base URL must have no user, query or fragment (--base-url)")
    if base.scheme == "http" and not allow_http and not _is_loopback(base.host):
        raise UsageError(
            f"the token would go to {base.host} unencrypted: use https, or say --allow-http"
        )
    return base


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _translated(token: str) -> Iterator[None]:
    try:
        yield
    except StreamlicError:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
        is_certificate = isinstance(error, aiohttp.ClientConnectorCertificateError)
        raise TransportError(
            _said(error).replace(token, "***"), retryable=not is_certificate
        ) from error


def _said(error: BaseException) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "the API could not be reached in time"
    if isinstance(error, TimeoutError):
        return "the API fell silent"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the body was cut before its end: {one_line(str(error))}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the API closed the connection without an answer"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the API could not be reached: {one_line(str(error))}"
    return f"the connection failed: {one_line(str(error) or type(error).__name__)}"
