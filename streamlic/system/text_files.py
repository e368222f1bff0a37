"""Decoding of text files, and recognition of files that are not text. Pure."""

from __future__ import annotations

import codecs

from streamlic.errors import UsageError

_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # Before UTF-16, whose mark it begins with.
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_NO_TEXT = (
    (b"PK\x03\x04", "this is an Excel workbook, or another zip archive: save it as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "this is an old Excel workbook: save it as CSV (UTF-8)"),
    (b"\x1f\x8b", "this is gzip: unpack it first"),
    (b"%PDF", "this is a PDF: save its table as CSV (UTF-8)"),
)


def decoded(data: bytes) -> str:
    """Return the text of a file: UTF-8, or the encoding of its byte-order mark.

    UsageError for other bytes: it names their format, or the place that is not text.
    """
    for magic, says in _NO_TEXT:
        if data.startswith(magic):
            raise UsageError(says)
    marked = (found for found in _ENCODINGS if data.startswith(found[0]))
    _, encoding, name = next(marked, (b"", "utf-8", "UTF-8"))
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"line {line} is not {name} (byte {error.start}): save the file as UTF-8"
        ) from error
    if "\0" in text:
        raise UsageError(
            "there are NUL characters, as in UTF-16 without a byte-order mark: "
            "save the file as UTF-8"
        )
    return text
