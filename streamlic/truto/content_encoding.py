"""Decompresses bodies into pieces of bounded size, and detects a body that was cut.

Supports the codings of RFC 9110, section 8.4.1, br (RFC 7932), and zstd (RFC 8878). Most clients,
aiohttp included, accept a gzip stream that is cut inside complete HTTP framing; here it is an
error. A stream that is cut between two members or frames looks complete: only the JSON inside shows
it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

import brotli

from streamlic.errors import ApiError, Fault, TransportError

_zlib: Any = zlib
with suppress(ImportError):  # It takes half of zlib's time. There are platforms without it.
    from isal import isal_zlib as _zlib
_zstd: Any = None
with suppress(ImportError):
    if sys.version_info >= (3, 14):
        from compression import zstd as _zstd
    else:
        from backports import zstd as _zstd

ACCEPT_ENCODING = "zstd, gzip, deflate, br;q=0.5" if _zstd else "gzip, deflate, br;q=0.5"
"""Asks for what is cheapest to undo: brotli takes several times as long as the others."""
_PLAIN = frozenset(
    {"", "identity", "none", "plain", "text", "json", "chunked", "binary", "7bit", "8bit"}
    | {"ascii", "us-ascii", "utf8", "utf-8", "iso-8859-1", "latin1"}
)
_GZIP_START = 0x1F
_ZSTD_STARTS = (0x28, *range(0x50, 0x60))  # Of a frame, and of one that holds something else.
_ZSTD_WINDOW = 23  # 8 MiB, the largest window of this coding (RFC 9659).
_GZIP = 16 + zlib.MAX_WBITS  # zlib's code for gzip's header and trailer.
_NAMES = ACCEPT_ENCODING.partition(";")[0]
PIECE_BYTES = 256 * 1024
"""The maximum size of a piece: a small body that expands to gigabytes takes little memory."""


class Decompressor(Protocol):
    """Feed each chunk, take its pieces, then finish.

    Decompressors that are slow let other threads of Python run meanwhile.
    """

    is_slow: bool

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what was decompressed in pieces of at most PIECE_BYTES, other data as it came."""

    def finish(self) -> None:
        """End the body. Raises TransportError if the compressed stream has not ended."""


def open_decompressor(content_encoding: str) -> Decompressor:
    """Return the decompressor of a Content-Encoding; TransportError for one not requested.

    That error is not retryable: the server will send the same encoding again. Other names that some
    servers send here, such as those of character sets, mean no compression.
    """
    codings = [one.strip().lower() for one in content_encoding.split(",")]
    codings = [one for one in codings if one not in _PLAIN]
    coding = ", ".join(codings)
    if not coding:
        return _Identity()
    if coding in ("gzip", "x-gzip"):
        return _Zlib(_GZIP)
    if coding == "deflate":
        return _Zlib(None)
    if coding == "br":
        return _Brotli()
    if coding == "zstd" and _zstd:
        return _Zstd()
    raise ApiError(
        f"expected a body in one of {_NAMES}, got Content-Encoding {coding[:80]!r}, which "
        "was not asked for: does a proxy change it?",
        status=200,
        fault=Fault.UNKNOWN,
    )


class _Identity:
    is_slow = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        """Do nothing: HTTP itself detects a cut body."""


class _Zlib:
    """gzip, with one member or several, and deflate, with or without zlib's header."""

    is_slow = True

    def __init__(self, window_bits: int | None) -> None:
        self._window_bits = window_bits
        self._stream: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None or self._stream.eof:
                is_further = self._window_bits == _GZIP and data[0] == _GZIP_START
                if self._stream and not is_further:
                    raise TransportError("the compressed body has data after its end")
                if self._window_bits is None:  # RFC 1950's header; some servers leave it out.
                    has_header = data[0] & 0x0F == 8
                    self._window_bits = zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
                self._stream = _zlib.decompressobj(self._window_bits)
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except _zlib.error as error:
                raise TransportError(f"the compressed body is corrupt: {error}") from error
            if piece:
                yield piece
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def finish(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise TransportError("the compressed body was cut before its end")


class _Brotli:
    is_slow = True

    def __init__(self) -> None:
        self._stream: Any = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self._stream.is_finished():
            try:
                piece = self._stream.process(data, output_buffer_limit=PIECE_BYTES)
            except brotli.error as error:
                raise TransportError(f"the compressed body is corrupt: {error}") from error
            data = b""
            for start in range(0, len(piece), PIECE_BYTES):
                yield piece[start : start + PIECE_BYTES]
            if not piece and self._stream.can_accept_more_data():
                return  # At the output limit it can be true too early: output is left.
        if data:
            raise TransportError("the compressed body has data after its end")

    def finish(self) -> None:
        if not self._stream.is_finished():
            raise TransportError("the compressed body was cut before its end")


class _Zstd:
    """zstd, with one frame or several."""

    is_slow = True

    def __init__(self) -> None:
        self._stream: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None or self._stream.eof:
                if self._stream and data[0] not in _ZSTD_STARTS:
                    raise TransportError("the compressed body has data after its end")
                limit = {_zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
                self._stream = _zstd.ZstdDecompressor(options=limit)
            yield from self._of_frame(data)
            data = self._stream.unused_data

    def _of_frame(self, data: bytes) -> Iterator[bytes]:
        while not self._stream.eof:
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except _zstd.ZstdError as error:
                raise TransportError(f"the compressed body is corrupt: {error}") from error
            data = b""
            if piece:
                yield piece
            if self._stream.needs_input:
                return

    def finish(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise TransportError("the compressed body was cut before its end")
