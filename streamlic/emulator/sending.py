"""Sends a planned answer, and carries out its fault on the wire."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import brotli
from aiohttp import web

from streamlic.emulator.planned import Answer, Wire

_WRITE_BYTES = 256 * 1024
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: RST instead of FIN.
_NO_FAULT = Wire("")


async def send(
    request: web.Request, planned: Answer, more_headers: dict[str, str], *, compress: bool
) -> web.StreamResponse:
    """Send one answer; return the response that aiohttp expects."""
    response = web.StreamResponse(
        status=planned.status, headers={**planned.headers, **more_headers}
    )
    wire = planned.wire or _NO_FAULT
    is_encoded = "Content-Encoding" in planned.headers
    accepted = request.headers.get("Accept-Encoding", "") if compress and not is_encoded else ""
    pieces = gathered(planned.pieces())
    if coding := _coding(accepted):
        response.headers["Content-Encoding"] = coding
        pieces = gathered(_encoded(pieces, coding))
        response.enable_chunked_encoding()
    elif (planned.has_length or wire.fault == "length") and wire.fault != "no-end":
        response.content_length = sum(len(piece) for piece in planned.pieces())
        response.content_length += wire.at if wire.fault == "length" else 0
    else:
        response.enable_chunked_encoding()
    with suppress(ConnectionError):  # The client went away.
        await response.prepare(request)
        await _write(response, pieces, wire)
        if wire.fault in ("reset", "close", "length", "no-end"):
            cut_off(request, is_reset=wire.fault == "reset")
        else:
            await response.write_eof()
    return response


def cut_off(request: web.Request, *, is_reset: bool) -> None:
    """Close the connection at once, by FIN or by RST."""
    transport = request.transport
    if transport is None:
        return
    if is_reset:
        connected: socket.socket = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        transport.abort()
    else:
        transport.close()


async def _write(response: web.StreamResponse, pieces: Iterator[bytes], wire: Wire) -> None:
    left = wire.at
    is_due = wire.fault in ("reset", "close", "stall", "drip")
    for piece in pieces:
        if not is_due:
            await response.write(piece)
            continue
        before, after = piece[:left], piece[left:]
        left -= len(before)
        if wire.fault == "drip":
            for at in range(len(before)):
                await response.write(before[at : at + 1])
                await asyncio.sleep(0)
        elif before:
            await response.write(before)
        if left:
            continue
        is_due = False
        if wire.fault in ("reset", "close"):
            await asyncio.sleep(0.05)  # Let the written bytes leave first.
            return
        await asyncio.sleep(wire.seconds)
        if after:
            await response.write(after)


def _coding(accepted: str) -> str | None:
    names = {name.partition(";")[0].strip() for name in accepted.split(",")}
    return next((name for name in ("br", "gzip", "deflate") if name in names), None)


def _encoded(pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    if coding == "br":
        brotli_stream: Any = brotli.Compressor(quality=1)
        yield from (brotli_stream.process(piece) for piece in pieces)
        yield brotli_stream.finish()
    else:
        stream = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
        yield from (stream.compress(piece) for piece in pieces)
        yield stream.flush()


def gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces, so that there are fewer system calls."""
    held: list[bytes] = []
    held_bytes = 0
    for piece in pieces:
        held.append(piece)
        held_bytes += len(piece)
        if held_bytes >= _WRITE_BYTES:
            yield b"".join(held)
            held, held_bytes = [], 0
    if held_bytes:
        yield b"".join(held)
