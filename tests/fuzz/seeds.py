"""Write the bodies of the decoder's own tests as seeds for the fuzz target: seeds.py DIRECTORY."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.test_decoder import SHAPES, VERDICTS

NAMES = {
    b'"available_quantity"': b'"n"',
    b'"unit_amount"': b'"d"',
    b'"is_paid"': b'"b"',
    b'"created_at"': b'"t"',
    b'"updated_at"': b'"s"',
    b'"products"': b'"l"',
    b'"remote_data"': b'"j"',
}
HEADS = [bytes([kind, 0, 0, 0, chunk, 0]) for kind in (0, 1, 4, 8) for chunk in (0, 6)]


def main() -> None:
    """Write every body with every head: kinds of schema and options, then sizes of chunks."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    bodies = [body for body, _, _, _ in VERDICTS] + [body for body, _ in SHAPES.values()]
    for number, body in enumerate(bodies):
        renamed = body
        for name, short in NAMES.items():
            renamed = renamed.replace(name, short)
        for kind, head in enumerate(HEADS):
            (directory / f"{number}-{kind}").write_bytes(head + renamed)


if __name__ == "__main__":
    main()
