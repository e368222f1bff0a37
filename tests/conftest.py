"""What holds for all tests, whatever started them.

Their files are in memory where the system has room for that: no test waits for a disk's fsync.

The words of every error that streamlic makes are checked: ``tests/support/error_words.py``.

Compiled modules are kept, though not next to the sources where that is not wanted: else each of the
processes that tests start compiles streamlic and pyarrow again.

They speak to servers on this machine, and to no proxy before them. No signal is ignored: what a
``nohup`` or a shell's ``&`` had ignored, the processes that tests start would ignore too.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.error_words import checked_errors

_MEMORY = Path("/dev/shm")  # noqa: S108  (pytest makes a directory of its own there)
_ROOM_BYTES = 2 << 30

if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / "build" / "pycache")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

for _name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.upper(), None)

for _number, _handler in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Fail a test in which an error named an option or an argument in its message."""
    with checked_errors() as wrong:
        yield
    assert not wrong, "\n".join(wrong)
