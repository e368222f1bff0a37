"""Standard output and standard error as a command may find them.

Rules:
1. A stream that is closed is no reason not to work: what is written to it goes nowhere.
2. Standard output that cannot be written is OutputFailed, so that no other file's error, and none
   of ours, passes for it. What is left of the output is given up.
3. What standard error does not take is dropped, and the command does its work. Its exit code is
   what it would be if all had been told.
4. What a stream's encoding has no characters for is written as escapes.
5. A stream that somebody has put in the place of the process's own is left as it is.
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

    It is no OSError: Click would end the process at once where one is a pipe that is closed.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"standard output cannot be written: {reason.strerror}")
        self.is_closed_pipe = isinstance(reason, BrokenPipeError)


def prepare_streams() -> None:
    """Make the process's streams such as the rules say."""
    if sys.stdout is None:
        sys.stdout = _nowhere(1)
    else:
        sys.stdout = _through(_Output, sys.stdout)
    if sys.stderr is None:
        sys.stderr = _nowhere(2)
    else:
        sys.stderr = _through(_Errors, sys.stderr)


def give_up_output() -> None:
    """Let what is left in standard output's buffer go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(io.FileIO):
    """Standard output below its buffers, which let pass whatever is raised here."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written at once; OutputFailed if nothing can."""
        try:
            written = super().write(data)
        except OSError as error:
            raise OutputFailed(error) from error
        if written is None:  # Of an output that does not block: it is full.
            raise OutputFailed(BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
        return written


class _Errors(io.FileIO):
    """Standard error below its buffers, in which nothing stays that was not written."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written at once; if nothing can, it is gone."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def _through(kind: type[io.FileIO], stream: TextIO) -> TextIO:
    """Return the same stream, written as its kind is; as it is if it is not the process's own."""
    if stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=_errors_of(stream),
        line_buffering=bool(stream.line_buffering),
    )


def _errors_of(stream: TextIO) -> str:
    """Return what to do with characters that cannot be encoded: never to fail.

    UTF-8 with ``surrogateescape``, as Python has it in the C locale, gives file names as they are.
    """
    if stream.errors == "surrogateescape" and codecs.lookup(stream.encoding).name == "utf-8":
        return "surrogateescape"
    return "backslashreplace"


def _nowhere(number: int) -> TextIO:
    """Open a stream that leads nowhere, at the number of the one that is closed.

    Otherwise the next file would have that number, and what libraries write to it.
    """
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return open(number, "w", encoding="utf-8", errors="backslashreplace")
