"""``python -m streamlic`` is the same as ``streamlic``."""

from streamlic.cli import main

if __name__ == "__main__":
    main()
