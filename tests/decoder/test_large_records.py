"""Large records: how large one may be follows the memory given."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlic.dataset.part_file import Part
from streamlic.decoder import engine_named
from streamlic.errors import LimitExceeded
from streamlic.formatting import option_of
from streamlic.job.options import JobOptions, default_record_bytes
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.storage.local import LocalStore
from tests.support.oracle import decoders

_MIB = 1 << 20
_ENGINES = ["fast", "reference"]


@pytest.mark.parametrize(
    ("memory", "record"), [(132, 3), (192, 8), (264, 14), (864, 64), (4096, 64)]
)
def test_the_largest_record_follows_the_memory(memory: int, record: int) -> None:
    assert default_record_bytes(memory * _MIB, "fast") == record * _MIB


@pytest.mark.parametrize(("memory", "record"), [(132, 1), (312, 6), (2400, 64), (4096, 64)])
def test_the_reference_engine_takes_smaller_records(memory: int, record: int) -> None:
    """For it holds a record as Python objects, many times its bytes."""
    assert default_record_bytes(memory * _MIB, "reference") == record * _MIB


@pytest.mark.parametrize("engine", ["auto", *_ENGINES])
def test_a_job_takes_what_its_engine_allows_or_what_it_is_given(engine: str) -> None:
    options = JobOptions(memory_bytes=312 * _MIB, engine=engine)
    takes = {"fast": 18, "reference": 6}[engine_named(engine)]
    assert options.record_bytes == takes * _MIB
    assert replace(options, max_record_bytes=19 * _MIB).record_bytes == 19 * _MIB


@pytest.mark.parametrize("engine", _ENGINES)
def test_a_larger_record_is_an_error_that_names_the_bound(engine: str) -> None:
    options = JobOptions(memory_bytes=204 * _MIB, engine=engine)
    decoder = options.open_decoder()
    decoder.feed(b'{"result":[{"id":"')
    match = rf"at most {options.record_bytes} bytes .*\(max_record_bytes\)"
    with pytest.raises(LimitExceeded, match=match) as caught:
        for _ in range(10):
            decoder.feed(b"x" * _MIB)
    assert caught.value.parameter == "max_record_bytes"
    assert 'three times as large with engine="fast"' in str(caught.value)
    assert "--memory raises its default" in caught.value.with_advice(option_of)


def test_a_decoder_says_what_it_holds_of_a_record() -> None:
    for decoder in decoders(LICENSE_SCHEMA):
        assert decoder.held_bytes == 0
        decoder.feed(b'{"result":[{"id":"a"},')
        assert decoder.held_bytes == 0
        decoder.feed(b'{"id":"')
        for fed in range(1, 20):
            decoder.feed(b"x" * 1000)
            assert decoder.held_bytes == 7 + 1000 * fed
        decoder.feed(b'"}' + b" " * 100_000 + b"]}")
        decoder.close()
        assert decoder.held_bytes == 0


def test_lists_have_no_dictionaries(tmp_path: object) -> None:
    """Of a list of millions in one record they would take many times its bytes."""
    part = Part(
        LocalStore(str(tmp_path)),
        "x",
        LICENSE_SCHEMA,
        staged="x",
        row_group_bytes=1,
        compression="zstd",
    )
    row = {"id": "a", "status": "x", "products": [{"id": "p", "name": "x", "status": "x"}] * 9}
    part.write(pa.RecordBatch.from_pylist([row], LICENSE_SCHEMA))
    part.close()
    group = pq.ParquetFile(f"{tmp_path}/x").metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    assert {one.path_in_schema.split(".")[0] for one in columns if one.has_dictionary_page} >= {
        "status"
    }
    assert not any(one.has_dictionary_page for one in columns if "list" in one.path_in_schema)
