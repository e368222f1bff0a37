"""Credentials come from each cloud's usual environment, and appear nowhere."""

from __future__ import annotations

import json
import random
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from streamlic.errors import StoreError, UsageError
from streamlic.storage import credentials
from streamlic.storage.base import NotFound
from streamlic.storage.credentials import storage_options
from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.open_store import open_store
from streamlic.tables.delta.table import Table
from tests.support.object_servers import MotoServer
from tests.support.store_proxy import answering

SECRET = "hunter2hunter2"


pytestmark = pytest.mark.usefixtures("no_clouds")


def write_profile(home: Path, name: str) -> None:
    directory = home / ".aws"
    directory.mkdir()
    (directory / "credentials").write_text(
        f"[{name}]\naws_access_key_id = KEY\naws_secret_access_key = {SECRET}\n"
    )
    section = name if name == "default" else f"profile {name}"
    (directory / "config").write_text(f"[{section}]\nregion = eu-west-3\n")


@pytest.mark.parametrize("name", ["default", "etl"])
def test_a_profile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moto: MotoServer, name: str
) -> None:
    """``default`` without being named, as AWS's own tools do."""
    write_profile(tmp_path, name)
    if name != "default":
        monkeypatch.setenv("AWS_PROFILE", name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.environment["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    store = open_store(moto.dest(f"profile-{name}"))
    store.create("1", b"one")
    assert store.read("1") == b"one"
    options = open_store("s3://bucket/lake").storage_options()
    assert options["AWS_ACCESS_KEY_ID"] == "KEY"
    assert options["AWS_SECRET_ACCESS_KEY"] == SECRET
    assert options["AWS_REGION"] == "eu-west-3"
    assert SECRET not in repr(store)


def test_deltalake_gets_a_profile_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moto: MotoServer
) -> None:
    """It reads the environment itself, but for profiles."""
    write_profile(tmp_path, "etl")
    monkeypatch.setenv("AWS_PROFILE", "etl")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.environment["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    store = open_store(moto.dest("delta-profile"))
    Table.create(store, "licenses", pa.schema([("id", pa.string())]), lake="1", partition_by=())
    table = Table.opened(store, "licenses")
    assert table is not None
    assert (table.owner, dict(table.files)) == ("1", {})


def test_a_profile_whose_credentials_cannot_be_renewed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a single sign-on that has ended: a process gives them once, for a minute."""
    until = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    given = {"Version": 1, "AccessKeyId": "K", "SecretAccessKey": SECRET, "Expiration": until}
    (tmp_path / "given").write_text(json.dumps(given))
    (tmp_path / ".aws").mkdir()
    command = f"cat {tmp_path}/given && rm {tmp_path}/given"
    (tmp_path / "give").write_text(command)
    config = f"[profile sso]\nregion = eu-west-3\ncredential_process = sh {tmp_path}/give\n"
    (tmp_path / ".aws" / "config").write_text(config)
    monkeypatch.setenv("AWS_PROFILE", "sso")
    with pytest.raises(UsageError, match="AWS_PROFILE sso has no usable credentials") as raised:
        storage_options(parsed_url("s3://bucket/lake"))
    assert not (tmp_path / "given").exists(), "it had some"
    assert SECRET not in str(raised.value)


def test_keys_precede_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profile(tmp_path, "etl")
    monkeypatch.setenv("AWS_PROFILE", "etl")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    options = open_store("s3://bucket/lake").storage_options()
    assert options["AWS_ACCESS_KEY_ID"] == "OTHER"


def test_a_profile_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(tmp_path, "etl")
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(UsageError, match=r"^AWS_PROFILE absent has no usable .*ProfileNotFound"):
        open_store("s3://bucket/lake")


def test_a_profile_needs_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "etl")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError, match=r"^AWS_PROFILE needs boto3: pip install boto3"):
        open_store("s3://bucket/lake")


def test_without_any_credentials_a_store_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata service of a machine that has none would be asked for minutes."""
    with pytest.raises(UsageError, match=r"^found no AWS credentials: set AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket/lake")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", address)
        with pytest.raises(UsageError, match="found no AWS credentials"):
            open_store("s3://bucket/lake")
        nobody.listen()
        open_store("s3://bucket/lake")  # Such a service may have a role.


def test_a_public_bucket_needs_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    open_store("s3://bucket/lake")


def test_a_url_without_tls_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        UsageError, match=r"https:// URL in AWS_ENDPOINT_URL.*set AWS_ALLOW_HTTP=true"
    ):
        open_store("s3://bucket/lake")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(StoreError, match="which AWS_ENDPOINT_URL names: Conn"):
        open_store("s3://bucket/lake")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert SECRET not in repr(open_store("s3://bucket/lake"))


def test_behind_a_proxy_only_a_request_can_tell_who_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    open_store("s3://bucket/lake")


def test_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"which storage account\? Set AZURE_STORAGE_ACCOUNT_NAME"):
        open_store("az://container/lake")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==")
    assert open_store("abfss://c@acc.dfs.core.windows.net/x").where("a").endswith("windows.net/x/a")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    store = open_store("az://container/lake")
    assert (store.where("a"), repr(store)) == (
        "az://container/lake/a",
        "ObjectStore('az://container/lake')",
    )


def test_other_libraries_get_the_same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-west-3",
        "AZURE_STORAGE_ACCOUNT_KEY": "key", "GOOGLE_APPLICATION_CREDENTIALS": "/a/file",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    s3 = open_store("s3://bucket/lake").storage_options()
    assert open_store("/a/lake").storage_options() == {}
    assert {name: s3[name] for name in sorted(s3) if name != "AWS_EC2_METADATA_DISABLED"} == {
        name: value for name, value in sorted(given.items()) if name.startswith("AWS_")
    }
    google = storage_options(parsed_url("gs://bucket/lake"))
    assert google == {"GOOGLE_APPLICATION_CREDENTIALS": "/a/file"}
    assert storage_options(parsed_url("abfss://c@acc.dfs.core.windows.net/x")) == {
        "AZURE_STORAGE_ACCOUNT_KEY": "key",
        "AZURE_STORAGE_ACCOUNT_NAME": "acc",
    }


def test_a_service_account_that_cannot_be_read_is_an_error_without_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", f'{{"private_key": "{SECRET}"')
    with pytest.raises(UsageError, match=r"^gs://bucket/lake: the environment is not") as caught:
        open_store("gs://bucket/lake")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_store_that_is_overloaded_for_minutes_is_waited_for() -> None:
    """The waits are computed as obstore documents them: nobody waits for minutes here.

    Each is random: up to ``base`` times the one before, and not above the longest.
    """
    policy = credentials.PATIENT
    first, longest = (
        policy["backoff"][name].total_seconds() for name in ("init_backoff", "max_backoff")
    )
    for seed in range(1000):
        chance, wait, waited = random.Random(seed), first, 0.0
        for _ in range(policy["max_retries"]):
            wait = min(chance.uniform(first, wait * policy["backoff"]["base"]), longest)
            waited += wait
        assert waited > 150
    assert policy["retry_timeout"] == timedelta(minutes=3)


def test_an_overloaded_store_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with answering([(503, "SlowDown"), (503, "SlowDown"), (404, "NoSuchKey")]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(NotFound):
            open_store("s3://bucket/lake").read("1")
