"""The servers themselves: what the tests of this package rely on."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PreconditionError

from tests.support.object_servers import ObjectServer, RcloneServer

RIVALS = 8


def created(server: ObjectServer, key: str) -> int:
    """Let rivals create one key at once; return how many did."""
    store, barrier = server.store(), Barrier(RIVALS)

    def create(number: int) -> bool:
        barrier.wait()
        try:
            obstore.put(store, key, b"%d" % number, mode="create")
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(RIVALS) as threads:
        return sum(threads.map(create, range(RIVALS)))


def test_of_many_rivals_one_creates_a_key(server: ObjectServer) -> None:
    assert created(server, f"race/{uuid4()}") == 1


def test_rclone_lets_everybody_create_a_key(rclone: RcloneServer) -> None:
    """So a store that ignores conditions is here to be refused."""
    assert created(rclone, f"race/{uuid4()}") == RIVALS


def test_a_swap_needs_the_version_that_is_there(server: ObjectServer) -> None:
    store, key = server.store(), f"swap/{uuid4()}"
    seen = obstore.put(store, key, b"one")
    version = {name: value for name, value in seen.items() if value}
    obstore.put(store, key, b"two", mode=version)  # type: ignore[arg-type]
    with pytest.raises(PreconditionError):
        obstore.put(store, key, b"three", mode=version)  # type: ignore[arg-type]
    assert bytes(obstore.get(store, key).bytes()) == b"two"


def test_large_objects_are_written_in_parts_read_in_ranges_and_copied(server: ObjectServer) -> None:
    store, key, data = server.store(), f"large/{uuid4()}", os.urandom(12 << 20)
    obstore.put(store, f"{key}/1", data, chunk_size=5 << 20)
    obstore.copy(store, f"{key}/1", f"{key}/2")
    assert server.keys(key) == [f"{key}/1", f"{key}/2"]
    obstore.delete(store, f"{key}/1")
    assert (
        bytes(obstore.get_range(store, f"{key}/2", start=6 << 20, length=100))
        == (data[6 << 20 : (6 << 20) + 100])
    )
    assert bytes(obstore.get(store, f"{key}/2").bytes()) == data
    with pytest.raises(FileNotFoundError):
        obstore.head(store, f"{key}/1")


def test_a_delimiter_gives_the_directories(server: ObjectServer) -> None:
    store, place = server.store(), f"names/{uuid4()}"
    for name in ("a/1", "a/2", "b"):
        obstore.put(store, f"{place}/{name}", b"")
    found = obstore.list_with_delimiter(store, place)
    assert found["common_prefixes"] == [f"{place}/a"]
    assert [one["path"] for one in found["objects"]] == [f"{place}/b"]


def test_the_data_of_a_server_is_deleted_with_it() -> None:
    with RcloneServer() as server:
        directory = server.directory
        obstore.put(server.store(), "key", b"data")
        assert [one.name for one in directory.rglob("key")] == ["key"]
    assert not directory.exists()
