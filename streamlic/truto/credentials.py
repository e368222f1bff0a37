"""The API token: where it comes from, where it may go, and that nobody sees it."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import stat
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from yarl import URL

from streamlic.errors import AuthenticationError, UsageError
from streamlic.truto.proxies import Proxy

DEFAULT_BASE_URL = "https://api.truto.one"
BASE_URL_VARIABLE = "TRUTO_API_BASE_URL"
TOKEN_VARIABLE = "TRUTO_API_TOKEN"  # noqa: S105  (only the variable's name)

POLL_SECONDS = 3.0
"""How often a token that was refused is read again."""


class TokenSource:
    """Reads the token each time that it is asked, so that a long run outlives a token that expires.

    ``may_change`` says that another token may follow one that was refused, and is worth a wait. A
    source pickles if ``read`` does: those of the class methods do.
    """

    def __init__(self, read: Callable[[], str], origin: str, *, may_change: bool = False) -> None:
        self._read = read
        self.origin = origin
        """Where the token comes from."""
        self.may_change = may_change

    def __repr__(self) -> str:
        return f"TokenSource({self.origin})"

    def read(self) -> str:
        """Return the token as it is now; UsageError where there is none, or no possible one."""
        token = self._read().strip()
        if not token:
            raise UsageError(
                f"no API token in {self.origin}: set {TOKEN_VARIABLE} or give a token file"
            )
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise UsageError(f"the API token in {self.origin} has characters that no token has")
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
    """The token that requests carry, read again when it is refused: by one page for all others.

    A source that may change is read for ``wait_seconds``, for what rotates a secret may come late,
    or may have written a part of the new token when it is read. That time counts from the first
    refusal until a token is accepted, whichever tokens come meanwhile.
    """

    def __init__(self, source: TokenSource, wait_seconds: float) -> None:
        self._source = source
        self._wait_seconds = wait_seconds
        self._reading = asyncio.Lock()
        self._reads_until: float | None = None
        self._lost: tuple[str, AuthenticationError] | None = None
        self.value = source.read()

    async def settled(self) -> str:
        """Return the token, once nobody reads it again: the old one would only be refused.

        Raises the AuthenticationError of the page that waited for another in vain.
        """
        if self._reading.locked():
            async with self._reading:
                if self._lost and self._lost[0] == self.value:
                    raise self._lost[1]
        return self.value

    def accepted(self, token: str) -> None:
        """Say that a request with this token was answered: the next refusal is another matter."""
        if token == self.value:
            self._reads_until = self._lost = None

    async def after(self, refused: str, error: AuthenticationError, *, is_first: bool) -> str:
        """Return another token than ``refused``; raise ``error`` where there is none in time.

        ``is_first`` says that the page's token was not refused before: the source is then read at
        once, and also when the time is over.
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
    """Return the first of the variables that is set, or Truto's own URL where none is.

    Raises UsageError for one that is empty: somebody forgot to fill it, and it must not stand for
    production.
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
    """Return what verifies servers: the system's authorities, and those of a PEM file."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"expected certificates in PEM, got {str(ca_file)!r}: {error}", parameter="ca_file"
        ) from error
    return context


def checked_base_url(text: str, *, allow_http: bool) -> URL:
    """Return the URL below which the API is; UsageError for one that the token must not go to.

    HTTPS only, unless the host is this machine or ``allow_http`` is given.
    """
    try:
        base = URL(text)
        host, port = base.host, base.port
        _check_names(text, base.raw_host or "")
    except ValueError:  # A UnicodeError is one.
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


def check_loopback(proxy: Proxy) -> None:
    """Raise UsageError for a proxy elsewhere, which a token for this machine must not go to."""
    if not _is_loopback(proxy.url.host or ""):
        raise UsageError(
            f"the token would go to the proxy {proxy} unencrypted: name the API's host in "
            "NO_PROXY, or allow it",
            parameter="allow_http",
        )


def redirect_target(url: URL, location: str) -> URL | None:
    """Return where a redirect leads from ``url``; None where the token must not go there.

    Another scheme, host or port is another origin (RFC 6454), and a user in the URL would take
    the token's place.
    """
    try:
        target = url.join(URL(location))
        is_same = bool(location) and target.origin() == url.origin()
    except ValueError:
        return None
    return target if is_same and target.user is None and target.password is None else None


def _check_names(text: str, host: str) -> None:
    """Raise UnicodeError for text that no URL can hold, and for a host that nobody could look up.

    Its labels have 1 to 63 letters (RFC 1035, 2.3.4), and the system is asked for it as IDNA.
    """
    text.encode()
    host.encode("idna")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
