"""A change of very many part files takes little memory: some kilobytes for each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamlic.dataset.lake import LICENSES
from streamlic.storage.local import LocalStore
from tests.support.delta import NIGHTS, Lake

FILES = 2_000
SHOW = """
import sys
from streamlic.dataset.records import PartFile
from streamlic.storage.local import LocalStore
from tests.support.delta import LICENSES, NIGHTS, Lake

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) >> 10

lake = Lake(LocalStore(sys.argv[1]))
[first, *_] = lake.night(NIGHTS[0])
lake.show(1, [first])
few = peak()
names = [lake.part(NIGHTS[1], number + 1) for number in range(int(sys.argv[2]))]
lake.show(2, [PartFile(name, first.rows, first.bytes, "") for name in names], hidden=[first.name])
print(few, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
def test_two_thousand_part_files_are_shown_in_little_memory(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path))
    [first, *_] = lake.night(NIGHTS[0])
    for number in range(FILES):
        os.link(lake.path(first.name), lake.path(lake.part(NIGHTS[1], number + 1)))
    args = [sys.executable, "-c", SHOW, str(tmp_path), str(FILES)]
    done = subprocess.run(args, capture_output=True, text=True, check=True, cwd=Path.cwd())
    few, many = map(int, done.stdout.split())
    print(f"one file: {few} MiB, {FILES} files: {many} MiB")
    assert many - few < 80
    visible = lake.format.visible(LICENSES)
    assert visible is not None
    assert len(visible) == FILES
