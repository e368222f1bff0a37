"""The API token: where it comes from, where it may go, and that nobody sees it."""

from __future__ import annotations

import ipaddress
import os
import ssl
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from yarl import URL

from streamlic.errors import UsageError

DEFAULT_BASE_URL = "https://api.truto.one"
BASE_URL_VARIABLE = "TRUTO_API_BASE_URL"
TOKEN_VARIABLE = "TRUTO_API_TOKEN"  # noqa: S105  (the variable's name is no secret)


class TokenSource:
    """Reads the token each time it is asked, so that a long run outlives a token that expires."""

    def __init__(self, read: Callable[[], str], origin: str) -> None:
        self._read = read
        self.origin = origin
        """Where the token comes from."""

    def __repr__(self) -> str:
        return f"TokenSource({self.origin})"

    def read(self) -> str:
        """Return the token as it is now; UsageError where there is none, or no possible one."""
        token = self._read().strip()
        if not token:
            raise UsageError(
                f"no API token in {self.origin}: set {TOKEN_VARIABLE} or give --token-file"
            )
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise UsageError(f"the API token in {self.origin} has characters that no token has")
        return token

    @classmethod
    def from_environment(cls) -> TokenSource:
        """Return a source that reads TRUTO_API_TOKEN."""
        return cls(lambda: os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE)

    @classmethod
    def from_file(cls, path: Path | str) -> TokenSource:
        """Return a source that reads a file, anew each time."""

        def read() -> str:
            try:
                return Path(path).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"the token file cannot be read: {error} (--token-file)"
                ) from error

        return cls(read, str(path))

    @classmethod
    def from_value(cls, token: str) -> TokenSource:
        """Return a source that always gives this token."""
        return cls(lambda: token, "the value given")


def base_url_from_environment(variables: Iterable[str] = (BASE_URL_VARIABLE,)) -> str:
    """Return the first of the variables that is set, or Truto's own URL where none is.

    Raises UsageError for one that is empty: somebody forgot to fill it, and it must not stand for
    production.
    """
    for name in variables:
        if name in os.environ:
            if os.environ[name]:
                return os.environ[name]
            raise UsageError(f"{name} is empty: unset it, or give the API's URL (--base-url)")
    return DEFAULT_BASE_URL


def readable_by_others(path: Path | str) -> int | None:
    """Return a file's mode where others than its owner may read it; None where not, or no file."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:  # Whoever reads it will say so.
        return None
    if not stat.S_ISREG(mode):  # A directory or a device holds no token.
        return None
    return stat.S_IMODE(mode) if mode & (stat.S_IRGRP | stat.S_IROTH) else None


def trusted(ca_file: Path | str) -> ssl.SSLContext:
    """Return what verifies servers: the system's authorities, and those of a PEM file."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"expected certificates in PEM, got {str(ca_file)!r}: {error} (--ca-file)"
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
            f"expected a URL such as {DEFAULT_BASE_URL}, got {text[:80]!r} (--base-url)"
        )
    if base.user or base.password or base.query_string or base.fragment:
        raise UsageError("the base URL must have no user, query or fragment (--base-url)")
    if base.scheme == "http" and not allow_http and not _is_loopback(host):
        raise UsageError(
            f"the token would go to {host} unencrypted: use https, or say --allow-http"
        )
    return base


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
