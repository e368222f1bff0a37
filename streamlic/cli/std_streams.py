"""Standard output and standard error, also where they are closed or full.

Rules:
1. A command works with closed streams: what it writes to them is discarded.
2. If standard output cannot be written, OutputFailed is raised, which cannot be confused with the
   error of another file. The rest of the output is discarded.
3. What standard error cannot take is dropped, and the command continues. Its exit code is the same
   as if everything had been written.
4. Characters that a stream's encoding lacks are written as escapes.
5. A stream that replaces the process's own is left unchanged.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputFailed(Exception):
    """Standard output cannot be written, for the operating system's ``reason``.

    Not an OSError: Click ends the process at once for one of a closed pipe.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"standard output cannot be written: {reason.strerror}")
        self.is_closed_pipe = isinstance(reason, BrokenPipeError)


def prepare_streams() -> None:
    """Make the process's streams follow the rules."""
    if sys.stdout is None:
        sys.stdout = _nowhere(1)
    else:
        sys.stdout = _through(_Output, sys.stdout)
    if sys.stderr is None:
        sys.stderr = _nowhere(2)
    else:
        sys.stderr = _through(_Errors, sys.stderr)


def give_up_output() -> None:
    """Discard the rest of standard output's buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(io.FileIO):
    """Standard output below its buffers, which pass on what it raises."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as much as possible at once; OutputFailed if nothing can be written."""
        try:
            written = super().write(data)
        except OSError as error:
            raise OutputFailed(error) from error
        if written is None:  # A non-blocking output that is full.
            raise OutputFailed(BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
        return written


class _Errors(io.FileIO):
    """Standard error below its buffers, which keep nothing that was not written."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as much as possible at once; drop the rest if nothing can be written."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def _through(kind: type[io.FileIO], stream: TextIO) -> TextIO:
    """Return the stream on top of ``kind``; unchanged if it is not the process's own."""
    if stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=_errors_of(stream),
        line_buffering=bool(stream.line_buffering),
    )


def _errors_of(stream: TextIO) -> str:
    """Return the handler for characters that cannot be encoded: one that never fails.

    UTF-8 with ``surrogateescape``, Python's choice in the C locale, keeps file names unchanged.
    """
    if stream.errors == "surrogateescape" and codecs.lookup(stream.encoding).name == "utf-8":
        return "surrogateescape"
    return "backslashreplace"


def _nowhere(number: int) -> TextIO:
    """Open a stream to nowhere with the descriptor of the closed one.

    Otherwise the next file would get that descriptor, and the output of libraries.
    """
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return open(number, "w", encoding="utf-8", errors="backslashreplace")
