"""The store in a bucket: the promises of every store, and what only an object store has."""

from __future__ import annotations

import math
import random
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import boto3
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlic.diagnostics.object_store import check_object_store
from streamlic.errors import StoreError, UsageError
from streamlic.job.options import JobOptions
from streamlic.storage.base import AlreadyExists, NotFound
from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.object_store import ObjectStore
from streamlic.storage.open_store import StoreSettings, open_store
from streamlic.storage.uploads import UploadSizes
from tests.storage.store_tests import StoreTests, stage
from tests.support.bucket import opened, stopped
from tests.support.faulty_proxy import faulty_proxy
from tests.support.object_servers import MotoServer
from tests.support.store_proxy import answering, forwarding


class TestObjectStore(StoreTests):
    @pytest.fixture
    def store(self, dest: str, tmp_path: Path) -> ObjectStore:
        return opened(dest, tmp_path)

    @pytest.fixture
    def other(self, dest: str, tmp_path: Path) -> ObjectStore:
        return opened(dest, tmp_path)


@pytest.fixture
def store(dest: str, tmp_path: Path) -> ObjectStore:
    return opened(dest, tmp_path / "scratch")


def keys(moto: MotoServer, store: ObjectStore) -> list[str]:
    """Return the names of all objects below a store's prefix, as another client lists them."""
    prefix = parsed_url(store.url).prefix
    return [key.removeprefix(f"{prefix}/") for key in moto.keys(prefix)]


# Creating


def test_a_record_that_was_created_is_our_own_if_it_holds_the_same_bytes(
    store: ObjectStore,
) -> None:
    """The answer may have been lost, and the request sent again."""
    store.create("1.json", b"one")
    store.create("1.json", b"one")
    with pytest.raises(AlreadyExists):
        store.create("1.json", b"two")


