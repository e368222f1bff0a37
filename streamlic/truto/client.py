"""Sends requests: one session with the API, page by page, each body in chunks as they arrive.

Rules:
1. The rate limiter decides when a request may be sent; this module waits and sends.
2. No timeout covers a whole page: only connecting, silence between bytes, and too little progress
   while waiting for the network are limited.
3. No error of aiohttp leaves this module: ``network_errors`` translates them.
4. The token goes to the base URL's origin only; redirects elsewhere are refused. Only the token is
   kept between requests: no cookies, and no netrc replaces it.
5. When a token is refused, one page reads it again for all; the others wait for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from yarl import URL

from streamlic._version import __version__
from streamlic.errors import (
    ApiError,
    AuthenticationError,
    Fault,
    RateLimited,
    ReportedFailure,
    TransportError,
    UsageError,
)
from streamlic.resources.licenses import LICENSES
from streamlic.truto.api_errors import api_error, is_error_envelope, one_line, reported_failure
from streamlic.truto.content_encoding import ACCEPT_ENCODING
from streamlic.truto.credentials import (
    CurrentToken,
    check_loopback,
    checked_base_url,
    endpoint,
    redirect_target,
    trusted,
)
from streamlic.truto.network_errors import Translation, refused_by
from streamlic.truto.proxies import proxy_for
from streamlic.truto.rate_limit import Permit
from streamlic.truto.request import LicensesRequest
from streamlic.truto.response import HTML_TYPES, Page
from streamlic.truto.settings import ConnectionSettings
from streamlic.truto.timeouts import ProgressWatch

_START_BYTES = 262_144  # The envelope may contain the vendor's own error.
_ERROR_BODY_SECONDS = 30.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_READ_BUFFER_BYTES = 256 * 1024
_MAX_LIST_BYTES = 64 << 20
_EXCERPT_CHARACTERS = 80
_PROXY_WANTS_CREDENTIALS = 407


class Connection:
    """One session with the API. Use it as an asynchronous context manager."""

    def __init__(self, settings: ConnectionSettings, *, is_direct: bool = False) -> None:
        self._base = checked_base_url(settings.url(), allow_http=settings.allow_http)
        proxy = None if is_direct else proxy_for(self._base, os.environ)
        if proxy and self._base.scheme == "http" and not settings.allow_http:
            check_loopback(proxy)
        self.proxy = proxy
        """The proxy that the environment names; None if the connection ``is_direct``."""
        # True means aiohttp's own context, made at its import: loading authorities is slow.
        self._trusted = True if settings.ca_file is None else trusted(settings.ca_file)
        self._timeouts = settings.timeouts
        self._token = CurrentToken(settings.token_source(), self._timeouts.token_seconds)
        self.policy = settings.retry
        """How long a page is retried, and the waits between its attempts."""
        self.rate_limiter = settings.rate_limiter()
        """Decides when the next request may be sent."""
        self.own_token_limit = None if settings.budget else settings.own_token_limit()
        """What this client alone may send of the token; None if others count with it, or nobody."""
        self.read_buffer_bytes = _READ_BUFFER_BYTES
        """The size of each page's read buffer. Set it before entering."""
        self._session: aiohttp.ClientSession | None = None
        self.retries = 0
        """The number of retries, of all pages."""
        self.bytes_received = 0
        """The bytes of bodies that arrived, still compressed."""

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self._on_sent)
        self._session = aiohttp.ClientSession(
            trace_configs=[trace],
            # The caller bounds how many requests are under way.
            connector=aiohttp.TCPConnector(limit=0, ssl=self._trusted),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=self.read_buffer_bytes,
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

    async def __aexit__(self, *raised: object) -> None:
        session, self._session = self._session, None
        if session:
            await session.close()

    def page(
        self, request: LicensesRequest, permit: Permit | None = None
    ) -> AbstractAsyncContextManager[Page]:
        """Send one request and yield its page. Leaving early closes the page's connection.

        ``permit`` comes from the rate limiter; without it, ``page`` waits for one. Raises the
        ApiError that the response reports, or TransportError if there is no response.
        """
        url = self._url(LICENSES.path, request.query_string())
        return self._opened(url, request.account, permit)

    async def get_json(
        self, path: str, query: str = "", *, account: str = "", permit: Permit | None = None
    ) -> dict[str, Any]:
        """Request a small body, such as that of one of Truto's own lists, and return it.

        ``query`` is encoded. The request counts as one of ``account``, if it is given. Raises what
        ``page`` raises, also for a body that reports an error; TransportError for a body that is
        not a JSON object.
        """
        body = bytearray()
        async with (
            self._opened(self._url(path, query), account, permit) as page,
            aclosing(page.chunks()) as chunks,
        ):
            async for chunk in chunks:
                body += chunk
                if len(body) > _MAX_LIST_BYTES:
                    raise TransportError(f"{path}: expected a list, got more than 64 MiB")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise TransportError(f"{path}: expected JSON: {error}") from error
        if not isinstance(value, dict):
            raise TransportError(f"{path}: expected an object, got {type(value).__name__}")
        if is_error_envelope(value) and "result" not in value:
            status = value.get("statusCode")
            raise api_error(
                status if isinstance(status, int) else 500,
                {},
                bytes(body),
                account=account,
                token=self._token.value,
                now=datetime.now(UTC),
            )
        return value

    def excerpt(self, value: Any) -> str:
        """Return part of a response for a message: short, one line, the token hidden."""
        return one_line(value, hide=self._token.value, most=_EXCERPT_CHARACTERS)

    def _url(self, path: str, query: str) -> URL:
        url = endpoint(self._base, path)
        return URL(f"{url}?{query}" if query else url, encoded=True)

    @asynccontextmanager
    async def _opened(self, url: URL, account: str, permit: Permit | None) -> AsyncIterator[Page]:
        response, token = await self._answer(url, account, permit)
        try:
            page = self._page(response, token)
            if page.content_type in HTML_TYPES:
                start = (await self._start_of(response, token)).decode(errors="replace")
                raise TransportError(
                    f"expected JSON, got {page.content_type}: is something between us and the "
                    f"API? It says: {one_line(start, hide=token)}"
                )
            page.check()
            yield page
        finally:
            response.close()  # Has no effect after a body that was read completely.

    async def _answer(
        self, url: URL, account: str, permit: Permit | None
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Return a response with status 200, its body not read yet, and the token it was sent."""
        token, is_first, redirects = await self._token.settled(), True, 0
        while True:
            response = await self._send(url, token, permit or await self._permit(account))
            permit = None
            if response.status == 200:
                self._token.accepted(token)
                return response, token
            if response.status in _REDIRECTS:
                redirects += 1
                url = self._redirected(response, url, token, redirects)
                continue
            if response.status == _PROXY_WANTS_CREDENTIALS and self.proxy:
                response.close()
                raise refused_by(self.proxy, response.status)
            error = await self._error(response, account, token)
            if not isinstance(error, AuthenticationError):
                raise error
            token = await self._token.after(token, error, is_first=is_first)
            is_first = False

    async def _permit(self, account: str) -> Permit:
        """Wait until a request of this account may be sent."""
        # Only time and other clients change this: there is no event to wait for.
        while True:
            now = time.monotonic()
            if (delay := self.rate_limiter.delay(account, now)) > 0:
                await asyncio.sleep(delay)
            elif permit := self.rate_limiter.acquire(account, now):
                return permit

    async def _send(self, url: URL, token: str, permit: Permit) -> aiohttp.ClientResponse:
        if self._session is None:
            raise UsageError("a connection has to be entered first: async with connection")
        headers = {"Authorization": f"Bearer {token}"}
        for_proxy = self.proxy.credentials if self.proxy else {}
        is_tunnel = url.scheme == "https"
        with self._translation(token):
            async with asyncio.timeout(self._timeouts.answer_seconds):
                response = await self._session.get(
                    url,
                    allow_redirects=False,
                    headers=headers if is_tunnel else {**headers, **for_proxy},
                    proxy=self.proxy.url if self.proxy else None,
                    proxy_headers=for_proxy if is_tunnel else None,
                    trace_request_ctx=permit,
                )
        now = time.monotonic()
        self.rate_limiter.answered(permit, now)
        self.rate_limiter.observe(permit.account, response.headers, now, datetime.now(UTC))
        return response

    def _translation(self, token: str) -> Translation:
        limits = self._timeouts
        return Translation(
            token,
            self.proxy,
            answer_seconds=limits.answer_seconds,
            silence_seconds=limits.silence_seconds,
        )

    async def _on_sent(self, _: object, context: SimpleNamespace, __: object) -> None:
        """Correct the time of a request that waited for a connection, or was sent again."""
        self.rate_limiter.sent(context.trace_request_ctx, time.monotonic())

    async def _error(self, response: aiohttp.ClientResponse, account: str, token: str) -> ApiError:
        """Read an error response, and delay the requests that it concerns."""
        try:
            body = await self._start_of(response, token)
        finally:
            response.close()
        error = api_error(
            response.status,
            response.headers,
            body,
            account=account,
            token=token,
            now=datetime.now(UTC),
        )
        self._heed(error, response.headers, account)
        return error

    def reported(self, failure: ReportedFailure, page: Page, account: str) -> ApiError:
        """Return the error that a page's body reports, as if its status were the response's."""
        error = reported_failure(
            failure, page.headers, account=account, token=self._token.value, now=datetime.now(UTC)
        )
        self._heed(error, page.headers, account)
        return error

    def _heed(self, error: ApiError, headers: Mapping[str, str], account: str) -> None:
        """Delay the requests that a rate limit concerns."""
        if isinstance(error, RateLimited) and error.retry_after_seconds:
            self.rate_limiter.penalize(
                account,
                error.retry_after_seconds,
                time.monotonic(),
                # Only a 429 can concern the token; other statuses delay their account.
                is_accounts=error.status != 429
                or error.fault is Fault.VENDOR
                or self.rate_limiter.is_accounts_tier(headers),
            )

    async def _start_of(self, response: aiohttp.ClientResponse, token: str) -> bytes:
        """Return as much of an error's body as a message may need; ignore failures to read it."""
        body = bytearray()
        chunks = self._page(response, token).chunks()
        with suppress(ApiError, TransportError, TimeoutError):
            seconds = min(self._timeouts.silence_seconds, _ERROR_BODY_SECONDS)
            async with asyncio.timeout(seconds), aclosing(chunks):
                async for chunk in chunks:
                    body += chunk
                    if len(body) >= _START_BYTES:
                        break
        # A proxy's own response may repeat the request, token included.
        for secret in self.proxy.secrets[:2] if self.proxy else ():
            body = body.replace(secret.encode(), b"***")
        return bytes(body[:_START_BYTES])

    def _page(self, response: aiohttp.ClientResponse, token: str) -> Page:
        content = response.content
        is_chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
        translation = self._translation(token)

        async def read() -> bytes:
            with translation:
                # In chunks all that has arrived, which is copied once more; else what came at once.
                data = await content.readany() if is_chunked else (await content.readchunk())[0]
            self.bytes_received += len(data)
            return data

        watch = ProgressWatch(self._timeouts.progress_bytes, self._timeouts.silence_seconds)
        return Page(response.headers, read, watch, hide=token)

    def _redirected(
        self, response: aiohttp.ClientResponse, url: URL, token: str, redirects: int
    ) -> URL:
        location = response.headers.get("Location", "")
        response.close()
        target = redirect_target(url, location)
        if target is None or redirects > _MAX_REDIRECTS:
            shown = one_line(location, hide=token) or "nowhere"
            raise ApiError(
                f"HTTP {response.status}: redirected to {shown}, and the token goes to "
                f"{self._base.origin()} only, over {_MAX_REDIRECTS} redirects at most",
                parameter="base_url",
                status=response.status,
                fault=Fault.UNKNOWN,
                retryable=True,  # A sign-in or maintenance page is temporary.
            )
        return target
