"""What the commit log's files hold, and how they are written: ASCII JSON with its own SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamlic.errors import IntegrityError

VERSION = 5


@dataclass(frozen=True)
class PartFile:
    """A part file that is complete and durable."""

    name: str
    """Its name in the lake: the table, a slash, and the file."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumePoint:
    """How far an account was read: the next cursor, and what is committed of it."""

    cursor: str | None = None
    is_done: bool = False
    rows: int = 0
    rescued: int = 0
    pages: int = 0
    is_partial: bool = False
    page_rows: int = 0
    page_ids_crc32: int = 0
    """Of the last page, to recognize it if the API sends it again."""
    started_at: str | None = None
    """When its first page was taken, as the log writes a moment."""
    ended_at: str | None = None
    """When its last page was taken."""


Points = Mapping[str | None, ResumePoint]
"""Resume points by account; None is the account of a body that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """How many rows of an account come from a replaced run, and why."""

    rows: int
    reason: str
    exported_at: str | None = None
    """When the newest of them were exported, as the log writes a moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Why a complete run does not have an account, and whether a retry can help.

    ``parameter`` is the Python name of the parameter that the error is about, if there is one.
    """

    kind: str
    message: str
    retryable: bool
    parameter: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountDetails:
    """What is known of an account, besides its id. None is unknown.

    Truto knows more of an account, secrets among it: no other field is kept.
    """

    integration: str | None = None
    """The integration's name, such as ``slack``."""
    tenant_id: str | None = None
    status: str | None = None
    is_blocked: bool | None = None


UNKNOWN = AccountDetails()


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file of the log: ``body`` and its own SHA-256, as ASCII JSON."""
    return _dumped({**body, "sha256": hashlib.sha256(_dumped(body)).hexdigest()})


def parsed(data: bytes, where: str) -> dict[str, Any]:
    """Return the body of a file of the log; IntegrityError, naming ``where``, if it was altered."""
    try:
        body = json.loads(data)
    except ValueError as error:
        raise IntegrityError(f"{where}: invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise IntegrityError(f"{where}: expected an object")
    digest = body.pop("sha256", None)
    if digest != hashlib.sha256(_dumped(body)).hexdigest():
        raise IntegrityError(f"{where}: it was altered: its SHA-256 differs")
    return body


def written(moment: datetime) -> str:
    """Return a moment in UTC as the log writes it (RFC 3339, with ``Z``)."""
    return moment.isoformat().replace("+00:00", "Z")


def _dumped(body: Mapping[str, Any]) -> bytes:
    # ASCII, because a text may hold a lone surrogate, which UTF-8 cannot. Not indented: Python's
    # encoder for that takes a second for the accounts of a large environment.
    return json.dumps(body).encode() + b"\n"
