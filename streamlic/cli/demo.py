"""The demonstration: an emulated Truto, an export of it, and one real question answered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

from streamlic.errors import TransportError

DEMO_ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
DEMO_TOKEN = "demo-token"  # noqa: S105  (it opens the emulator only)


@dataclass(frozen=True)
class Waste:
    """Seats that are paid for and used by nobody, of all licenses of one name."""

    name: str
    licenses: int
    unused_seats: int


@contextmanager
def emulator_process(records: int) -> Iterator[str]:
    """Run the emulator in a process of its own; yield its URL."""
    command = [sys.executable, "-m", "streamlic", "--config", os.devnull, "emulate"]
    # Without the settings of the environment and of a file: they are for other emulators.
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIC_")}
    with subprocess.Popen(  # noqa: S603  (our own interpreter and our own module)
        [*command, "--records", str(records), "--token", DEMO_TOKEN],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise TransportError("the emulator did not start", retryable=False)
            yield url
        finally:
            process.terminate()


def wasted_seats(dest: str, most: int = 10) -> list[Waste]:
    """Answer which licenses waste the most paid seats, from the Parquet files alone."""
    columns = ["name", "available_quantity", "assigned_quantity"]
    paid = ds.dataset(Path(dest) / "licenses").to_table(columns=columns, filter=pc.field("is_paid"))
    unused = pc.subtract(paid["available_quantity"], paid["assigned_quantity"])
    # A license with more users than seats does not hide the waste of another.
    unused = pc.max_element_wise(unused, 0, skip_nulls=False)
    by_name = (
        paid.append_column("unused", unused)
        .group_by("name")
        .aggregate([("unused", "sum"), ("name", "count")])
        .drop_null()
        .sort_by([("unused_sum", "descending")])
        .slice(0, most)
    )
    return [Waste(row["name"], row["name_count"], row["unused_sum"]) for row in by_name.to_pylist()]
