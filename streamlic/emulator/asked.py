"""What a request asks for: its parameters, as both SDKs write them, and its cursor."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from streamlic.emulator.planned import Refusal, refused

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""An account's id, in lower case."""
_MAX_LIMIT = 100_000


@dataclass(frozen=True)
class Asked:
    """The parts of a request that an answer depends on."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    """By name, in lower case."""

    def value(self, name: str) -> str | None:
        """Return a parameter, None if it is absent, empty, or ``None`` as an SDK writes it."""
        given = [value for key, value in self.query if key == name and value not in ("", "None")]
        return given[-1] if given else None

    def values(self, name: str) -> list[str]:
        """Return an array, written ``name[]=``, ``name[0]=`` or with commas."""
        pattern = re.compile(re.escape(name) + r"(?:\[\d*\])?")
        texts = [value for key, value in self.query if pattern.fullmatch(key)]
        return [one for text in texts for one in text.split(",") if one and one != "None"]

    def offset(self) -> int:
        """Return the offset that the cursor holds, 0 without one. Refusal if it is not ours."""
        text = self.value("next_cursor")
        if text is None:
            return 0
        try:
            cursor = json.loads(base64.urlsafe_b64decode(text))
            offset, fingerprint = int(cursor["offset"]), cursor["of"]
        except (ValueError, KeyError, TypeError):
            raise refused(400, "next_cursor is not valid") from None
        if fingerprint != self._fingerprint() or offset < 0:
            raise refused(400, "next_cursor belongs to another request")
        return offset

    def cursor(self, offset: int) -> str:
        """Return the cursor of the page that begins at an offset."""
        body = {"offset": offset, "of": self._fingerprint()}
        return base64.urlsafe_b64encode(json.dumps(body).encode()).decode()

    def limit(self, page_size: int, total: int) -> int:
        """Return how many objects a page may have: by default ``page_size``."""
        if self.value("truto_ignore_limit") == "true":
            return total
        limit = self.value("limit")
        if limit is None:
            return page_size
        if not limit.isdigit() or not 0 < int(limit) <= _MAX_LIMIT:
            raise refused(400, f"limit must be from 1 to {_MAX_LIMIT}")
        return int(limit)

    def _fingerprint(self) -> str:
        """Return a digest of the request without cursor and limit: a cursor belongs to it alone."""
        given = sorted(
            (key, value)
            for key, value in self.query
            if key not in ("next_cursor", "limit") and value not in ("", "None")
        )
        return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:12]


def page_start(asked: Asked) -> int:
    """Return the number of the first row of the requested page."""
    try:
        return asked.offset()
    except Refusal:
        return 0
