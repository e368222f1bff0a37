"""Which proxy is taken, as curl would; that it is used, named, and its password seen nowhere."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

import pytest
from yarl import URL

from streamlic.errors import StreamlicError, TransportError, UsageError
from streamlic.truto.client import Connection
from streamlic.truto.proxies import Proxy, proxy_for
from tests.support.cli import run_cli
from tests.support.raw_server import BODY, TOKEN, body_of, connection, server, whole
from tests.truto.test_sessions import certified, needs_openssl

API = URL("https://api.truto.one")
PASSWORD = "p@ss:word"
BASIC = b"Proxy-Authorization: Basic dXNlcjpwQHNzOndvcmQ=\r\n"
WANTED = whole(b"", b"Proxy-Authenticate: Basic", status=b"407 Proxy Authentication Required")


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        (API, {}, None),
        (API, {"HTTPS_PROXY": "http://p:3128"}, "p:3128 (HTTPS_PROXY)"),
        (API, {"HTTPS_PROXY": "http://p:3128", "https_proxy": "q:1"}, "q:1 (https_proxy)"),
        (API, {"HTTPS_PROXY": "p"}, "p:1080 (HTTPS_PROXY)"),
        (API, {"HTTPS_PROXY": " HTTPS://p/ "}, "p:443 (HTTPS_PROXY)"),
        (API, {"HTTPS_PROXY": "http://[::1]:8"}, "[::1]:8 (HTTPS_PROXY)"),
        (API, {"https_proxy": "", "HTTPS_PROXY": "p:1"}, "p:1 (HTTPS_PROXY)"),
        (API, {"http_proxy": "p:1", "HTTP_PROXY": "p:1"}, None),
        (API, {"ALL_PROXY": "p:1"}, "p:1 (ALL_PROXY)"),
        (API, {"ALL_PROXY": "socks5://p:1", "https_proxy": "q:1"}, "q:1 (https_proxy)"),
        (URL("http://h"), {"http_proxy": "p:1"}, "p:1 (http_proxy)"),
        (URL("http://h"), {"HTTP_PROXY": "p:1"}, None),
        (URL("http://h"), {"HTTPS_PROXY": "p:1"}, None),
        (URL("http://h"), {"all_proxy": "p:1"}, "p:1 (all_proxy)"),
    ],
)
def test_the_proxy_is_the_one_that_curl_takes(
    url: URL, environ: dict[str, str], expected: str | None
) -> None:
    proxy = proxy_for(url, environ)
    assert (proxy and str(proxy)) == expected


@pytest.mark.parametrize(
    ("listed", "host", "is_direct"),
    [
        ("*", "a.example.com", True),
        ("x,*", "a.example.com", True),
        ("example.com", "example.com", True),
        ("example.com", "a.b.example.com", True),
        (".example.com", "example.com", True),
        ("example.com.", "EXAMPLE.com", True),
        ("example.com", "example.com.", True),
        ("example.com", "nonexample.com", False),
        ("a.example.com", "example.com", False),
        (" x , example.com", "example.com", True),
        ("x example.com", "example.com", True),
        ("example.com:443", "example.com", True),
        ("example.com:80", "example.com", False),
        (".", "example.com", False),
        (",,", "example.com", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("11.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/99", "10.1.2.3", False),
        ("2.3", "10.1.2.3", False),
        ("10.0.0.0/8", "10.example.com", False),
        ("::1", "[::1]", True),
        ("[::1]", "[::1]", True),
        ("fd00::/8", "[fd12::1]", True),
        ("10.0.0.0/8", "[fd12::1]", False),
    ],
)
def test_what_no_proxy_lists_is_asked_directly(listed: str, host: str, is_direct: bool) -> None:
    url = URL(f"https://{host}/")
    for name in ("NO_PROXY", "no_proxy"):
        proxy = proxy_for(url, {"HTTPS_PROXY": "p:1", name: listed})
        assert (proxy is None) is is_direct
    assert proxy_for(url, {"HTTPS_PROXY": "p:1", "no_proxy": "z", "NO_PROXY": listed}) is not None


@pytest.mark.parametrize(
    "text", ["socks5://user:p%40ss@p:1", "socks5h://p", "ftp://p", "http://", "http://p:x", "://p"]
)
def test_a_proxy_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="https_proxy") as caught:
        proxy_for(API, {"https_proxy": text})
    assert "p%40ss" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert proxy_for(API, {"https_proxy": text, "NO_PROXY": "truto.one"}) is None


def test_user_and_password_are_shown_nowhere() -> None:
    proxy = proxy_for(API, {"https_proxy": "http://user:p%40ss:word@p:3128"})
    assert proxy
    assert (proxy.user, proxy.password) == ("user", PASSWORD)
    for shown in (str(proxy), repr(proxy)):
        assert "user" not in shown
        assert "ss:word" not in shown


def through(
    monkeypatch: pytest.MonkeyPatch, proxy: str, *, user: str = "", url: str = ""
) -> Connection:
    """Return a connection that goes through a proxy; to a host of which only the proxy knows."""
    named = proxy.replace("//", f"//{user}@") if user else proxy
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, named)
    return connection(url or "http://api.truto.invalid/v1", allow_http=True)


async def test_plain_requests_go_to_the_proxy_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(whole(BODY), is_kept=True) as (url, asked):
        async with through(monkeypatch, url, user="user:p%40ss:word") as asking:
            for _ in range(2):
                assert await body_of(asking) == BODY
    assert asked.connections == 1
    for head in asked:
        assert head.startswith(b"GET http://api.truto.invalid/v1/unified/user-directory/licenses?")
        assert BASIC in head
        assert f"Authorization: Bearer {TOKEN}\r\n".encode() in head


@needs_openssl
async def test_what_is_encrypted_goes_through_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The proxy sees the host, and its own password; the token it does not."""
    authority, tls = await certified(tmp_path)
    opened: list[bytes] = []
    async with server(whole(BODY), is_kept=True, tls=tls) as (api, asked):
        port = int(api.rpartition(":")[2])

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            opened.append(await reader.readuntil(b"\r\n\r\n"))
            there, onwards = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(piped(reader, onwards), piped(there, writer))

        async def piped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65_536):
                writer.write(data)
            writer.close()

        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        async with proxy:
            name = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss:word@{name}")
            async with connection(api, ca_file=authority) as asking:
                for _ in range(2):
                    assert await body_of(asking) == BODY
    [head] = opened
    assert head.startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n".encode())
    assert BASIC in head
    assert TOKEN.encode() not in head
    assert len(asked) == 2
    assert not any(b"Proxy-Authorization" in one for one in asked)


