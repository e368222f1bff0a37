"""The variables that reach an object store, checked before obstore sees them.

Rules:
1. An empty variable counts as not set, as in the clouds' own tools: compose files and charts set
   those. It is taken out of the process's environment, which other libraries read, too.
2. A message names the variable and what is expected. It never quotes a value: a secret may have
   been put into the wrong variable.
"""

from __future__ import annotations

import os
import re
import socket
from urllib.parse import SplitResult, urlsplit

from streamlic.errors import StoreError, UsageError
from streamlic.storage.dest_urls import DestUrl, Service

PREFIXES: dict[Service, tuple[str, ...]] = {
    "s3": ("AWS_",),
    "gs": ("GOOGLE_",),
    "az": ("AZURE_STORAGE_", "AZURE_", "AZURITE_"),
}
ENDPOINTS: dict[Service, tuple[str, ...]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_OPTIONS: dict[Service, str] = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
_KEPT_EMPTY = frozenset({"AWS_PAGER"})
"""Empty says something: AWS's own tool shows its output without a pager."""
_ONE_WORD = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_TOKEN", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID",
)  # fmt: skip
"""What is sent as part of a header or of a URL."""
_BOOLEANS = (
    "ALLOW_HTTP", "ALLOW_INVALID_CERTIFICATES", "SKIP_SIGNATURE", "UNSIGNED_PAYLOAD",
    "VIRTUAL_HOSTED_STYLE_REQUEST", "IMDSV1_FALLBACK", "S3_EXPRESS", "DISABLE_TAGGING",
    "STORAGE_USE_EMULATOR", "USE_AZURE_CLI", "USE_FABRIC_ENDPOINT",
)  # fmt: skip
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_LISTENS_SECONDS = 2.0
_TRUE = frozenset({"1", "true", "on", "yes", "y"})
_FALSE = frozenset({"0", "false", "off", "no", "n"})
_WORD = re.compile(r"[!-~]+")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


def is_true(name: str) -> bool:
    """Return whether a variable is set, and not to false."""
    return os.environ.get(name, "").lower() in _TRUE


def option_name(service: Service, option: str) -> str:
    """Return the variable of one of obstore's options: ``AWS_ALLOW_HTTP``."""
    return _OPTIONS[service] + option


def endpoint_variable(service: Service) -> str:
    """Return the variable that names the endpoint; empty for the cloud's own."""
    return next((name for name in ENDPOINTS[service] if os.environ.get(name)), "")


def check_environment(url: DestUrl) -> None:
    """Raise UsageError for a variable that cannot be meant so; take out those that are empty."""
    service = url.service
    for name, value in list(os.environ.items()):
        if not value and name.startswith(PREFIXES[service]) and name not in _KEPT_EMPTY:
            del os.environ[name]
    for word in _ONE_WORD:
        if word.startswith(PREFIXES[service]):
            _check_word(word)
    for option in _BOOLEANS:
        _check_boolean(option_name(service, option))
    for variable in (*ENDPOINTS[service], option_name(service, "PROXY_URL")):
        if url_given := os.environ.get(variable):
            _check_url(variable, url_given, service)
    if service == "s3":
        _check_aws()
    if service == "az" and not url.account:
        _check_account()


def check_listens(service: Service) -> None:
    """Raise StoreError if nothing listens at an endpoint that a variable names.

    obstore would ask it for minutes, without a word. Behind a proxy only a request can tell.
    """
    variable = endpoint_variable(service)
    proxies = (option_name(service, "PROXY_URL"), *_PROXIES, *map(str.lower, _PROXIES))
    if not variable or any(os.environ.get(name) for name in proxies):
        return
    parts = urlsplit(os.environ[variable])
    address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection(address, _LISTENS_SECONDS).close()
    except (ConnectionRefusedError, socket.gaierror) as error:
        raise StoreError(
            f"no connection to {_host(parts)}:{address[1]}, which {variable} names: "
            f"{error.strerror}",
            advice=f"check {variable}, or give the same command again when the store runs",
        ) from None
    except OSError:  # It may only be slow.
        pass


def shown_endpoint(endpoint: str) -> str:
    """Return the scheme, the host and the port of an endpoint, and nothing that may be secret."""
    try:
        parts = urlsplit(endpoint)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "an invalid endpoint"
    return f"{parts.scheme}://{_host(parts)}{port}"


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _check_word(name: str) -> None:
    value = os.environ.get(name)
    if value is None or _WORD.fullmatch(value):
        return
    if _WORD.fullmatch(value.strip()):
        raise UsageError(
            f"{name} ends or begins with a line feed or a space: expected neither",
            advice="a file that holds it may end with a line feed: leave that out",
        )
    raise UsageError(f"expected ASCII letters, digits and signs in {name}, got other characters")


def _check_boolean(name: str) -> None:
    value = os.environ.get(name)
    if value is not None and value.lower() not in _TRUE | _FALSE:
        raise UsageError(f"expected true or false in {name}, got something else")


def _check_url(name: str, value: str, service: Service) -> None:
    expected = f"expected a URL such as https://store.example:9000 in {name}"
    if not _WORD.fullmatch(value):
        raise UsageError(f"{expected}, got one with spaces or other such characters")
    is_proxy = name.endswith("PROXY_URL")
    schemes = ("http", "https", "socks5", "socks5h") if is_proxy else ("http", "https")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise UsageError(f"{expected}, got one whose host or port is not valid") from None
    if parts.scheme not in schemes or "://" not in value:
        raise UsageError(f"{expected}, got one without https:// or http://")
    if not parts.hostname or port == 0:
        raise UsageError(f"{expected}, got one without a host or a port")
    if "?" in value or "#" in value:
        raise UsageError(f"{expected}, got one with ? or #: other variables hold credentials")
    allow_http = option_name(service, "ALLOW_HTTP")
    if parts.scheme == "http" and not is_proxy and not is_true(allow_http):
        raise UsageError(
            f"expected an https:// URL in {name}, got one of http://: set {allow_http}=true to "
            "send requests without TLS"
        )


def _check_aws() -> None:
    if os.environ.get("AWS_CONDITIONAL_PUT", "").lower() == "disabled":
        raise UsageError(
            "AWS_CONDITIONAL_PUT=disabled turns conditional writes off, without which one writer "
            "could replace the files of another: unset it"
        )
    pair = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    absent = [name for name in pair if not os.environ.get(name)]
    if len(absent) == 1 and not is_true("AWS_SKIP_SIGNATURE"):
        given = next(name for name in pair if name not in absent)
        raise UsageError(f"{given} is set and {absent[0]} is not: set both, or neither")


def _check_account() -> None:
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise UsageError(
            "expected the name of a storage account in AZURE_STORAGE_ACCOUNT_NAME: 3 to 24 "
            "lower-case letters and digits, got something else"
        )
