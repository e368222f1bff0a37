"""Chunks of a body: its first ones, and small ones joined."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from streamlic.errors import TransportError

_FEED_BYTES = 256 * 1024


class BodyPrefix:
    """The first chunks of a body: all of them if it is small."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.is_whole = False
        self._error: TransportError | None = None

    async def read(self, arriving: AsyncGenerator[bytes, None], most_bytes: int) -> None:
        """Read chunks until the body ends, fails, or has more than ``most_bytes``."""
        size = 0
        try:
            while size <= most_bytes:
                chunk = await anext(arriving, None)
                if chunk is None:
                    self.is_whole = most_bytes > 0
                    break
                self.chunks.append(chunk)
                size += len(chunk)
        except TransportError as error:
            self._error = error

    async def then(self, arriving: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yield the chunks that were read, then raise the error of ``read``, or yield the rest."""
        chunks, self.chunks = self.chunks[::-1], []
        while chunks:  # None is referenced here once it is yielded.
            yield chunks.pop()
        if self._error:
            raise self._error
        async for chunk in arriving:
            yield chunk


def joined(chunks: list[bytes]) -> Iterator[bytes]:
    """Yield the chunks, small ones joined, because each call of the decoder has a cost."""
    gathered: list[bytes] = []
    gathered_bytes = 0
    for chunk in chunks:
        if gathered and gathered_bytes + len(chunk) > _FEED_BYTES:
            yield b"".join(gathered)
            gathered, gathered_bytes = [], 0
        gathered.append(chunk)
        gathered_bytes += len(chunk)
    if gathered:
        yield b"".join(gathered)
