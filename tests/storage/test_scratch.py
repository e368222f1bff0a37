"""The directory for files on their way to an object store: no process leaves one for ever."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamlic.errors import StoreError
from streamlic.storage.scratch import Scratch, explained
from tests.support.bucket import opened

USER = """
import sys
from streamlic.storage.scratch import Scratch
scratch = Scratch(sys.argv[1])
path = scratch.path("staging/part")
path.write_bytes(b"rows")
print(path, flush=True)
sys.stdin.read()
"""


def user(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that uses scratch, and return the file that it wrote."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_dead_process_left_is_deleted_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead, left = user(tmp_path)
    living, kept = user(tmp_path)
    dead.kill()
    dead.communicate()
    assert left.exists()
    mine = Scratch(str(tmp_path)).path("part")
    assert not left.parent.exists()
    assert kept.read_bytes() == b"rows"
    assert mine.parent != kept.parent
    living.communicate()
    assert not kept.parent.exists()  # It ended as a process should.


def test_two_stores_of_one_process_do_not_share_it(tmp_path: Path) -> None:
    one, other = Scratch(str(tmp_path)), Scratch(str(tmp_path))
    paths = [scratch.path("staging/part.staged") for scratch in (one, other, one)]
    assert len(set(paths)) == 3
    assert [path.parent.parent for path in paths] == [tmp_path] * 3
    del one
    assert not paths[0].parent.exists()
    assert paths[1].parent.exists()


def test_a_directory_that_was_just_created_is_left_alone(tmp_path: Path) -> None:
    """Its process has not locked it yet."""
    new, old = tmp_path / "streamlic-scratch-new", tmp_path / "streamlic-scratch-old"
    other = tmp_path / "other"
    for directory in (new, old, other):
        directory.mkdir()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    Scratch(str(tmp_path)).path("part")
    assert new.exists()
    assert other.exists()
    assert not old.exists()


def test_a_fork_does_not_delete_it(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    path = scratch.path("part")
    path.write_bytes(b"rows")
    code = (
        "import os, sys; from streamlic.storage.scratch import Scratch\n"
        "scratch = Scratch(sys.argv[1]); path = scratch.path('part'); path.write_bytes(b'rows')\n"
        "if os.fork() == 0: sys.exit()\n"
        "os.wait(); print(path.exists())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert path.exists()


def test_it_exists_while_there_is_a_file_in_it(dest: str, tmp_path: Path) -> None:
    store = opened(dest, tmp_path)
    store.create("1.json", b"one")
    with store.lock("lock"):
        assert list(tmp_path.iterdir()) == []
    files = [store.stage("part"), store.stage("part")]
    assert len(list(tmp_path.iterdir())) == 1
    for file in files:
        file.path.write_bytes(b"rows")
    files[0].discard()
    files[0].discard()
    assert files[1].path.exists()
    files[1].keep()
    files[1].wait()
    assert list(tmp_path.iterdir()) == []
    store.stage("part").path.write_bytes(b"rows")


def test_a_directory_that_cannot_be_written_is_an_error_that_names_it() -> None:
    """/proc takes no directories from any user: root ignores permissions elsewhere."""
    with pytest.raises(
        StoreError, match=r"^/proc/scratch: .* before they are uploaded; .* scratch$"
    ):
        Scratch("/proc/scratch").path("part")


def test_a_full_directory_is_an_error_that_names_it() -> None:
    with pytest.raises(
        StoreError, match=r"^/scratch: No space left.*; choose .* more room as scratch$"
    ):
        with explained(Path("/scratch")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_staged_file_that_somebody_deleted_is_an_error_that_names_it(
    dest: str, tmp_path: Path
) -> None:
    file = opened(dest, tmp_path).stage("part")
    file.keep()
    with pytest.raises(StoreError, match=f"^{file.path}: No such file"):
        file.wait()
