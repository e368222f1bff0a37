"""The errors of object stores in plain words, without the URLs and bodies that obstore quotes.

Rules:
1. A request's URL may hold a signature, and an answer may repeat what was signed. So a message has
   the status, the service's own code, and our words, and so has its cause.
2. An answer's code decides where there is one; obstore's class of error only where there is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from obstore import exceptions

from streamlic.errors import StoreError
from streamlic.storage.base import AlreadyExists, NotFound
from streamlic.storage.cloud_environment import endpoint_variable
from streamlic.storage.dest_urls import Service

Action = Literal["read", "list", "write", "copy", "delete"]

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(
    r"<(?:Code|code)>([A-Za-z0-9.]{1,60})</|x-ms-error-code: ([A-Za-z0-9]{1,60})"
    r"|\(code: ([A-Za-z0-9]{1,60})\)"  # One object of several that were to be deleted.
)
_RETRIES = re.compile(r"after (\d+) retries")
_HOST = re.compile(r"https?://(?:[^@/\s]*@)?([^/?\s]+)")
_PATH = re.compile(r'[Pp]ath "([^"\n]{1,200})"')
_PERMISSIONS: dict[Service, dict[Action, str]] = {
    "s3": {
        "read": "s3:GetObject, and s3:ListBucket to see that an object is absent",
        "list": "s3:ListBucket",
        "write": "s3:PutObject",
        "copy": "s3:GetObject and s3:PutObject",
        "delete": "s3:DeleteObject",
    },
    "gs": {
        "read": "storage.objects.get",
        "list": "storage.objects.list",
        "write": "storage.objects.create, and storage.objects.delete to replace a lease",
        "copy": "storage.objects.get and storage.objects.create",
        "delete": "storage.objects.delete",
    },
    "az": dict.fromkeys(
        ("read", "list", "write", "copy", "delete"), "the role Storage Blob Data Contributor"
    ),
}
_BUCKETS = {"s3": "bucket", "gs": "bucket", "az": "container"}
_REGION = {"s3": "set AWS_REGION to the region of the bucket", "gs": "", "az": ""}
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"})
_NO_ACCOUNT = frozenset({"ResourceNotFound", "AccountIsDisabled"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_WRONG_KEYS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthenticationFailed",
     "InvalidAuthenticationInfo", "UnrecognizedClientException"}
)  # fmt: skip
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_REDIRECTED = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed",
     "IllegalLocationConstraintException"}
)  # fmt: skip

FOREIGN = (exceptions.BaseError, OSError, ValueError, TimeoutError, NotImplementedError)
"""What obstore raises."""


def is_panic(error: BaseException) -> bool:
    """Return whether a library in Rust failed where its authors expected no failure."""
    return type(error).__module__ == "pyo3_runtime"


@dataclass(frozen=True)
class Place:
    """What an operation was about, for messages."""

    service: Service
    bucket: str
    name: str
    """The full name of the object, or of the directory."""


@contextmanager
def translated(action: Action, place: Place) -> Iterator[None]:
    """Raise a StoreError in place of an error of obstore."""
    try:
        yield
    except FOREIGN as error:
        raise explained(error, action, place) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        # Not its text, which may have a URL.
        failure = StoreError(f"{place.name}: could not {action} it: obstore failed", advice=_PANIC)
    else:
        return
    raise failure


def is_broken(error: BaseException) -> bool:
    """Return whether a request had no answer, so that nobody knows whether it was carried out."""
    return not _Answer.of(error).status and "HTTP error" in str(error)


def is_unknown(error: BaseException) -> bool:
    """Return whether the service said that it does not know what a request asks for."""
    return _Answer.of(error).status == "501"


def explained(error: BaseException, action: Action, place: Place) -> StoreError:
    """Return the StoreError for an error of obstore, and take the URL and the body from that one.

    It stays as the cause of the new one, which a log may print.
    """
    answer = _Answer.of(error)
    name, bucket = place.name, f"{_BUCKETS[place.service]} {place.bucket}"
    failure = (
        _unusable_key(answer, name, action)
        or _without_token(answer, name)
        or _refused(answer, name, bucket, place.service)
        or _denied(answer, action, place)
        or _absent(answer, action, name)
        or _not_reached(answer, action, place)
    )
    error.args = (f"{action} {name}{answer}",)
    return failure


@dataclass(frozen=True)
class _Answer:
    """What obstore says about an answer, or that there was none."""

    error: BaseException
    text: str
    status: str
    code: str

    @staticmethod
    def of(error: BaseException) -> _Answer:
        text = str(error)
        codes = [one for found in _CODE.findall(text) for one in found if one]
        return _Answer(error, text, next(iter(_STATUS.findall(text)), ""), next(iter(codes), ""))

    def __str__(self) -> str:
        """Return it as the end of a sentence."""
        shown = " ".join(part for part in (self.status, self.code) if part)
        retries = next(iter(_RETRIES.findall(self.text)), "0")
        after = f", also after {retries} retries" if retries != "0" else ""
        return (f" ({shown})" if shown else "") + after


def _unusable_key(answer: _Answer, name: str, action: Action) -> StoreError | None:
    """Return the error for an object of others whose key obstore cannot list."""
    if action != "list" or not isinstance(answer.error, exceptions.InvalidPathError):
        return None
    keys = _PATH.findall(answer.text)
    such = f", such as {keys[0]}" if keys else ""
    return StoreError(
        f"{name}: cannot list it: there is an object whose key has a part that is empty, . or "
        f"..{such}",
        advice="delete that object with a tool of the store, or choose another {dest}",
    )


def _without_token(answer: _Answer, name: str) -> StoreError | None:
    """Return the error for a service that gives no credentials to this machine."""
    if not any(one in answer.text for one in _TOKEN_SERVICES):
        return None
    if answer.status:
        return StoreError(
            f"{name}: the cloud's token service refused to give credentials{answer}",
            advice="check the role or the identity of this machine, or set the environment that "
            "the cloud's own tools use",
        )
    return StoreError(f"{name}: found no credentials for the store", advice=_NO_CREDENTIALS)


def _refused(answer: _Answer, name: str, bucket: str, service: Service) -> StoreError | None:
    """Return the error for an answer whose code says what is wrong."""
    code = answer.code
    if code in _NO_BUCKET:
        return StoreError(f"{name}: there is no {bucket}{answer}", advice=_CHOOSE)
    if code in _NO_ACCOUNT:
        return StoreError(f"{name}: there is no such storage account{answer}", advice=_CHOOSE)
    if code in _SKEWED:
        return StoreError(
            f"{name}: the clock of this machine differs too much from the store's{answer}",
            advice="set the clock",
        )
    if code in _EXPIRED:
        return StoreError(
            f"{name}: the credentials expired{answer}",
            advice="renew them and give the same command again",
        )
    if code in _REDIRECTED or "incorrectly configured region" in answer.text:
        return StoreError(
            f"{name}: {bucket} is in another region than the one asked{answer}",
            advice=_REGION[service],
        )
    return None


def _denied(answer: _Answer, action: Action, place: Place) -> StoreError | None:
    """Return the error for credentials that are wrong, or do not suffice."""
    is_unknown = isinstance(answer.error, exceptions.UnauthenticatedError)
    if answer.code in _WRONG_KEYS or answer.status == "401" or is_unknown:
        return StoreError(
            f"{place.name}: the store does not accept the credentials{answer}",
            advice="check those in the environment",
        )
    if (
        answer.status == "403"
        or answer.code == "AccessDenied"
        or isinstance(answer.error, exceptions.PermissionDeniedError)
    ):
        return StoreError(
            f"{place.name}: not allowed to {action} it{answer}",
            advice=_azure_advice(place.service)
            or f"the credentials need {_PERMISSIONS[place.service][action]}",
        )
    return None


def _azure_advice(service: Service) -> str:
    """Return what helps if not a role, but a key or a signature opens the account."""
    if service != "az":
        return ""
    return next((says for name, says in _AZURE_ADVICE.items() if os.environ.get(name)), "")


def _absent(answer: _Answer, action: Action, name: str) -> StoreError | None:
    if isinstance(answer.error, exceptions.AlreadyExistsError | FileExistsError):
        return AlreadyExists(f"{name} already exists")
    is_absent = isinstance(answer.error, FileNotFoundError) or answer.status == "404"
    if is_absent and action != "list":  # What is not there has an empty list.
        return NotFound(f"{name}: there is no such object")
    return None


def _not_reached(answer: _Answer, action: Action, place: Place) -> StoreError:
    """Return the error for a store that did not answer, or not with what was asked for."""
    name = place.name
    variable = endpoint_variable(place.service)
    if answer.status in ("429", "503") or answer.code in ("SlowDown", "ServerBusy"):
        return StoreError(f"{name}: the store is overloaded{answer}", advice=_LATER)
    at_endpoint = f"is {variable} the address of an object store?" if variable else ""
    if answer.status:
        return StoreError(
            f"{name}: the store refused to {action} it{answer}",
            advice=at_endpoint if answer.status < "500" and not answer.code else "",
        )
    if answer.code:
        return StoreError(f"{name}: the store failed to {action} it{answer}", advice=_LATER)
    later = f"check {variable}, or {_LATER}" if variable else _LATER
    if "operation timed out" in answer.text or "TimedOut" in answer.text:
        what = "the store did not answer in time"
    elif hosts := _HOST.findall(answer.text):
        what = f"no connection to {hosts[0]}"
    else:
        what, later = f"could not {action} it", at_endpoint or _LATER
    return StoreError(f"{name}: {what}{answer}", advice=later)


_CHOOSE = "create it, or choose another {dest}"
_PANIC = "check the variables that reach the store"
_LATER = "give the same command again later"
_NO_CREDENTIALS = "set the environment that the cloud's own tools use"
_TOKEN_SERVICES = ("token request", "169.254.169.254", "metadata.google", "/latest/api/token",
                   "/latest/meta-data/")  # fmt: skip
_KEY_ADVICE = "check {name}, and the account's network rules: its key needs no role"
_SIGNATURE_ADVICE = "check {name}: it needs the permissions sp=racwdl, and must not have expired"
_AZURE_ADVICE = {
    **{
        name: _KEY_ADVICE.format(name=name)
        for name in ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")
    },
    **{
        name: _SIGNATURE_ADVICE.format(name=name)
        for name in ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
    },
}
