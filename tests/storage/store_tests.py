"""What every store must keep: subclass ``StoreTests`` and give it a ``store``."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from streamlic.errors import DatasetConflict, StoreError
from streamlic.storage.base import AlreadyExists, NotFound, Store

WRITERS = 8


def stage(store: Store, name: str, data: bytes) -> None:
    """Put a file into the store in the way of part files."""
    file = store.stage(name)
    file.path.write_bytes(data)
    file.keep()


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

    def test_a_discarded_file_is_gone(self, store: Store) -> None:
        store.make_directory("staging")
        for is_kept in (False, True):
            file = store.stage("staging/part")
            file.path.write_bytes(b"half")
            if is_kept:
                file.keep()
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

    def test_publishing_never_replaces_a_file(self, store: Store) -> None:
        store.create("staging/part", b"new")
        store.create("part", b"old")
        with pytest.raises(AlreadyExists, match="part"):
            store.publish([("staging/part", "part")])
        assert store.read("part") == b"old"
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
            assert store.names() == []
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
