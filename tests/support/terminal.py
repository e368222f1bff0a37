"""streamlic on a terminal: a real process at the other end of a pseudo-terminal of a set size."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from dataclasses import dataclass

from streamlic.__main__ import main
from tests.support.cli import TOKEN
from tests.support.forked import start_forked

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NOT_THEIRS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Shown:
    """How a process ended, and what came to the terminal."""

    code: int
    raw: str

    @property
    def lines(self) -> list[str]:
        """All that was ever written on a line, without control sequences."""
        return [_SEQUENCE.sub("", line) for line in re.split(r"[\r\n]+", self.raw)]

    @property
    def frames(self) -> list[list[str]]:
        """What the screen showed after each time that the display was written over."""
        pieces = re.split(r"(?:\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)+)", self.raw)
        return [[_SEQUENCE.sub("", line) for line in piece.split("\r\n")] for piece in pieces]

    @property
    def has_colours(self) -> bool:
        """Whether anything was coloured, or bold, or dim."""
        return _COLOUR.search(self.raw) is not None


async def show_cli(
    *args: str, columns: int = 80, narrowed_to: int | None = None, env: dict[str, str] | None = None
) -> Shown:
    """Run streamlic to its end on a terminal of so many columns; its token must be seen nowhere.

    ``narrowed_to`` is what it is resized to when something is shown.
    """
    ours, theirs = pty.openpty()
    _resize(ours, columns)
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
    process = await start_forked(
        main, args=args, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**kept, "TERM": "xterm-256color", "TRUTO_API_TOKEN": TOKEN, **(env or {})},
    )  # fmt: skip
    os.close(theirs)
    raw = await asyncio.to_thread(_all_of, ours, narrowed_to)
    os.close(ours)
    shown = Shown(await process.wait(), raw.decode())
    assert TOKEN not in shown.raw
    assert "Traceback" not in shown.raw, shown.raw
    return shown


def _resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))


def _all_of(terminal: int, narrowed_to: int | None) -> bytes:
    """Read until the process has ended."""
    read = bytearray()
    try:
        while chunk := os.read(terminal, 65_536):
            read += chunk
            if narrowed_to and b"waiting" in read:
                _resize(terminal, narrowed_to)
                narrowed_to = None
    except OSError:  # What Linux says when nobody is left at the other end.
        pass
    return bytes(read)
