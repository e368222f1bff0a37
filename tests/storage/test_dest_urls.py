"""A DEST in an object store says where, and never with which credentials."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamlic.errors import UsageError
from streamlic.storage.dest_urls import parsed_url
from streamlic.storage.local import LocalStore
from streamlic.storage.open_store import open_store

URLS = {
    "s3://bucket/lake": ("s3", "bucket", "lake", "", "s3://bucket/lake"),
    "s3://bucket/a/b/": ("s3", "bucket", "a/b", "", "s3://bucket/a/b"),
    "S3A://my.bucket-1/a b": ("s3", "my.bucket-1", "a b", "", "s3a://my.bucket-1/a b"),
    "s3://bucket": ("s3", "bucket", "", "", "s3://bucket"),
    "s3://bucket/": ("s3", "bucket", "", "", "s3://bucket"),
    "s3:/bucket/lake": ("s3", "bucket", "lake", "", "s3://bucket/lake"),
    "gs://bucket_1/day=2026-01-01": ("gs", "bucket_1", "day=2026-01-01", "",
                                     "gs://bucket_1/day=2026-01-01"),
    "az://container/lake": ("az", "container", "lake", "", "az://container/lake"),
    "abfs://container/lake": ("az", "container", "lake", "", "abfs://container/lake"),
    "abfss://c@acc1.dfs.core.windows.net/lake": (
        "az", "c", "lake", "acc1", "abfss://c@acc1.dfs.core.windows.net/lake"),
    "abfss://c@acc1.blob.core.windows.net": (
        "az", "c", "", "acc1", "abfss://c@acc1.dfs.core.windows.net"),
}  # fmt: skip


@pytest.mark.parametrize("dest", URLS)
def test_a_url_is_read(dest: str) -> None:
    """The module pathlib makes one slash of two."""
    url = parsed_url(dest)
    found = (url.service, url.bucket, url.prefix, url.account, str(url))
    assert found == URLS[dest]
    assert parsed_url(str(url)) == parsed_url(str(url).replace("://", ":/"))


REFUSED = {
    "s3://": "s3://bucket/path, gs://bucket/path",
    "s3:///lake": None,
    "s3://bucket/a//b": "a path without empty parts",
    "s3://bucket/../b": "a path without empty parts, . and ..",
    "s3://bucket/a%20b": "a path without '%'",
    "s3://bucket/*.parquet": r"a path without '\*'",
    "s3://bucket/a\nb": r"a path without '\\n'",
    "s3://b ucket/a": "s3://bucket/path",
    "gs://-/a": "s3://bucket/path",
    "az://c@acc.example.com/lake": "abfss://container@account.dfs.core.windows.net/path",
    "abfss://@acc.dfs.core.windows.net/lake": "s3://bucket/path",
}


@pytest.mark.parametrize("dest", [one for one, expected in REFUSED.items() if expected])
def test_a_url_without_a_place_is_refused(dest: str) -> None:
    with pytest.raises(UsageError, match=rf"^expected {REFUSED[dest]}.*, got .* \(dest\)$"):
        parsed_url(dest)


@pytest.mark.parametrize(
    "dest",
    [
        "s3://key:hunter2@bucket/lake",
        "s3://hunter2@bucket/lake",
        "gs://hunter2@bucket/lake",
        "az://container/lake?sig=hunter2",
        "az://me:hunter2@container/lake",
        "abfss://c:hunter2@acc.dfs.core.windows.net/lake",
        "abfss://hunter2@c@acc.dfs.core.windows.net/lake",
        "s3://bucket/lake#hunter2",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(dest: str) -> None:
    with pytest.raises(UsageError, match=r"expected a URL of .* without credentials") as caught:
        open_store(dest)
    assert "hunter2" not in str(caught.value)


def test_a_directory_needs_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlic.storage.object_store", None)
    assert isinstance(open_store(str(tmp_path / "lake")), LocalStore)


def test_a_url_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("streamlic.storage.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"^s3://b/x needs .*: pip install '.\[cloud\]'"):
        open_store("s3://b/x")
