"""The process's entry, as ``streamlic`` and as ``python -m streamlic``."""

import gc

from streamlic.system.signals import end_at_once

_COLLECT_AFTER = (20_000, 20, 50)
"""Objects, and rounds, between collections of cycles: there are few cycles, and many objects.

Python's own numbers take a tenth of the CPU time of a start, and of small pages.
"""


def main() -> None:
    """Load the command line and run it; a signal meanwhile ends the process at once."""
    end_at_once()
    gc.set_threshold(*_COLLECT_AFTER)
    from streamlic.cli.commands import main as run  # noqa: PLC0415  (it is what takes the time)

    run()


if __name__ == "__main__":
    main()
