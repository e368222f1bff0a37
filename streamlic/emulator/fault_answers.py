"""The faults of the emulator: for each name the answer that has this fault.

A fault that happens on the wire is only marked here (``Wire``); ``sending`` carries it out.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from streamlic.emulator.answers import Lie, answer
from streamlic.emulator.asked import Asked
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.planned import Answer, Wire, refusal

_BOMB_BLOCK = b" " * 1_048_576
_HTML = b"<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>"
_INSIGHTS: Final[dict[str, Any]] = {
    "missing_required_query_parameters": ["organization_id"],
    "conditionally_required_query_parameters": ["product"],
    "rate_limit_error": True,
    "forbidden_error": {"missing_scopes": ["Directory.Read.All"]},
    "remote_error": "The remote provider failed",
}


@dataclass(frozen=True)
class FaultInput:
    """The configuration, the request, and the value that was written after the fault's name."""

    config: EmulatorConfig
    asked: Asked
    value: str

    @property
    def correct(self) -> Answer:
        """The answer without the fault."""
        return answer(self.config, self.asked)

    def number(self, default: int) -> int:
        """Return the value as a whole number, at least 0; ValueError if it is not one."""
        number = int(self.value) if self.value else default
        if number < 0:
            raise ValueError("the number is negative")
        return number

    def lying(self, **lie: Any) -> Answer:
        """Return the answer with a false statement in it."""
        return answer(self.config, self.asked, Lie(**lie))


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how its answer is planned, what it does, and what its value means."""

    plan: Callable[[FaultInput], Answer]
    about: str
    value: str = ""


def _too_many(given: FaultInput) -> Answer:
    form, _, seconds = given.value.rpartition(":")
    if form not in ("", "date"):
        raise ValueError("the form is date:SECONDS")
    headers = {}
    if form == "date":
        moment = datetime.now(UTC) + timedelta(seconds=int(seconds))
        headers = {"Retry-After": format_datetime(moment, usegmt=True)}
    elif seconds != "none":
        headers = {"Retry-After": str(int(seconds or 1))}
    return _with_headers(_status_of(429, "rate_limit_error"), headers)


def _status(given: FaultInput) -> Answer:
    status, _, insight = given.value.partition(":")
    return _status_of(int(status), insight)


def _status_of(status: int, insight: str) -> Answer:
    if not 400 <= status <= 599:
        raise ValueError("a status is from 400 to 599")
    if insight == "blocked":
        return refusal(status, "Integrated account is blocked")
    if insight and insight not in _INSIGHTS:
        raise ValueError(f"an insight is one of blocked, {', '.join(_INSIGHTS)}")
    described = {"description": insight.replace("_", " "), "value": _INSIGHTS.get(insight)}
    return refusal(status, "An emulated fault", insight={insight: described} if insight else None)


def _vendor(given: FaultInput) -> Answer:
    status = given.number(502)
    if not 400 <= status <= 599:
        raise ValueError("a status is from 400 to 599")
    raw = {"error": {"code": "generalException", "message": "the vendor's message"}}
    return refusal(status, "", more={"truto_is_remote_error": True, "raw_response": raw})


def _redirect(given: FaultInput) -> Answer:
    query = "&".join(f"{key}={value}" for key, value in given.asked.query)
    location = f"{given.value}{given.asked.path}?{query}"
    return Answer(307, lambda: iter([b""]), {"Location": location})


def _foreign(given: FaultInput) -> Answer:
    status = given.number(403)
    if not 200 <= status <= 599:
        raise ValueError("a status is from 200 to 599")
    text = f"error code: {status}".encode()
    return Answer(status, lambda: iter([text]), {"Content-Type": "text/plain"})


def _coding(given: FaultInput) -> Answer:
    return _with_headers(given.correct, {"Content-Encoding": given.value or "zstd"})


def _on_the_wire(name: str, default: int = 0) -> Callable[[FaultInput], Answer]:
    return lambda given: replace(given.correct, wire=Wire(name, at=given.number(default)))


def _stall(given: FaultInput) -> Answer:
    seconds, _, at = given.value.partition(":")
    wire = Wire("stall", int(at or 100), float(seconds or 1))
    if not (wire.at >= 0 and 0 <= wire.seconds < math.inf):
        raise ValueError("a number is negative or not finite")
    return replace(given.correct, wire=wire)


def _edited(
    edit: Callable[[Iterator[bytes], int], Iterator[bytes]],
) -> Callable[[FaultInput], Answer]:
    """Return a plan that edits the body from a byte on."""

    def plan(given: FaultInput) -> Answer:
        at, right = given.number(100), given.correct
        return replace(right, pieces=lambda: edit(right.pieces(), at))

    return plan


def _cut(pieces: Iterator[bytes], at: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:at]
        at -= len(piece)
        if at <= 0:
            return


def _broken(pieces: Iterator[bytes], at: int) -> Iterator[bytes]:
    for piece in pieces:
        is_here = 0 <= at < len(piece)
        yield piece[:at] + b"\x00" + piece[at + 1 :] if is_here else piece
        at -= len(piece)


def _interrupted(pieces: Iterator[bytes], at: int) -> Iterator[bytes]:
    yield from _cut(pieces, at)
    yield json.dumps({"statusCode": 502, "error": "Bad Gateway", "message": "later"}).encode()


def _reported(
    report: Callable[[bytes, dict[str, Any]], bytes], kind: str = "application/json"
) -> Callable[[FaultInput], Answer]:
    """Return a plan of a complete answer with status 200 whose body reports an error."""

    def plan(given: FaultInput) -> Answer:
        status = given.number(502)
        if not 400 <= status <= 599:
            raise ValueError("a status is from 400 to 599")
        right = given.correct
        error = {"statusCode": status, "error": "Emulated", "message": "It failed half-way"}

        def pieces() -> Iterator[bytes]:
            yield report(b"".join(right.pieces()), error)

        return replace(right, pieces=pieces, headers={"Content-Type": kind})

    return plan


def _late_error(body: bytes, error: dict[str, Any]) -> bytes:
    return body.rstrip()[:-1] + b"," + json.dumps(error)[1:].encode()


def _error_record(body: bytes, error: dict[str, Any]) -> bytes:
    envelope = json.loads(body)
    rows = envelope.get("result", envelope.get("value"))
    if isinstance(rows, dict):
        rows["broken"] = error
    else:
        rows[-1:] = [error]
    return json.dumps(envelope).encode()


def _error_line(body: bytes, error: dict[str, Any]) -> bytes:
    envelope = json.loads(body)
    rows = envelope.get("result", envelope.get("value"))
    records = list(rows.values()) if isinstance(rows, dict) else rows
    return b"".join(json.dumps(one).encode() + b"\n" for one in [*records, error])


def _gzip(
    edit: Callable[[Iterator[bytes], int], Iterator[bytes]],
) -> Callable[[FaultInput], Answer]:
    def plan(given: FaultInput) -> Answer:
        at, right = given.number(200), given.correct
        return _gzipped(right, lambda: edit(_compressed(right.pieces()), at))

    return plan


def _bomb(given: FaultInput) -> Answer:
    blocks = max(given.number(256), 1)
    right = given.correct

    def pieces() -> Iterator[bytes]:
        yield from (_BOMB_BLOCK for _ in range(blocks))
        yield from right.pieces()

    return _gzipped(right, lambda: _compressed(pieces()))


def _gzipped(right: Answer, pieces: Callable[[], Iterator[bytes]]) -> Answer:
    return _with_headers(
        replace(right, pieces=pieces, has_length=False), {"Content-Encoding": "gzip"}
    )


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    stream = zlib.compressobj(6, wbits=31)
    yield from (stream.compress(piece) for piece in pieces)
    yield stream.flush()


def _with_headers(planned: Answer, headers: dict[str, str]) -> Answer:
    return replace(planned, headers={**planned.headers, **headers})


def _html(_: FaultInput) -> Answer:
    return Answer(200, lambda: iter([_HTML]), {"Content-Type": "text/html"})


FAULTS: Final[dict[str, Kind]] = {
    "429": Kind(_too_many, "rate limited, with Retry-After", "SECONDS, date:SECONDS or none"),
    "status": Kind(_status, "an error of this status", "STATUS[:INSIGHT]"),
    "vendor": Kind(_vendor, "an error that the vendor caused", "STATUS"),
    "redirect": Kind(_redirect, "a redirect, to the same origin or to another one", "[ORIGIN]"),
    "foreign": Kind(_foreign, "a plain-text answer of this status, as a proxy gives it", "STATUS"),
    "coding": Kind(_coding, "a Content-Encoding of this name on a plain body", "NAME"),
    "refuse": Kind(
        _on_the_wire("refuse", 1), "no answer, then connections refused for this long", "SECONDS"
    ),
    "reset": Kind(_on_the_wire("reset"), "the connection reset at a byte of the body", "BYTE"),
    "close": Kind(_on_the_wire("close"), "the connection closed at a byte of the body", "BYTE"),
    "stall": Kind(_stall, "silence at a byte of the body", "SECONDS[:BYTE]"),
    "drip": Kind(_on_the_wire("drip", 64), "this many bytes one at a time, then the rest", "BYTES"),
    "length": Kind(_on_the_wire("length", 10), "a Content-Length too large by this much", "BYTES"),
    "no-end": Kind(_on_the_wire("no-end"), "a chunked body without its last chunk"),
    "cut-json": Kind(_edited(_cut), "JSON that ends at a byte, framed as if whole", "BYTE"),
    "break-json": Kind(_edited(_broken), "an invalid byte in the JSON", "BYTE"),
    "envelope": Kind(
        _edited(_interrupted), "an error envelope within the body, status 200", "BYTE"
    ),
    "late-error": Kind(
        _reported(_late_error), "an error reported after the rows, status 200", "STATUS"
    ),
    "error-record": Kind(
        _reported(_error_record), "an error in place of the last record, status 200", "STATUS"
    ),
    "error-line": Kind(
        _reported(_error_line, "application/x-ndjson"),
        "newline-delimited records, and an error as the last line",
        "STATUS",
    ),
    "error-body": Kind(
        _reported(lambda _, error: json.dumps(error).encode()),
        "an error envelope alone, status 200",
        "STATUS",
    ),
    "cut-gzip": Kind(_gzip(_cut), "a gzip stream that ends at a byte", "BYTE"),
    "break-gzip": Kind(_gzip(_broken), "a gzip stream with a wrong byte", "BYTE"),
    "bomb": Kind(_bomb, "a gzip stream with this many MiB of white space before the body", "MIB"),
    "count": Kind(
        lambda given: given.lying(count=int(given.value or 1)),
        "a result_count that is wrong by this much",
        "ROWS",
    ),
    "repeat-cursor": Kind(
        lambda given: given.lying(repeats_cursor=True), "the page's own cursor as the next one"
    ),
    "expired-cursor": Kind(
        lambda _: refusal(400, "next_cursor has expired"), "the cursor refused because it expired"
    ),
    "same-page": Kind(
        lambda given: given.lying(repeats_page=True), "the rows of the previous page again"
    ),
    "partial": Kind(
        lambda given: answer(replace(given.config, is_partial=True), given.asked),
        "is_partial_response",
    ),
    "changed": Kind(
        lambda given: given.lying(is_changed=True),
        "the same ids with other values, as if the data had changed",
    ),
    "html": Kind(_html, "an HTML page, status 200"),
}
"""Every fault, by its name."""
