"""Compressed bodies: bounded pieces, and every cut noticed."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterator
from contextlib import suppress

import brotli
import pytest
from backports import zstd
from isal import isal_zlib

from streamlic.errors import ApiError, TransportError
from streamlic.truto import content_encoding
from streamlic.truto.content_encoding import ACCEPT_ENCODING, PIECE_BYTES, open_decompressor

DATA = random.Random(3).randbytes(5000) * 400


def streamed(chunks: list[bytes]) -> bytes:
    stream = brotli.Compressor(quality=1)
    return b"".join([*(stream.process(chunk) for chunk in chunks), stream.finish()])


CODINGS = {
    "identity": ("", DATA),
    "gzip": ("gzip", gzip.compress(DATA)),
    "gzip members": ("x-gzip", gzip.compress(DATA[:70_000]) + gzip.compress(DATA[70_000:])),
    "deflate": ("deflate", zlib.compress(DATA)),
    "raw deflate": ("Deflate", zlib.compress(DATA, wbits=-15)),
    "zstd": ("zstd", zstd.compress(DATA)),
    "zstd frames": ("zstd", zstd.compress(DATA[:70_000]) + zstd.compress(DATA[70_000:])),
    "br": ("br", brotli.compress(DATA)),
    "br streamed": ("br", streamed([DATA[:900_000], DATA[900_000:]])),
}


@pytest.fixture(autouse=True, params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gzip and deflate with each of the libraries that undo them."""
    module = {"isal": isal_zlib, "zlib": zlib}[request.param]
    monkeypatch.setattr(content_encoding, "_zlib", module)


def pieces(coding: str, chunks: list[bytes]) -> Iterator[bytes]:
    decompressor = open_decompressor(coding)
    for chunk in chunks:
        yield from decompressor.feed(chunk)
    decompressor.finish()


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("chunk_bytes", [1, 1000, 65_536, 10_000_000])
def test_every_coding_is_undone_in_bounded_pieces(name: str, chunk_bytes: int) -> None:
    coding, body = CODINGS[name]
    if chunk_bytes == 1 and len(body) > 100_000:
        return
    chunks = [body[i : i + chunk_bytes] for i in range(0, len(body), chunk_bytes)]
    got = list(pieces(coding, chunks))
    assert b"".join(got) == DATA
    if name == "identity":
        assert got == chunks
    else:
        assert max(map(len, got)) <= PIECE_BYTES


@pytest.mark.parametrize("name", [name for name in CODINGS if name != "identity"])
def test_a_cut_body_is_noticed_wherever_it_is_cut(name: str) -> None:
    coding, body = CODINGS[name]
    start = DATA[:70_000]
    first_member = len(zstd.compress(start) if coding == "zstd" else gzip.compress(start))
    for cut in {1, 5, len(body) // 3, len(body) // 2, len(body) - 5, len(body) - 1}:
        assert cut != first_member
        with pytest.raises(TransportError):
            list(pieces(coding, [body[:cut]]))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_corrupt_bodies_are_transport_errors(coding: str) -> None:
    with pytest.raises(TransportError, match="corrupt"):
        list(pieces(coding, [b"\xff\xff this is not compressed"]))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_bomb_unpacks_piece_by_piece(coding: str) -> None:
    zeros = bytes(50_000_000)
    bomb = {
        "gzip": gzip.compress,
        "br": lambda data: brotli.compress(data, quality=3),
        "zstd": zstd.compress,
    }[coding](zeros)
    assert len(bomb) < 100_000
    total = 0
    for piece in pieces(coding, [bomb]):
        assert len(piece) <= PIECE_BYTES
        total += len(piece)
    assert total == len(zeros)


def test_a_coding_that_was_not_asked_for_is_refused() -> None:
    for coding in ("dcz", "compress", "gzip, br", "utf-8, dcb", "aes128gcm"):
        with pytest.raises(ApiError, match="not asked for") as caught:
            open_decompressor(coding)
        assert not caught.value.retryable, "it would come again"


@pytest.mark.parametrize(
    "coding", ["none", "UTF-8", "utf8", "binary", "8bit", "identity", "none, utf-8", "", " , "]
)
def test_what_encodes_nothing_is_a_plain_body(coding: str) -> None:
    assert b"".join(pieces(coding, [b'{"result":', b"[]}"])) == b'{"result":[]}'


def test_a_coding_may_be_listed_with_what_encodes_nothing() -> None:
    assert b"".join(pieces("utf-8, gzip", [gzip.compress(b"{}")])) == b"{}"


def test_an_empty_body_is_not_a_compressed_one() -> None:
    """Even nothing, compressed, takes some bytes: without them it was cut."""
    assert list(pieces("", [])) == []
    assert list(pieces("gzip", [gzip.compress(b"")])) == []
    assert list(pieces("zstd", [zstd.compress(b"")])) == []
    for coding in ("gzip", "deflate", "br", "zstd"):
        with pytest.raises(TransportError, match="cut"):
            list(pieces(coding, []))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "br", "zstd"])
@pytest.mark.parametrize("is_apart", [True, False])
def test_nothing_may_follow_a_compressed_body(coding: str, is_apart: bool) -> None:
    name, body = CODINGS[coding]
    chunks = [body, b"{}"] if is_apart else [body + b"{}"]
    with pytest.raises(TransportError, match=r"corrupt|after its end"):
        list(pieces(name, chunks))


def test_a_window_that_http_does_not_allow_is_refused() -> None:
    """RFC 9659: a body that asked for more would decide how much memory it takes."""
    stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 24})
    body = b"".join(stream.compress(DATA) for _ in range(9)) + stream.flush()
    with pytest.raises(TransportError, match="corrupt"):
        list(pieces("zstd", [body]))


def test_what_is_cheapest_to_undo_is_asked_for() -> None:
    assert ACCEPT_ENCODING == "zstd, gzip, deflate, br;q=0.5"


def test_whatever_is_wrong_with_a_body_is_a_transport_error() -> None:
    """Each library has errors of its own; none may leave the module."""
    rng = random.Random(5)
    for coding, body in CODINGS.values():
        if not coding:
            continue
        for _ in range(30):
            broken = bytearray(body[: rng.choice([50, 5_000, len(body)])])
            for _ in range(rng.randint(1, 3)):
                broken[rng.randrange(min(len(broken), 6_000))] = rng.randrange(256)
            with suppress(TransportError):
                for piece in pieces(coding, [bytes(broken)]):
                    assert len(piece) <= PIECE_BYTES
