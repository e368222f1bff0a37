"""What publication needs of a catalog is tried before anything is read, and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamlic.dataset.commit_log import load_lake
from streamlic.errors import StoreError, UsageError
from streamlic.storage.local import LocalStore
from tests.support.cli import ACCOUNT, files_of, run_cli
from tests.support.rest_catalog import RestCatalog
from tests.tables.iceberg_lake import IcebergLake, use_catalog

pytest.importorskip("pyiceberg")

import streamlic.tables.iceberg.trial as trial_module

NOWHERE = "http://127.0.0.1:9"
ICEBERG = ["--format", "iceberg", "--catalog"]
FILES = "PYICEBERG_CATALOG__LOCAL__PY_IO_IMPL"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IcebergLake:
    use_catalog(tmp_path, monkeypatch.setenv)
    return IcebergLake(tmp_path)


def test_a_trial_leaves_nothing(lake: IcebergLake) -> None:
    for _ in range(2):
        lake.format.try_out(lake.change(1))
        assert lake.format.catalog.find("licenses") is None
        assert files_of(Path(lake.store.where())) == set()
    lake.format.show(lake.change(1, [lake.part(1)]))
    before = files_of(Path(lake.store.where()))
    lake.format.try_out(lake.change(2, existing=frozenset({"licenses"})))
    assert files_of(Path(lake.store.where())) == before
    assert lake.parts() == [1]


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ("Elsewhere", 2, "pyiceberg uses another endpoint or account"),
        ("Denied", 1, "was denied: OSError: ACCESS_DENIED during PutObject"),
    ],
)
async def test_files_that_pyiceberg_cannot_reach_are_found_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: str, code: int, says: str
) -> None:
    """Nobody listens where the API would be."""
    use_catalog(tmp_path, monkeypatch.setenv)
    dest, env = tmp_path / "lake", {FILES: f"tests.support.file_ios.{files}"}
    base = ["--base-url", NOWHERE]
    exported = await run_cli(
        "export", str(dest), "--account", ACCOUNT, *base, *ICEBERG, "local", **env
    )
    doctor = await run_cli("doctor", str(dest), *base, *ICEBERG, "local", "--json", **env)
    assert (exported.code, exported.out) == (code, "")
    [found] = [one for one in json.loads(doctor.out)["checks"] if one["name"] == "format"]
    assert (found["state"], found["exit_code"]) == ("failed", code)
    for text in (exported.err, found["found"]):
        assert says in text
        assert "hidden" not in text
    assert not list(tmp_path.rglob("streamlic-trial-*"))
    assert load_lake(LocalStore(dest)).runs == {}
    body = tmp_path / "body.json"
    body.write_text('{"result":[{"id":"a"}]}')
    other = await run_cli("convert", str(body), str(dest))
    assert other.code == 0, other.err  # Another format can be chosen.


def test_files_that_never_answer_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_catalog(tmp_path, monkeypatch.setenv)
    monkeypatch.setenv(FILES, "tests.support.file_ios.Silent")
    monkeypatch.setattr(trial_module, "TRIAL_SECONDS", 0.05)
    lake = IcebergLake(tmp_path)
    with pytest.raises(StoreError, match=r"did not write and read a file in .* within 0\.05 s"):
        lake.format.try_out(lake.change(1))


def test_a_rest_catalog_is_asked_for_the_place(server: RestCatalog, tmp_path: Path) -> None:
    lake = IcebergLake(tmp_path, catalog="prod.of_the_trial")
    lake.format.try_out(lake.change(1))
    assert lake.format.catalog.find("licenses") is None
    server.refused_location = "lake/licenses"
    with pytest.raises(UsageError, match="a lake needs one that takes them where the lake is"):
        lake.format.try_out(lake.change(1))
    server.refused_location = ""
    server.places = f"file://{tmp_path}/chosen"
    with pytest.raises(UsageError, match="it chooses the places of its tables itself"):
        lake.format.try_out(lake.change(1))
    assert server.commits == 0


@pytest.mark.parametrize(
    ("location", "names"),
    [
        ("s3://bucket/lake/licenses", "PYICEBERG_CATALOG__LOCAL__S3__ENDPOINT in the environment"),
        ("gs://bucket/lake/licenses", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("abfss://c@a.dfs.core.windows.net/l", "PYICEBERG_CATALOG__LOCAL__ADLS__ACCOUNT_NAME"),
    ],
)
def test_the_properties_that_help_are_named(lake: IcebergLake, location: str, names: str) -> None:
    assert names in trial_module._advice(lake.format.catalog, location)
