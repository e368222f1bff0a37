"""A store whose network fails: an operation succeeds, or says why not and can be repeated."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from streamlic.errors import StoreError
from streamlic.storage import attempts, credentials
from streamlic.storage.base import AlreadyExists
from streamlic.storage.object_store import ObjectStore
from tests.cloud.conftest import set_environment
from tests.cloud.test_stores import opened
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.object_servers import ObjectServer, SeaweedServer

if TYPE_CHECKING:
    from obstore.store import BackoffConfig

ROWS = os.urandom((5 << 20) + 1)
"""More than one part of an upload."""
FOREVER = float("inf")
SECRETS = ("testtest", "AWS4-HMAC", "Signature=", "Eby8vdM0", "?")


@pytest.fixture(params=["seaweed", "azurite", "gcs"])
def server(request: pytest.FixtureRequest) -> ObjectServer:
    """Return one store of each cloud."""
    found: ObjectServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def proxy(server: ObjectServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.port) as one:
        yield one


def hasty(dest: str, scratch: Path, retries: int = 4) -> ObjectStore:
    """Return a store that asks again soon, and not for minutes."""
    soon = timedelta(milliseconds=1)
    backoff: BackoffConfig = {"init_backoff": soon, "max_backoff": soon, "base": 2}
    return opened(
        dest,
        scratch,
        retries={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=60),
            "backoff": backoff,
        },
    )


@pytest.fixture
def store(
    server: ObjectServer, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    """Return an empty store, reached through the proxy, that does not retry for minutes."""
    set_environment(monkeypatch, server.environment_at(proxy.port))
    monkeypatch.setattr(attempts, "_FIRST_WAIT_SECONDS", 0)
    return hasty(server.dest(f"faults-{uuid4().hex[:8]}"), tmp_path)


def failure(operation: Callable[[], None]) -> StoreError | None:
    try:
        operation()
    except StoreError as error:
        return error
    return None


def staged(store: ObjectStore, data: bytes) -> None:
    file = store.stage("staging/part")
    file.path.write_bytes(data)
    try:
        file.keep()
        file.wait()
    finally:
        file.path.unlink(missing_ok=True)


def create(store: ObjectStore) -> None:
    store.create("log/1.json", b"record")


def upload(store: ObjectStore) -> None:
    staged(store, ROWS)


def publish(store: ObjectStore) -> None:
    store.publish([("staging/part", "licenses/part")])


def check(store: ObjectStore) -> None:
    """Everything that the three operations do, was done once."""
    assert store.read("log/1.json") == b"record"
    assert store.read("licenses/part") == ROWS
    assert (store.names("log"), store.names("licenses")) == (["1.json"], ["part"])
    assert store.names("staging") == []


def act(store: ObjectStore) -> None:
    for one in (create, upload, publish):
        one(store)


Break = Callable[[FaultyProxy, float], None]
FAULTS: dict[str, Break] = {
    "lost answers": lambda proxy, times: proxy.lose_answers(times),
    "503": lambda proxy, times: proxy.answer(times, 503, "SlowDown"),
    "500": lambda proxy, times: proxy.answer(times, 500, "InternalError"),
    "resets": lambda proxy, times: proxy.reset(times),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_ends_is_not_noticed(
    store: ObjectStore, proxy: FaultyProxy, fault: str
) -> None:
    for one in (create, upload, publish):
        FAULTS[fault](proxy, 2)
        one(store)
        proxy.heal()
    check(store)
    with store.open("licenses/part") as file:
        assert file.read() == ROWS


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_lasts_is_an_error_and_the_same_again_is_exact(
    store: ObjectStore, proxy: FaultyProxy, fault: str
) -> None:
    for one in (create, upload, publish):
        FAULTS[fault](proxy, FOREVER)
        if error := failure(lambda: one(store)):  # noqa: B023  (called at once)
            assert not [secret for secret in SECRETS if secret in str(error)]
            assert str(error).startswith(store.url)
        else:
            assert fault == "lost answers"  # What was done can be seen.
        proxy.heal()
        one(store)
    check(store)


def test_another_writers_record_is_not_taken_for_a_lost_answer(
    store: ObjectStore, proxy: FaultyProxy
) -> None:
    create(store)
    proxy.lose_answers(1)
    with pytest.raises(AlreadyExists):
        store.create("log/1.json", b"other")
    assert store.read("log/1.json") == b"record"


def test_an_upload_that_broke_leaves_nothing_that_can_be_seen(
    store: ObjectStore, proxy: FaultyProxy
) -> None:
    proxy.reset(FOREVER, methods=("PUT",))
    with pytest.raises(StoreError, match="staging/part"):
        upload(store)
    proxy.heal()
    assert store.names("staging") == []


def test_an_answer_that_is_cut_is_read_again(store: ObjectStore, proxy: FaultyProxy) -> None:
    act(store)
    proxy.cut_answers(1)
    assert store.read("licenses/part") == ROWS
    proxy.cut_answers(1)
    with store.open("licenses/part") as file:
        assert file.read() == ROWS
    assert [one.fault for one in proxy.passed].count("cut answer") == 2


def test_a_store_that_hangs_is_given_up(
    store: ObjectStore, server: ObjectServer, proxy: FaultyProxy, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(credentials, "SMALL_TIMEOUT", timedelta(seconds=0.5))
    impatient = hasty(store.url, tmp_path, retries=1)
    proxy.hang(FOREVER)
    with pytest.raises(StoreError, match="did not answer in time"):
        create(impatient)
    proxy.heal()
    create(impatient)
    assert store.read("log/1.json") == b"record"


def test_a_slow_store_is_waited_for(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.bytes_a_second = 256 << 10
    staged(store, ROWS[: 512 << 10])
    proxy.heal()
    assert store.read("staging/part") == ROWS[: 512 << 10]


REFUSALS = {
    (403, "AccessDenied"): "not allowed to write it.*403 AccessDenied.*s3:PutObject",
    (400, "ExpiredToken"): "the credentials expired",
    (403, "RequestTimeTooSkewed"): "the clock of this machine differs too much",
    (403, "SignatureDoesNotMatch"): "does not accept the credentials",
}


@pytest.fixture(params=REFUSALS, ids=lambda one: one[1])
def refusal(request: pytest.FixtureRequest) -> tuple[int, str]:
    found: tuple[int, str] = request.param
    return found


class TestRefused:
    """On S3 only: these are its codes."""

    @pytest.fixture
    def server(self, seaweed: SeaweedServer) -> ObjectServer:
        return seaweed

    @pytest.mark.parametrize("operation", [create, upload])
    def test_a_refusal_says_why_and_the_same_again_is_exact(
        self,
        store: ObjectStore,
        proxy: FaultyProxy,
        refusal: tuple[int, str],
        operation: Callable[[ObjectStore], None],
    ) -> None:
        proxy.answer(FOREVER, *refusal)
        with pytest.raises(StoreError) as refused:
            operation(store)
        shown = f"{refused.value} {refused.value.advice}"
        assert re.search(REFUSALS[refusal], shown), shown
        assert not [secret for secret in SECRETS if secret in str(refused.value)]
        proxy.heal()
        act(store)
        check(store)

    def test_wrong_keys_are_named(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
        with pytest.raises(StoreError, match="does not accept the credentials") as refused:
            create(opened(store.url, tmp_path))
        assert "wrong-secret" not in str(refused.value)
