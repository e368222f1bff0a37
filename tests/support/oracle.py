"""The third judge: what a body's records must become, by the standard library's json alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa

from streamlic.decoder import Decoder, DecoderOptions, Envelope, open_decoder, why_not_fast
from streamlic.decoder.options import MAX_RESCUED
from streamlic.errors import DecodeError
from streamlic.resources.license_schema import LICENSE_SCHEMA

Verdict = tuple[str, int, str]
SURROGATE = re.compile("[\ud800-\udfff]")
STRINGS = ("id", "name", "description", "currency", "status")


def decoders(schema: pa.Schema, **options: Any) -> Iterator[Decoder]:
    """Yield a decoder of every engine, and of every set of instructions."""
    yield open_decoder(schema, engine="reference", **options)
    if not why_not_fast():
        from streamlic.decoder._fast import SIMD, FastDecoder, best

        for simd in SIMD[: SIMD.index(best()) + 1]:
            yield FastDecoder(schema, DecoderOptions(**options), simd=simd)


def decode(
    body: bytes,
    cuts: list[int] | None = None,
    *,
    schema: pa.Schema = LICENSE_SCHEMA,
    **options: Any,
) -> tuple[pa.Table, Envelope]:
    """Decode a body cut at these indexes, with every engine: their answers must be equal."""
    first: Any = None
    for decoder in decoders(schema, **options):
        try:
            answer: Any = decoded(decoder, body, cuts, schema)
        except DecodeError as error:
            answer = error
        if first is None:
            first = answer
        else:
            assert_equal(first, answer)
    if isinstance(first, DecodeError):
        raise first
    table, envelope = first
    return table, envelope


def assert_equal(reference: Any, other: Any) -> None:
    """Compare two engines' answers: tables with their batches and envelopes, or verdicts."""
    if isinstance(reference, DecodeError) or isinstance(other, DecodeError):
        assert verdict(reference) == verdict(other)
        return
    table, envelope = reference
    other_table, other_envelope = other
    assert other_envelope == envelope
    assert other_table.schema.equals(table.schema, check_metadata=True)
    lengths = [len(batch) for batch in table.to_batches()]
    assert [len(batch) for batch in other_table.to_batches()] == lengths
    if not other_table.equals(table):
        assert other_table.to_pylist() == table.to_pylist()
        raise AssertionError("the tables differ, though their rows do not")
    for column in other_table.columns:
        for chunk in column.chunks:
            chunk.validate(full=True)


def verdict(answer: Any) -> Any:
    """Return what a verdict says, to be compared."""
    if isinstance(answer, DecodeError):
        return type(answer).__name__, answer.position, answer.path, str(answer)
    return "no error"


def decoded(
    decoder: Decoder, body: bytes, cuts: list[int] | None, schema: pa.Schema
) -> tuple[pa.Table, Envelope]:
    """Decode a body cut at these indexes, with one decoder."""
    batches = []
    edges = [0, *(cuts or []), len(body)]
    for start, end in pairwise(edges):
        batches += decoder.feed(body[start:end])
    batches += decoder.close()
    return pa.Table.from_batches(batches, schema), decoder.envelope


def outcome(body: bytes, cuts: list[int] | None = None, **options: Any) -> Any:
    """Return what decoding comes to: rows, batch lengths and envelope, or the verdict."""
    try:
        table, envelope = decode(body, cuts, **options)
    except DecodeError as error:
        helps = (error.parameter, error.advice)
        return type(error).__name__, error.position, error.path, error.reason, *filter(None, helps)
    lengths = [len(batch) for batch in table.to_batches()]
    return table.to_pylist(), lengths, envelope


class Judged(NamedTuple):
    """What a valid body holds: its records, with their keys where they have any, and its cursor."""

    records: list[Any]
    keys: list[str] | None = None
    next_cursor: str | None = None


def judged(body: bytes, *, ndjson: bool = False) -> Judged | None:
    """Return what a valid body of Truto's holds; None where it says that the listing failed."""
    if ndjson:
        records: list[Any] = []
        cursor = None
        for line in filter(str.strip, body.decode().split("\n")):
            value = parsed(line)
            if is_envelope_line(value):
                if is_failed_envelope(value):
                    return None
                records += value.get("result") or []
                cursor = value.get("next_cursor", cursor)
            else:
                records.append(value)
        return None if any(map(is_report, records)) else Judged(records, None, cursor)
    value = parsed(body)
    if isinstance(value, list):
        return None if any(map(is_report, value)) else Judged(value)
    rows = value.get("result")
    records = list(rows.values()) if isinstance(rows, dict) else rows or []
    if is_failed_envelope(value) or any(map(is_report, records)):
        return None
    if isinstance(rows, dict) and is_report(rows, are_rows=True):
        return None
    return Judged(records, list(rows) if isinstance(rows, dict) else None, value.get("next_cursor"))


def at_least_400(status: Any) -> bool:
    if isinstance(status, str) and re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,18})?", status):
        status = Decimal(status)
    return is_number(status) and bool(status >= 400)


