"""The durable operations on a real disk."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamlic.diagnostics.doctor import check_dest
from streamlic.errors import DatasetConflict, StoreError, UsageError
from streamlic.storage import locks
from streamlic.storage.local import LocalStore

HOLDER = """
import sys, time
from streamlic.storage.local import LocalStore
with LocalStore(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "dest")


def trace(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record what is fsynced, linked and unlinked, in order, by its name."""
    steps: list[tuple[str, str]] = []
    fsync, link, unlink = os.fsync, os.link, os.unlink

    def traced_fsync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append((f"fsync {kind}", path.name))
        fsync(descriptor)

    def traced_link(old: Any, new: Any) -> None:
        steps.append(("link", Path(new).name))
        link(old, new)

    def traced_unlink(path: Any, **kwargs: Any) -> None:
        steps.append(("unlink", Path(path).name))
        unlink(path, **kwargs)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "link", traced_link)
    monkeypatch.setattr(os, "unlink", traced_unlink)
    return steps


def test_an_exclusive_file_is_durable_before_it_has_its_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make_directory("log")
    steps = trace(monkeypatch)
    store.write_exclusive("log/1.json", b"one")
    begun = f".1.json.{os.getpid()}"
    assert steps == [
        ("fsync file", begun),
        ("link", "1.json"),
        ("unlink", begun),
        ("fsync directory", "log"),
    ]
    assert store.read("log/1.json") == b"one"
    assert store.names("log") == ["1.json"]


def test_a_new_directory_is_durable_up_to_the_first_that_was_there(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = trace(monkeypatch)
    store.make_directory("a/b")
    above = store.root.parent.name
    assert steps == [("fsync directory", name) for name in (above, "dest", "a")]


def test_an_exclusive_file_is_never_written_twice(store: LocalStore) -> None:
    store.write_exclusive("1.json", b"one")
    with pytest.raises(StoreError, match=r"1\.json: something of that name is there already"):
        store.write_exclusive("1.json", b"two")
    assert store.read("1.json") == b"one"
    assert store.names() == ["1.json"]


def test_a_move_is_durable_where_it_arrives_before_it_is_gone_where_it_was(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_exclusive("staging/part", b"rows")
    steps = trace(monkeypatch)
    store.move("staging/part", "part")
    assert steps == [
        ("link", "part"),
        ("fsync directory", "dest"),
        ("unlink", "part"),
        ("fsync directory", "staging"),
    ]
    assert store.read("part") == b"rows"
    assert store.names("staging") == []


def test_a_move_never_replaces_what_is_there(store: LocalStore) -> None:
    store.write_exclusive("staging/part", b"new")
    store.write_exclusive("part", b"old")
    with pytest.raises(StoreError, match="part: something of that name is there already"):
        store.move("staging/part", "part")
    store.path("dangling").symlink_to("nowhere")
    with pytest.raises(StoreError, match="dangling: something of that name is there already"):
        store.move("staging/part", "dangling")
    assert store.read("part") == b"old"
    assert store.read("staging/part") == b"new"


def test_a_move_that_was_cut_short_between_its_two_names_is_ended_by_another(
    store: LocalStore,
) -> None:
    store.write_exclusive("staging/part", b"rows")
    os.link(store.path("staging/part"), store.path("part"))
    store.move("staging/part", "part")
    assert store.read("part") == b"rows"
    assert not store.exists("staging/part")


def test_deleting_is_repeatable(store: LocalStore) -> None:
    store.write_exclusive("a/b/c", b"")
    for _ in range(2):
        store.delete("a/b/c")
        store.delete_tree("a")
    assert store.names() == []


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/../../b", "/etc/passwd", "a\0b"])
def test_a_name_never_leaves_the_root(store: LocalStore, name: str) -> None:
    operations = (store.path, store.exists, store.read, store.delete, store.delete_tree)
    for operation in operations:
        with pytest.raises(StoreError, match="expected a name inside"):
            operation(name)


def test_an_error_of_the_disk_names_the_path_and_keeps_its_cause(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="dest/gone: No such file") as caught:
        store.read("gone")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_destination_that_comes_to_be_below_a_file_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    """Though it was none when it was looked at."""
    store = LocalStore(tmp_path / "file/dest")
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StoreError, match="file/dest: Not a directory"), store.lock():
        pass


def test_a_destination_that_cannot_be_written_to_is_an_error(store: LocalStore) -> None:
    """/proc takes no directories, whoever asks: root ignores permissions elsewhere."""
    with pytest.raises(StoreError, match="/proc/dest"):
        LocalStore("/proc/dest").make_directory()


def test_the_lock_refuses_a_second_writer_and_says_who_has_it(store: LocalStore) -> None:
    with store.lock():
        with (
            pytest.raises(DatasetConflict, match=rf"another writer .*process {os.getpid()} on "),
            LocalStore(store.root).lock(),
        ):
            pass
        assert store.exists("_streamlic/lock")
    with store.lock():
        pass


def test_the_lock_refuses_a_writer_of_another_process_and_ends_when_that_is_killed(
    store: LocalStore,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DatasetConflict, match=f"process {holder.pid} on "), store.lock():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with store.lock():
        pass


def test_nobody_who_looks_at_the_lock_keeps_a_writer_out(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that looks at the very moment: the writer tries again."""
    with store.lock():
        assert store.writer().startswith(f"a writer is at work (process {os.getpid()} on ")
    assert store.writer() == ""
    looker = os.open(store.path("_streamlic/lock"), os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        fcntl.flock(looker, fcntl.LOCK_UN)

    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=wait))
    with store.lock():
        assert len(waits) == 1
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=waits.append))
    fcntl.flock(looker, fcntl.LOCK_SH)
    with pytest.raises(DatasetConflict, match="another writer is at work"), store.lock():
        pass
    os.close(looker)


