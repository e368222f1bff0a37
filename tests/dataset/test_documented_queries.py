"""What readers do with a dataset: the documented queries hold for every row that may land."""

from __future__ import annotations

import ast
import asyncio
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from streamlic.job.convert import convert_async
from streamlic.job.options import JobOptions
from tests.support.examples import ROOT, Block, blocks_of

HOW_TO = ROOT / "docs" / "how-to"
BODY = rb"""{"next_cursor": null, "result": [
  null, "text", [1E999],
  {"id": "quote", "say \"hi\"": 1, "a'b": 2, "x\\y": 3, "c.d": 4, "*": 5, "": 6, "~/": 7, "n\n": 8},
  {"id": "huge", "unit_amount": 1E400, "available_quantity": "12"},
  {"id": "nested", "deep": {"/available_quantity": [true, "}"]}, "created_at": "never"},
  {"id": "zero", "created_at": "0001-01-01T00:00:00Z"},
  {"id": "last", "created_at": "2024-01-01T00:00:00Z"}
]}"""
RESCUED = {
    (None, "", "null"),
    (None, "", '"text"'),
    (None, "", "[1E999]"),
    ("quote", '/say "hi"', "1"),
    ("quote", "/a'b", "2"),
    ("quote", "/x\\y", "3"),
    ("quote", "/c.d", "4"),
    ("quote", "/*", "5"),
    ("quote", "/", "6"),
    ("quote", "/~0~1", "7"),
    ("quote", "/n\n", "8"),
    ("huge", "/unit_amount", "1E400"),
    ("huge", "/available_quantity", '"12"'),
    ("nested", "/deep", '{"/available_quantity":[true,"}"]}'),
    ("nested", "/created_at", '"never"'),
}
TIMES = ["0001-01-01 00:00:00", "2024-01-01 00:00:00"]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Land the rows where the pages' examples read them."""
    (tmp_path / "body.json").write_bytes(BODY)
    monkeypatch.chdir(tmp_path)
    with Path("body.json").open("rb", buffering=0) as file:
        options = JobOptions()
        asyncio.run(convert_async(file, "lake", account=None, name="body", options=options))
    return tmp_path / "lake"


def queries(page: Path) -> list[Block]:
    """Return a page's examples that ask for rescues."""
    return [block for block in blocks_of(page.read_text())
            if block.language in ("py", "python") and "_rescued" in block.text
            and "open_decoder" not in block.text]  # fmt: skip


def answer_of(block: Block) -> Any:
    """Run an example but for showing its answer, which is what is shown or printed at its end."""
    program = ast.parse(block.text)
    shown = program.body.pop()
    assert isinstance(shown, ast.Expr)
    assert isinstance(shown.value, ast.Call)
    call = shown.value
    answer = call.func.value if isinstance(call.func, ast.Attribute) else call.args[0]
    names: dict[str, Any] = {}
    exec(compile(program, "example", "exec"), names)  # noqa: S102  (the project's own page)
    return eval(compile(ast.Expression(answer), "example", "eval"), names)  # noqa: S307


def without_blanks(rows: Any) -> set[tuple[Any, ...]]:
    return {(*row[:-1], "".join(row[-1].split(" "))) for row in rows}


def test_duckdb_finds_a_rescue_by_its_pointer(dataset: Path) -> None:
    [query] = queries(HOW_TO / "duckdb.md")
    assert answer_of(query).fetchall() == [("huge", "/available_quantity", '"12"')]


def test_duckdb_finds_every_rescue(dataset: Path) -> None:
    [query] = queries(HOW_TO.parent / "reference" / "values.md")
    rows = answer_of(query).fetchall()
    assert rows[0][:2] == ("", 3)
    assert {row[0] for row in rows} == {pointer for _, pointer, _ in RESCUED}
    assert {("/unit_amount", 1, "1E400"), ('/say "hi"', 1, "1")} <= set(rows)


def test_polars_finds_every_rescue_digit_by_digit(dataset: Path) -> None:
    [query] = queries(HOW_TO / "polars.md")
    assert without_blanks(answer_of(query).rows()) == RESCUED


def test_a_footer_tells_spark_the_calendar(dataset: Path) -> None:
    for file in dataset.glob("licenses/*.parquet"):
        assert pq.read_metadata(file).metadata[b"org.apache.spark.version"] >= b"3.1.0"


SPARK = """
import json, sys
from pyspark.sql import SparkSession

builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
for key, value in (("sql.session.timeZone", "UTC"), ("driver.host", "127.0.0.1"),
                   ("driver.bindAddress", "127.0.0.1")):
    builder = builder.config(f"spark.{key}", value)
spark = builder.getOrCreate()
shown = []
type(spark.range(1)).show = lambda frame, **_: shown.append([list(row) for row in frame.collect()])
for example in json.load(sys.stdin):
    exec(example, {})
times = "select cast(created_at as string) from licenses where created_at is not null order by 1"
for is_vectorized in ("true", "false"):
    spark.conf.set("spark.sql.parquet.enableVectorizedReader", is_vectorized)
    spark.sql(times).show()
print(json.dumps(shown))
spark.stop()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("pyspark") and shutil.which("java")), reason="needs pyspark and Java"
)
def test_spark_reads_every_time_and_finds_every_rescue(dataset: Path) -> None:
    # The page's other parts read the API: they are tested with a cluster.
    page = (HOW_TO / "spark.md").read_text()
    of_a_lake = page.partition("\n## A lake\n")[2].partition("\n## ")[0]
    examples = [block.text for block in blocks_of(of_a_lake)]
    ended = subprocess.run(
        [sys.executable, "-c", SPARK],
        input=json.dumps(examples),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    _, rescues, *times = json.loads(ended.stdout)
    assert {(id_, pointer) for id_, pointer, _ in rescues} == {row[:2] for row in RESCUED}
    assert ["huge", "/available_quantity", "12"] in rescues
    assert times == [[[time] for time in TIMES]] * 2
