"""What a user reads when an object store refuses: what, where, what helps, and no secret."""

from __future__ import annotations

import os
import pickle
import re
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import boto3
import pytest

from streamlic.errors import StoreError
from streamlic.storage import credentials
from streamlic.storage.base import NotFound
from streamlic.storage.dest_urls import parsed_url
from tests.support.bucket import opened, stopped
from tests.support.object_servers import MotoServer
from tests.support.store_proxy import answering

REFUSALS = {
    (403, "AccessDenied"): (
        r"not allowed to write it \(403 AccessDenied\); the credentials need s3:PutObject"
    ),
    (404, "NoSuchBucket"): r"there is no bucket lake-bucket .*; create it, or choose another dest",
    (400, "ExpiredToken"): r"the credentials expired \(400 ExpiredToken\); renew them and give the",
    (403, "ExpiredToken"): r"the credentials expired",
    (403, "InvalidAccessKeyId"): r"the store does not accept the credentials \(403 Inv.*; check",
    (403, "SignatureDoesNotMatch"): r"the store does not accept the credentials",
    (401, "Unauthorized"): r"the store does not accept the credentials",
    (403, "RequestTimeTooSkewed"): r"the clock of this machine differs too much .*; set the clock",
    (301, "PermanentRedirect"): r"bucket lake-bucket is in another region .*; set AWS_REGION",
    (400, "AuthorizationHeaderMalformed"): r"is in another region .*; set AWS_REGION",
    (503, "SlowDown"): r"overloaded \(503 SlowDown\), also after 1 retries; .* again later",
    (429, "TooManyRequests"): r"the store is overloaded \(429 TooManyRequests\)",
    (500, "InternalError"): r"the store refused to write it \(500 InternalError\)",
    (501, "NotImplemented"): r"the store refused to write it \(501 NotImplemented\)",
    (400, "InvalidRequest"): r"the store refused to write it \(400 InvalidRequest\)",
    (412, "PreconditionFailed"): r"the store refused to write it \(412 PreconditionFailed\)",
}


