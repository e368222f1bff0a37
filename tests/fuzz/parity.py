"""``python -m tests.fuzz.parity BODIES [SEED]``: engines give equal answers on generated bodies.

Each body is read whole and cut, by every engine and every set of instructions; what differs is
printed with its seed and ends the run with 1.
"""

from __future__ import annotations

import random
import sys

from tests.fuzz.bodies import Case, case
from tests.support.oracle import outcome


def difference(one: Case) -> str | None:
    """Return what differs, None if all answers are equal."""
    try:
        whole = outcome(one.body, schema=one.schema, **one.options)
        cut = outcome(one.body, one.cuts, schema=one.schema, **one.options)
    except AssertionError as error:
        return f"the engines differ: {error}"
    # By repr, because a NaN does not equal itself, and -0.0 equals 0.0.
    return None if repr(cut) == repr(whole) else f"the cut matters: {cut} and {whole}"


def main() -> None:
    """Compare as many bodies as asked for, from the seed on."""
    bodies = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    for number in range(seed, seed + bodies):
        one = case(random.Random(number))
        found = difference(one)
        if found:
            print(f"seed {number}: {found[:2000]}\n{one}")
            sys.exit(1)
    print(f"{bodies} bodies from seed {seed}: no difference")


if __name__ == "__main__":
    main()
