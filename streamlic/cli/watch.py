"""The progress of a job on the command line: a live display, lines in a log, or nothing."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from streamlic.terminal.log import Log

if TYPE_CHECKING:
    from streamlic.cli.settings import OutputSettings
    from streamlic.job.progress import OnProgress, Progress

LOG_FORMAT = "--log-format"
_DUMB = ("", "dumb", "unknown")


def log_of_command() -> Log:
    """Return the log of the command that runs."""
    return click.get_current_context().ensure_object(Log)


def choose_format(context: click.Context, _: click.Parameter, value: str) -> str:
    """Apply --log-format, before anything is logged."""
    context.ensure_object(Log).is_json = value == "json"
    return value


def asks_for_json(context: click.Context | None, arguments: list[str]) -> bool:
    """Whether --log-format is json, although parsing ended before it was applied."""
    own = context.command.params if context else []
    option = next((one for one in own if LOG_FORMAT in one.opts), None)
    if context is None or option is None:
        return False
    last = [text for name, text in _named(arguments) if name == LOG_FORMAT][-1:]
    value, _ = option.consume_value(context, {option.name: last[0]} if last else {})
    return bool(value == "json")


def _named(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what may be an option, with its value."""
    for text, following in pairwise([*arguments, ""]):
        name, is_whole, value = text.partition("=")
        yield name, value if is_whole else following


def is_live() -> bool:
    """Whether standard error is a terminal that can redraw lines."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in _DUMB


@contextmanager
def watching(
    title: str,
    output: OutputSettings,
    memory_bytes: int,
    expected_pages: Callable[[], int | None] = lambda: None,
) -> Iterator[OnProgress | None]:
    """Yield the observer of a job's progress, None if nothing is shown.

    A live display calls ``expected_pages`` for an estimate of the time left.
    """
    log = log_of_command()
    if output.quiet:

        def note_run(progress: Progress) -> None:
            log.run = progress.run

        yield _noting_pages(log, note_run) if log.is_json else None
    elif is_live() and not log.is_json:
        from streamlic.terminal.display import LiveDisplay

        shown = LiveDisplay(
            title, memory_bytes, is_verbose=output.verbose, expected_pages=expected_pages()
        )
        with shown as display:
            yield _noting_pages(log, display)
    else:
        from streamlic.terminal.progress_log import ProgressLines

        yield _noting_pages(log, ProgressLines(log, is_verbose=output.verbose))


def _noting_pages(log: Log, observer: OnProgress) -> OnProgress:
    def observe(progress: Progress) -> None:
        log.has_pages |= bool(progress.pages or progress.resumed_rows)
        observer(progress)

    return observe


@contextmanager
def reading(what: str, total_bytes: Callable[[], int]) -> Iterator[Callable[[int], None] | None]:
    """Yield the observer of the bytes that were read, None if standard error is not a terminal."""
    if not is_live():
        yield None
        return
    from streamlic.terminal.display import bytes_bar

    with bytes_bar(what, total_bytes()) as take:
        yield take


def command_again() -> str:
    """Return the command that resumes what this one started."""
    # --restart would discard it, and --take-over is for a writer that was there.
    arguments = [text for text in sys.argv[1:] if text not in ("--restart", "--take-over")]
    return shlex.join(["streamlic", *arguments])
