"""The store on a real disk: the promises of every store, and what only a disk has."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamlic.dataset.destination import delete_partial_files
from streamlic.dataset.lake import RECORDS
from streamlic.diagnostics.doctor import check_dest
from streamlic.errors import DatasetConflict, StoreError, UsageError
from streamlic.storage import locks
from streamlic.storage.base import AlreadyExists, Store
from streamlic.storage.local import LocalStore
from tests.storage.store_tests import StoreTests

HOLDER = """
import sys, time
from streamlic.storage.local import LocalStore
with LocalStore(sys.argv[1]).lock("_streamlic/lock"):
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


class TestLocalStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "dest")

    @pytest.fixture
    def other(self, store: Store) -> LocalStore:
        return LocalStore(store.where())


def test_a_created_file_is_durable_before_it_has_its_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make_directory("log")
    steps = trace(monkeypatch)
    store.create("log/1.json", b"one")
    partial = steps[0][1]
    assert re.fullmatch(r"\.1\.json\.[0-9a-f]{16}", partial)
    assert steps == [
        ("fsync file", partial),
        ("link", "1.json"),
        ("unlink", partial),
        ("fsync directory", "log"),
    ]
    assert store.names("log") == ["1.json"]


def test_a_link_whose_answer_was_lost_is_our_own(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock: NFS sends the request again, and the second one finds the file of the first."""
    link = os.link

    def lost(old: Path, new: Path) -> None:
        link(old, new)
        link(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lost)
        store.create("log/1.json", b"one")
        with pytest.raises(AlreadyExists):
            store.create("log/1.json", b"one")
    assert store.names("log") == ["1.json"]


def test_writers_that_cannot_tell_each_other_apart_create_different_files(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as two containers, in each of which streamlic is process 1, that share a disk."""
    link = os.link

    def overtaken(old: Path, new: Path) -> None:
        monkeypatch.undo()
        LocalStore(store.root).create("log/1.json", b"other")
        link(old, new)

    monkeypatch.setattr(os, "link", overtaken)
    with pytest.raises(AlreadyExists):
        store.create("log/1.json", b"mine")
    assert store.read("log/1.json") == b"other"
    assert store.names("log") == ["1.json"]


def test_a_file_whose_partial_one_is_cleared_away_is_created(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that starts takes it for one of a process that died."""
    link = os.link

    def cleared(old: Path, new: Path) -> None:
        monkeypatch.undo()
        delete_partial_files(store)
        link(old, new)

    monkeypatch.setattr(os, "link", cleared)
    store.create(f"{RECORDS}/1.json", b"one")
    assert store.read(f"{RECORDS}/1.json") == b"one"
    assert store.names(RECORDS) == ["1.json"]


def test_a_new_directory_and_all_its_new_parents_are_durable(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = trace(monkeypatch)
    store.make_directory("a/b")
    above = store.root.parent.name
    assert steps == [("fsync directory", name) for name in (above, "dest", "a")]


def test_a_staged_file_and_its_name_are_durable_when_it_is_kept(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make_directory("staging")
    file = store.stage("staging/part")
    file.path.write_bytes(b"rows")
    steps = trace(monkeypatch)
    file.keep()
    assert steps == [("fsync file", "part"), ("fsync directory", "staging")]


def test_a_published_file_has_its_final_name_before_it_loses_the_other_one(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("staging/part", b"rows")
    steps = trace(monkeypatch)
    store.publish([("staging/part", "part")])
    assert steps == [
        ("link", "part"),
        ("fsync directory", "dest"),
        ("unlink", "part"),
        ("fsync directory", "staging"),
    ]


def test_an_open_file_stays_readable(store: LocalStore) -> None:
    store.create("staging/part", b"rows")
    with store.open("staging/part") as file:
        store.publish([("staging/part", "part")])
        assert file.read(2) == b"ro"
        store.delete("part")
        assert file.read() == b"ws"


def test_publishing_never_replaces_a_link(store: LocalStore) -> None:
    store.create("staging/part", b"new")
    store.path("dangling").symlink_to("nowhere")
    with pytest.raises(AlreadyExists, match="dangling already exists"):
        store.publish([("staging/part", "dangling")])
    assert store.read("staging/part") == b"new"


def test_publishing_finishes_where_a_crash_left_both_names(store: LocalStore) -> None:
    store.create("staging/part", b"rows")
    os.link(store.path("staging/part"), store.path("part"))
    store.publish([("staging/part", "part")])
    assert store.read("part") == b"rows"
    assert not store.exists("staging/part")


def test_a_file_is_not_staged_in_a_directory_that_is_gone(store: LocalStore) -> None:
    """A dataset that somebody deleted must not start again with half its files."""
    store.make_directory("staging")
    store.delete_tree("staging")
    with pytest.raises(FileNotFoundError):
        store.stage("staging/part").path.write_bytes(b"rows")


def test_an_error_of_the_disk_names_the_path_and_keeps_its_cause(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="dest/gone: No such file") as caught:
        store.read("gone")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_destination_below_a_file_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    """A file that was created after the store was opened."""
    store = LocalStore(tmp_path / "file/dest")
    (tmp_path / "file").write_text("no directory")
    with (
        pytest.raises(StoreError, match="file/dest/_streamlic: Not a directory"),
        store.lock("_streamlic/lock"),
    ):
        pass


def test_a_destination_that_cannot_be_written_to_is_an_error(store: LocalStore) -> None:
    """/proc takes no directories from any user: root ignores permissions elsewhere."""
    with pytest.raises(StoreError, match="/proc/dest"):
        LocalStore("/proc/dest").make_directory()


def test_the_lock_names_the_process_that_has_it(store: LocalStore) -> None:
    with store.lock("_streamlic/lock"):
        with (
            pytest.raises(DatasetConflict, match=rf"another writer .*process {os.getpid()} on "),
            LocalStore(store.root).lock("_streamlic/lock"),
        ):
            pass
        assert store.exists("_streamlic/lock")
    with store.lock("_streamlic/lock"):
        pass


def test_the_lock_of_a_killed_process_is_free(
    store: LocalStore,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(DatasetConflict, match=f"process {holder.pid} on "),
            store.lock("_streamlic/lock"),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with store.lock("_streamlic/lock"):
        pass


def test_looking_at_the_lock_keeps_no_writer_out(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even at the same moment: the writer tries again."""
    with store.lock("_streamlic/lock"):
        assert store.writer("_streamlic/lock").startswith(
            f"a writer is active (process {os.getpid()} on "
        )
    assert store.writer("_streamlic/lock") == ""
    looker = os.open(store.path("_streamlic/lock"), os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        fcntl.flock(looker, fcntl.LOCK_UN)

    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=wait))
    with store.lock("_streamlic/lock"):
        assert len(waits) == 1
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=waits.append))
    fcntl.flock(looker, fcntl.LOCK_SH)
    with (
        pytest.raises(DatasetConflict, match="another writer is active"),
        store.lock("_streamlic/lock"),
    ):
        pass
    os.close(looker)