@pytest.mark.parametrize("answer", REFUSALS, ids=lambda answer: f"{answer[0]}-{answer[1]}")
def test_an_answer_is_explained(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]
) -> None:
    with answering([answer]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = opened(dest, tmp_path, retries=1)
        file = store.stage("part")
        file.path.write_bytes(b"rows")
        file.keep()
        with pytest.raises(StoreError) as caught:
            file.wait()
    assert re.search(f"^{dest}/part: .*{REFUSALS[answer]}", str(caught.value))
    check_secrets(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # its own bytes
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


def check_secrets(error: BaseException) -> None:
    """Assert that neither an error nor what led to it shows a URL, an answer's text or a key."""
    shown = "".join(traceback.format_exception(error))
    for secret in ("http://", "hunter2", "testtest", "Message"):
        assert secret not in shown, secret


ACTIONS = {
    "read": "s3:GetObject, and s3:ListBucket",
    "list": "s3:ListBucket",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject",
}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_denial_names_the_action_and_the_permission(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    with answering([(403, "AccessDenied")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = opened(dest, tmp_path)
        operations: dict[str, list[Callable[[], object]]] = {
            "read": [lambda: store.read("a/1"), lambda: store.open("a/1"),
                     lambda: store.exists("a/1"), lambda: store.writer("a/1")],
            "list": [lambda: store.names("a"), lambda: store.names("a", after="1"),
                     lambda: store.delete_tree("a")],
            "write": [lambda: store.create("a/1", b""), store.check_conditions],
            "delete": [lambda: store.delete("a/1"), lambda: store.delete("a/1", "a/2")],
        }  # fmt: skip
        for operation in operations[action]:
            with pytest.raises(StoreError) as caught:
                operation()
            assert re.search(
                rf"^{dest}.*: not allowed to {action} it \(403.*; the credentials need "
                + ACTIONS[action],
                str(caught.value),
            )
            check_secrets(caught.value)


def test_a_copy_that_is_denied_needs_two_permissions(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering([(404, ""), (403, "AccessDenied")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError, match=r"copy it .* need s3:GetObject and s3:PutObject"):
            opened(dest, tmp_path).publish([("staging/part", "part")])


def test_an_absent_object_has_no_address(dest: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"^{dest}/absent: there is no such object$") as caught:
        opened(dest, tmp_path).read("absent")
    check_secrets(caught.value)


def test_a_store_that_is_out_of_reach_is_named(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(
            StoreError,
            match=rf"^{dest}/1: no connection to 127\.0\.0\.1:{port}, .* 1 retries; check AWS_ENDP",
        ) as caught:
            opened(dest, tmp_path, retries=1).read("1")
    check_secrets(caught.value)


def test_a_name_that_cannot_be_a_key_is_an_error(dest: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a name inside"):
        opened(dest, tmp_path).read("a/../b")


def test_azure_shows_no_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared access signature is part of every URL."""
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2026-01-01&sp=rl&sig=hunter2")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    answers = [
        (403, "AuthorizationPermissionMismatch"),
        (404, "ContainerNotFound"),
        (503, "ServerBusy"),
    ]
    expected = [
        r"not allowed to read it \(403 .*; check AZURE_STORAGE_SAS_TOKEN: .* sp=racwdl, and must",
        r"there is no container lake .404 ContainerNotFound.; create it, or choose another dest",
        r"the store is overloaded .503 ServerBusy., also after 1 retries",
    ]
    for answer, words in zip(answers, expected, strict=True):
        with answering([answer]) as url:
            monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
            store = opened("az://lake/x", tmp_path, retries=1)
            with pytest.raises(StoreError, match=rf"^az://lake/x/1: {words}") as caught:
                store.read("1")
        check_secrets(caught.value)
        assert "hunter2" not in repr(store)


def test_a_store_that_does_not_answer_in_time_is_an_error(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moto: MotoServer
) -> None:
    """A request has 30 seconds, or minutes with a part file; here it has less."""
    monkeypatch.setattr(credentials, "SMALL_TIMEOUT", timedelta(milliseconds=300))
    store = opened(dest, tmp_path, retries=1)
    with (
        stopped(moto),
        pytest.raises(StoreError, match=rf"^{dest}/1: the store did not answer in time") as caught,
    ):
        store.read("1")
    check_secrets(caught.value)


@pytest.mark.parametrize("key", ["//x", "/a/../x"])
def test_a_key_that_cannot_be_listed_is_named(
    dest: str, tmp_path: Path, moto: MotoServer, key: str
) -> None:
    """Waiting does not help: somebody has to delete that object."""
    prefix = parsed_url(dest).prefix
    s3 = boto3.client("s3", endpoint_url=moto.environment["AWS_ENDPOINT_URL"])
    s3.put_object(Bucket=parsed_url(dest).bucket, Key=prefix + key, Body=b"")
    directory = "a" if "a" in key else ""
    with pytest.raises(StoreError, match=rf"such as {prefix}/.*; delete that object") as caught:
        opened(dest, tmp_path).names(directory)
    check_secrets(caught.value)


@pytest.mark.parametrize("status", [400, 404, 405])
def test_the_variable_of_a_server_that_is_not_a_store_is_named(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with answering([(status, "")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        says = rf"refused to list it \({status}\); is AWS_ENDPOINT_URL the address of an object st"
        with pytest.raises(StoreError, match=says):
            opened(dest, tmp_path).names()


def test_an_error_with_status_200_is_not_taken_for_a_broken_connection(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 begins to answer a copy before it knows how that ends."""
    with answering([(404, ""), (200, "InternalError")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError, match=r"the store failed to copy it \(InternalError\)"):
            opened(dest, tmp_path, retries=0).publish([("staging/part", "part")])


def test_a_token_service_that_refuses_is_not_taken_for_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An EC2 machine's metadata service, whose role was taken away."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with answering([(403, "")]) as url:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", url)
        says = r"token service refused to give credentials \(403\); check the role or the identity"
        with pytest.raises(StoreError, match=says):
            opened("s3://bucket/lake", tmp_path, retries=0).names()


def test_a_wrong_key_of_an_azure_account_needs_no_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    with answering([(403, "")]) as url:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
        with pytest.raises(StoreError, match=r"; check AZURE_STORAGE_ACCOUNT_KEY, and .* no role"):
            opened("az://lake/x", tmp_path, retries=0).exists("1")
