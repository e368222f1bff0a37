"""A DEST in an object store: which service, which bucket, and where in it.

No URL may hold credentials: each service's usual environment does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from streamlic.errors import UsageError

Service = Literal["s3", "gs", "az"]

_SCHEMES: dict[str, Service] = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "azure": "az", "adl": "az",
    "abfs": "az", "abfss": "az",
}  # fmt: skip
_AZURE_HOST = re.compile(
    r"(?P<account>[a-z0-9-]+)\.(?:blob|dfs)\.(?:core\.windows\.net|fabric\.microsoft\.com)"
)
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/+(?P<rest>.*)", re.DOTALL)
_FORMS = "s3://bucket/path, gs://bucket/path, az://container/path or abfss://container@account.dfs.core.windows.net/path"
_ENCODED = re.compile(r"[\x00-\x1f\x7f\\{}^%`\]\[>~<#|\"*?]")
"""What an object store's client, or a reader of the lake, writes in another way than given."""


@dataclass(frozen=True)
class DestUrl:
    """A place in an object store."""

    service: Service
    bucket: str
    """The bucket; Azure calls it a container."""
    prefix: str
    """The path in it, without slashes at its ends; empty for the whole bucket."""
    account: str = ""
    """Azure's storage account, empty where the environment names it."""
    scheme: str = ""
    """As DEST was written: readers of the lake know it by that."""

    def __str__(self) -> str:
        if self.account:
            start = f"abfss://{self.bucket}@{self.account}.dfs.core.windows.net"
        else:
            start = f"{self.scheme or self.service}://{self.bucket}"
        return f"{start}/{self.prefix}" if self.prefix else start


def is_url(dest: str) -> bool:
    """Return whether a DEST means an object store: pathlib writes its URL with one slash."""
    match = _URL.match(dest)
    if not match:
        return False
    scheme = match["scheme"].lower()
    return scheme in _SCHEMES or (scheme == "https" and _is_azures(dest))


def parsed_url(dest: str) -> DestUrl:
    """Return what the URL of an object store says; UsageError if it is not a usable one."""
    match = _URL.match(dest)
    if not match:
        raise _refused(f"{_FORMS}, got {_shown(dest)}")
    scheme, rest = match["scheme"].lower(), match["rest"]
    host, _, path = rest.partition("/")
    if "?" in rest or "#" in rest or _holds_credentials(host, scheme):
        raise _refused(
            f"a URL without credentials, ? and #, got one of {scheme}: the environment has them"
        )
    if scheme == "https":
        bucket, _, path = path.partition("/")
        account = _AZURE_HOST.fullmatch(host)["account"]  # type: ignore[index]  # ``is_url`` asked
        url = DestUrl("az", bucket, _prefix(path, dest), account)
    elif scheme in ("abfs", "abfss", "az", "azure", "adl") and "@" in host:
        bucket, _, server = host.partition("@")
        named = _AZURE_HOST.fullmatch(server.lower())
        if not named:
            raise _refused(
                f"abfss://container@account.dfs.core.windows.net/path, got {_shown(dest)}"
            )
        url = DestUrl("az", bucket, _prefix(path, dest), named["account"])
    else:
        service = _SCHEMES[scheme]
        url = DestUrl(service, host, _prefix(path, dest), "", scheme)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*|\$root", url.bucket):
        raise _refused(f"{_FORMS}, got {_shown(dest)}")
    return url


def _is_azures(dest: str) -> bool:
    return bool(_AZURE_HOST.fullmatch(urlsplit(dest).hostname or ""))


def _holds_credentials(host: str, scheme: str) -> bool:
    """Return whether a name or a password precedes the host: Azure has the container there."""
    if scheme in ("s3", "s3a", "gs", "https"):
        return "@" in host
    return host.count("@") > 1 or ("@" in host and ":" in host)


def _prefix(path: str, dest: str) -> str:
    prefix = path.strip("/")
    found = _ENCODED.search(prefix)
    if found:
        raise _refused(f"a path without {found[0]!r}, got {_shown(dest)}")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise _refused(f"a path without empty parts, . and .., got {_shown(dest)}")
    return prefix


def _shown(dest: str) -> str:
    return repr(dest.partition("?")[0][:120])


def _refused(expected: str) -> UsageError:
    return UsageError(f"expected {expected}", parameter="dest")