def test_the_lock_ends_even_if_a_child_has_its_file_open(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child has: closing alone would leave the file locked."""
    close = os.close
    kept: list[int] = []

    def closes(descriptor: int) -> None:
        kept.append(os.dup(descriptor))
        close(descriptor)

    with store.lock("_streamlic/lock"):
        monkeypatch.setattr(os, "close", closes)
    monkeypatch.undo()
    with store.lock("_streamlic/lock"):
        pass
    for descriptor in kept:
        os.close(descriptor)


def failing(number: int) -> Any:
    """Return a system call that fails, as on a file system without it."""

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def names_of(*numbers: int) -> list[Any]:
    return [pytest.param(one, id=errno.errorcode[one]) for one in numbers]


@pytest.mark.parametrize(
    "number", names_of(errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
)
def test_a_file_system_without_hard_links_is_refused(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """SMB, FAT, and some on FUSE: no other call keeps one file from replacing another."""
    store.make_directory()
    monkeypatch.setattr(os, "link", failing(number))
    says = rf"{store.root} has no hard links \({os.strerror(number)}\).* choose a dest on another"
    with pytest.raises(UsageError, match=says):
        store.create("1.json", b"one")
    assert store.names() == []
    store.path("staged").write_bytes(b"rows")
    with pytest.raises(UsageError, match=says):
        store.publish([("staged", "part")])
    assert store.names() == ["staged"]
    store.delete("staged")
    check = check_dest(str(store.root))
    assert (check.state, check.exit_code) == ("failed", 2)
    assert "has no hard links" in check.found


def test_a_refused_link_to_another_users_file_is_an_error_of_that_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux's protected_hardlinks, if another user resumes a run."""
    store.create("staged", b"rows")
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "access", lambda *_: False)  # To root all is writable.
    with pytest.raises(StoreError, match="part: Operation not permitted"):
        store.publish([("staged", "part")])


def test_a_table_on_another_disk_is_named_as_such(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a link, or a mount, of a table's directory leads to it."""
    store.create("staged", b"rows")
    monkeypatch.setattr(os, "link", failing(errno.EXDEV))
    with pytest.raises(StoreError, match=r"part: Invalid cross-device link \(.* on another disk"):
        store.publish([("staged", "part")])


@pytest.mark.parametrize("number", names_of(errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK))
@pytest.mark.filterwarnings("error")
def test_a_file_system_without_locks_is_refused(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """No lock file instead: a killed process would hold it for ever."""
    monkeypatch.setattr(fcntl, "flock", failing(number))
    says = rf"{store.root} has no file locks \(flock: {os.strerror(number)}\).* choose a dest"
    with pytest.raises(UsageError, match=says), store.lock("_streamlic/lock"):
        pass
    assert store.names("_streamlic") == ["lock"]
    check = check_dest(str(store.root))
    assert (check.state, check.exit_code) == ("failed", 2)
    assert "has no file locks" in check.found


def test_too_many_open_files_name_the_limit(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make_directory()
    monkeypatch.setattr(os, "open", failing(errno.EMFILE))
    with pytest.raises(StoreError, match=r"Too many open files \(.*ulimit -n\)"):
        store.make_directory("a")
