"""A row as one line of JSON: exact, and in ASCII, so that a terminal obeys none of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")
_BLANK = "\t\n\r"


def json_line(row: Mapping[str, Any], json_columns: Iterable[str]) -> str:
    """Return a row as one JSON object; ``json_columns`` hold JSON text, which is kept as it is."""
    members = (
        f"{json.dumps(name)}: {_embedded(value) if name in json_columns else _dumped(value)}"
        for name, value in row.items()
    )
    return f"{{{', '.join(members)}}}"


def _embedded(text: Any) -> str:
    """Return JSON text on one line in ASCII; a text that is invalid JSON as a string."""
    if not isinstance(text, str):
        return _dumped(text)
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _dumped(text)
    return _NOT_PLAIN.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    """Return a character of valid JSON as an escape; white space as a space."""
    return " " if character in _BLANK else json.dumps(character)[1:-1].replace("\x7f", r"\u007f")


def _dumped(value: Any) -> str:
    text = json.dumps(_finite(value), default=_text)
    return text.replace("\x7f", r"\u007f")


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
