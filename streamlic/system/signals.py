"""The signals that end a process cleanly, and their handler during startup.

Imports nothing that takes time: in a container, the kernel shields process 1 from signals that it
has no handler for, and this module installs one.
"""

from __future__ import annotations

import os
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


def _end(number: int, _: object) -> None:
    text = "interrupted during startup"
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
