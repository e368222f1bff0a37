"""What every store must keep: subclass ``StoreTests`` and give it a ``store``."""

from __future__ import annotations

import hashlib
import pickle
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlic.errors import DatasetConflict, StoreError
from streamlic.storage.base import AlreadyExists, NotFound, Store

WRITERS = 8
MOST_READ_AHEAD = 32
"""How many files a store may have asked for before the first one is taken."""


def stage(store: Store, name: str, data: bytes) -> None:
    """Put a file into the store in the way of part files."""
    file = store.stage(name)
    file.path.write_bytes(data)
    file.keep()
    file.wait()


class StoreTests:
    """The promises of ``streamlic/storage/base.py``, each as a test."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return an empty store."""
        raise NotImplementedError

    @pytest.fixture
    def other(self, store: Store) -> Store:
        """Return the same store as a second process opens it."""
        raise NotImplementedError

    # Reading

    def test_an_empty_store_has_no_names(self, store: Store) -> None:
        assert store.names() == store.names("absent/deeper") == []
        assert not store.exists("absent")

    def test_an_absent_file_cannot_be_read(self, store: Store) -> None:
        for read in (store.read, store.open):
            with pytest.raises(NotFound, match="absent/file"):
                read("absent/file")

    def test_a_file_is_read_as_it_was_created(self, store: Store, other: Store) -> None:
        store.create("log/1.json", b"one")
        for one in (store, other):
            assert one.exists("log/1.json")
            assert one.read("log/1.json") == b"one"
            with one.open("log/1.json") as file:
                assert (file.read(1), file.seek(-1, 2), file.read()) == (b"o", 2, b"e")

    def test_names_are_those_of_one_directory_sorted(self, store: Store) -> None:
        for name in ("b", "a/2", "a/1", "a/deep/3"):
            store.create(name, b"")
        assert store.names() == ["a", "b"]
        assert store.names("a") == ["1", "2", "deep"]
        assert store.names("a/deep") == ["3"]

    def test_names_follow_the_one_that_was_given(self, store: Store) -> None:
        for name in ("log/2", "log/1", "log/2-1/deep", "log/3", "snapshots/9"):
            store.create(name, b"")
        assert store.names("log", after="1") == ["2", "2-1", "3"]
        assert store.names("log", after="2") == ["2-1", "3"]
        assert store.names("log", after="2-1") == ["3"]
        assert store.names("log", after="3") == store.names("absent", after="3") == []
        assert store.names(after="log") == ["snapshots"]

    def test_files_are_read_in_order(self, store: Store) -> None:
        names = [f"log/{number:03}" for number in range(40)]
        for name in names:
            store.create(name, name.encode())
        assert list(store.read_each(names)) == [name.encode() for name in names]
        assert list(store.read_each([])) == []

    def test_reading_ahead_is_bounded(self, store: Store) -> None:
        """And what is not read leaves nothing running."""
        store.create("1", b"one")
        asked = []

        def names() -> Iterator[str]:
            for number in range(1000):
                asked.append(number)
                yield "1"

        reads = iter(store.read_each(names()))
        assert next(reads) == next(reads) == b"one"
        assert len(asked) <= 2 + MOST_READ_AHEAD
        del reads

    def test_an_absent_file_ends_reading(self, store: Store) -> None:
        store.create("1", b"one")
        store.create("3", b"three")
        reads = iter(store.read_each(["1", "2", "3"]))
        assert next(reads) == b"one"
        with pytest.raises(NotFound, match="2"):
            next(reads)

    def test_an_open_file_can_be_read_anywhere(self, store: Store) -> None:
        data = random.Random(7).randbytes(9 << 20)
        store.create("large", data)
        with store.open("large") as file:
            assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(data).digest()
            for start, count in ((0, 3), (5 << 20, 6 << 20), (-8, 8), (-1, 5), (len(data), 1)):
                at = file.seek(start, 2 if start < 0 else 0)
                assert file.read(count) == data[at : at + count]
            assert file.seek(-(2 << 20), 1) == file.tell()
            with pytest.raises((ValueError, OSError)):
                file.seek(-1)

    def test_an_open_file_is_a_parquet_file(self, store: Store) -> None:
        table = pa.table({"id": range(100_000), "name": [f"name {i}" for i in range(100_000)]})
        store.make_directory("staging")
        file = store.stage("staging/part")
        pq.write_table(table, file.path, row_group_size=20_000)
        file.keep()
        file.wait()
        with store.open("staging/part") as source:
            assert pq.ParquetFile(source).read(columns=["name"]) == table.select(["name"])

    def test_a_directory_is_not_a_file(self, store: Store) -> None:
        store.create("a/1", b"")
        assert not store.exists("a")

    def test_messages_name_the_store_and_the_file(self, store: Store) -> None:
        assert store.where("a/1").startswith(store.where())
        assert store.where("a/1").endswith("a/1")

    @pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/../../b", "/etc/passwd", "a\0b"])
    def test_a_name_never_leaves_the_store(self, store: Store, name: str) -> None:
        for operation in (store.exists, store.read, store.open, store.delete, store.delete_tree):
            with pytest.raises(StoreError, match="expected a name inside"):
                operation(name)

    # Creating

    def test_create_never_replaces_a_file(self, store: Store, other: Store) -> None:
        store.create("1.json", b"one")
        with pytest.raises(AlreadyExists, match=r"1\.json"):
            other.create("1.json", b"two")
        assert store.read("1.json") == b"one"
        assert store.names() == ["1.json"]

    def test_of_many_writers_one_creates_a_file(self, store: Store) -> None:
        barrier = Barrier(WRITERS)

        def create(number: int) -> bool:
            barrier.wait()
            try:
                store.create("log/1.json", b"%d" % number)
            except StoreError:
                return False
            return True

        with ThreadPoolExecutor(WRITERS) as threads:
            created = list(threads.map(create, range(WRITERS)))
        assert created.count(True) == 1
        assert store.read("log/1.json") == b"%d" % created.index(True)

    def test_the_errors_pickle(self, store: Store) -> None:
        with pytest.raises(NotFound) as caught:
            store.read("absent")
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # its own bytes
        assert (type(again), str(again)) == (NotFound, str(caught.value))

    # Staging and publishing

    def test_a_staged_file_is_kept(self, store: Store, other: Store) -> None:
        store.make_directory("staging")
        stage(store, "staging/part", b"rows")
        assert other.read("staging/part") == b"rows"
        assert other.names() == ["staging"]

    def test_several_files_are_kept_before_one_is_waited_for(self, store: Store) -> None:
        store.make_directory("staging")
        files = {f"staging/{number}": store.stage(f"staging/{number}") for number in range(3)}
        assert len({file.path for file in files.values()}) == 3
        for name, file in files.items():
            file.path.write_bytes(name.encode())
            file.keep()
        for _ in range(2):
            for file in reversed(files.values()):
                file.wait()
        assert [store.read(name) for name in files] == [name.encode() for name in files]

    def test_a_discarded_file_is_gone(self, store: Store) -> None:
        store.make_directory("staging")
        for state in ("written", "kept", "durable"):
            file = store.stage("staging/part")
            file.path.write_bytes(b"half")
            if state != "written":
                file.keep()
            if state == "durable":
                file.wait()
            file.discard()
            file.discard()
            assert store.names("staging") == []
            assert not file.path.exists()

    def test_publishing_moves_a_file_once(self, store: Store, other: Store) -> None:
        store.make_directory("staging")
        stage(store, "staging/part", b"rows")
        for one in (store, store, other):
            one.publish([("staging/part", "part")])
            assert one.read("part") == b"rows"
            assert one.names("staging") == []

    def test_many_files_are_published(self, store: Store) -> None:
        """Also if some have their final names already."""
        names = [(f"staging/{number}", f"parts/{number}") for number in range(20)]
        for number, (staged, final) in enumerate(names):
            if number % 4 != 1:
                store.create(staged, b"%d" % number)
            if number % 4 == 1:
                store.create(final, b"%d" % number)
        store.publish(names[:7])
        for _ in range(2):
            store.publish(names)
            assert [store.read(final) for _, final in names] == [b"%d" % i for i in range(20)]
            assert store.names("staging") == []
        store.publish([])

    @pytest.mark.parametrize("old", [b"old", b"ne", b"newer", b""])
    def test_publishing_never_replaces_a_file(self, store: Store, old: bytes) -> None:
        store.create("staging/part", b"new")
        store.create("part", old)
        with pytest.raises(AlreadyExists, match="part"):
            store.publish([("staging/part", "part")])
        assert store.read("part") == old
        assert store.read("staging/part") == b"new"

    def test_what_does_not_exist_cannot_be_published(self, store: Store) -> None:
        store.make_directory("staging")
        with pytest.raises(NotFound, match="part"):
            store.publish([("staging/part", "part")])

    # Deleting

    def test_deleting_can_be_repeated(self, store: Store) -> None:
        store.create("a/b/c", b"")
        store.create("a/d", b"")
        for _ in range(2):
            store.delete("a/b/c")
            assert not store.exists("a/b/c")
        assert store.exists("a/d")
        for _ in range(2):
            store.delete_tree("a")
            assert not store.exists("a/d")
            assert "d" not in store.names("a")  # "b" may be listed for a while: rule 5.
        store.delete("absent/file")
        store.create("a/b/c", b"again")
        assert store.read("a/b/c") == b"again"

    # The lock

    def test_one_writer_at_a_time_has_the_lock(self, store: Store, other: Store) -> None:
        with store.lock("log/lock"):
            with pytest.raises(DatasetConflict, match="another writer"):
                other.lock("log/lock").__enter__()
        with other.lock("log/lock"):
            pass

    def test_the_lock_ends_with_an_error_too(self, store: Store, other: Store) -> None:
        with pytest.raises(KeyError), store.lock("log/lock"):
            raise KeyError
        with other.lock("log/lock"):
            pass

    def test_a_reader_sees_the_writer(self, store: Store, other: Store) -> None:
        assert other.writer("log/lock") == ""
        with store.lock("log/lock"):
            assert "writer is active" in other.writer("log/lock")
        assert other.writer("log/lock") == ""
