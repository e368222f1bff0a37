"""The kernel's lock on a file, which one writer holds and anybody may look at.

Rules:
1. A writer holds the lock exclusively, and it ends with the process, however that ends.
2. To look at it is to share it for an instant. No writer is refused for that: it tries again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

_HELD = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES})
_TRIES = 100
_INSTANT_SECONDS = 0.01


def take(descriptor: int) -> bool:
    """Take the lock; return false where another writer has it. Raises OSError without locks."""
    for _ in range(_TRIES):
        if _is_taken(descriptor, fcntl.LOCK_EX):
            return True
        if not _is_taken(descriptor, fcntl.LOCK_SH):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_INSTANT_SECONDS)
    return False


def give_back(descriptor: int) -> None:
    """End the lock and close its file: closing alone would not where a fork has it open, too."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Return whether a writer holds the lock, None where that cannot be looked at."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        return not _is_taken(descriptor, fcntl.LOCK_SH)
    except OSError:
        return None
    finally:
        give_back(descriptor)


def is_alive(process: int) -> bool:
    """Return whether another process of this number is on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # It is somebody else's.
    return process != os.getpid()


def _is_taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True
