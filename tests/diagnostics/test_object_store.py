"""What the doctor finds in an object store (moto's S3), and that it leaves nothing there."""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamlic.diagnostics import scratch
from streamlic.diagnostics.credentials_kind import credentials_kind, endpoint_of
from streamlic.diagnostics.object_store import check_clock
from streamlic.diagnostics.scratch import check_scratch
from streamlic.errors import StoreError
from streamlic.job.options import JobOptions
from streamlic.storage.dest_urls import Service, parsed_url
from streamlic.storage.scratch import Scratch
from tests.support.cli import Ended, run_cli
from tests.support.policies import ACTIONS, MotoAccount, moto_account
from tests.support.raw_server import server

MIB = 1 << 20


@pytest.fixture(scope="module")
def account() -> Iterator[MotoAccount]:
    """Yield an account of moto, whose user has what a policy allows."""
    with moto_account() as account:
        yield account


async def doctor(dest: str, *args: str, **env: str) -> tuple[Ended, dict[str, dict[str, Any]]]:
    """Return how the doctor ended, and its checks by their names."""
    ended = await run_cli(
        "doctor", dest, "--json", "--base-url", "http://127.0.0.1:9", *args, **env
    )
    return ended, {one["name"]: one for one in ended.summary["checks"]}


async def test_an_object_store_is_tried_and_nothing_is_left(account: MotoAccount) -> None:
    account.allow(ACTIONS)
    ended, found = await doctor(account.dest("tried"), **account.environment)
    assert {name: found[name]["state"] for name in ("credentials", "dest", "clock", "scratch")} == (
        dict.fromkeys(("credentials", "dest", "clock", "scratch"), "ok")
    )
    assert found["credentials"]["found"] == "a key (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    assert found["dest"]["facts"]["allowed"] == ["list", "write", "read", "copy", "delete"]
    assert found["dest"]["facts"]["conditions"]
    assert account.keys("tried") == []
    assert not any(one in ended.out for one in account.secrets)


@pytest.mark.parametrize("action", [one for one in ACTIONS if one != "s3:AbortMultipartUpload"])
async def test_a_permission_that_is_missing_is_named_as_a_run_names_it(
    account: MotoAccount, tmp_path: Path, action: str
) -> None:
    (tmp_path / "body.json").write_bytes(b'{"result":[{"id":"a"}]}')
    account.allow([one for one in ACTIONS if one != action])
    dest = account.dest(f"without-{action[3:]}")
    ended, found = await doctor(dest, **account.environment)
    converted = await run_cli("convert", str(tmp_path / "body.json"), dest, **account.environment)
    assert (found["dest"]["state"], found["dest"]["exit_code"]) == ("failed", 1)
    assert converted.code == 1, converted.err
    for text in (found["dest"]["advice"], converted.err):
        assert action in text
    assert not any(one in ended.out + converted.err for one in account.secrets)


async def test_the_least_policy_of_the_page_is_enough(account: MotoAccount, tmp_path: Path) -> None:
    """For a run with uploads in parts, a second one that overwrites it, and every reader."""
    account.allow(account.policy_of_the_page())
    dest, env = account.dest("least"), account.environment
    rows = [{"id": str(one), "name": os.urandom(50_000).hex()} for one in range(200)]
    (tmp_path / "body.json").write_text(json.dumps({"result": rows}))
    for mode in ("error", "overwrite"):
        source = str(tmp_path / "body.json")
        ended = await run_cli("convert", source, dest, "--mode", mode, **env)
        assert ended.code == 0, ended.err
    for command in ("verify", "inspect", "head"):
        ended = await run_cli(command, dest, **env)
        assert ended.code == 0, ended.err
    assert max(account.sizes("least")) > 8 * MIB, "an upload in parts"


async def test_a_bucket_that_is_missing_and_a_dest_of_others_are_refused(
    account: MotoAccount,
) -> None:
    account.allow(ACTIONS)
    ended, found = await doctor("s3://absent-bucket/lake", **account.environment)
    assert ended.code == 1
    assert "there is no bucket absent-bucket" in found["dest"]["found"]
    account.put("others/report.csv", b"mine")
    ended, found = await doctor(account.dest("others"), **account.environment)
    assert found["dest"]["exit_code"] == 2
    assert "holds other files, such as 'report.csv'" in found["dest"]["found"]
    assert account.keys("others") == ["others/report.csv"]


async def test_a_store_where_nobody_listens_takes_seconds_not_minutes() -> None:
    env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ALLOW_HTTP": "true"}
    _, found = await doctor("s3://bucket/lake", AWS_ENDPOINT_URL="http://127.0.0.1:9", **env)
    assert found["dest"]["state"] == "failed"
    assert "no connection to 127.0.0.1:9" in found["dest"]["found"]
    assert (found["clock"]["state"], found["scratch"]["state"]) == ("warning", "ok")


async def test_offline_asks_no_store(tmp_path: Path) -> None:
    ended, found = await doctor("s3://bucket/lake", "--offline", "--scratch", str(tmp_path))
    assert ended.code == 0
    assert {"credentials", "scratch"} <= found.keys()
    assert not {"dest", "clock"} & found.keys()