def test_a_conflict_with_a_request_in_progress_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    """S3 answers 409, and the object is absent: the other request may fail yet."""
    conflict = [(409, "ConditionalRequestConflict"), (404, "NoSuchKey")]
    with answering([*conflict, *conflict, (200, "")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        open_store(dest).create("1.json", b"one")


# Names


def test_objects_that_mark_directories_are_not_names(store: ObjectStore, moto: MotoServer) -> None:
    """The console of S3 and Hadoop create them."""
    store.create("a/1", b"")
    client = boto3.client(
        "s3", endpoint_url=moto.environment["AWS_ENDPOINT_URL"], region_name="us-east-1"
    )
    prefix = parsed_url(store.url).prefix
    for marker in ("", "a/", "b/"):
        client.put_object(Bucket="lake-bucket", Key=f"{prefix}/{marker}", Body=b"")
    assert store.names() == ["a", "b"]
    assert store.names("a") == ["1"]
    assert store.names("b") == []


def test_the_service_lists_from_a_name_on(
    moto: MotoServer, dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log of ten thousand records has a few new ones."""
    paths: list[str] = []
    with forwarding(moto.port, paths=paths) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert opened(dest, tmp_path).names("log", after="00000007.json") == []
    assert len(paths) == 1
    assert "start-after=" in paths[0]
    assert paths[0].partition("start-after=")[2].endswith("%2Flog%2F00000007.json")


def test_a_store_does_not_see_its_neighbours(dest: str, tmp_path: Path) -> None:
    one, other = opened(f"{dest}/lake", tmp_path), opened(f"{dest}/lake2", tmp_path)
    other.create("a/1", b"")
    assert one.names() == one.names("a") == []
    one.delete_tree("a")
    assert other.names("a") == ["1"]


@pytest.mark.slow
def test_more_names_than_one_answer_holds_are_listed_and_deleted(
    store: ObjectStore, moto: MotoServer
) -> None:
    """S3 lists and deletes at most 1,000 at once."""
    names = [f"{number:05}" for number in range(1100)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: store.create(f"log/{name}", b""), names))
    assert store.names("log") == names
    assert store.names("log", after="00050") == names[51:]
    store.delete(*(f"log/{name}" for name in names[:1050]))
    assert store.names("log") == names[1050:]
    store.delete_tree("log")
    assert keys(moto, store) == []


def test_the_whole_bucket_can_be_a_store(moto: MotoServer, dest: str, tmp_path: Path) -> None:
    whole = opened("s3://lake-bucket", tmp_path)
    below = parsed_url(dest).prefix
    whole.create(f"{below}/a/1", b"one")
    assert below in whole.names()
    assert whole.names(below) == ["a"]
    assert opened(dest, tmp_path).read("a/1") == b"one"
    assert whole.where("a/1") == "s3://lake-bucket/a/1"


# Reading


def test_a_file_that_vanishes_while_it_is_read_is_not_found(store: ObjectStore) -> None:
    """Also if pyarrow reads it."""
    staged = store.stage("part")
    pq.write_table(pa.table({"id": range(4_000_000)}), staged.path, use_dictionary=False)
    staged.keep()
    staged.wait()
    with store.open("part") as file, store.open("part") as other:
        assert file.read(4) == b"PAR1"
        parquet = pq.ParquetFile(other)
        store.delete("part")
        file.seek(9 << 20)
        with pytest.raises(NotFound, match=r"s3://.*/part: there is no such object"):
            file.read(1)
        with pytest.raises(NotFound, match=r"s3://.*/part: there is no such object"):
            parquet.read()


# Staging and publishing


def test_a_kept_file_is_uploaded_while_the_next_is_written(
    store: ObjectStore, moto: MotoServer
) -> None:
    """One at a time: so the next but one waits for the first."""
    files = [store.stage(f"staging/{number}") for number in range(3)]
    for file in files:
        file.path.write_bytes(b"rows")
    with stopped(moto):
        files[0].keep()
        second = Thread(target=files[1].keep)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert all(file.path.exists() for file in files)
    second.join()
    files[1].wait()
    files[0].wait()
    assert [file.path.exists() for file in files] == [False, False, True]
    assert store.names("staging") == ["0", "1"]


def test_a_large_file_is_uploaded_in_parts(store: ObjectStore) -> None:
    """And it is the same file as its copy, whose ETag is another one."""
    data = random.Random(3).randbytes(20 << 20)
    stage(store, "staging/part", data)
    stage(store, "part", data)
    store.publish([("staging/part", "part")])
    assert store.names() == ["part"]
    assert store.read("part") == data


@pytest.mark.parametrize("size", [4, 20 << 20])
def test_discarding_ends_an_upload(store: ObjectStore, moto: MotoServer, size: int) -> None:
    file = store.stage("staging/part")
    file.path.write_bytes(bytes(size))
    with stopped(moto):
        file.keep()
        discarding = Thread(target=file.discard)
        discarding.start()
    discarding.join()
    assert not file.path.exists()
    assert keys(moto, store) == []
    file.wait()  # It does not wait for what was discarded.


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, BaseException])
def test_whatever_ends_an_upload_is_a_failure_without_its_text(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """A mock, because nobody can make obstore panic: its panics derive from BaseException."""

    async def broken(*_: object, **__: object) -> None:
        raise error("https://host/?sig=hunter2")

    file = store.stage("part")
    file.path.write_bytes(b"rows")
    with monkeypatch.context() as patch:
        patch.setattr(obstore, "put_async", broken)
        file.keep()
        with pytest.raises(StoreError, match=rf"could not write it \({error.__name__}\)") as raised:
            file.wait()
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    assert file.path.exists(), "it is not in the store"
    file.discard()


def test_an_upload_without_a_thread_is_a_failure_and_the_next_one_does_not_wait(
    store: ObjectStore, moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock, because the process would have to be out of threads."""
    first, second = store.stage("first"), store.stage("second")
    for file in (first, second):
        file.path.write_bytes(b"rows")
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        with pytest.raises(StoreError, match="/first: cannot upload it: can't start new thread"):
            first.keep()
    second.keep()
    second.wait()
    assert keys(moto, store) == ["second"]
    first.discard()


def test_a_failed_upload_is_an_error_of_its_own_file_alone(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering([(403, "AccessDenied")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = opened(dest, tmp_path)
        one, other = store.stage("one"), store.stage("other")
        for file in (one, other):
            file.path.write_bytes(b"rows")
            file.keep()
        for _ in range(2):
            with pytest.raises(StoreError, match=r"/one: not allowed to write it .*s3:PutObject"):
                one.wait()
        with pytest.raises(StoreError, match="/other: not allowed"):
            other.wait()
        assert other.path.exists()


@pytest.mark.parametrize(
    ("memory_mib", "chunk_mib", "at_once"),
    [(1, 5, 1), (16, 5, 1), (24, 8, 1), (32, 8, 2), (48, 8, 4), (64, 8, 4), (1024, 8, 4)],
)
def test_memory_decides_how_a_file_is_cut(memory_mib: int, chunk_mib: int, at_once: int) -> None:
    assert UploadSizes.within(memory_mib << 20) == UploadSizes(chunk_mib << 20, at_once)


# Conditions


def test_a_store_that_keeps_conditions_is_accepted_and_keeps_no_probe(
    store: ObjectStore, moto: MotoServer
) -> None:
    store.check_conditions()
    assert keys(moto, store) == []


def test_a_probe_in_progress_is_not_a_name(store: ObjectStore) -> None:
    store.create(".streamlic-doctor-probes/1", b"")
    assert store.names() == []


@pytest.mark.parametrize(
    ("header", "what"),
    [("if-none-match", "create an object only if"), ("if-match", "replace an object only if")],
)
def test_a_store_that_ignores_conditions_is_refused_before_anything_is_written(
    moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, what: str
) -> None:
    """moto, of whose requests the condition is taken away."""
    with forwarding(moto.port, without={header}) as url:
        for name, value in {**moto.environment, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        store = opened(moto.dest(f"ignored-{header}"), tmp_path)
        with pytest.raises(UsageError, match=rf"this store ignores a request to {what}") as caught:
            store.lock("log/lock").__enter__()
    assert "choose a dest in a store with conditional writes" in str(caught.value)
    assert keys(moto, store) == []


@pytest.mark.parametrize("header", ["if-none-match", "if-match"])
def test_a_store_that_says_that_it_has_no_conditions_is_refused(
    moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    """With obstore's usual retries: it would ask for minutes what the store does not know."""
    paths: list[str] = []
    with forwarding(moto.port, unknown={header}, paths=paths) as url:
        for name, value in {**moto.environment, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        store = open_store(moto.dest(f"unknown-{header}"), StoreSettings(scratch=str(tmp_path)))
        with pytest.raises(UsageError, match="this store has no conditional writes") as caught:
            store.lock("log/lock").__enter__()
        [check] = [
            one
            for one in check_object_store(store.where(), JobOptions(), is_online=True)
            if one.name == "dest"
        ]
    assert "choose a dest in a store with conditional writes" in str(caught.value)
    assert ("has no conditional writes" in check.found, check.exit_code) == (True, 2)
    assert moto.keys(f"unknown-{header}") == []


def test_a_run_that_may_not_delete_is_refused_before_it_begins(
    moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_proxy(moto.port) as proxy:
        for name, value in moto.environment_at(proxy.port).items():
            monkeypatch.setenv(name, value)
        proxy.answer(math.inf, 403, "AccessDenied", methods=("DELETE", "POST"))
        with pytest.raises(StoreError, match=r"not allowed to delete .* need s3:DeleteObject"):
            opened(moto.dest("no-delete"), tmp_path).lock("log/lock").__enter__()
