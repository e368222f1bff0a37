"""``streamlic schema``: the columns of a lake's table."""

from __future__ import annotations

import json

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import json_option, options, table
from streamlic.cli.settings import SchemaSettings, takes
from streamlic.resources.licenses import LICENSES


@click.command(cls=SettingsCommand)
@options(table("Table whose columns are shown."), json_option)
@takes(SchemaSettings)
def schema(settings: SchemaSettings) -> None:
    """Show the columns of a lake's table."""
    from streamlic.dataset.lake import schema_of
    from streamlic.schema.columns import json_role

    columns = [
        {"name": field.name, "type": str(field.type), "json": json_role(field) is not None}
        for field in schema_of(settings.table, LICENSES.schema)
    ]
    if settings.as_json:
        click.echo(json.dumps({"table": settings.table, "columns": columns}))
        return
    for column in columns:
        click.echo(f"{column['name']:24}{column['type']}{' (JSON)' if column['json'] else ''}")
