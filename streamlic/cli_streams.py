"""Standard output and standard error as a command may find them.

Rules:
1. A stream that is closed is no reason not to work: what is written to it goes nowhere.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Make the process's streams such as the rules say."""
    if sys.stdout is None:
        sys.stdout = _nowhere(1)
    if sys.stderr is None:
        sys.stderr = _nowhere(2)


def _nowhere(number: int) -> TextIO:
    """Open a stream that leads nowhere, at the number of the one that is closed.

    Otherwise the next file would have that number, and what libraries write to it.
    """
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return open(number, "w", encoding="utf-8", errors="backslashreplace")
