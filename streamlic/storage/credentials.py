"""How an object store is reached: with the credentials of each cloud's usual environment.

Rules:
1. Credentials come from the environment, and never leave this module but inside obstore's client,
   and in what ``storage_options`` returns for the libraries of table formats.
2. obstore reads AWS_*, AZURE_* and GOOGLE_* itself, but for an AWS profile: boto3 reads that one.
3. Giving obstore any client option makes it ignore those in the environment: they are given again.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from streamlic.errors import UsageError
from streamlic.storage.cloud_environment import (
    PREFIXES,
    check_environment,
    is_true,
    option_name,
)
from streamlic.storage.cloud_errors import FOREIGN, is_panic
from streamlic.storage.dest_urls import DestUrl, Service

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Client = S3Store | GCSStore | AzureStore

REQUEST_TIMEOUT = timedelta(minutes=5)
"""How long a request may take, with its body: part of an upload at 256 KiB/s takes 32 s."""
SMALL_TIMEOUT = timedelta(seconds=30)
"""The same for a request without part files: a store that is silent for so long is asked again."""
LEASE_TIMEOUT = timedelta(seconds=5)
"""The same for the renewal of a lease, which is useless when it is late."""
RETRIES = 30
RETRY_TIMEOUT = timedelta(minutes=3)
PATIENT: RetryConfig = {
    "max_retries": RETRIES,
    "retry_timeout": RETRY_TIMEOUT,
    # obstore waits for a random time of up to ``base`` times the wait before. By itself it starts
    # so low that the retries are used up within seconds.
    "backoff": {
        "init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=15), "base": 10.0,
    },
}  # fmt: skip
"""An overloaded store, or one that is restarted, is asked again for about three minutes."""

_CLIENT_OPTIONS = (
    "ALLOW_HTTP", "ALLOW_INVALID_CERTIFICATES", "PROXY_URL", "PROXY_CA_CERTIFICATE",
    "PROXY_EXCLUDES", "USER_AGENT",
)  # fmt: skip
_AWS_SOURCES = (
    "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
"""What names AWS credentials without a profile. As in AWS's own tools, keys precede a profile."""
_METADATA = "http://169.254.169.254"
_METADATA_SECONDS = 2.0


@dataclass(frozen=True)
class Clients:
    """obstore's clients for one place. They differ in how long a request may take."""

    large: Client
    """For part files."""
    small: Client
    """For lists, and for the records of the log."""
    lease: Client
    """For the renewal of a lease: it asks twice, and not for minutes."""

    @staticmethod
    def of(url: DestUrl, retries: RetryConfig | None = None) -> Clients:
        """Return the clients for a bucket and a prefix; errors are those of ``connected``."""
        check_environment(url)
        profile = _aws_profile() if url.service == "s3" else None
        retries = retries or PATIENT
        return Clients(
            _client(url, profile, retries, REQUEST_TIMEOUT),
            _client(url, profile, retries, SMALL_TIMEOUT),
            _client(url, profile, {**retries, "max_retries": 1}, LEASE_TIMEOUT),
        )


def connected(url: DestUrl) -> Client:
    """Return obstore's client for a bucket and a prefix; UsageError if the environment lacks much.

    No request is sent, but for one to the machine's own metadata service, if nothing else has
    credentials.
    """
    return Clients.of(url).large


def _client(url: DestUrl, profile: Any, retries: RetryConfig, timeout: timedelta) -> Client:
    options = _client_options(url.service, timeout)
    try:
        if url.service == "gs":
            return GCSStore(
                url.bucket, prefix=url.prefix, client_options=options, retry_config=retries
            )
        if url.service == "az":
            account: dict[str, Any] = {"account_name": url.account} if url.account else {}
            return AzureStore(
                url.bucket,
                prefix=url.prefix,
                client_options=options,
                retry_config=retries,
                **account,
            )
        return S3Store(
            url.bucket,
            prefix=url.prefix,
            client_options=options,
            retry_config=retries,
            credential_provider=profile,
        )
    except BaseException as error:
        if not isinstance(error, FOREIGN) and not is_panic(error):
            raise
        failure = _refused(url, "" if is_panic(error) else str(error))
    raise failure


