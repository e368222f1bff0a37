"""A command run to its end: signals, the summary shown, errors, exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from streamlic.cli.std_streams import OutputFailed, give_up_output, prepare_streams
from streamlic.cli.watch import asks_for_json, log_of_command
from streamlic.errors import RETRY_CAN_HELP, IntegrityError, StoreError, StreamlicError, UsageError
from streamlic.formatting import counted, memory_text, option_of
from streamlic.system.machine import (
    USUAL_MEMORY_BYTES,
    limits_named,
    memory_limit,
    open_files_limit,
    room_for_connections,
)
from streamlic.system.signals import end_at_second_signal, heeded
from streamlic.terminal.log import Log

if TYPE_CHECKING:
    from streamlic.cli.settings import OutputSettings
    from streamlic.job.summary import Summary

T = TypeVar("T")

COMPLETE_VARIABLE = "_STREAMLIC_COMPLETE"
"""What the script of ``streamlic completion`` asks with."""
EXIT_PARTIAL = 3
_RESUMABLE = "interrupted; what is committed is kept: run the same command again to resume"


class Interrupted(SystemExit):
    """A signal ended the command; ``says`` is the message.

    Event loops let only SystemExit and KeyboardInterrupt pass, and Click prints a message of its
    own for the latter.
    """

    def __init__(self, number: int, says: str) -> None:
        super().__init__(128 + number)
        self.number = number
        self._says = says

    def __str__(self) -> str:
        return self._says


def run(job: Coroutine[Any, Any, T], *, says: str = _RESUMABLE, is_all: bool = True) -> T:
    """Run a job to its end. The first signal cancels it; ``end_at_second_signal`` sees to others.

    A cancelled job still commits its complete pages, which does not take long unless the store is
    silent. With ``is_all``, a signal that comes too late to cancel the job has no effect.
    """
    import asyncio

    caught: list[int] = []
    cancel: list[Callable[[], object]] = []

    def stop(number: int, _: object) -> None:
        if not caught:
            caught.append(number)
            for one in cancel:
                one()

    async def until_signal() -> T:
        task = asyncio.ensure_future(job)
        loop = asyncio.get_running_loop()
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        if caught:  # Before there was a task.
            task.cancel()
        return await task

    # Not the loop's own handlers: those end with the loop, before the process does.
    before = {number: signal.signal(number, stop) for number in heeded()}
    main = until_signal()
    try:
        with limits_named():
            result = asyncio.run(main)
    except asyncio.CancelledError:
        raise Interrupted(caught[0] if caught else signal.SIGINT, says) from None
    finally:
        for coroutine in (main, job):  # Without a loop neither has started.
            coroutine.close()
        for number, handler in before.items():
            signal.signal(number, _pass if caught else handler)
    if caught and not is_all:
        raise Interrupted(caught[0], says)
    return result


def _interrupt(number: int, _: object) -> NoReturn:
    """End a command that runs no job; once, so that it can clean up."""
    for one in heeded():
        signal.signal(one, _pass)
    raise Interrupted(number, "interrupted")


def _pass(_: int, __: object) -> None:
    """Do nothing: the process is ending. Were the signal ignored, nothing would count it."""


def warn_of_memory(memory_bytes: int, *, quiet: bool) -> None:
    """Warn if the aim exceeds the container's memory; log an aim that follows its limit."""
    limit = memory_limit()
    source = click.get_current_context().get_parameter_source("memory_bytes")
    is_derived = source is ParameterSource.DEFAULT and memory_bytes < USUAL_MEMORY_BYTES
    aim, allowed = memory_text(memory_bytes), f"{memory_text(limit.bytes)} ({limit.origin})"
    if memory_bytes > limit.bytes:
        whose = "the container" if limit.is_containers else "the machine"
        log_of_command().warning(
            f"--memory {aim} is more than {whose} has, {allowed}: the system may kill this "
            f"process; give a smaller --memory, or {whose} more"
        )
    elif is_derived and not quiet:
        log_of_command().event(
            "memory",
            f"--memory is {aim}, because the container has {allowed}",
            memory_bytes=memory_bytes,
            limit_bytes=limit.bytes,
            limit=limit.origin,
        )


def warn_of_open_files(pages: int) -> None:
    """Warn if fewer files may be open than this many concurrent pages need."""
    room = room_for_connections(pages)
    if room < pages:
        log_of_command().warning(
            f"at most {counted(room, 'page')} at once instead of {pages:,}, because this process "
            f"may open {open_files_limit():,} files (ulimit -n)"
        )


def finish(summary: Summary, dest: str, output: OutputSettings) -> None:
    """Show the summary of a finished job; exit with 3 if its source was partial."""
    show(summary, dest, output)
    if summary.partial_response:
        sys.exit(EXIT_PARTIAL)


def show(
    summary: Summary, dest: str, output: OutputSettings, resume_command: str | None = None
) -> None:
    """Write a job's summary to standard output, and to a JSON log."""
    import json
    from dataclasses import asdict

    from streamlic.reports.text import summary_text

    if not output.quiet:
        log_of_command().summary(summary)
    as_text = summary_text(summary, dest, resume_command)
    click.echo(json.dumps(asdict(summary)) if output.as_json else as_text)


def _can_be_resumed(error: StreamlicError, log: Log) -> bool:
    """Return whether the same command resumes what an error ended."""
    if error.exit_code == RETRY_CAN_HELP:
        return log.has_pages or not isinstance(error, StoreError)
    # The same command would fail in the same way, until somebody acts: then it resumes its pages.
    return log.has_pages and not isinstance(error, UsageError | IntegrityError)


def run_command_line(cli: click.Group) -> NoReturn:
    """Run the command line; end the process with one of the documented exit codes."""
    prepare_streams()
    log = Log()
    log.take_over()
    for number in heeded():
        signal.signal(number, _interrupt)
    end_at_second_signal()
    try:
        with limits_named():
            code = cli.main(
                prog_name="streamlic",
                complete_var=COMPLETE_VARIABLE,
                standalone_mode=False,
                obj=log,
            )
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        log.is_json = log.is_json or asks_for_json(context, sys.argv[1:])
        if log.is_json:
            log.failure("UsageError", error.format_message(), 2)
        else:
            error.show()
        code = 2
    except StreamlicError as error:
        sys.stdout.flush()
        if not _can_be_resumed(error, log):
            log.resume_command = None
        log.failure(type(error).__name__, error.with_advice(option_of), error.exit_code)
        code = error.exit_code
    except Interrupted as interrupted:
        code = 128 + interrupted.number
        log.failure("Interrupted", str(interrupted), code)
    except OutputFailed as failed:
        give_up_output()
        if not failed.is_closed_pipe:  # Its reader has closed it, and expects no message.
            log.failure("OutputFailed", str(failed), 1)
        code = 1
    except Exception as error:
        if not log.is_json:
            raise
        import traceback

        log.event("error", kind=type(error).__name__, message=str(error), exit_code=1,
                  traceback=traceback.format_exc())  # fmt: skip
        code = 1
    for number in heeded():  # Python's own shutdown must not be interrupted by an exception.
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_DFL)
    sys.exit(code if isinstance(code, int) else 0)
