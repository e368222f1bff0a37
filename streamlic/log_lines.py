"""What goes to standard error, line by line: for people as text, for machines as JSON.

Rules:
1. An event is one line. As JSON it is one object: ``event``, ``time`` (ISO 8601, UTC), and fields.
2. An event that is told in no words, or in none that a person needs, has no line of text.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from streamlic.summary import Summary

FORMATS = ("text", "json")


@dataclass
class Log:
    """Writes events. ``go_on`` is the command that goes on with what an error ends."""

    stream: TextIO | None = None
    is_json: bool = False
    go_on: str | None = None

    def event(self, name: str, text: str | None = None, **fields: Any) -> None:
        """Write an event; None fields are left out."""
        if self.is_json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            known = {key: value for key, value in fields.items() if value is not None}
            text = json.dumps({"event": name, "time": now, **known})
        if text is not None:
            # Looked up now: a live display puts itself in its place while it is there.
            print(text, file=self.stream or sys.stderr, flush=True)

    def warning(self, message: str) -> None:
        """Warn of something that stops nothing."""
        self.event("warning", f"streamlic: warning: {message}", message=message)

    def failure(self, kind: str, message: str, exit_code: int) -> None:
        """Tell why the command ends, and how to go on if that is known."""
        self.event("error", f"streamlic: {message}", kind=kind, message=message,
                   exit_code=exit_code, go_on=self.go_on)  # fmt: skip
        if self.go_on and not self.is_json:
            self.event("error", f"to go on: {self.go_on}")

    def summary(self, summary: Summary) -> None:
        """Tell machines what a job came to: of the accounts, how many, and which failed."""
        fields = asdict(summary)
        accounts = fields.pop("accounts")
        failed = [one for one in accounts if one["error"]]
        self.event("summary", **fields, accounts=len(accounts), accounts_failed=failed)
