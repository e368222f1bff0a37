"""What an emulated Truto does wrong, and when. Chosen and planned here, done by ``sending``.

A fault is written ``NAME[=VALUE][@WHEN]``. WHEN joins conditions by commas: ``3`` or ``3-7`` is
the number of the request for licenses (from 1), ``row=5000`` the page that begins there (which is
what its cursor says), ``5%`` a share of them at random, by the seed, and ``times=2`` how often.
"""

from __future__ import annotations

import json
import math
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from streamlic.emulator.answers import (
    Answer,
    Asked,
    EmulatorConfig,
    Lie,
    Wire,
    answer,
    page_start,
    refusal,
)
from streamlic.errors import UsageError

_FAULT = re.compile(r"(?P<name>[0-9a-z-]+)(?:=(?P<value>[^@]*))?(?:@(?P<when>.*))?")
_BOMB_BLOCK = b" " * 1_048_576
HTML: Final = b"<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>"
_INSIGHTS: Final[dict[str, Any]] = {
    "missing_required_query_parameters": ["organization_id"],
    "conditionally_required_query_parameters": ["product"],
    "rate_limit_error": True,
    "forbidden_error": {"missing_scopes": ["Directory.Read.All"]},
    "remote_error": "The remote provider failed",
}


@dataclass(frozen=True)
class When:
    """Which requests a fault is for. All conditions that are given hold at once."""

    first: int = 1
    last: int | None = None
    row: int | None = None
    share: float = 1.0
    times: int | None = None


@dataclass(frozen=True)
class Fault:
    """One fault: its name, its value as it was written, and when."""

    name: str
    value: str = ""
    when: When = field(default_factory=When)

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


def parse_fault(text: str) -> Fault:
    """Read ``NAME[=VALUE][@WHEN]``; UsageError where it is none."""
    match = _FAULT.fullmatch(text)
    if match is None or match["name"] not in FAULTS:
        raise UsageError(f"expected one of {', '.join(FAULTS)}, got {text!r} (--fault)")
    fault = Fault(match["name"], match["value"] or "", _when(match["when"] or "", text))
    try:
        FAULTS[fault.name].plan(_Given(EmulatorConfig(), _SAMPLE, fault.value))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"expected {fault.name}={FAULTS[fault.name].value}, got {text!r}: {error} (--fault)"
        ) from None
    return fault


def _when(text: str, whole: str) -> When:
    given: dict[str, Any] = {}
    for one in filter(None, text.split(",")):
        if match := re.fullmatch(r"(\d+)(?:-(\d+))?", one):
            given["first"], given["last"] = int(match[1]), int(match[2] or match[1])
        elif match := re.fullmatch(r"(\d+(?:\.\d+)?)%", one):
            given["share"] = float(match[1]) / 100
        elif match := re.fullmatch(r"(row|times)=(\d+)", one):
            given[match[1]] = int(match[2])
        else:
            raise UsageError(
                f"expected a number, from-to, row=N, N% or times=N behind the @, got {whole!r} "
                "(--fault)"
            )
    when = When(**given)
    if not (1 <= when.first <= (when.last or when.first) and when.share <= 1):
        raise UsageError(f"expected a time that comes behind the @, got {whole!r} (--fault)")
    return when


class FaultPlan:
    """Chooses, request by request, what goes wrong. The same seed chooses the same."""

    def __init__(self, faults: tuple[Fault, ...], seed: int) -> None:
        self._faults = faults
        self._random = random.Random(seed)
        self._times = [0] * len(faults)
        self._number = 0
        self.done: list[str] = []
        """What was done so far, in order."""

    def next(self, asked: Asked) -> Fault | None:
        """Return what goes wrong with this request for licenses; None where nothing does."""
        self._number += 1
        # Every fault draws, whatever the others are: to take one out does not change the rest.
        draws = [self._random.random() for _ in self._faults]
        for at, (fault, draw) in enumerate(zip(self._faults, draws, strict=True)):
            if draw < fault.when.share and self._is_due(fault, asked, self._times[at]):
                self._times[at] += 1
                self.done.append(str(fault))
                return fault
        return None

    def _is_due(self, fault: Fault, asked: Asked, times: int) -> bool:
        when = fault.when
        return (
            when.first <= self._number
            and (when.last is None or self._number <= when.last)
            and (when.row is None or when.row == page_start(asked))
            and (when.times is None or times < when.times)
        )


def faulty_answer(config: EmulatorConfig, asked: Asked, fault: Fault) -> Answer:
    """Plan the answer to one request, with this fault in it."""
    return FAULTS[fault.name].plan(_Given(config, asked, fault.value))


@dataclass(frozen=True)
class _Given:
    """What a fault is made from."""

    config: EmulatorConfig
    asked: Asked
    value: str

    @property
    def right(self) -> Answer:
        """The answer without the fault."""
        return answer(self.config, self.asked)

    def number(self, default: int) -> int:
        """The value as a whole number; ValueError where it is none."""
        number = int(self.value) if self.value else default
        if number < 0:
            raise ValueError("it is negative")
        return number

    def lying(self, **lie: Any) -> Answer:
        return answer(self.config, self.asked, Lie(**lie))