def storage_options(url: DestUrl) -> dict[str, str]:
    """Return what reaches the same place, as the environment names it: ``AWS_REGION``.

    deltalake takes it as ``storage_options``. It holds secrets: no log, no record and no error may
    show it. Those of a profile are valid for a while only, so ask again for each use.
    """
    options = {
        name: value
        for name, value in os.environ.items()
        if value and name.startswith(PREFIXES[url.service])
    }
    if url.account:
        options["AZURE_STORAGE_ACCOUNT_NAME"] = url.account
    profile = _aws_profile() if url.service == "s3" else None
    if profile is not None:
        found = _frozen(profile)
        options["AWS_ACCESS_KEY_ID"] = found["access_key_id"]
        options["AWS_SECRET_ACCESS_KEY"] = found["secret_access_key"]
        if found.get("token"):
            options["AWS_SESSION_TOKEN"] = found["token"]
        if region := profile.config.get("region"):
            options.setdefault("AWS_REGION", region)
    return options


def _client_options(service: Service, timeout: timedelta) -> ClientConfig:
    options: dict[str, Any] = {"timeout": timeout}
    for name in _CLIENT_OPTIONS:
        if value := os.environ.get(option_name(service, name)):
            options[name.lower()] = value
    return options  # type: ignore[return-value]


def _aws_profile() -> Any:
    """Return the credentials of an AWS profile, None if the environment has others."""
    if is_true("AWS_SKIP_SIGNATURE") or any(os.environ.get(name) for name in _AWS_SOURCES):
        return None
    profile = os.environ.get("AWS_PROFILE", "")
    if not profile and not any(path.exists() for path in _profile_files()):
        _check_metadata()
        return None
    try:
        boto3 = import_module("boto3")
        auth = import_module("obstore.auth.boto3")
    except ImportError as error:
        if not profile:
            _check_metadata()
            return None
        raise UsageError(
            "AWS_PROFILE needs boto3: pip install boto3, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from error
    try:
        return auth.Boto3CredentialProvider(boto3.Session())
    except Exception as error:
        raise _unusable(error) from error


def _frozen(profile: Any) -> Any:
    """Return the credentials of a profile as of now; UsageError if it has none any longer."""
    try:
        return profile()
    except Exception as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> UsageError:
    # botocore's errors say which file or profile is wrong, and quote no secret.
    profile = os.environ.get("AWS_PROFILE", "")
    named = f"AWS_PROFILE {profile}" if profile else "the default AWS profile"
    return UsageError(f"{named} has no usable credentials ({type(error).__name__})")


def _profile_files() -> list[Path]:
    home = Path("~/.aws").expanduser()
    return [
        Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", home / "credentials")),
        Path(os.environ.get("AWS_CONFIG_FILE", home / "config")),
    ]


def _check_metadata() -> None:
    """Raise UsageError if this machine has no AWS role: obstore would ask for minutes."""
    server = urlsplit(os.environ.get("AWS_METADATA_ENDPOINT") or _METADATA)
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    try:
        if not disabled:
            address = (server.hostname or "", server.port or 80)
            socket.create_connection(address, _METADATA_SECONDS).close()
            return
    except OSError:
        pass
    raise UsageError(
        "found no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )


def _refused(url: DestUrl, text: str) -> UsageError:
    """Return the error for an environment that obstore does not take."""
    if "Account must be specified" in text:
        return UsageError(
            f"{url}: which storage account? Set AZURE_STORAGE_ACCOUNT_NAME",
            advice="or give {dest} as abfss://container@account.dfs.core.windows.net/path",
        )
    first = text.partition("\n")[0].partition("?")[0][:200] or "obstore refuses it"
    return UsageError(f"{url}: the environment is not usable: {first}")
