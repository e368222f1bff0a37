"""A DEST in an object store: which service, which bucket, and where in it.

No URL may hold credentials: each service's usual environment does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from streamlic.errors import UsageError

Service = Literal["s3", "gs", "az"]

_SERVICES: dict[str, Service] = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "abfs": "az", "abfss": "az",
}  # fmt: skip
_AZURE_HOST = re.compile(r"(?P<account>[a-z0-9-]+)\.(?:blob|dfs)\.core\.windows\.net")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/+(?P<rest>.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|\$root")
_AZURE_FORM = "abfss://container@account.dfs.core.windows.net/path"
_FORMS = f"s3://bucket/path, gs://bucket/path, az://container/path or {_AZURE_FORM}"
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
    scheme: str = "s3"
    """As DEST was written: readers of the lake know it by that."""

    def __str__(self) -> str:
        if self.account:
            start = f"abfss://{self.bucket}@{self.account}.dfs.core.windows.net"
        else:
            start = f"{self.scheme}://{self.bucket}"
        return f"{start}/{self.prefix}" if self.prefix else start


def is_url(dest: str) -> bool:
    """Return whether DEST is a URL of an object store, by its scheme."""
    match = _URL.match(dest)
    return match is not None and match["scheme"].lower() in _SERVICES


def parsed_url(dest: str) -> DestUrl:
    """Return what the URL of an object store says; UsageError if it is not a usable one."""
    if dest != dest.strip():
        raise _refused("a URL without spaces after it")
    match = _URL.match(dest)
    service = _SERVICES.get(match["scheme"].lower()) if match else None
    if match is None or service is None:
        raise _refused(f"{_FORMS}, got {_shown(dest)}")
    scheme, rest = match["scheme"].lower(), match["rest"]
    host, _, path = rest.partition("/")
    if "?" in rest or "#" in rest or _holds_credentials(host, service):
        raise _refused(f"a URL of {scheme} without credentials, ? and #: the environment has them")
    bucket, at, server = host.partition("@")
    account = _AZURE_HOST.fullmatch(server.lower()) if at else None
    if at and account is None:
        raise _refused(f"{_AZURE_FORM}, got {_shown(dest)}")
    if not _BUCKET.fullmatch(bucket):
        raise _refused(f"{_FORMS}, got {_shown(dest)}")
    named = account["account"] if account else ""
    return DestUrl(service, bucket, _prefix(path, dest), named, scheme)


def _holds_credentials(host: str, service: Service) -> bool:
    """Return whether a name or a password precedes the host: Azure has the container there."""
    return "@" in host and (service != "az" or ":" in host or host.count("@") > 1)


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