@pytest.mark.parametrize("api", ["http://api.truto.invalid", "https://api.truto.invalid"])
@pytest.mark.parametrize(
    ("user", "says"), [("", "wants a user"), ("user:p%40ss:word", "refused the user and password")]
)
async def test_a_proxy_that_wants_a_password_ends_it_at_once(
    monkeypatch: pytest.MonkeyPatch, api: str, user: str, says: str
) -> None:
    async with server(WANTED) as (url, asked):
        async with through(monkeypatch, url, user=user, url=api) as asking:
            with pytest.raises(TransportError, match=rf"127\.0\.0\.1:\d+ .*{says}.*407") as caught:
                await body_of(asking)
    assert not caught.value.retryable
    assert len(asked) == 1
    check_hidden(caught.value)


async def test_a_proxy_that_refuses_or_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, user = "https://api.truto.invalid", "user:p%40ss:word"
    async with server(whole(b"", status=b"502 Bad Gateway")) as (url, _):
        async with through(monkeypatch, url, user=user, url=api) as asking:
            with pytest.raises(TransportError, match=r"127\.0\.0\.1:\d+ .*HTTP 502") as refused:
                await body_of(asking)
    async with through(monkeypatch, "http://127.0.0.1:9", user=user, url=api) as asking:
        with pytest.raises(TransportError, match=r"could not be .*proxy 127\.0\.0\.1:9 ") as gone:
            await body_of(asking)
    for one in (refused, gone):
        assert one.value.retryable
        check_hidden(one.value)


SENT = b"dXNlcjpwQHNzOndvcmQ= user:p@ss:word"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 " + SENT + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + SENT + b" : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SENT + b"\r\n",
        whole(SENT, b"Content-Type: text/html"),
        whole(SENT, status=b"403 Forbidden"),
        whole(b'{"statusCode":500,"message":"%b"}' % SENT, status=b"500 X"),
    ],
)
async def test_a_proxy_that_repeats_its_password_does_not_get_it_shown(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    async with (
        server(answer) as (url, _),
        through(monkeypatch, url, user="user:p%40ss:word", url="http://localhost:1") as asking,
    ):
        with pytest.raises(StreamlicError) as raised:
            await body_of(asking)
    check_hidden(raised.value)


def test_a_proxy_s_secret_is_its_password_or_its_only_name() -> None:
    def secrets(text: str) -> tuple[str, ...]:
        proxy = proxy_for(API, {"HTTPS_PROXY": text})
        assert proxy
        return proxy.secrets

    assert secrets("http://u:pw@p:1") == ("dTpwdw==", "u:pw", "pw")
    assert secrets("http://key@p:1")[1:] == ("key:", "key")
    assert secrets("http://p:1") == ()


def check_hidden(error: StreamlicError) -> None:
    shown = str(error) + "".join(traceback.format_exception(error))
    assert "ss:word" not in shown
    assert "p%40ss" not in shown
    assert "dXNlcjpwQHNzOndvcmQ=" not in shown
    assert TOKEN not in shown


async def test_netrc_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with server(whole(BODY)) as (url, asked), connection(url) as asking:
        await body_of(asking)
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in asked[0]
    assert b"Basic" not in asked[0]


def test_a_token_for_this_machine_goes_to_no_proxy_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is a direct connection caught by what the environment says."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    with pytest.raises(UsageError, match=r"proxy\.example:3128 .* unencrypted.*NO_PROXY"):
        connection("http://127.0.0.1:1")
    assert connection("http://127.0.0.1:1", is_direct=True).proxy is None
    assert connection("http://127.0.0.1:1", allow_http=True).proxy is not None
    monkeypatch.setenv("http_proxy", "http://127.0.0.2:3128")
    assert isinstance(connection("http://127.0.0.1:1").proxy, Proxy)


async def test_doctor_names_the_proxy(tmp_path: Path) -> None:
    async with server(WANTED) as (url, asked):
        ended = await run_cli("doctor", "--base-url", "https://api.truto.invalid", HTTPS_PROXY=url)
    assert ended.code == 6
    assert "wants a user" in ended.out
    assert f"{url.removeprefix('http://')} (HTTPS_PROXY)" in ended.out
    assert asked[0].startswith(b"CONNECT api.truto.invalid:443 ")
    async with server(whole(b'{"result":[]}')) as (url, _):
        ended = await run_cli("doctor", "--base-url", "http://localhost:1", http_proxy=url)
    assert ended.code == 0
    assert f"through the proxy {url.removeprefix('http://')} (http_proxy)" in ended.out
