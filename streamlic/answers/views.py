"""The definitions as SQL for DuckDB itself, from which BI tools and dbt can start."""

from __future__ import annotations

from collections.abc import Iterator

from streamlic.answers.definitions import NEWEST, VIEWS
from streamlic.answers.lake_sql import lake_and_nights, quoted, view_of
from streamlic.dataset.lake import TABLES
from streamlic.dataset.records import Format
from streamlic.storage.base import Store


def views_sql(store: Store) -> str:
    """Return statements that create the views over a lake in any DuckDB.

    They name a lake's directories, or its tables in a catalog, so they hold for later nights, too.
    Raises UsageError if there is no lake, or it has no night yet.
    """
    lake, _ = lake_and_nights(store)
    statements = [*_tables(store, lake.format or Format()), NEWEST]
    statements += [f"create or replace view {name} as {query}" for name, query in VIEWS.items()]
    return "".join(f"{statement.strip()};\n\n" for statement in statements)


def _tables(store: Store, lake_format: Format) -> Iterator[str]:
    if lake_format.catalog:
        name = lake_format.catalog.partition(".")[0]
        yield f"-- The lake's tables are in a catalog: first attach it as {name}.\nload iceberg"
    for table in TABLES:
        place = store.where(table)
        source = {
            "parquet": f"read_parquet({quoted(f'{place}/*.parquet')})",
            "delta": f"delta_scan({quoted(place)})",
            "iceberg": f"{lake_format.namespace}.{table}",
        }[lake_format.name]
        yield f"create or replace view {view_of(table)} as from {source}"
