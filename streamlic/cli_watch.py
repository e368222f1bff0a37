"""What the command line tells of the command itself."""

from __future__ import annotations

import shlex
import sys


def command_again() -> str:
    """Return the command that goes on with what this one began."""
    # --restart would discard it.
    arguments = [text for text in sys.argv[1:] if text != "--restart"]
    return shlex.join(["streamlic", *arguments])
