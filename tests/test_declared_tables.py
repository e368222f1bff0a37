"""The tables that the docs declare in other systems have the columns that the part files have."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from streamlic.dataset.lake import licenses_schema
from streamlic.resources.license_schema import LICENSE_SCHEMA
from tests.support.examples import ROOT

ATHENA = {pa.string(): "string", pa.int64(): "bigint"}
"""https://docs.aws.amazon.com/athena/latest/ug/data-types.html"""
TRINO = {pa.string(): "varchar", pa.int64(): "bigint"}
"""https://trino.io/docs/current/language/types.html"""
SNOWFLAKE = {pa.string(): "varchar", pa.int64(): "number"}
"""https://docs.snowflake.com/en/sql-reference/intro-summary-data-types"""


@pytest.mark.parametrize(
    ("start", "end", "types"),
    [
        ("create external table licenses (", ")\nstored as parquet", ATHENA),
        ("create table hive.truto.licenses (", ")\nwith (format", TRINO),
        ("create external table licenses (", ")\n  location = @", SNOWFLAKE),
    ],
    ids=["athena", "trino", "snowflake"],
)
def test_the_columns_are_those_of_licenses(
    start: str, end: str, types: dict[pa.DataType, str]
) -> None:
    text = (ROOT / "docs/how-to/object-stores.md").read_text()
    before = text.partition(end)[0]
    assert before != text
    declared = before.rpartition(start)[2].split(",")
    assert len(declared) > 3
    schema = licenses_schema(LICENSE_SCHEMA)
    for column in declared:
        name, kind = column.split()[:2]
        assert kind == types[schema.field(name).type], name
        # Snowflake casts each value, which it finds by its name.
        assert re.findall(r"value:(\w+)::(\w+)", column) in ([], [(name, kind)])
