"""Whether the scratch directory can be written and has room for the part files of a run."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from streamlic.diagnostics.check import Check, failed
from streamlic.errors import StoreError
from streamlic.formatting import memory_text
from streamlic.job.options import JobOptions
from streamlic.storage.scratch import scratch_place

_MANY_ACCOUNTS = 10_000
_IN_MEMORY = ("tmpfs", "ramfs")
_MOUNTS = Path("/proc/mounts")


def check_scratch(options: JobOptions) -> Check:
    """Check the directory in which part files wait for their upload."""
    needed = options.scratch_bytes(_MANY_ACCOUNTS)
    try:
        place = scratch_place(options.scratch)
    except StoreError as error:
        facts: dict[str, Any] = {"scratch": None, "needed_bytes": needed, "free_bytes": None}
        return failed("scratch", error, None, facts)
    facts = {"scratch": str(place), "needed_bytes": needed, "free_bytes": None}
    try:
        # A run creates the directory, and a check creates nothing that stays.
        there = next(one for one in (place, *place.absolute().parents) if one.exists())
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"streamlic doctor\n")
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(name="scratch", state="failed", facts=facts, exit_code=1,
                     found=f"{place}: {error.strerror}",
                     advice="choose a directory that can be written as --scratch")  # fmt: skip
    facts |= {"free_bytes": free, "file_system": _file_system_of(there)}
    found = f"{place} has {memory_text(free)} free, and a run needs up to {memory_text(needed)}"
    if facts["file_system"] in _IN_MEMORY:
        return Check(name="scratch", state="warning", facts=facts,
                     found=f"{found}; it is in memory ({facts['file_system']})",
                     advice="choose a directory on a disk as --scratch: what is in this one counts "
                     "as the container's memory")  # fmt: skip
    if free < needed:
        return Check(name="scratch", state="warning", found=found, facts=facts,
                     advice="choose a directory with more room as --scratch, or a smaller "
                     "--part-bytes")  # fmt: skip
    return Check(name="scratch", state="ok", found=found, facts=facts)


def _file_system_of(place: Path) -> str | None:
    """Return the kind of file system that a directory is in, None where that cannot be seen."""
    try:
        lines = _MOUNTS.read_text().splitlines()
        path = place.resolve()
    except OSError:
        return None
    mounted = [line.split() for line in lines]
    around = [
        (Path(one[1].replace("\\040", " ")), one[2])
        for one in mounted
        if path.is_relative_to(one[1].replace("\\040", " "))
    ]
    return max(around, key=lambda one: len(one[0].parts), default=(place, None))[1]
