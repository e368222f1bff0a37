"""Write the bodies of the decoder's own tests as seeds for the fuzz target: seeds.py DIRECTORY."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.decoder.test_contract import SHAPES, VERDICTS

NAMES = {
    b'"available_quantity"': b'"n"',
    b'"unit_amount"': b'"d"',
    b'"is_paid"': b'"b"',
    b'"created_at"': b'"t"',
    b'"updated_at"': b'"s"',
    b'"products"': b'"l"',
    b'"remote_data"': b'"j"',
}
HEADS = [bytes([kind, 0, 0, 0, chunk, 0]) for kind in (0, 1, 4, 8, 32, 96, 224) for chunk in (0, 6)]
# Stretches without any text: the strips that the target looks ahead for it by are 256 bytes.
STRETCHES = [
    b"[" + b"{}," * 120 + b'{"n":1}]',
    b'[{"l":[' + b"{}," * 120 + b'{"n":1}]},{"n":1},{"l":null}]',
    b'[{"id":"' + b"x" * 200 + b'"},' + b"{" + b" " * 150 + b"}," + b"{}," * 60 + b'{"n":1}]',
    b'[{"j":[' + b"{}," * 120 + b"1" * 300 + b']},{"id":"x"}]',
]


def main() -> None:
    """Write every body with every head: kinds of schema and options, then sizes of chunks."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    bodies = (
        [body for body, _, _, _ in VERDICTS] + [body for body, _ in SHAPES.values()] + STRETCHES
    )
    for number, body in enumerate(bodies):
        renamed = body
        for name, short in NAMES.items():
            renamed = renamed.replace(name, short)
        for kind, head in enumerate(HEADS):
            (directory / f"{number}-{kind}").write_bytes(head + renamed)


if __name__ == "__main__":
    main()
