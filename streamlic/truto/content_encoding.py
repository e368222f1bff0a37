"""Compressed bodies: pieces of bounded size come out, and a body that was cut is noticed.

Codings are those of RFC 9110, section 8.4.1, and br (RFC 7932). A cut gzip stream inside whole HTTP
framing ends cleanly for most clients, aiohttp among them; here it is an error. A stream of several
gzip members that was cut between two of them looks whole: only the JSON inside can tell.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import brotli

from streamlic.errors import ApiError, Fault, TransportError

ACCEPT_ENCODING = "gzip, deflate, br"
_PLAIN = frozenset(
    {"", "identity", "none", "plain", "text", "json", "chunked", "binary", "7bit", "8bit"}
    | {"ascii", "us-ascii", "utf8", "utf-8", "iso-8859-1", "latin1"}
)
_GZIP = 16 + zlib.MAX_WBITS  # What zlib takes for "with gzip's header and trailer".
PIECE_BYTES = 256 * 1024
"""The most that one piece holds, so that a small body that unpacks to gigabytes costs no memory."""


class Decompressor(Protocol):
    """Feed every chunk, take the pieces, then finish."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes unpack to, in pieces of at most PIECE_BYTES."""

    def finish(self) -> None:
        """Say that the body has ended; TransportError if the compressed stream has not."""


def open_decompressor(content_encoding: str) -> Decompressor:
    """Return what undoes a Content-Encoding; TransportError for one that was not asked for.

    That one is not retryable: what encodes so will do it again. Names of character sets and the
    like, which some servers send, encode nothing.
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
    raise ApiError(
        f"expected a body in one of {ACCEPT_ENCODING}, got Content-Encoding {coding[:80]!r}, which "
        "was not asked for: does a proxy change it?",
        status=200,
        fault=Fault.UNKNOWN,
    )


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    def finish(self) -> None:
        """Nothing can be missing that HTTP itself does not tell."""


class _Zlib:
    """gzip, of one member or several, and deflate, with zlib's wrapping or without."""

    def __init__(self, window_bits: int | None) -> None:
        self._window_bits = window_bits
        self._stream: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None or self._stream.eof:
                if self._stream and self._window_bits != _GZIP:
                    raise TransportError("the compressed body has data after its end")
                if self._window_bits is None:  # RFC 1950's header; some servers leave it out.
                    has_header = data[0] & 0x0F == 8
                    self._window_bits = zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
                self._stream = zlib.decompressobj(self._window_bits)
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise TransportError(f"the compressed body is corrupt: {error}") from error
            if piece:
                yield piece
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def finish(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise TransportError("the compressed body was cut before its end")


class _Brotli:
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