def test_the_lock_ends_though_a_child_has_its_file_open(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one has that was forked meanwhile: closing alone would leave it locked."""
    close = os.close
    kept: list[int] = []

    def closes(descriptor: int) -> None:
        kept.append(os.dup(descriptor))
        close(descriptor)

    with store.lock():
        monkeypatch.setattr(os, "close", closes)
    monkeypatch.undo()
    with store.lock():
        pass
    for descriptor in kept:
        os.close(descriptor)


def failing(number: int) -> Any:
    """Return a call of the system that fails, as a file system without it has it."""

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def names_of(*numbers: int) -> list[Any]:
    return [pytest.param(one, id=errno.errorcode[one]) for one in numbers]


@pytest.mark.parametrize(
    "number", names_of(errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
)
def test_a_file_system_without_hard_links_is_refused_as_what_it_is(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """SMB, FAT, and some below FUSE: no other call keeps a file from replacing another."""
    store.make_directory()
    monkeypatch.setattr(os, "link", failing(number))
    says = rf"{store.root} has no hard links \({os.strerror(number)}\).* choose a DEST on another"
    with pytest.raises(UsageError, match=says):
        store.write_exclusive("1.json", b"one")
    assert store.names() == []
    store.path("staged").write_bytes(b"rows")
    with pytest.raises(UsageError, match=says):
        store.move("staged", "part")
    assert store.names() == ["staged"]
    store.delete("staged")
    check = check_dest(str(store.root))
    assert (check.state, check.exit_code) == ("failed", 2)
    assert "has no hard links" in check.found


def test_a_file_of_another_user_that_may_not_be_linked_is_no_lack_of_hard_links(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux's protected_hardlinks, where a run is resumed by another user than began it."""
    store.write_exclusive("staged", b"rows")
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "access", lambda *_: False)  # To root all is writable.
    with pytest.raises(StoreError, match="part: Operation not permitted"):
        store.move("staged", "part")


@pytest.mark.parametrize("number", names_of(errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK))
@pytest.mark.filterwarnings("error")
def test_a_file_system_without_locks_is_refused_as_what_it_is(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Nothing softer is taken for a lock: what is killed would leave it held for ever."""
    monkeypatch.setattr(fcntl, "flock", failing(number))
    says = rf"{store.root} has no file locks \(flock: {os.strerror(number)}\).* choose a DEST"
    with pytest.raises(UsageError, match=says), store.lock():
        pass
    assert store.names("_streamlic") == ["lock"]
    check = check_dest(str(store.root))
    assert (check.state, check.exit_code) == ("failed", 2)
    assert "has no file locks" in check.found


def test_too_many_open_files_are_not_the_disks_fault(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make_directory()
    monkeypatch.setattr(os, "open", failing(errno.EMFILE))
    with pytest.raises(StoreError, match=r"Too many open files \(.*ulimit -n\)"):
        store.make_directory("a")


def test_a_directory_of_other_files_is_refused_untouched(store: LocalStore) -> None:
    store.write_exclusive("thesis.txt", b"mine")
    with pytest.raises(DatasetConflict, match=r"holds files already, such as 'thesis\.txt'"):
        store.lock().__enter__()
    assert store.names() == ["thesis.txt"]
