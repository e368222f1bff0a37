"""Random faults and kills for as long as one likes, from a seed; every round must end exactly.

``python -m tests.soak --seconds 1800 --seed 7``. A round exports some accounts from an emulated
Truto that does everything wrong now and then, and kills the export now and then, until the time
comes to let it end: then every record is there once, with its function's values.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from streamlic.emulator import EmulatorConfig, parse_fault, running_emulator
from tests.support.cli import check_landed, files_of, run_cli, start_interpreter

FAULTS = [
    *("429=1", "429=date:1", "429=none", "vendor=429", "vendor=502", "status=500", "status=502"),
    *("status=503", "status=503:blocked", "status=504", "status=408", "status=401", "status=404"),
    *("redirect", "refuse=1", "reset", "reset=3000", "close=2000", "stall=0.3:1000", "drip=100"),
    *("length=10", "no-end", "cut-json=1500", "break-json=1500", "envelope=1500", "html"),
    *(
        "break-gzip=300",
        "bomb=8",
        "count=1",
        "repeat-cursor",
        "expired-cursor",
        "same-page",
        "html",
    ),
]
ATTEMPTS = 12
EXITS = (0, 1, 4, 5, 6, -signal.SIGKILL)
"""What an attempt may end with: well, by a fault, or killed."""


class Failed(Exception):
    """The promise does not hold; the message says how to see it again."""


async def soak(seconds: float, seed: int) -> None:
    """Run rounds until the time is over; print what was injected and survived."""
    injected: Counter[str] = Counter()
    ends: Counter[int] = Counter()
    started, number = time.monotonic(), 0
    while number == 0 or time.monotonic() - started < seconds:
        dest = Path(tempfile.mkdtemp(prefix="streamlic-soak-"))
        try:
            await one_round(dest / "out", random.Random(f"{seed}/{number}"), injected, ends)
        except (AssertionError, Failed, TimeoutError) as error:
            sys.exit(f"round {number} of seed {seed} failed, what landed is in {dest}: {error!r}")
        shutil.rmtree(dest)
        number += 1
    print(f"{number} rounds of seed {seed} in {time.monotonic() - started:.0f} s, all exact\n")
    print(f"{'fault':24}{'injected':>10}")
    for name, times in sorted(injected.items()):
        print(f"{name:24}{times:>10,}")
    print(f"{'kill':24}{ends[-signal.SIGKILL]:>10,}")
    print(
        "\nattempts ended with " + ", ".join(f"{code}: {n:,}" for code, n in sorted(ends.items()))
    )


async def one_round(
    dest: Path, rng: random.Random, injected: Counter[str], ends: Counter[int]
) -> None:
    """Export under fire, then in peace; AssertionError or Failed where anything is not exact."""
    records, seed = rng.randrange(50, 1500), rng.randrange(1000)
    accounts = tuple(
        f"{rng.getrandbits(32):08x}-0000-4000-8000-{i:012x}" for i in range(rng.choice([1, 1, 3]))
    )
    share = rng.choice([0.3, 1, 3])
    faults = tuple(parse_fault(f"{one}@{share}%") for one in FAULTS)
    asked = ["export", str(dest), "--rate-limit", "none", "--quiet", "--json"]
    asked += [word for account in accounts for word in ("--account", account)]
    asked += ["--engine", rng.choice(["fast", "reference"]), "--limit", str(rng.choice([20, 100]))]
    asked += ["--commit-seconds", rng.choice(["0", "0.05", "300"])]
    asked += ["--part-bytes", rng.choice(["16KiB", "128MiB"])]
    asked += ["--publish", rng.choice(["complete", "commits"])]
    config = EmulatorConfig(records=records, seed=seed)
    async with running_emulator(config, faults=faults) as emulator:
        seen = [0]
        reader = asyncio.create_task(_watch(dest, seen))
        for _ in range(ATTEMPTS):
            code = await _attempt([*asked, "--base-url", emulator.url], rng)
            ends[code] += 1
            if code not in EXITS:
                raise Failed(f"an attempt ended with {code}")
            if code == 0:
                break
        injected.update(emulator.faults.done)
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader
    if code != 0:
        async with running_emulator(config) as emulator:
            ended = await run_cli(*asked, "--base-url", emulator.url)
            ends[ended.code] += 1
            if ended.code != 0 and not _is_finished(ended.code, ended.err):
                raise Failed(f"in peace it ended with {ended.code}: {ended.err}")
    check_landed(dest, records, seed=seed, accounts=accounts)
    _check_files(dest)
    verified = await run_cli("verify", str(dest))
    if verified.code != 0:
        raise Failed(f"verify: {verified.err}")


async def _attempt(args: list[str], rng: random.Random) -> int:
    """Run an export, and maybe kill it; return what it ended with."""
    process = await start_interpreter(*args)
    killed_after = rng.uniform(0.4, 3) if rng.random() < 0.5 else 120.0
    try:
        _, err = await asyncio.wait_for(process.communicate(), killed_after)
    except TimeoutError:
        process.kill()
        _, err = await process.communicate()
    if b"Traceback" in err:
        raise Failed(err.decode())
    return 0 if _is_finished(process.returncode, err.decode()) else process.returncode or 0


def _is_finished(code: int | None, err: str) -> bool:
    """Return whether an attempt found all done by one that was killed before it could say so."""
    return code == 2 and "already holds" in err


async def _watch(dest: Path, seen: list[int]) -> None:
    """Look at the licenses as a reader would, all the while: rows come, and never go."""
    while True:
        await asyncio.sleep(0.1)
        names = [str(path) for path in dest.glob("licenses/*.parquet")]
        try:
            rows = ds.dataset(names).count_rows() if names else 0
        except (OSError, pa.ArrowException) as error:
            raise Failed(f"a reader failed: {error}") from error
        if rows < seen[-1]:
            raise Failed(f"a reader saw {seen[-1]} rows, and then {rows}")
        seen.append(rows)


def _check_files(dest: Path) -> None:
    stray = {
        name
        for name in files_of(dest)
        if not re.fullmatch(r"(licenses|accounts|runs)/part-[^/]*\.parquet", name)
        and not (name.startswith("_streamlic/") and name.endswith(".json"))
        and name != "_streamlic/lock"
    }
    if stray:
        raise Failed(f"files that nobody asked for: {sorted(stray)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    asyncio.run(soak(given.seconds, given.seed))
