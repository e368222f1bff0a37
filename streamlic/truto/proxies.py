"""Chooses the proxy of a request from the environment, as curl does (curl 7.86 and later).

Rules:
1. ``https_proxy`` or ``HTTPS_PROXY`` is for https, ``http_proxy`` for http, then ``all_proxy`` or
   ``ALL_PROXY``. The lower case comes first. ``HTTP_PROXY`` is never read: a web server that runs
   CGI programs sets it to what a client sent as a header ``Proxy`` (httpoxy).
2. ``no_proxy`` or ``NO_PROXY`` lists the exceptions: ``*``, a host with all its subdomains (with or
   without a leading dot), an address, or a network such as ``10.0.0.0/8``; unlike curl's, also with
   a port.
3. A proxy's user and password are sent to the proxy, and never shown.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from yarl import URL

from streamlic.errors import UsageError

_DEFAULT_PORTS = {"http": 1080, "https": 443}
"""curl's default port for http proxies."""


@dataclass(frozen=True)
class Proxy:
    """A proxy. ``str()`` is its host and port, and the variable that named it."""

    url: URL
    """Without user and password."""
    variable: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets to redact, the longest first: the credentials in any form, the password.

        Without a password the user is the secret.
        """
        basic = self.credentials.get("Proxy-Authorization", "").removeprefix("Basic ")
        return (basic, f"{self.user}:{self.password}", self.password or self.user) if basic else ()

    @property
    def credentials(self) -> dict[str, str]:
        """The Proxy-Authorization header (RFC 9110, 11.7.2), if there is a user."""
        if not (self.user or self.password):
            return {}
        both = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {both}"}

    def __str__(self) -> str:
        return f"{self.url.host_subcomponent}:{self.url.port} ({self.variable})"


def proxy_for(url: URL, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for requests to ``url``, None to connect directly.

    Raises UsageError for a proxy that cannot be used.
    """
    name = _variable(url.scheme, environ)
    if name is None or _goes_directly(url, environ):
        return None
    return _proxy(name, environ[name])


def _variable(scheme: str, environ: Mapping[str, str]) -> str | None:
    names = {"https": ["https_proxy", "HTTPS_PROXY"], "http": ["http_proxy"]}[scheme]
    return next((one for one in [*names, "all_proxy", "ALL_PROXY"] if environ.get(one)), None)


def _proxy(variable: str, text: str) -> Proxy:
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    scheme = text.partition("://")[0].lower()
    if scheme not in _DEFAULT_PORTS:
        raise UsageError(
            f"expected an http or https proxy, got one of {scheme[:20]!r} in {variable}: unset it, "
            "or name the API's host in NO_PROXY"
        )
    try:
        given = URL(text)
        host, port = given.host, given.explicit_port or _DEFAULT_PORTS[scheme]
        if not host:
            raise ValueError
        url = URL.build(scheme=scheme, host=host, port=port)
    except ValueError:  # The error would show the text, which may contain a password.
        raise UsageError(
            f"expected http://[USER:PASSWORD@]HOST:PORT in {variable}, got no such URL"
        ) from None
    return Proxy(url, variable, given.user or "", given.password or "")


def _goes_directly(url: URL, environ: Mapping[str, str]) -> bool:
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    host = (url.host or "").rstrip(".").lower()
    return any(_matches(one.lower(), host, url.port) for one in re.split(r"[,\s]+", listed) if one)


def _matches(listed: str, host: str, port: int | None) -> bool:
    if listed == "*":
        return True
    address = _address(host)
    if address:
        return _holds(listed, address) or _holds(_without_port(listed, port), address)
    name = _without_port(listed, port).rstrip(".").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _without_port(listed: str, port: int | None) -> str:
    return listed.removesuffix(f":{port}")


def _holds(listed: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(re.sub(r"^\[(.*)\]", r"\1", listed), strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
