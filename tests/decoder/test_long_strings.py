"""A long string costs the reference engine time in proportion to its length."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest

from streamlic.decoder import open_decoder
from streamlic.decoder.reference import engine as reference
from streamlic.decoder.reference import speculative_rows
from streamlic.errors import DecodeError
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.schema.columns import RAW_SCHEMA
from tests.support.oracle import outcome

LONG = 300_000


class Pieces(BytesIO):
    """What ijson reads from. Counts its work: what is unfinished is read again with each piece."""

    work = 0

    def readinto(self, buffer: Any, /) -> int:
        size = super().readinto(buffer)
        Pieces.work += self.tell() if size else 0
        return size


def work(escape: str, length: int, schema: pa.Schema, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many bytes ijson reads of a body with one string of so many bytes."""
    for module in (speculative_rows, reference):
        monkeypatch.setattr(module, "BytesIO", Pieces)
    Pieces.work = 0
    text = escape * (length // len(escape))
    body = f'{{"result":[{{"id":"a","description":"{text}"}}]}}'.encode()
    decoder = open_decoder(schema, engine="reference")
    assert sum(len(batch) for batch in [*decoder.feed(body), *decoder.close()]) == 1
    assert Pieces.work
    return Pieces.work


@pytest.mark.parametrize("schema", [LICENSE_SCHEMA, RAW_SCHEMA], ids=["licenses", "raw"])
@pytest.mark.parametrize("escape", ['\\"', "\\u00e9", "\\ud83d\\ude00", "\\\\", "x"])
def test_twice_as_long_a_string_is_twice_the_work(
    escape: str, schema: pa.Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, twice = (work(escape, length, schema, monkeypatch) for length in (LONG, 2 * LONG))
    assert twice < 2.2 * once + 1_000


@pytest.mark.parametrize(
    ("string", "offset"), [('\\"' * 50_000 + "\x01", 100_000), ("x" * 99_998 + "\\q", 99_999)]
)
def test_what_is_wrong_in_a_long_string_is_found(string: str, offset: int) -> None:
    """With the bytes of a whole record, and with its strings left out."""
    for schema in (LICENSE_SCHEMA, RAW_SCHEMA):
        whole: Any = outcome(f'[{{"id":"{string}"}}]'.encode(), schema=schema)
        assert whole[:3] == (DecodeError.__name__, 8 + offset, "[0].id")
