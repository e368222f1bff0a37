"""Turns the scanner's errors into public ones."""

from __future__ import annotations

from typing import Any

from streamlic.decoder.failure_signs import NoListing, Reported
from streamlic.decoder.messages.paths import path_text
from streamlic.decoder.scanner import Malformed, PathStep, TooDeep, TooLong
from streamlic.errors import DecodeError, LimitExceeded, NotAListing, ReportedFailure


def decode_error(malformed: Malformed, position: int, path: tuple[PathStep, ...]) -> DecodeError:
    """Return the public error; the buffer began at ``position`` in the body, and at ``path``."""
    place: dict[str, Any] = {
        "position": position + malformed.index,
        "path": path_text(path + malformed.path),
    }
    if isinstance(malformed, Reported):
        return ReportedFailure(malformed.reason, members=malformed.members, **place)
    place |= {"parameter": malformed.parameter, "advice": malformed.advice}
    if isinstance(malformed, NoListing):
        return NotAListing(malformed.reason, **place)
    if isinstance(malformed, TooDeep | TooLong):
        return LimitExceeded(malformed.reason, **place)
    return DecodeError(malformed.reason, **place)
