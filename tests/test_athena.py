"""The table that the docs declare in Athena has the columns that the part files have."""

from __future__ import annotations

import re

import pyarrow as pa

from streamlic.dataset.lake import licenses_schema
from streamlic.resources.license_schema import LICENSE_SCHEMA
from tests.support.examples import ROOT

TYPES = {pa.string(): "string", pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean"}
"""Athena's names. https://docs.aws.amazon.com/athena/latest/ug/data-types.html"""


def test_the_columns_are_those_of_licenses() -> None:
    text = (ROOT / "docs/how-to/object-stores.md").read_text()
    [declared] = re.findall(r"create external table licenses \((.*?)\)\n", text, re.DOTALL)
    schema = licenses_schema(LICENSE_SCHEMA)
    columns = [one.split() for one in declared.split(",")]
    assert columns
    for name, kind in columns:
        assert kind == TYPES[schema.field(name).type], name
