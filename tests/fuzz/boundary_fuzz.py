"""The fuzz target of the Python boundary (atheris): any bytes, any options, any order of calls.

A result, DecodeError or UsageError, nothing else; and the reference engine says the same.
"""

from __future__ import annotations

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["streamlic"]):  # The reference engine leads the way.
    from streamlic.decoder import DecoderOptions
    from streamlic.decoder._fast import SIMD, FastDecoder
    from streamlic.errors import DecodeError, UsageError
    from tests.fuzz.bodies import SCHEMAS
    from tests.support.oracle import outcome


def one_input(data: bytes) -> None:
    """Read options and calls from ``data``; the rest is the body."""
    given = atheris.FuzzedDataProvider(data)
    options: dict[str, Any] = {
        "ndjson": given.ConsumeBool(),
        "strict": given.ConsumeBool(),
        "key_by": given.PickValueInList([None, "id", "n"]),
        "rows_at": given.PickValueInList(["result", "a.b", "x"]),
        "batch_rows": given.ConsumeIntInRange(1, 20),
        "batch_bytes": given.ConsumeIntInRange(1, 2000),
        "max_record_bytes": given.ConsumeIntInRange(2, 2000),
        "max_depth": given.ConsumeIntInRange(1, 20),
    }
    schema = given.PickValueInList(list(SCHEMAS))
    decoder = FastDecoder(
        schema, DecoderOptions(**options), simd=given.PickValueInList([None, *SIMD])
    )
    cuts = given.ConsumeIntList(given.ConsumeIntInRange(0, 6), 2)
    body = given.ConsumeBytes(given.remaining_bytes())
    outcome(body, sorted(cut % (len(body) + 1) for cut in cuts), schema=schema, **options)
    for call in cuts:  # Any calls in any order, those that are not allowed among them.
        try:
            batches = decoder.close() if call % 5 == 0 else decoder.feed(body[call % 97 :])
            for batch in batches:
                batch.validate(full=True)
            assert decoder.envelope.rows >= 0
        except (DecodeError, UsageError):
            pass


def main() -> None:
    """Fuzz as libFuzzer's options in the arguments say."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
