"""A DEST that cannot hold a lake is refused before anything is created or requested."""

from __future__ import annotations

from pathlib import Path

import pytest

import streamlic
from streamlic.errors import UsageError
from streamlic.job.options import JobOptions
from streamlic.storage.dest_urls import is_url
from streamlic.storage.local import LocalStore
from streamlic.storage.open_store import open_store
from tests.support.cli import ACCOUNT, run_cli

NOWHERE = "http://127.0.0.1:9"
STORES = ["s3://b/x", "s3a://b", "gs://b", "az://c/x", "abfs://c/x",
          "abfss://c@a.dfs.core.windows.net/x", "S3://b"]  # fmt: skip
OTHERS = ["https://user:secret@host/x", "dbfs:/mnt/x", "hdfs://n/x", "r2://b/x"]
FILES = ["out.parquet", "x.csv", "a/b.json", "x.jsonl", "x.ndjson", "x.xlsx", "x.parq", "x.PARQUET",
         "x.json.gz", "out.parquet/"]  # fmt: skip
COMMANDS = [
    ("export", ["--account", ACCOUNT, "--base-url", NOWHERE]),
    ("export", ["--all-accounts", "--base-url", NOWHERE]),
    ("verify", []),
    ("inspect", []),
    ("demo", []),
]


@pytest.mark.parametrize("dest", OTHERS)
@pytest.mark.parametrize("kind", [str, Path])
def test_a_url_that_cannot_be_written_is_refused(dest: str, kind: type[str | Path]) -> None:
    """Also as pathlib writes it, which makes one slash of two."""
    can = "a directory, or a URL of s3, s3a, gs, az, abfs or abfss"
    with pytest.raises(UsageError, match=rf"^expected {can}, got \w+://\.\.\. \(dest\)$") as no:
        LocalStore(kind(dest))
    assert "secret" not in str(no.value)


@pytest.mark.parametrize("dest", STORES)
def test_a_url_of_an_object_store_is_known(dest: str) -> None:
    assert is_url(dest)


@pytest.mark.parametrize("dest", STORES)
def test_a_url_is_not_a_directory(dest: str) -> None:
    with pytest.raises(UsageError, match=r"expected a directory on this machine, got \w+://"):
        LocalStore(dest)


def test_a_url_of_a_file_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a directory without file:// before it"):
        LocalStore("file:///tmp/x")


@pytest.mark.parametrize("dest", FILES)
def test_a_name_that_looks_like_a_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    """Unless it is a directory that already exists."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"looks like a file.*a name without \."):
        LocalStore(dest)
    Path(dest).mkdir(parents=True)
    assert LocalStore(dest).names() == []


@pytest.mark.parametrize("name", ["v1.2", "out.d", "2026-01-01T00:00:00.000", "a:b", ".parquet"])
def test_other_names_are_directories(tmp_path: Path, name: str) -> None:
    LocalStore(tmp_path / name).make_directory()
    assert (tmp_path / name).is_dir()


def test_an_existing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dest").write_text("mine")
    with pytest.raises(UsageError, match=r"expected a directory, got .*dest, which is a file"):
        LocalStore(tmp_path / "dest")


IMPOSSIBLE = {
    "file/out": r"got file/out, but file is a file",
    "file/out/deeper": r"got file/out/deeper, but file is a file",
    "file/..": r"got file/\.\., but file is a file",
    "link": r"got link, which is a link that does not lead to a directory",
    "link/out": r"got link/out, but link is a link that does not lead to a directory",
    "loop/out": r"got loop/out, but loop is a link that does not lead to a directory",
    "x" * 256: r"names of up to 255 bytes, got one of 256: x+\.\.\.",
    "new/" + "x" * 256: r"names of up to 255 bytes, got one of 256: new/x+\.\.\.",
    "new/" + "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 128: r"got one of 256: new/",
    "/".join(["x" * 100] * 41): r"a shorter path, got x.*\.\.\. of 4,140 bytes",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a file and links, and change to it."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("link").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(("dest", "says"), IMPOSSIBLE.items())
def test_a_path_that_cannot_be_a_directory_is_refused(place: Path, dest: str, says: str) -> None:
    before = sorted(place.iterdir())
    with pytest.raises(UsageError, match=says + r".* \(dest\)$") as refused:
        LocalStore(dest)
    assert refused.value.exit_code == 2
    assert sorted(place.iterdir()) == before


async def test_both_commands_refuse_a_path_that_cannot_be_a_directory(place: Path) -> None:
    """Before anything is requested or read."""
    exported = await run_cli("export", "file/out", "--account", ACCOUNT, "--base-url", NOWHERE)
    converted = await run_cli("convert", "-", "link/out", stdin=b'{"result":[{"id":"a"}]}')
    assert (exported.code, exported.err.count("\n")) == (2, 1)
    assert (converted.code, converted.err.count("\n")) == (2, 1)
    assert len(list(place.iterdir())) == 3


def test_a_path_of_directories_to_be_made_may_be_as_long_as_names_may_be(place: Path) -> None:
    dest = place / ("x" * 255) / "out"
    LocalStore(dest).make_directory()
    assert dest.is_dir()


@pytest.mark.parametrize("dest", ["hdfs://n/x", "out.parquet"])
@pytest.mark.parametrize(("command", "more"), COMMANDS)
async def test_every_command_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str, command: str, more: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = await run_cli(command, dest, *more)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "expected a directory" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dest", ["hdfs://n/x", "out.parquet"])
async def test_convert_doctor_and_python_say_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    monkeypatch.chdir(tmp_path)
    converted = await run_cli("convert", "-", dest, stdin=b'{"result":[{"id":"a"}]}')
    looked = await run_cli("doctor", dest, "--offline")
    with pytest.raises(UsageError, match="expected a directory"):
        streamlic.export(
            dest, ACCOUNT, connection=streamlic.ConnectionSettings(token="t", base_url=NOWHERE)
        )
    assert converted.code == looked.code == 2
    assert "expected a directory" in converted.err
    assert "expected a directory" in looked.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("export", "--account", ACCOUNT, "--base-url", NOWHERE),
        ("compact",),
        ("doctor", "--base-url", NOWHERE),
    ],
    ids=lambda one: one[0],
)
async def test_part_files_that_a_store_cannot_copy_are_refused(command: tuple[str, ...]) -> None:
    """Such a run would be stuck when it is complete: S3 copies 5 GiB in one request."""
    ended = await run_cli(*command, "s3://bucket/lake", "--part-bytes", "3073MiB")
    assert "expected at most 3GiB for s3://bucket/lake, got 3.001GiB" in ended.out + ended.err
    assert "--part-bytes" in ended.out + ended.err
    assert JobOptions(part_bytes=3 << 30).open_store("/a/lake")


@pytest.mark.parametrize("dest", [" s3://bucket/lake", "s3://bucket/lake ", "\taz://cont/lake"])
def test_a_url_with_spaces_around_it_is_refused(dest: str) -> None:
    """It would be a directory with a strange name, or another lake."""
    with pytest.raises(UsageError, match=r"expected a URL without spaces (before|after) it"):
        open_store(dest)
