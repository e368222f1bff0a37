"""Copies the values that did not fit from the record's own bytes, so that no digit is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from operator import attrgetter

from streamlic.decoder.messages.misfits import Rescued
from streamlic.decoder.reference.member_text import lone_texts, member_span
from streamlic.decoder.scanner import PathStep, children

_start_of = attrgetter("start")
_SEARCHED_PATHS = 64


def locate(text: bytes, paths: Iterable[tuple[PathStep, ...]]) -> list[Rescued]:
    """Find the values at ``paths`` in the record ``text``; return them in document order.

    Of a repeated key the last one counts.
    """
    known: dict[int, dict[PathStep, tuple[int, int]]] = {}
    found = []
    for number, path in enumerate(paths):
        start, end = 0, len(text)
        for step in path:
            # A search reads the whole container: for many paths one index is cheaper.
            is_searched = number < _SEARCHED_PATHS and start not in known
            member = member_span(text, step, start, end) if is_searched else None
            if member is None:
                if start not in known:
                    known[start] = {
                        key: (first, last) for key, first, last in children(text, start)
                    }
                member = known[start][step]
            start, end = member
        found.append(Rescued(path, start, end))
    return found if len(found) == 1 else sorted(found, key=_start_of)


def rescued_texts(
    texts: Sequence[bytes], by_row: Mapping[int, Sequence[tuple[PathStep, ...]]]
) -> list[str | None]:
    """Return the rescued values of each record as a JSON object, None if there are none.

    Records with a single rescued member are searched together, by its key.
    """
    rescued: list[str | None] = [None] * len(texts)
    by_key: dict[str, list[int]] = {}
    others: list[int] = []
    for number, paths in by_row.items():
        key = paths[0][-1] if len(paths) == 1 and paths[0] else None
        (by_key.setdefault(key, []) if isinstance(key, str) else others).append(number)
    for key, numbers in by_key.items():
        values = lone_texts(key, [texts[number] for number in numbers])
        if values is None:
            others += numbers
            continue
        for number, value in zip(numbers, values, strict=True):
            rescued[number] = "{" + _member(by_row[number][0], value) + "}"
    for number in others:
        rescued[number] = rescued_json(texts[number], locate(texts[number], by_row[number]))
    return rescued


def rescued_json(text: bytes, found: Iterable[Rescued]) -> str:
    """Write the rescued values as a JSON object from JSON Pointer (RFC 6901) to value."""
    return "{" + ",".join([_member(one.path, text[one.start : one.end]) for one in found]) + "}"


def _member(path: Iterable[PathStep], value: bytes) -> str:
    return f"{encode_basestring(pointer(path))}:{value.decode()}"


def pointer(path: Iterable[PathStep]) -> str:
    """Return the JSON Pointer of a path (RFC 6901, section 3)."""
    return "".join(["/" + str(step).replace("~", "~0").replace("/", "~1") for step in path])


def kept_whole(paths: Sequence[tuple[PathStep, ...]], most: int) -> Sequence[tuple[PathStep, ...]]:
    """Return the paths to rescue: only the record itself if there are more than ``most``."""
    return paths if len(paths) <= most else [()]
