"""How a process calls itself where others look: in locks, leases and the commit log."""

from __future__ import annotations

import os
import socket


def this_process() -> str:
    """Return the process and its host, such as ``process 42 on etl-7``."""
    return f"process {os.getpid()} on {socket.gethostname()}"
