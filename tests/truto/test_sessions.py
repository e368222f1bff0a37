"""A session over many pages: its connections, its token, its pacing, and how it is left."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import ssl
import subprocess
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamlic.errors import AuthenticationError, RateLimited, TransportError, UsageError
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.rate_limit import ACCOUNT_RATE_LIMIT, Permit, RateLimit, RateLimiter
from streamlic.truto.request import LicensesRequest
from streamlic.truto.retry import Retry, RetryPolicy
from streamlic.truto.timeouts import Timeouts
from tests.support.raw_server import (
    ACCOUNT,
    BODY,
    OK,
    OTHER_ACCOUNT,
    PATIENT,
    REQUEST,
    TOKEN,
    body_of,
    chunked,
    connection,
    server,
    whole,
    with_retries,
)

DENIED = whole(b'{"statusCode":401,"message":"expired"}', status=b"401 Unauthorized")


async def attempted(asking: Connection, retries: list[Retry]) -> bytes:
    """Read a page as the job does, with its retries."""
    return await with_retries(asking, lambda: body_of(asking), retries.append)


async def test_pages_in_a_row_share_one_connection_until_one_is_left_early() -> None:
    unfinished = OK + b"Content-Length: 500\r\n\r\n" + BODY
    answers = [chunked(BODY), whole(BODY), chunked(BODY), unfinished, whole(BODY)]
    async with server(*answers, is_kept=True) as (url, asked), connection(url) as asking:
        for _ in range(3):
            assert await body_of(asking) == BODY
        assert asked.connections == 1
        async with asking.page(REQUEST) as page:
            assert await anext(page.chunks()) == BODY
        assert await body_of(asking) == BODY
        assert asked.connections == 2
        assert asking.bytes_received == 5 * len(BODY)


async def test_a_connection_that_was_closed_meanwhile_is_not_a_failure() -> None:
    async with server(whole(BODY)) as (url, asked), connection(url) as asking:
        for _ in range(3):
            assert await body_of(asking) == BODY
            await asyncio.sleep(0)
        assert asked.connections == 3
        assert asking.retries == 0


async def test_a_cancelled_page_is_closed_and_not_tried_again() -> None:
    """Whether its head, or its body, was still to come."""
    started, closed = asyncio.Event(), asyncio.Event()

    async def dripping(writer: asyncio.StreamWriter, start: bytes) -> None:
        writer.write(start)
        try:
            while True:
                started.set()
                await asyncio.sleep(0.01)
                writer.write(b" ")
                await writer.drain()
        except ConnectionError:
            closed.set()

    for start in (OK + b"Content-Length: 500\r\n\r\n{", b"HTTP/1.1 200 OK\r\nX: "):
        started.clear()
        closed.clear()
        answer = partial(dripping, start=start)
        async with server(answer) as (url, asked), connection(url) as asking:
            retries: list[Retry] = []
            task = asyncio.create_task(attempted(asking, retries))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(closed.wait(), 5)
            assert len(asked) == 1
            assert retries == []


async def test_a_wait_before_a_retry_can_be_cancelled() -> None:
    waiting = asyncio.Event()
    policy = RetryPolicy(backoff_seconds=1000, max_backoff_seconds=1000)
    async with server(whole(b"{}", status=b"502 Bad")) as (url, asked):
        async with connection(url, retry=policy) as asking:

            async def read() -> None:
                await with_retries(asking, lambda: body_of(asking), lambda _: waiting.set())

            task = asyncio.create_task(read())
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert len(asked) == 1


async def test_each_retry_is_reported() -> None:
    bad = whole(b'{"message":"later"}', status=b"502 Bad Gateway")
    recovering = server(bad, bad, whole(BODY))
    async with recovering as (url, _), connection(url, retry=PATIENT) as asking:
        retries: list[Retry] = []
        assert await attempted(asking, retries) == BODY
    assert [(one.attempt, one.wait_seconds) for one in retries] == [(1, 0), (2, 0)]
    assert all("later" in str(one.error) for one in retries)
    assert asking.retries == 2


async def test_a_token_may_expire_more_than_once_in_a_run(tmp_path: Path) -> None:
    """What it is replaced with is asked with, and no other token is waited for in vain."""
    file = tmp_path / "token"
    file.write_text("first")
    answers = [DENIED, whole(BODY), DENIED, whole(BODY), DENIED, DENIED, whole(BODY)]
    async with server(*answers, is_kept=True) as (url, asked):
        at_once = Timeouts(token_seconds=0)
        async with connection(url, TokenSource.from_file(file), timeouts=at_once) as asking:
            for token in ("second", "third"):
                file.write_text(token)
                assert await body_of(asking) == BODY
                assert f"Bearer {token}\r\n".encode() in asked[-1]
            file.write_text("fourth")
            with pytest.raises(AuthenticationError, match="token is wrong or expired"):
                await body_of(asking)
            assert len(asked) == 6


def one_after_the_other(*tokens: str, may_change: bool = True) -> TokenSource:
    """Return a source that has another token each time it is read, and stays at the last."""
    left = list(tokens)

    def read() -> str:
        return left.pop(0) if len(left) > 1 else left[0]

    return TokenSource(read, "a source of tokens", may_change=may_change)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three seconds pass each time that a page looks whether it still waits for a token."""
    ticks = itertools.count(step=3)
    monkeypatch.setattr("streamlic.truto.credentials.POLL_SECONDS", 0)
    monkeypatch.setattr(
        "streamlic.truto.credentials.time", SimpleNamespace(monotonic=lambda: next(ticks))
    )


