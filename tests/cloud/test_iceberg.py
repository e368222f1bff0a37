"""Iceberg tables in buckets, through each kind of catalog that can be had on this machine."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from streamlic.errors import UsageError
from streamlic.storage.open_store import StoreSettings, open_store
from streamlic.tables.iceberg.maintenance import expire
from streamlic.tables.table_format import Kept
from tests.support.cli import ACCOUNT, run_cli
from tests.support.object_servers import MotoServer, ObjectServer, SeaweedServer, catalog_variables
from tests.support.old_duckdb import read_with_old_duckdb, s3_secret
from tests.tables.iceberg_lake import IcebergLake, use_catalog


@pytest.fixture(autouse=True)
def planner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")


def lake_on(server: ObjectServer, scratch: Path, dest: str = "", catalog: str = "") -> IcebergLake:
    dest = dest or server.dest(f"iceberg-{uuid4().hex[:8]}")
    store = open_store(dest, StoreSettings(scratch=str(scratch)))
    return IcebergLake(scratch, store=store, catalog=catalog or f"local.n{uuid4().hex[:8]}")


def check_changes(lake: IcebergLake) -> None:
    """Show, replace, repeat and expire; what readers see is right each time."""
    old, kept, new = (lake.part(number) for number in (1, 2, 3))
    changes = [lake.change(1, [old, kept, lake.part(1, table="runs")])]
    changes.append(lake.change(2, [new], [old]))
    for change in (*changes, *changes):
        lake.format.show(change)
    assert (lake.parts(), lake.parts("runs")) == ([2, 3], [1])
    assert expire(lake.format, keep_days=0, kept=Kept()) == [old.name]
    assert not lake.store.exists(old.name)
    assert lake.parts() == [2, 3]
    assert pl.scan_iceberg(lake.table()).collect().height == 40


@pytest.mark.parametrize("partition_by", [None, "export_date"])
def test_a_sql_catalog_and_a_bucket(
    seaweed: SeaweedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    partition_by: str | None,
) -> None:
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    use_catalog(tmp_path, monkeypatch.setenv)
    store = open_store(
        seaweed.dest(f"iceberg-{uuid4().hex[:8]}"), StoreSettings(scratch=str(tmp_path))
    )
    lake = IcebergLake(tmp_path, store=store, partition_by=partition_by)
    check_changes(lake)
    where = lake.table().metadata_location
    query = f"SELECT count(*), count(products) FROM iceberg_scan('{where}')"  # noqa: S608
    [[rows, products]] = read_with_old_duckdb(s3_secret(seaweed.environment), query)
    assert (rows, 0 < products < rows) == (40, True)
    if partition_by:
        days = f"SELECT DISTINCT export_date FROM iceberg_scan('{where}')"  # noqa: S608
        assert read_with_old_duckdb(s3_secret(seaweed.environment), days) == [["2026-01-02"]]


def test_glue(moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here moto imitates Glue."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYICEBERG_CATALOG__GLUE__TYPE", "glue")
    monkeypatch.setenv(
        "PYICEBERG_CATALOG__GLUE__GLUE__ENDPOINT", moto.environment["AWS_ENDPOINT_URL"]
    )
    monkeypatch.setenv("PYICEBERG_CATALOG__GLUE__GLUE__REGION", "us-east-1")
    check_changes(lake_on(moto, tmp_path, catalog=f"glue.n{uuid4().hex[:8]}"))


def use_rest(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {**seaweed.environment, **catalog_variables("rest", seaweed.catalog)}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.filterwarnings("ignore")  # pyiceberg's own.
def test_a_catalog_that_chooses_the_places_of_its_tables_is_refused(
    seaweed: SeaweedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_rest(seaweed, monkeypatch)
    lake = lake_on(seaweed, tmp_path, catalog=f"rest.n{uuid4().hex[:8]}")
    with pytest.raises(UsageError, match="S3 Tables"):
        lake.format.show(lake.change(1, [lake.part(1)]))


@pytest.mark.filterwarnings("ignore")  # pyiceberg's own.
async def test_such_a_catalog_is_found_before_anything_is_read_and_the_place_stays_free(
    seaweed: SeaweedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens where the API would be."""
    use_rest(seaweed, monkeypatch)
    name = f"iceberg-{uuid4().hex[:8]}"
    dest = seaweed.dest(name)
    iceberg = ["--format", "iceberg", "--catalog", f"rest.n{uuid4().hex[:8]}"]
    nowhere = ["--base-url", "http://127.0.0.1:9"]
    exported = await run_cli("export", dest, "--account", ACCOUNT, *nowhere, *iceberg)
    assert (exported.code, exported.out) == (2, ""), exported.err
    assert "location must be within bucket lake-tables" in exported.err
    looked = await run_cli("doctor", dest, "--json", *nowhere, *iceberg)
    [found] = [one for one in looked.summary["checks"] if one["name"] == "format"]
    assert (found["state"], found["exit_code"]) == ("failed", 2)
    assert "location must be within bucket lake-tables" in found["found"]
    assert all(key.startswith(f"{name}/_streamlic/") for key in seaweed.keys(f"{name}/"))
    (tmp_path / "body.json").write_text('{"result":[{"id":"a"}]}')
    other = await run_cli("convert", str(tmp_path / "body.json"), dest, "--format", "delta")
    assert other.code == 0, other.err


@pytest.mark.parametrize(
    ("properties", "code", "says"),
    [
        ({"s3.endpoint": "http://127.0.0.1:9"}, 1, "PYICEBERG_CATALOG__LOCAL__S3__ENDPOINT"),
        ({"s3.secret-access-key": "another"}, 1, "s3.secret-access-key"),
        ({}, 0, "ok"),
    ],
    ids=str,
)
async def test_the_doctor_tries_pyicebergs_way_to_the_files(
    seaweed: SeaweedServer, tmp_path: Path, properties: dict[str, str], code: int, says: str
) -> None:
    files = {**seaweed.iceberg_files(seaweed.port), **properties}
    env = {**seaweed.environment, **catalog_variables("local", files)}
    use_catalog(tmp_path, env.__setitem__)
    name = f"iceberg-{uuid4().hex[:8]}"
    ended = await run_cli(
        "doctor", seaweed.dest(name), "--json", "--base-url", "http://127.0.0.1:9",
        "--format", "iceberg", "--catalog", "local", **env,
    )  # fmt: skip
    [found] = [one for one in ended.summary["checks"] if one["name"] == "format"]
    assert found["exit_code"] == code, found
    assert says in f"{found['state']} {found['advice']}"
    assert "another" not in found["found"]
    assert seaweed.keys(f"{name}/") == []
