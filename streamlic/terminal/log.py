"""The lines on standard error: text for people, JSON for machines.

Rules:
1. An event is one line. As JSON it is one object: ``event``, ``time`` (ISO 8601, UTC), ``level``,
   ``run`` and ``account`` where there is one, and fields.
2. An event that people do not need has no line of text.
3. Nothing else is written: Python's warnings and the log records of libraries are events too.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from streamlic.job.summary import Summary

FORMATS = ("text", "json")
_LEVELS = {"retry": "warning", "skipped": "warning", "warning": "warning", "error": "error"}


@dataclass
class Log:
    """Writes events. ``resume_command`` resumes what an error ended."""

    stream: TextIO | None = None
    is_json: bool = False
    resume_command: str | None = None
    run: str | None = None
    """The run's id, once there is one."""
    account: str | None = None
    """The account, where the command has one only."""
    has_pages: bool = False
    """Whether the run has pages, from this command or an earlier one."""

    def event(self, name: str, text: str | None = None, **fields: Any) -> None:
        """Write an event; None fields are left out."""
        if self.is_json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            fields = {"run": self.run, "account": self.account, **fields}
            known = {key: value for key, value in fields.items() if value is not None}
            level = _LEVELS.get(name, "info")
            text = json.dumps({"event": name, "time": now, "level": level, **known})
        if text is not None:
            # Looked up now: a live display replaces it while it is shown.
            print(text, file=self.stream or sys.stderr, flush=True)

    def warning(self, message: str) -> None:
        """Write a warning; the command continues."""
        self.event("warning", f"streamlic: warning: {message}", message=message)

    def take_over(self) -> None:
        """Write Python's warnings, and log records that no handler takes, as events."""

        def warn(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
            self.warning(f"{category.__name__}: {message}")

        def ignored(seen: sys.UnraisableHookArgs) -> None:
            if self.is_json:
                self.warning(f"ignored in {seen.object!r}: {_named(seen.exc_value)}")
            else:
                sys.__unraisablehook__(seen)

        def of_thread(seen: threading.ExceptHookArgs) -> None:
            if self.is_json:
                self.warning(f"raised in a thread: {_named(seen.exc_value)}")
            else:
                threading.__excepthook__(seen)

        warnings.showwarning = warn
        sys.unraisablehook = ignored
        threading.excepthook = of_thread
        logging.lastResort = _AsWarnings(self)

    def failure(self, kind: str, message: str, exit_code: int) -> None:
        """Say why the command ends, and how to resume if that is known."""
        self.event("error", f"streamlic: {message}", kind=kind, message=message,
                   exit_code=exit_code, resume_command=self.resume_command)  # fmt: skip
        if self.resume_command and not self.is_json:
            self.event("error", f"resume: {self.resume_command}")

    def summary(self, summary: Summary) -> None:
        """Write a job's summary to a JSON log, with the number of accounts only."""
        fields = asdict(summary)
        accounts = fields.pop("accounts")
        self.event("summary", **fields, accounts=len(accounts))


def _named(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


class _AsWarnings(logging.Handler):
    """Writes log records of libraries from ``WARNING`` up as warnings."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a warning."""
        error = record.exc_info[1] if record.exc_info else None
        reason = f" ({_named(error)})" if error else ""
        # Each text starts with our own name anyway.
        source = "" if record.name.partition(".")[0] == "streamlic" else f"{record.name}: "
        self._log.warning(f"{source}{record.getMessage()}{reason}")
