"""Bytes in, record batches out: ``open_decoder`` picks an engine."""

from streamlic.decoder.engines import (
    ENGINES,
    NO_FAST,
    Decoder,
    engine_named,
    open_decoder,
    why_not_fast,
)
from streamlic.decoder.envelope import Envelope
from streamlic.decoder.options import DecoderOptions

__all__ = [
    "ENGINES",
    "NO_FAST",
    "Decoder",
    "DecoderOptions",
    "Envelope",
    "engine_named",
    "open_decoder",
    "why_not_fast",
]
