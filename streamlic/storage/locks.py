"""The kernel's lock on a file: one writer holds it, and any process may look at it.

Rules:
1. A writer holds the lock exclusively. It ends with the process, however that ends.
2. Looking at the lock shares it for an instant. That does not refuse a writer: it tries again.
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
    """Take the lock; return False if another writer has it. OSError if there are no locks."""
    for _ in range(_TRIES):
        if _is_taken(descriptor, fcntl.LOCK_EX):
            return True
        if not _is_taken(descriptor, fcntl.LOCK_SH):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_INSTANT_SECONDS)
    return False


def give_back(descriptor: int) -> None:
    """End the lock and close its file. Closing is not enough if a fork has it open, too."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Return whether a writer holds the lock, None if that cannot be seen."""
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
    """Return whether another process with this number runs on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # It belongs to another user.
    return process != os.getpid()


def _is_taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True