def is_envelope_line(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if value.get("id") is not None and next(iter(value)) != "result":
        return False
    facts = {"result", "next_cursor", "prev_cursor", "result_count", "is_partial_response"}
    signs = {"statusCode", "error", "errors", "success", "message", "truto_is_remote_error"}
    is_known = bool(facts & value.keys()) and not value.keys() - facts - signs - {"limit"}
    return isinstance(value.get("result"), list) or is_known


def is_failed_envelope(envelope: dict[str, Any]) -> bool:
    status = envelope.get("statusCode")
    return (
        (at_least_400(status))
        or bool(envelope.get("error") or envelope.get("errors"))
        or envelope.get("truto_is_remote_error") is True
        or envelope.get("success") is False
    )


def is_report(record: Any, *, are_rows: bool = False) -> bool:
    """Return whether a record reports a failure, or all rows under their keys do (``are_rows``)."""
    if not isinstance(record, dict):
        return False
    plain = {
        key: value for key, value in record.items() if not (are_rows and isinstance(value, dict))
    }
    if plain.get("id") is not None:
        return False
    status = record.get("statusCode")
    is_error = at_least_400(status) and bool(record.get("error") or record.get("message"))
    if is_error or record.get("truto_is_remote_error") is True or is_springs_error(record):
        return True
    if any(plain.get(name) is not None for name in LICENSE_SCHEMA.names):
        return False
    return bool(plain.get("error") and "message" in plain) or plain.get("success") is False


def is_springs_error(record: dict[str, Any]) -> bool:
    has_all = all(record.get(name) for name in ("status", "error", "path", "timestamp"))
    return has_all and is_number(record["status"]) and bool(record["status"] >= 400)


def expected_row(
    record: Any, most: int, key: str | None = None, key_by: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of a parsed record, and its rescues by pointer; numbers are int or Decimal.

    ``key`` is that of a record among records that are an object.
    """
    row: dict[str, Any] = dict.fromkeys(LICENSE_SCHEMA.names)
    del row["_rescued"]
    rescued: dict[str, Any] = {}
    if not isinstance(record, dict):
        if key_by in STRINGS:
            row[key_by] = key
        return row, {"" if key is None else "/" + escaped(key): record}
    for name, value in record.items():
        if name not in row:
            rescued["/" + escaped(name)] = value
        elif name == "remote_data":
            row[name] = value
        elif value is not None:
            row[name] = fitted(name, value, "/" + name, rescued)
    kept = rescued if len(rescued) <= most else {"": record}
    if key is not None and key_by is not None and record.get(key_by) is None:
        if key_by in STRINGS:
            row[key_by] = key
        else:
            kept = {**kept, "/" + escaped(key_by): key}
    return row, kept


def fitted(key: str, value: Any, pointer: str, rescued: dict[str, Any]) -> Any:
    """Return the column's value, or None and a rescue."""
    result: Any
    if key in STRINGS:
        result = plain_string(value)
    elif key in ("available_quantity", "assigned_quantity"):
        is_whole = is_number(value) and value == value.to_integral_value()
        result = int(value) if is_whole and -(2**63) <= value < 2**63 else None
    elif key == "unit_amount":
        number = float(value) if is_number(value) else math.inf
        result = number if math.isfinite(number) else None
    elif key == "is_paid":
        result = value if isinstance(value, bool) else None
    elif key in ("created_at", "updated_at"):
        result = moment(value)
        if value == "":  # Null, and nothing is lost.
            return None
    else:
        fields = ("id", "name", "status") if key == "products" else ("id", "name")
        result = structs(value, fields, pointer, rescued)
    if result is None:
        rescued[pointer] = value
    return result


def structs(
    value: Any, fields: tuple[str, ...], pointer: str, rescued: dict[str, Any]
) -> list[Any] | None:
    if not isinstance(value, list):
        return None
    elements: list[Any] = []
    for index, element in enumerate(value):
        here = f"{pointer}/{index}"
        if not isinstance(element, dict):
            if element is not None:
                rescued[here] = element
            elements.append(None)
            continue
        for key, inner in element.items():
            if key not in fields or (inner is not None and plain_string(inner) is None):
                rescued[f"{here}/{escaped(key)}"] = inner
        elements.append({field: plain_string(element.get(field)) for field in fields})
    return elements


def plain_string(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if is_number(value) and value.as_tuple().exponent == 0:
        return str(int(value))
    return None


def is_number(value: Any) -> bool:
    return isinstance(value, Decimal)


def moment(value: Any) -> datetime | None:
    """Read what Python reads too; the edges have tests of their own."""
    if not isinstance(value, str) or len(value) < 10 or value[4:5] != "-":
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def epoch_us(value: datetime) -> int:
    return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def parsed(text: bytes | str) -> Any:
    """Parse JSON with every number a Decimal, so that no digit is lost, and surrogates mended."""
    return mended(
        json.loads(text, parse_int=Decimal, parse_float=Decimal, object_pairs_hook=members_of)
    )


def members_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members: in a key unpaired surrogates stay as their digits."""
    return {SURROGATE.sub(digits_of, key): mended(value) for key, value in pairs}


def mended(value: Any) -> Any:
    """Return a string or an array without unpaired surrogates."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    return [mended(one) for one in value] if isinstance(value, list) else value


def digits_of(surrogate: re.Match[str]) -> str:
    return f"\\{ord(surrogate[0]):04x}"


def check_rows(
    rows: list[dict[str, Any]],
    records: list[Any],
    max_rescued: int = MAX_RESCUED,
    *,
    keys: list[str] | None = None,
    key_by: str | None = None,
) -> None:
    """Compare decoded rows with what the records, parsed by ``parsed``, must become."""
    assert len(rows) == len(records)
    all_keys: Sequence[str | None] = keys or [None] * len(rows)
    for row, record, key in zip(rows, records, all_keys, strict=True):
        want, rescued = expected_row(record, max_rescued, key, key_by)
        got = dict(row)
        got_rescued = got.pop("_rescued")
        for name in ("remote_data",):
            got[name] = None if got[name] is None else parsed(got[name])
        assert got == want
        assert ({} if got_rescued is None else parsed(got_rescued)) == rescued
