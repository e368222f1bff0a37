"""A page's response: its headers, and its body in chunks as they arrive."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from itertools import islice

from streamlic.errors import (
    DecodeError,
    TransportError,
)
from streamlic.truto.api_errors import one_line
from streamlic.truto.content_encoding import open_decompressor
from streamlic.truto.redaction import hide_in
from streamlic.truto.timeouts import ProgressWatch

LINES_TYPES = frozenset(
    f"application/{name}"
    for name in ("x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-lines")
)
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_APART_BYTES = 16 * 1024  # Less is undone sooner than a thread starts.
_MOST_PIECES = 4
_RELATION = re.compile(r""";\s*rel\s*=\s*"?([^";,>]*)""", re.IGNORECASE)


class Page:
    """One response of the API, before its body arrives.

    Names of ``headers`` are case-insensitive. ``read`` waits for the next bytes of the body, still
    compressed, and returns b"" at the end. ``hide`` is a secret that no error may show.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        read: Callable[[], Awaitable[bytes]],
        watch: ProgressWatch,
        *,
        hide: str,
    ) -> None:
        self.headers = headers
        """The response's headers. Names are case-insensitive."""
        self._read = read
        self._hide = hide
        self._watch = watch
        self._coding = headers.get("Content-Encoding", "").replace(hide, "***")
        kind = headers.get("Content-Type", "").partition(";")[0]
        self.content_type = one_line(kind, hide=hide).lower()
        """The media type, without parameters; empty if there is none."""
        self.is_ndjson = self.content_type in LINES_TYPES
        """Whether the body is newline-delimited, by its Content-Type."""

    @property
    def has_next_link(self) -> bool:
        """Whether a ``Link`` header names a next page (RFC 8288)."""
        links = [value for name, value in self.headers.items() if name.lower() == "link"]
        return any("next" in rel.lower().split() for rel in _RELATION.findall(", ".join(links)))

    def hide_in(self, error: DecodeError) -> None:
        """Redact the secret in an error that quotes the body."""
        hide_in(error, self._hide)

    def check(self, *, ndjson: bool | None = None) -> None:
        """Raise TransportError for newline-delimited records if truncation could not be detected.

        Such a body does not mark its own end, so HTTP must (RFC 9112, section 6.3). ``ndjson``
        overrides what the Content-Type says.
        """
        is_chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        is_framed = is_chunked or "Content-Length" in self.headers
        if (self.is_ndjson if ndjson is None else ndjson) and not is_framed:
            raise TransportError(
                "newline-delimited records came without Content-Length or chunked framing, so a "
                "truncated response could not be detected"
            )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, decompressed; TransportError if it is cut or corrupt."""
        decompressor = open_decompressor(self._coding)
        started = time.monotonic()
        while data := await self._read():
            waited_seconds = time.monotonic() - started
            is_apart = decompressor.is_slow and len(data) >= _APART_BYTES
            pieces = decompressor.feed(data)
            taken = await _next(pieces, 1, is_apart=is_apart)
            is_blank = bool(taken) and taken[0].isspace()
            self._watch.arrived(len(data), waited_seconds, is_blank=is_blank)
            while taken:
                for piece in taken:
                    yield piece
                # One at first: a page that waits for others to end holds no more.
                taken = await _next(pieces, _MOST_PIECES, is_apart=is_apart)
            started = time.monotonic()
        decompressor.finish()


async def _next(pieces: Iterator[bytes], most: int, *, is_apart: bool) -> list[bytes]:
    """Return the next pieces, undone in a thread if ``is_apart``: the event loop does not wait."""
    if not is_apart:
        return list(islice(pieces, 1))
    return await asyncio.to_thread(lambda: list(islice(pieces, most)))
