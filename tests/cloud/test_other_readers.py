"""Lakes of this package's servers, read by others: an older DuckDB with its extensions."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import deltalake
import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from tests.support.object_servers import SeaweedServer
from tests.support.old_duckdb import read_with_old_duckdb, s3_secret

ROWS = pa.table({"id": pa.array(["a", "b", "c"]), "n": pa.array([1, 2, None])})


def test_the_old_duckdb_reads_delta_on_disk_and_on_s3(
    seaweed: SeaweedServer, tmp_path: Path
) -> None:
    url = seaweed.dest(f"delta-{uuid4()}")
    deltalake.write_deltalake(tmp_path, ROWS)
    deltalake.write_deltalake(url, ROWS, storage_options=seaweed.environment)
    query = "SELECT count(*), sum(n) FROM delta_scan('{}')"
    assert read_with_old_duckdb(query.format(tmp_path)) == [[3, 3]]
    secret = s3_secret(seaweed.environment)
    assert read_with_old_duckdb(secret, query.format(url)) == [[3, 3]]


@pytest.mark.filterwarnings("ignore")  # pyiceberg's own.
def test_the_old_duckdb_reads_iceberg_through_its_rest_catalog(seaweed: SeaweedServer) -> None:
    catalog = load_catalog("rest", **seaweed.catalog)
    namespace = f"n{uuid4().hex[:8]}"
    catalog.create_namespace(namespace)
    catalog.create_table(f"{namespace}.licenses", ROWS.schema).append(ROWS)
    key, secret = seaweed.catalog["credential"].split(":")
    rows = read_with_old_duckdb(
        s3_secret(seaweed.environment),
        f"CREATE SECRET lake (TYPE iceberg, CLIENT_ID '{key}', CLIENT_SECRET '{secret}', "
        f"OAUTH2_SERVER_URI '{seaweed.catalog_url}/v1/oauth/tokens')",
        f"ATTACH '{seaweed.TABLE_BUCKET}' AS lake (TYPE iceberg, SECRET lake, "
        f"ENDPOINT '{seaweed.catalog_url}')",
        f"USE lake.{namespace}",
        "SELECT count(*), sum(n) FROM licenses",
    )
    assert rows == [[3, 3]]
