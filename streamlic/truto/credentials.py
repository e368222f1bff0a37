"""The API token: where it comes from, where it may be sent, and how it stays secret."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import stat
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path

from yarl import URL

from streamlic.errors import AuthenticationError, UsageError
from streamlic.truto.proxies import Proxy

DEFAULT_BASE_URL = "https://api.truto.one"
BASE_URL_VARIABLE = "TRUTO_API_BASE_URL"
TOKEN_VARIABLE = "TRUTO_API_TOKEN"  # noqa: S105  (only the variable's name)

POLL_SECONDS = 3.0
"""The interval at which a refused token is read again."""


class TokenSource:
    """Reads the token each time it is needed, so that a long run survives an expiring token.

    ``may_change`` says that waiting for another token makes sense after one was refused. A source
    can be pickled if ``read`` can: those of the class methods can.
    """

    def __init__(self, read: Callable[[], str], origin: str, *, may_change: bool = False) -> None:
        self._read = read
        self.origin = origin
        """Where the token comes from."""
        self.may_change = may_change

    def __repr__(self) -> str:
        return f"TokenSource({self.origin})"

    def read(self) -> str:
        """Return the current token. Raises UsageError if it is missing or malformed."""
        token = self._read().strip()
        if not token:
            raise UsageError(
                f"no API token in {self.origin}: set {TOKEN_VARIABLE} or give a token file",
                parameter="token",
            )
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise UsageError(
                f"the API token in {self.origin} must be printable ASCII without spaces",
                parameter="token",
            )
        return token

    @classmethod
    def from_environment(cls) -> TokenSource:
        """Return a source that reads TRUTO_API_TOKEN."""
        return cls(_token_of_environment, TOKEN_VARIABLE)

    @classmethod
    def from_file(cls, path: Path | str) -> TokenSource:
        """Return a source that reads a file each time."""
        return cls(partial(_token_of_file, path), str(path), may_change=True)

    @classmethod
    def from_value(cls, token: str) -> TokenSource:
        """Return a source that always gives this token."""
        return cls(partial(str, token), "the value given")


def _token_of_environment() -> str:
    return os.environ.get(TOKEN_VARIABLE, "")


def _token_of_file(path: Path | str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the token file cannot be read: {error}", parameter="token_file"
        ) from error


class CurrentToken:
    """The token that requests carry. After a refusal one page reads it again for all others.

    A source that may change is read for up to ``wait_seconds``: a secret may be rotated late, or be
    half written when it is read. That time starts at the first refusal. Only an accepted token ends
    it: other tokens that appear meanwhile do not extend it.
    """

    def __init__(self, source: TokenSource, wait_seconds: float) -> None:
        self._source = source
        self._wait_seconds = wait_seconds
        self._reading = asyncio.Lock()
        self._reads_until: float | None = None
        self._lost: tuple[str, AuthenticationError] | None = None
        self.value = source.read()

    async def settled(self) -> str:
        """Return the token, after waiting while another page reads it again.

        Raises the AuthenticationError of that page if it found no other token.
        """
        if self._reading.locked():
            async with self._reading:
                if self._lost and self._lost[0] == self.value:
                    raise self._lost[1]
        return self.value

    def accepted(self, token: str) -> None:
        """Record that this token was accepted. The next refusal starts a new wait."""
        if token == self.value:
            self._reads_until = self._lost = None

    async def after(self, refused: str, error: AuthenticationError, *, is_first: bool) -> str:
        """Return another token than ``refused``. Raises ``error`` if none appears in time.

        ``is_first`` says that this is the page's first refusal: then the source is read at once,
        even if the time is over.
        """
        async with self._reading:
            if self.value != refused:  # Another page has read it meanwhile.
                return self.value
            if self._reads_until is None:
                seconds = self._wait_seconds if self._source.may_change else 0.0
                self._reads_until = time.monotonic() + seconds
            until, is_now, missing = self._reads_until, is_first, None
            while is_now or time.monotonic() < until:
                if not is_now:
                    await asyncio.sleep(POLL_SECONDS)
                is_now = False
                missing = self._read()
                if self.value != refused:
                    return self.value
            self._lost = (refused, error)
            raise error from missing

    def _read(self) -> UsageError | None:
        try:
            self.value = self._source.read()
        except UsageError as missing:
            return missing
        return None


def base_url_from_environment(variables: Iterable[str] = (BASE_URL_VARIABLE,)) -> str:
    """Return the first of the variables that is set, or else Truto's own URL.

    Raises UsageError for an empty variable: somebody probably forgot to fill it, and the token must
    not be sent to production then.
    """
    for name in variables:
        if name in os.environ:
            if os.environ[name]:
                return os.environ[name]
            raise UsageError(
                f"{name} is empty: unset it, or give the API's URL", parameter="base_url"
            )
    return DEFAULT_BASE_URL


def readable_by_others(path: Path | str) -> int | None:
    """Return a file's mode if others than its owner may read it, else None."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:  # Reading the file will report it.
        return None
    if not stat.S_ISREG(mode):  # A directory or a device has no token.
        return None
    return stat.S_IMODE(mode) if mode & (stat.S_IRGRP | stat.S_IROTH) else None


def trusted(ca_file: Path | str) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those of a PEM file."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"expected certificates in PEM, got {str(ca_file)!r}: {error}", parameter="ca_file"
        ) from error
    return context


def checked_base_url(text: str, *, allow_http: bool) -> URL:
    """Return the API's base URL; UsageError for one that the token must not be sent to.

    HTTPS only, unless the host is this machine or ``allow_http`` is given.
    """
    try:
        base = URL(text)
        host, port = base.host, base.port
        _check_names(text, base.raw_host or "")
    except ValueError:  # UnicodeError included.
        base, host, port = URL(), None, None
    if base.scheme not in ("http", "https") or not host or port == 0:
        raise UsageError(
            f"expected a URL such as {DEFAULT_BASE_URL}, got {text[:80]!r}", parameter="base_url"
        )
    if base.user or base.password or base.query_string or base.fragment:
        raise UsageError("the base URL must have no user, query or fragment", parameter="base_url")
    if base.scheme == "http" and not allow_http and not _is_loopback(host):
        raise UsageError(
            f"the token would go to {host} unencrypted: use https, or allow it",
            parameter="allow_http",
        )
    return base


@lru_cache(maxsize=64)  # Pages repeat one.
def endpoint(base: URL, path: str) -> str:
    """Return the URL of a path below the base URL's own, encoded."""
    return str(base.with_path(base.path.rstrip("/") + path))


def check_loopback(proxy: Proxy) -> None:
    """Raise UsageError for a remote proxy: a token for this machine must not be sent to it."""
    if not _is_loopback(proxy.url.host or ""):
        raise UsageError(
            f"the token would go to the proxy {proxy} unencrypted: name the API's host in "
            "NO_PROXY, or allow it",
            parameter="allow_http",
        )


def redirect_target(url: URL, location: str) -> URL | None:
    """Return the target of a redirect from ``url``; None if the token must not be sent there.

    A different scheme, host or port is another origin (RFC 6454), and a user in the URL would
    replace the token.
    """
    try:
        target = url.join(URL(location))
        is_same = bool(location) and target.origin() == url.origin()
    except ValueError:
        return None
    return target if is_same and target.user is None and target.password is None else None


def _check_names(text: str, host: str) -> None:
    """Raise UnicodeError for text that cannot be in a URL, and for a host that DNS cannot look up.

    Its labels have 1 to 63 letters (RFC 1035, 2.3.4), and it is looked up in its IDNA form.
    """
    text.encode()
    host.encode("idna")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
