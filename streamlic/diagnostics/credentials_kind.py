"""What the environment says of a cloud: which kind of credentials there are, and which endpoint.

The order is that in which obstore, and boto3 for a profile, look for credentials. No value is
returned but names of profiles and files.
"""

from __future__ import annotations

import os
from pathlib import Path

from streamlic.storage.cloud_environment import endpoint_variable, is_true, shown_endpoint
from streamlic.storage.dest_urls import DestUrl, Service

_KINDS: dict[Service, tuple[tuple[tuple[str, ...], str], ...]] = {
    "s3": (
        (("AWS_SKIP_SIGNATURE",), "none: requests are anonymous"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "a temporary key"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "a key"),
        (("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"), "a role by web identity"),
        (("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",), "the role of the ECS task"),
        (("AWS_CONTAINER_CREDENTIALS_FULL_URI",), "the role of the pod"),
        (("AWS_PROFILE",), "a profile"),
    ),
    "gs": (
        (("GOOGLE_SKIP_SIGNATURE",), "none: requests are anonymous"),
        (("GOOGLE_SERVICE_ACCOUNT",), "a service account's file"),
        (("GOOGLE_SERVICE_ACCOUNT_PATH",), "a service account's file"),
        (("GOOGLE_SERVICE_ACCOUNT_KEY",), "a service account's key"),
        (("GOOGLE_APPLICATION_CREDENTIALS",), "the default credentials' file"),
    ),
    "az": (
        (("AZURE_STORAGE_USE_EMULATOR",), "those of the emulator"),
        (("AZURE_STORAGE_ACCOUNT_KEY",), "the account's key"),
        (("AZURE_STORAGE_ACCESS_KEY",), "the account's key"),
        (("AZURE_STORAGE_SAS_TOKEN",), "a shared access signature"),
        (("AZURE_STORAGE_SAS_KEY",), "a shared access signature"),
        (("AZURE_STORAGE_TOKEN",), "a bearer token"),
        (("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID"), "a workload identity"),
        (("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"), "a service principal"),
        (("AZURE_USE_AZURE_CLI",), "those of the az command"),
    ),
}
"""The kinds of credentials, each with the variables that name it."""
_BOOLEANS = (
    "AWS_SKIP_SIGNATURE", "GOOGLE_SKIP_SIGNATURE", "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_USE_AZURE_CLI",
)  # fmt: skip
_FILES: dict[Service, tuple[tuple[str, str], ...]] = {
    "s3": (("~/.aws/credentials", "the default profile"), ("~/.aws/config", "the default profile")),
    "gs": (("~/.config/gcloud/application_default_credentials.json", "the default credentials"),),
    "az": (),
}
_OTHERWISE: dict[Service, str] = {
    "s3": "the role of this machine, if it has one",
    "gs": "the service account of this machine, if it has one",
    "az": "the managed identity of this machine, if it has one",
}
_EMULATOR = "http://127.0.0.1:10000"


def credentials_kind(service: Service) -> str:
    """Describe the credentials that a request to a service is signed with."""
    for variables, kind in _KINDS[service]:
        if all(os.environ.get(name) for name in variables) and (
            variables[0] not in _BOOLEANS or is_true(variables[0])
        ):
            return f"{kind} ({', '.join(variables)})"
    for path, kind in _FILES[service]:
        if Path(path).expanduser().is_file():
            return f"{kind} ({path})"
    return _OTHERWISE[service]


def endpoint_of(url: DestUrl) -> str:
    """Return the scheme and the host of the service."""
    if named := endpoint_variable(url.service):
        return shown_endpoint(os.environ[named])
    if url.service == "gs":
        return "https://storage.googleapis.com"
    if url.service == "az":
        if is_true("AZURE_STORAGE_USE_EMULATOR"):
            return shown_endpoint(os.environ.get("AZURITE_BLOB_STORAGE_URL") or _EMULATOR)
        account = url.account or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        return f"https://{account}.blob.core.windows.net"
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return f"https://s3.{region}.amazonaws.com" if region else "https://s3.amazonaws.com"