@pytest.mark.parametrize(
    ("seconds", "state", "says"),
    [
        (0, "ok", "it agrees with"),
        (-200, "ok", r"is 3 m \d\d s fast"),
        (320, "warning", r"is 5 m \d\d s slow"),
        (-1000, "failed", r"is 16 m \d\d s fast"),
    ],
)
async def test_the_clock_is_compared_with_the_servers(seconds: int, state: str, says: str) -> None:
    """Whatever the answer's status: stores redirect or refuse who has no key."""
    date = email.utils.formatdate(time.time() + seconds, usegmt=True).encode()
    answer = b"HTTP/1.1 307 No\r\nLocation: /x\r\nDate: %b\r\nConnection: close\r\n\r\n" % date
    async with server(answer) as (url, _):
        check = await asyncio.to_thread(check_clock, url)
    assert check.state == state
    assert re.search(says, check.found)


def test_scratch_needs_room_and_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = check_scratch(JobOptions(scratch=str(tmp_path), part_bytes=MIB))
    assert (enough.state, enough.facts["needed_bytes"]) in (("ok", 5 * MIB), ("warning", 5 * MIB))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(scratch, "_MOUNTS", tmp_path / "mounts")
    (tmp_path / "mounts").write_text("disk / ext4 rw 0 0\n")
    assert check_scratch(JobOptions(scratch=str(tmp_path), part_bytes=MIB)).state == "ok"
    little = check_scratch(JobOptions(scratch=str(tmp_path), part_bytes=1 << 60))
    assert (little.state, "--part-bytes" in str(little.advice)) == ("warning", True)
    (tmp_path / "mounts").write_text(f"disk / ext4 rw 0 0\nshm {tmp_path} tmpfs rw 0 0\n")
    in_memory = check_scratch(JobOptions(scratch=str(tmp_path), part_bytes=MIB))
    assert (in_memory.state, "in memory (tmpfs)" in in_memory.found) == ("warning", True)
    new = check_scratch(JobOptions(scratch=str(tmp_path / "new/deep"), part_bytes=MIB))
    assert (new.state, (tmp_path / "new").exists()) == ("warning", False), "a run creates it"
    refused = check_scratch(JobOptions(scratch="/proc/none"))
    assert (refused.state, refused.exit_code) == ("failed", 1)


def test_a_system_without_temporary_files_needs_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the root is read only. An imitation: here some directory can always be written."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    check = check_scratch(JobOptions())
    assert (check.state, check.exit_code) == ("failed", 1)
    assert "no directory for temporary files: No usable temporary directory" in check.found
    assert "--scratch" in str(check.advice)
    with pytest.raises(StoreError, match="choose a directory that can be written as scratch"):
        Scratch(None).path("part")


def test_an_endpoint_that_cannot_be_a_url_is_a_finding() -> None:
    check = check_clock("https://a b.blob.core.windows.net")
    assert check.state == "warning"
    assert "did not say the time" in check.found


async def test_an_endpoint_where_nothing_listens_is_named_at_once() -> None:
    """A request would be repeated for three minutes."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _, found = await doctor(
        "s3://bucket/lake", AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s",
        AWS_ALLOW_HTTP="true", AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
    )  # fmt: skip
    words = f"no connection to 127.0.0.1:{port}, which AWS_ENDPOINT_URL names: Connection refused"
    assert words in found["dest"]["found"]
    assert "check AWS_ENDPOINT_URL, or give the same command again" in found["dest"]["advice"]


@pytest.mark.parametrize(
    ("service", "given", "kind"),
    [
        ("s3", {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"},
         "a temporary key"),
        ("s3", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/f", "AWS_ROLE_ARN": "r"}, "a role by web identi"),
        ("s3", {"AWS_PROFILE": "p"}, "a profile (AWS_PROFILE)"),
        ("s3", {}, "the role of this machine, if it has one"),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/f"}, "the default credentials' file"),
        ("az", {"AZURE_STORAGE_ACCOUNT_KEY": "k"}, "the account's key"),
        ("az", {"AZURE_CLIENT_ID": "i", "AZURE_CLIENT_SECRET": "s"}, "a service principal"),
        ("az", {"AZURE_CLIENT_ID": "i", "AZURE_FEDERATED_TOKEN_FILE": "/f"}, "a workload identity"),
    ],
)  # fmt: skip
def test_the_kind_of_credentials_is_shown_and_no_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: Service, given: dict[str, str],
    kind: str,
) -> None:  # fmt: skip
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in given.items():
        monkeypatch.setenv(name, f"secret-{value}")
    found = credentials_kind(service)
    assert found.startswith(kind)
    assert "secret" not in found


@pytest.mark.parametrize(
    ("dest", "given", "endpoint"),
    [
        ("s3://b/x", {"AWS_REGION": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com"),
        ("s3://b/x", {"AWS_ENDPOINT_URL": "https://u:p@s3.example:9000"}, "https://s3.example:9000"),
        ("gs://b/x", {}, "https://storage.googleapis.com"),
        ("az://c/x", {"AZURE_STORAGE_ACCOUNT_NAME": "acc"}, "https://acc.blob.core.windows.net"),
        ("abfss://c@acc.dfs.core.windows.net/x", {}, "https://acc.blob.core.windows.net"),
    ],
)  # fmt: skip
def test_the_endpoint_is_shown_without_a_password(
    monkeypatch: pytest.MonkeyPatch, dest: str, given: dict[str, str], endpoint: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AZURE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert endpoint_of(parsed_url(dest)) == endpoint
