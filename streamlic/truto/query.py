"""Writes nested parameters into a query string. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from streamlic.errors import UsageError
from streamlic.validation import shown

QueryValue = str | int | float | bool | date | None | Mapping[str, Any] | Sequence[Any]


def encode_parameter(name: str, value: QueryValue) -> Iterator[tuple[str, str]]:
    """Yield the (name, value) pairs that encode ``value`` under ``name`` for Truto.

    Booleans are ``true`` and ``false``; objects ``a[b]=1``; arrays ``a[]=1``, repeated; arrays of
    objects ``a[][b]=1``; dates ISO 8601; None is left out. An empty object or array sends nothing.
    """
    if value is None:
        return
    if isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, datetime | date):
        yield name, value.isoformat()
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from encode_parameter(f"{name}[{key}]", inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from encode_parameter(f"{name}[]", inner)
    else:
        yield name, str(value)


def parse_remote_query(assignments: Iterable[str]) -> dict[str, Any]:
    """Read ``K=V`` texts into nested objects: ``a[b]=1`` gives ``{"a": {"b": "1"}}``.

    A leading ``remote_query`` is allowed: ``remote_query[a][b]=1`` is the same. ``a[]=1`` gives a
    list, and so does a key that repeats. Raises UsageError for anything else.
    """
    nested: dict[str, Any] = {}
    for text in assignments:
        name, value = split_assignment(text, "remote_query")
        keys = _bracketed(name)
        if keys is None:
            raise UsageError(
                f"expected K=V, K[SUB]=V or K[]=V, got {shown(text)}", parameter="remote_query"
            )
        if keys[0] == "remote_query" and len(keys) > 1 and keys[1]:
            keys = keys[1:]
        _place(nested, keys, value, text)
    return nested


def split_assignment(text: str, parameter: str) -> tuple[str, str]:
    """Split ``K=V`` at its first equals sign; without one, a UsageError names ``parameter``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"expected KEY=VALUE, got {shown(text)}", parameter=parameter)
    return name, value


def _place(nested: dict[str, Any], keys: list[str], value: str, text: str) -> None:
    clash = UsageError(f"{shown(text)} gives a key two different shapes", parameter="remote_query")
    *parents, last = keys if keys[-1] else keys[:-1]
    is_list = not keys[-1]
    here = nested
    for key in parents:
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            raise clash
    if last not in here:
        here[last] = [value] if is_list else value
    elif isinstance(here[last], dict):
        raise clash
    elif isinstance(here[last], list):
        here[last].append(value)
    else:
        here[last] = [here[last], value]


def _bracketed(name: str) -> list[str] | None:
    """Split ``a[b][]`` into ``["a", "b", ""]``; a key may be empty only at the end."""
    match = re.fullmatch(r"([^\[\]]+)((?:\[[^\[\]]+\])*)(\[\])?", name)
    if match is None:
        return None
    inner = re.findall(r"\[([^\[\]]+)\]", match[2])
    return [match[1], *inner, *([""] if match[3] else [])]
