"""The process's entry, as ``streamlic`` and as ``python -m streamlic``."""

from streamlic.system.signals import end_at_once


def main() -> None:
    """Load the command line and run it; a signal meanwhile ends the process at once."""
    end_at_once()
    from streamlic.cli.commands import main as run  # noqa: PLC0415  (it is what takes the time)

    run()


if __name__ == "__main__":
    main()
