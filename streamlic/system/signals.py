"""The signals that end a process cleanly, and what ends one that does not end.

Imports nothing that takes time: in a container, the kernel shields process 1 from signals that it
has no handler for, and this module installs one.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress

_LOG_FORMATS = (
    "STREAMLIC_LOG_FORMAT",
    "STREAMLIC_EXPORT_LOG_FORMAT",
    "STREAMLIC_CONVERT_LOG_FORMAT",
)


_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SAME_SIGNAL_SECONDS = 2.0
"""Signals this long after the first one belong to it: ``timeout`` and other parents send two."""
STILL_ENDING_SECONDS = 5.0
"""After so long a process says that it is still ending, and what helps."""


def heeded() -> list[signal.Signals]:
    """Return the signals that end the work: SIGTERM, and SIGINT and SIGHUP unless ignored.

    The parent process may ignore them: ``nohup`` ignores SIGHUP, and a non-interactive shell
    ignores SIGINT for ``command &``. None outside the main thread, where Python
    sets no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    others = (signal.SIGINT, signal.SIGHUP)
    kept = [one for one in others if signal.getsignal(one) is not signal.SIG_IGN]
    return [signal.SIGTERM, *kept]


def end_at_once() -> None:
    """From now on, a signal ends the process with one line and 128 plus its number.

    No work has started yet, and modules that are being loaded do not expect an exception.
    """
    for number in heeded():
        signal.signal(number, _end)


def end_at_second_signal() -> None:
    """From now on, a signal ends the process at once if another one came before it.

    A handler of Python runs in the main thread, and not while a library keeps that. So a thread
    reads which signals arrived. Without room for a thread, signals only have their handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    arrived, written = os.pipe()
    os.set_blocking(written, False)
    watch = threading.Thread(target=_watch, args=(arrived,), name="streamlic-signals", daemon=True)
    try:
        watch.start()
    except RuntimeError:  # The limit of processes.
        os.close(arrived)
        os.close(written)
        return
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)


def _watch(arrived: int) -> None:
    import logging  # noqa: PLC0415  (it takes time)

    first: float | None = None
    patience: float | None = None
    while True:
        if not select.select([arrived], [], [], patience)[0]:
            logging.getLogger("streamlic").warning(
                "still ending: what it waits for does not answer; another signal ends it at once"
            )
            patience = None
            continue
        numbers = [number for number in os.read(arrived, 64) if number in _ENDING]
        now = time.monotonic()
        if numbers and first is None:
            first, patience = now, STILL_ENDING_SECONDS
        elif numbers and first is not None and now - first >= SAME_SIGNAL_SECONDS:
            _exit(numbers[-1], "interrupted twice, and ended at once; what is committed is kept")


def _end(number: int, _: object) -> None:
    _exit(number, "interrupted during startup")


def _exit(number: int, text: str) -> None:
    line = f"streamlic: {text}"
    if _asks_for_json():
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        line = (
            f'{{"event": "error", "time": "{now}", "level": "error", "kind": "Interrupted", '
            f'"message": "{text}", "exit_code": {128 + number}}}'
        )
    with suppress(OSError):  # Standard error may be closed.
        os.write(2, f"{line}\n".encode())
    os._exit(128 + number)


def _asks_for_json() -> bool:
    """Whether the command line or a variable asks for JSON; no file has been read yet."""
    words = " ".join(sys.argv).replace("=", " ")
    variables = (os.environ.get(name) for name in _LOG_FORMATS)
    return "--log-format json" in words or "json" in variables
