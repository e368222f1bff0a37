"""The Python face of the compiled engine."""

from typing import Final

import pyarrow as pa

from streamlic.decoder.envelope import Envelope
from streamlic.decoder.messages.error_codes import ErrorCode
from streamlic.decoder.options import DecoderOptions

ERROR_CODES: Final[tuple[ErrorCode | None, ...]]
"""The core's error codes in its order."""
SIMD: Final[tuple[str, ...]]
"""The instruction sets. One that this build or processor lacks gives way to the best it has."""

def best() -> str:
    """Return the best instruction set that this build and this processor have."""

class FastDecoder:
    """Decode one body into record batches of ``schema``.

    Feed every chunk, then close once. After a DecodeError the decoder is spent, and so is its
    page: none of its batches may be committed. ``simd`` names other instructions than the best.
    """

    def __init__(
        self, schema: pa.Schema, options: DecoderOptions, *, simd: str | None = None
    ) -> None: ...
    @property
    def engine(self) -> str: ...
    @property
    def envelope(self) -> Envelope: ...
    @property
    def held_bytes(self) -> int: ...
    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        """Take the next bytes; return the batches they filled, often none."""

    def close(self) -> list[pa.RecordBatch]:
        """Say that the body has ended; return what was left. Raises TruncatedBody if it is cut."""