@pytest.mark.usefixtures("clock")
async def test_a_token_that_was_half_written_is_read_again() -> None:
    """A file that is written in place is empty, then holds a part of its token, then the whole."""
    half = one_after_the_other("old", "", "ne", "ne", "new-to", "new-token")
    answers = [DENIED] * 3
    async with server(*answers, whole(BODY), is_kept=True) as (url, asked):
        async with connection(url, half) as asking:
            assert await body_of(asking) == BODY
    used = [head.split(b"Bearer ")[1].split(b"\r\n")[0] for head in asked]
    assert used == [b"old", b"ne", b"new-to", b"new-token"]


@pytest.mark.usefixtures("clock")
async def test_pages_that_were_refused_the_same_half_token_wait_for_the_rest_once() -> None:
    half = one_after_the_other("old", "ne", "ne", "ne", "new")
    both = asyncio.Barrier(2)

    async def denied(writer: asyncio.StreamWriter) -> None:
        await both.wait()
        writer.write(DENIED)

    async with server(*[denied] * 4, whole(BODY)) as (url, asked):
        async with connection(url, half) as asking:
            first, second = await asyncio.gather(body_of(asking), body_of(asking))
            assert first == second == BODY
    assert len(asked) == 2 + 2 + 2


@pytest.mark.usefixtures("clock")
async def test_tokens_that_are_refused_one_after_the_other_are_read_for_a_minute() -> None:
    changing = one_after_the_other(*map(str, range(100)))
    async with server(DENIED) as (url, asked), connection(url, changing) as asking:
        with pytest.raises(AuthenticationError):
            await body_of(asking)
        assert len(asked) == 1 + 20, "the first, and one every three seconds"
        with pytest.raises(AuthenticationError):
            await body_of(asking)
        assert len(asked) == 21 + 2, "that minute is over"


@pytest.mark.usefixtures("clock")
async def test_a_token_that_was_accepted_may_be_waited_for_a_minute_again() -> None:
    answers = [DENIED, DENIED, whole(BODY), DENIED, DENIED, DENIED, whole(BODY)]
    tokens = ["a", *["a"] * 15, "b", "c", *["c"] * 15, "d", "e", "f"]
    async with server(*answers, is_kept=True) as (url, asked):
        async with connection(url, one_after_the_other(*tokens)) as asking:
            for _ in range(2):
                assert await body_of(asking) == BODY
    assert len(asked) == len(answers)