_SAMPLE = Asked("GET", "/unified/user-directory/licenses", [], {})


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how it is planned, what its value is, and what it is, for ``--help``."""

    plan: Callable[[_Given], Answer]
    about: str
    value: str = ""


def _too_many(given: _Given) -> Answer:
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


def _status(given: _Given) -> Answer:
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


def _vendor(given: _Given) -> Answer:
    status = given.number(502)
    if not 400 <= status <= 599:
        raise ValueError("a status is from 400 to 599")
    raw = {"error": {"code": "generalException", "message": "the vendor's own words"}}
    return refusal(status, "", more={"truto_is_remote_error": True, "raw_response": raw})


def _redirect(given: _Given) -> Answer:
    query = "&".join(f"{key}={value}" for key, value in given.asked.query)
    location = f"{given.value}{given.asked.path}?{query}"
    return Answer(307, lambda: iter([b""]), {"Location": location})


def _foreign(given: _Given) -> Answer:
    status = given.number(403)
    if not 200 <= status <= 599:
        raise ValueError("a status is from 200 to 599")
    text = f"error code: {status}".encode()
    return Answer(status, lambda: iter([text]), {"Content-Type": "text/plain"})


def _coding(given: _Given) -> Answer:
    return _with_headers(given.right, {"Content-Encoding": given.value or "zstd"})


def _on_the_wire(name: str, default: int = 0) -> Callable[[_Given], Answer]:
    return lambda given: replace(given.right, wire=Wire(name, at=given.number(default)))


def _stall(given: _Given) -> Answer:
    seconds, _, at = given.value.partition(":")
    wire = Wire("stall", int(at or 100), float(seconds or 1))
    if not (wire.at >= 0 and 0 <= wire.seconds < math.inf):
        raise ValueError("it is negative, or none")
    return replace(given.right, wire=wire)


def _edited(edit: Callable[[Iterator[bytes], int], Iterator[bytes]]) -> Callable[[_Given], Answer]:
    """Return the plan of an answer whose body is edited at a byte."""

    def plan(given: _Given) -> Answer:
        at, right = given.number(100), given.right
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
) -> Callable[[_Given], Answer]:
    """Return the plan of a whole answer, status 200, whose body reports an error somewhere."""

    def plan(given: _Given) -> Answer:
        status = given.number(502)
        if not 400 <= status <= 599:
            raise ValueError("a status is from 400 to 599")
        right = given.right
        error = {"statusCode": status, "error": "Emulated", "message": "It broke half-way"}

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


def _gzip(edit: Callable[[Iterator[bytes], int], Iterator[bytes]]) -> Callable[[_Given], Answer]:
    def plan(given: _Given) -> Answer:
        at, right = given.number(200), given.right
        return _gzipped(right, lambda: edit(_compressed(right.pieces()), at))

    return plan


def _bomb(given: _Given) -> Answer:
    blocks = max(given.number(256), 1)
    right = given.right

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


def _changed(given: _Given) -> Answer:
    return answer(replace(given.config, seed=given.config.seed + 1), given.asked)


def _html(_: _Given) -> Answer:
    return Answer(200, lambda: iter([HTML]), {"Content-Type": "text/html"})


FAULTS: Final[dict[str, Kind]] = {
    "429": Kind(_too_many, "rate limited, with Retry-After", "SECONDS, date:SECONDS or none"),
    "status": Kind(_status, "an error of this status", "STATUS[:INSIGHT]"),
    "vendor": Kind(_vendor, "an error that the vendor caused", "STATUS"),
    "redirect": Kind(_redirect, "a redirect, to the same origin or another", "[ORIGIN]"),
    "foreign": Kind(_foreign, "a text that something between gives, of this status", "STATUS"),
    "coding": Kind(_coding, "a Content-Encoding of this name, and a plain body", "NAME"),
    "refuse": Kind(
        _on_the_wire("refuse", 1), "no answer, and for so long no new connection", "SECONDS"
    ),
    "reset": Kind(_on_the_wire("reset"), "the connection reset at a byte of the body", "BYTE"),
    "close": Kind(_on_the_wire("close"), "the connection closed at a byte of the body", "BYTE"),
    "stall": Kind(_stall, "silence at a byte of the body", "SECONDS[:BYTE]"),
    "drip": Kind(_on_the_wire("drip", 64), "so many bytes one by one, then the rest", "BYTES"),
    "length": Kind(_on_the_wire("length", 10), "a Content-Length so much too large", "BYTES"),
    "no-end": Kind(_on_the_wire("no-end"), "a chunked body without its last chunk"),
    "cut-json": Kind(_edited(_cut), "JSON that ends at a byte, framed as if whole", "BYTE"),
    "break-json": Kind(_edited(_broken), "a byte that is no JSON", "BYTE"),
    "envelope": Kind(_edited(_interrupted), "an error envelope in mid-body, status 200", "BYTE"),
    "late-error": Kind(
        _reported(_late_error), "an error told after the rows, status 200", "STATUS"
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
    "bomb": Kind(_bomb, "a gzip stream of so many MiB of white space before the body", "MIB"),
    "count": Kind(
        lambda given: given.lying(count=int(given.value or 1)),
        "a result_count off by so much",
        "ROWS",
    ),
    "repeat-cursor": Kind(
        lambda given: given.lying(repeats_cursor=True), "the page's own cursor as the next one"
    ),
    "expired-cursor": Kind(
        lambda _: refusal(400, "next_cursor has expired"), "the cursor refused, as expired"
    ),
    "same-page": Kind(
        lambda given: given.lying(repeats_page=True), "the rows of the page before, once more"
    ),
    "partial": Kind(
        lambda given: answer(replace(given.config, is_partial=True), given.asked),
        "is_partial_response",
    ),
    "changed": Kind(_changed, "the same ids with other values, as if changed meanwhile"),
    "html": Kind(_html, "a page for people, status 200"),
}
"""Every fault, by its name."""
