"""A mistake in the variables of a cloud is named, without a value, before a request is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamlic.diagnostics.credentials_kind import credentials_kind, endpoint_of
from streamlic.diagnostics.object_store import check_object_store
from streamlic.errors import StoreError, UsageError
from streamlic.job.options import JobOptions
from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.open_store import open_store
from tests.storage.test_credentials import write_profile
from tests.support.object_servers import MotoServer

SECRET = "hunter2"
S3 = {"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-west-3"}
AZURE = {"AZURE_STORAGE_ACCOUNT_NAME": "acc", "AZURE_STORAGE_ACCOUNT_KEY": "aHVudGVyMg=="}
ADDRESS = f"https://u:{SECRET}@host"
S3_MISTAKES = {
    ("AWS_ENDPOINT_URL", f"{ADDRESS}:abc"): r"in AWS_ENDPOINT_URL, got one whose host or port is",
    ("AWS_ENDPOINT_URL", "localhost:9000"): r"in AWS_ENDPOINT_URL, got one without https:// or",
    ("AWS_ENDPOINT", f"{ADDRESS} name"): r"in AWS_ENDPOINT, got one with spaces",
    ("AWS_ENDPOINT_URL_S3", "https://"): r"in AWS_ENDPOINT_URL_S3, got one without a host",
    ("AWS_PROXY_URL", f"{ADDRESS}:99999"): r"in AWS_PROXY_URL, got one whose host or port",
    ("AWS_ACCESS_KEY_ID", f"{SECRET}\n"): r"^AWS_ACCESS_KEY_ID ends or begins with a line feed",
    ("AWS_SESSION_TOKEN", f"{SECRET}\n"): r"^AWS_SESSION_TOKEN ends or begins with a line feed",
    ("AWS_SESSION_TOKEN", f"{SECRET}\nx"): r"in AWS_SESSION_TOKEN, got other characters",
    ("AWS_SESSION_TOKEN", f"{SECRET}\u00e9"): r"in AWS_SESSION_TOKEN, got other characters",
    ("AWS_REGION", "eu-west-3\n"): r"^AWS_REGION ends or begins with a line feed",
    ("AWS_CONDITIONAL_PUT", "disabled"): r"AWS_CONDITIONAL_PUT=disabled turns .*: unset it",
    ("AWS_SKIP_SIGNATURE", "maybe"): r"expected true or false in AWS_SKIP_SIGNATURE",
    ("AWS_SECRET_ACCESS_KEY", ""): r"AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not",
}
AZURE_MISTAKES = {
    ("AZURE_STORAGE_ENDPOINT", f"https://host/?sv=2&sig={SECRET}"): r"AZURE_STORAGE_ENDPOINT, got "
    r"one with \? or #",
    ("AZURE_STORAGE_ACCOUNT_NAME", f"AccountName=acc;AccountKey={SECRET};"): r"in AZURE_STORAGE_ACC"
    r"OUNT_NAME: 3 to 24 lower-case letters",
    ("AZURE_STORAGE_TOKEN", f"{SECRET}\n"): r"^AZURE_STORAGE_TOKEN ends or begins with a line feed",
}
MISTAKES = [
    *(("s3://bucket/lake", S3, *one) for one in S3_MISTAKES.items()),
    *(("az://cont/lake", AZURE, *one) for one in AZURE_MISTAKES.items()),
]


pytestmark = pytest.mark.usefixtures("no_clouds")


@pytest.mark.parametrize(("dest", "given", "mistake", "says"), MISTAKES)
def test_a_mistake_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
    dest: str,
    given: dict[str, str],
    mistake: tuple[str, str],
    says: str,
) -> None:
    for name, value in {**given, mistake[0]: mistake[1]}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=says) as caught:
        open_store(dest)
    checks = check_object_store(dest, JobOptions(), is_online=True)
    assert (checks[0].name, checks[0].state, checks[0].exit_code) == ("credentials", "failed", 2)
    assert SECRET not in str(caught.value) + repr(checks)
    if "ENDPOINT" in mistake[0]:
        assert SECRET not in endpoint_of(parsed_url(dest))


def test_an_empty_variable_counts_as_not_set(
    dest: str, moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("ENDPOINT", "ENDPOINT_URL_S3", "SESSION_TOKEN", "SKIP_SIGNATURE", "PAGER"):
        monkeypatch.setenv(f"AWS_{name}", "")
    store = open_store(dest)
    store.create("1", b"one")
    assert store.read("1") == b"one"
    assert "" not in store.storage_options().values()
    monkeypatch.setenv("GOOGLE_BASE_URL", "")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    open_store("gs://bucket/lake")
    assert "GOOGLE_BASE_URL" not in os.environ
    assert os.environ["AWS_PAGER"] == "", "empty has a meaning there"


def test_what_is_set_to_false_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_profile(tmp_path, "etl")
    monkeypatch.setenv("AWS_PROFILE", "etl")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "false")
    assert open_store("s3://bucket/lake").storage_options()["AWS_ACCESS_KEY_ID"] == "KEY"
    assert credentials_kind("s3") == "a profile (AWS_PROFILE)"


def test_the_doctor_names_a_profile_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_profile(tmp_path, "etl")
    monkeypatch.setenv("AWS_PROFILE", "absent")
    check = check_object_store("s3://bucket/lake", JobOptions(), is_online=False)[0]
    assert (check.name, check.state) == ("credentials", "failed")
    assert "AWS_PROFILE absent has no usable credentials" in check.found


def test_a_panic_of_the_library_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here by a file that no check knows: it names an address without a host."""
    key = '{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true,'
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", f'{key}"gcs_base_url":"localhost:1"}}')
    with pytest.raises(StoreError, match=r"could not list it: obstore failed; check the variables"):
        open_store("gs://bucket/lake").names()