async def test_a_source_that_nothing_changes_is_read_again_once_for_each_page() -> None:
    tokens = one_after_the_other(*map(str, range(100)), may_change=False)
    async with server(DENIED) as (url, asked), connection(url, tokens) as asking:
        for refused in (2, 4):
            with pytest.raises(AuthenticationError):
                await body_of(asking)
            assert len(asked) == refused


async def test_a_token_that_is_gone_when_it_expires_is_an_error_of_the_token(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    async with server(DENIED) as (url, _):
        at_once = Timeouts(token_seconds=0)
        async with connection(url, TokenSource.from_file(file), timeouts=at_once) as asking:
            file.unlink()
            with pytest.raises(AuthenticationError) as caught:
                await body_of(asking)
    assert isinstance(caught.value.__cause__, UsageError)


async def test_two_pages_may_meet_the_same_expiry(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    both = asyncio.Barrier(2)

    async def denied(writer: asyncio.StreamWriter) -> None:
        await both.wait()
        writer.write(DENIED)

    async with server(denied, denied, whole(BODY)) as (url, asked):
        async with connection(url, TokenSource.from_file(file)) as asking:
            file.write_text("second")
            first, second = await asyncio.gather(body_of(asking), body_of(asking))
            assert first == second == BODY
    assert len(asked) == 4


class Rotating:
    """A source whose token is rotated some time after it was refused."""

    def __init__(self) -> None:
        self.token = "old"
        self.reads = 0
        self.is_read_again = asyncio.Event()
        """Set at the second look after the token was refused."""
        self.is_read_often = asyncio.Event()

    def __call__(self) -> str:
        self.reads += 1
        if self.reads > 2:
            self.is_read_again.set()
        if self.reads > 50:
            self.is_read_often.set()
        return self.token

    @property
    def source(self) -> TokenSource:
        return TokenSource(self, "a file that is rotated", may_change=True)


async def test_a_token_that_is_rotated_late_is_waited_for_once_by_all_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that come meanwhile ask nothing with the old one."""
    monkeypatch.setattr("streamlic.truto.credentials.POLL_SECONDS", 0)
    rotating = Rotating()
    async with server(DENIED, whole(BODY)) as (url, asked):
        async with connection(url, rotating.source) as asking:
            first = asyncio.create_task(body_of(asking))
            await rotating.is_read_again.wait()
            others = [asyncio.create_task(body_of(asking)) for _ in range(3)]
            await rotating.is_read_often.wait()
            assert len(asked) == 1
            rotating.token = "new"
            assert await asyncio.gather(first, *others) == [BODY] * 4
    assert [b"Bearer new" in head for head in asked] == [False, True, True, True, True]


@pytest.mark.usefixtures("clock")
async def test_a_token_that_stays_refused_is_waited_for_a_minute_once() -> None:
    rotating = Rotating()
    async with server(DENIED) as (url, asked):
        async with connection(url, rotating.source) as asking:
            pages = [asyncio.create_task(body_of(asking))]
            await rotating.is_read_again.wait()
            pages += [asyncio.create_task(body_of(asking)) for _ in range(3)]
            for page in pages:
                with pytest.raises(AuthenticationError):
                    await page
            assert (len(asked), rotating.reads) == (1, 1 + 20)
            with pytest.raises(AuthenticationError):
                await body_of(asking)
            assert (len(asked), rotating.reads) == (2, 22), "it was waited for already"
            rotating.token = "new"
            with pytest.raises(AuthenticationError):
                await body_of(asking)
            assert len(asked) == 4, "a token that is there is tried at any time"


@pytest.mark.parametrize("origin", ["value", "environment", "function"])
async def test_a_token_that_cannot_change_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    monkeypatch.setenv("TRUTO_API_TOKEN", "old")
    monkeypatch.setattr("streamlic.truto.credentials.asyncio.sleep", None)
    source = {
        "value": TokenSource.from_value("old"),
        "environment": TokenSource.from_environment(),
        "function": TokenSource(lambda: "old", "a function"),
    }[origin]
    async with server(DENIED) as (url, asked), connection(url, source) as asking:
        with pytest.raises(AuthenticationError):
            await body_of(asking)
    assert len(asked) == 1


async def test_no_cookie_is_kept() -> None:
    async with server(whole(BODY, b"Set-Cookie: session=1; Path=/"), is_kept=True) as (url, asked):
        async with connection(url.replace("127.0.0.1", "localhost")) as asking:
            for _ in range(2):
                await body_of(asking)
    assert len(asked) == 2
    assert not any(b"cookie" in head.lower() for head in asked)


VENDORS = (b'{"truto_is_remote_error":true}', list[bytes]())
TOKENS = (b"{}", [b"RateLimit-Limit: 500;w=10", b"RateLimit-Remaining: 0"])
ACCOUNTS = (b"{}", [b"RateLimit-Limit: 50;w=10", b"RateLimit-Remaining: 0"])
AGREED = (b"{}", [b"RateLimit-Limit: 110;w=10", b"RateLimit-Remaining: 0"])
UNKNOWN = (b"{}", list[bytes]())


@pytest.mark.parametrize(
    "own_limit", [ACCOUNT_RATE_LIMIT, RateLimit(40, 10), RateLimit(500, 10), None], ids=str
)
@pytest.mark.parametrize(
    ("said", "others_wait"),
    [(VENDORS, False), (ACCOUNTS, False), (AGREED, False), (TOKENS, True), (UNKNOWN, True)],
    ids=["vendor", "account", "agreed", "token", "unknown"],
)
async def test_a_429_lets_all_wait_whom_it_concerns(
    said: tuple[bytes, list[bytes]], others_wait: bool, own_limit: RateLimit | None
) -> None:
    """Whatever limit of its own the client keeps to."""
    body, headers = said
    refused = whole(body, b"Retry-After: 100", *headers, status=b"429 Too Many Requests")
    async with server(refused) as (url, _):
        async with connection(url, rate_limit=own_limit) as asking:
            with pytest.raises(RateLimited):
                async with asyncio.timeout(5):
                    await body_of(asking)
            now = time.monotonic()
            assert 90 < asking.rate_limiter.delay(ACCOUNT, now) <= 100
            assert (asking.rate_limiter.delay(OTHER_ACCOUNT, now) > 90) == others_wait


async def test_limits_that_an_answer_tells_are_respected() -> None:
    headers = [b"RateLimit-Remaining: 0", b"RateLimit-Reset: 70"]
    async with server(whole(BODY, *headers)) as (url, _), connection(url) as asking:
        await body_of(asking)
        now = time.monotonic()
        assert 60 < asking.rate_limiter.delay(ACCOUNT, now) <= 70
        assert asking.rate_limiter.delay(OTHER_ACCOUNT, now) == 0


async def test_a_request_counts_from_when_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server counts what arrives: finding the host and connecting come before."""
    connected: list[float] = []
    sent: list[tuple[float, float]] = []
    look_up = asyncio.BaseEventLoop.getaddrinfo

    async def slowly(self: asyncio.BaseEventLoop, *args: Any, **given: Any) -> Any:
        await asyncio.sleep(0.05)
        found = await look_up(self, *args, **{**given, "family": socket.AF_INET})
        connected.append(time.monotonic())
        return found

    count = RateLimiter.sent

    def counting(self: RateLimiter, permit: Permit, now: float) -> None:
        sent.append((permit.counted_at - 0.5, now))
        count(self, permit, now)

    monkeypatch.setattr(RateLimiter, "answered", lambda *_: None)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", slowly)
    monkeypatch.setattr(RateLimiter, "sent", counting)
    async with server(whole(BODY), is_kept=True) as (url, _):
        named = url.replace("127.0.0.1", "localhost")
        async with connection(named, rate_limit=ACCOUNT_RATE_LIMIT) as asking:
            for _ in range(2):
                await body_of(asking)
            log = list(asking.rate_limiter._window(ACCOUNT)._counted)
    assert sent[0][0] < connected[0] <= sent[0][1]
    assert log == [now + 0.5 for _, now in sent]
    assert len(log) == 2


async def test_requests_at_once_wait_for_one_another() -> None:
    """The second may go only in a minute: not because the first is not yet on the wire."""
    async with server(whole(BODY)) as (url, asked):
        async with connection(url, rate_limit=RateLimit(1, 60)) as asking:
            tasks = [asyncio.create_task(body_of(asking)) for _ in range(2)]
            done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result() for task in done] == [BODY]
            await asyncio.wait(waiting, timeout=0.1)
            assert len(asked) == 1
            waiting.pop().cancel()


async def test_both_tiers_are_kept_over_real_requests() -> None:
    """The 51st request of an account, and only that, has to wait; another account's goes."""
    async with server(whole(BODY), is_kept=True) as (url, _):
        async with connection(url, rate_limit=ACCOUNT_RATE_LIMIT) as asking:
            for _ in range(50):
                await body_of(asking)
            now = time.monotonic()
            assert asking.rate_limiter.delay(ACCOUNT, now) > 0
            assert asking.rate_limiter.delay(OTHER_ACCOUNT, now) == 0
            assert await body_of(asking, LicensesRequest(account=OTHER_ACCOUNT)) == BODY


async def certified(directory: Path, host: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """Make an authority and a server's certificate; return the authority's, and a server's TLS."""
    authority, key, certificate = (directory / f"{n}.pem" for n in ("ca", "key", "certificate"))
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    names = f"-subj /CN={host} -addext subjectAltName=IP:{host} -addext basicConstraints=CA:FALSE"
    signed = f"-CA {authority} -CAkey {directory}/ca-key.pem"
    for command in (
        f"{make} -subj /CN=authority -keyout {directory}/ca-key.pem -out {authority}",
        f"{make} {names} {signed} -keyout {key} -out {certificate}",
    ):
        await asyncio.to_thread(subprocess.run, command.split(), check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return authority, tls


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the certificates"
)


@needs_openssl
async def test_an_authority_of_ones_own_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    authority, tls = await certified(tmp_path)
    async with (
        server(whole(BODY), tls=tls) as (url, asked),
        connection(url, ca_file=authority) as asking,
    ):
        assert await body_of(asking) == BODY
    assert len(asked) == 1


@needs_openssl
@pytest.mark.parametrize("is_named", [False, True], ids=["nobody vouches", "another host"])
async def test_a_certificate_that_fails_verification_is_an_error_at_once(
    tmp_path: Path, is_named: bool
) -> None:
    """The token is not sent, and there is no second attempt."""
    authority, tls = await certified(tmp_path, "127.0.0.2" if is_named else "127.0.0.1")
    async with (
        server(whole(BODY), tls=tls) as (url, asked),
        connection(url, ca_file=authority if is_named else None) as asking,
    ):
        retries: list[Retry] = []
        with pytest.raises(TransportError, match=r"certificate.*ca_file") as caught:
            await attempted(asking, retries)
        assert not caught.value.retryable
    assert asked == []
    assert retries == []


def test_a_file_of_certificates_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in (tmp_path / "missing.pem", Path(__file__)):
        with pytest.raises(UsageError, match="ca_file"):
            connection("https://127.0.0.1:1", ca_file=name)


def test_the_token_is_in_no_repr() -> None:
    asking = connection("http://127.0.0.1:1")
    assert TOKEN not in repr(asking)
    assert TOKEN not in repr(vars(asking))


async def test_a_connection_that_was_not_entered_says_so() -> None:
    with pytest.raises(UsageError, match="entered"):
        await body_of(connection("http://127.0.0.1:1"))
