"""The process's entry, as ``streamlic`` and as ``python -m streamlic``."""

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Load the command line and run it; an interrupt meanwhile ends the process with 130."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:  # Who started us may have it ignored.
        # At once: nothing is under way yet, and modules do not expect to be interrupted.
        signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    from streamlic.cli import main as run  # noqa: PLC0415  (it is what takes the time)

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
