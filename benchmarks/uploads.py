"""The way into an object store: a server of the tests on this machine, which takes its share."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.emulated import emulator
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan

_PART_BYTES = 128_000_000


def groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return uploads of part files next to obstore's own, and exports to a store and to a disk."""
    # With the tests' packages only, and `make test-cloud` installs SeaweedFS.
    from tests.support.object_servers import CannotStart, MotoServer, ObjectServer, SeaweedServer

    server: ObjectServer
    try:
        server = stack.enter_context(SeaweedServer())
    except CannotStart:
        server = stack.enter_context(MotoServer())
    size = _PART_BYTES if not plan.is_quick else _PART_BYTES // 16
    given = {
        "environment": server.environment,
        "dest": server.dest("bench"),
        "work": str(directory),
        "bytes": size,
    }
    body = plan.whole_bytes[-1]
    truto = stack.enter_context(emulator([body]))
    asked = truto.asked(body, environment=server.environment)
    return [
        Group(part="uploads", name="upload", about=f"files of {size / 1e6:.0f} MB, {server.name}",
              cases=[
                  Case(name="obstore's put", do="uploads.put", given=given),
                  Case(name="streamlic, staged file", do="uploads.stage", given=given),
              ],
              base="obstore's put", rounds=plan.rounds),
        Group(part="uploads", name="export", about=f"{asked['bytes'] / 1e6:.0f} MB of JSON",
              cases=[
                  Case(name="to a disk", do="uploads.export", is_fresh=True,
                       given={**asked, "dest": str(directory)}),
                  Case(name=f"to {server.name}", do="uploads.export", is_fresh=True,
                       given={**asked, "dest": server.dest("bench")}),
              ],
              base="to a disk", rounds=plan.rounds),
    ]  # fmt: skip
