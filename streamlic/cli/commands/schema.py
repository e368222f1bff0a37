"""``streamlic schema``: the columns of a dataset of licenses."""

from __future__ import annotations

import json

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import json_option
from streamlic.cli.settings import SchemaSettings, takes


@click.command(cls=SettingsCommand)
@json_option
@takes(SchemaSettings)
def schema(settings: SchemaSettings) -> None:
    """Show the columns of a dataset of licenses."""
    from streamlic.dataset.lake import licenses_schema
    from streamlic.resources.license_schema import LICENSE_SCHEMA
    from streamlic.schema.columns import json_role

    columns = [
        {"name": field.name, "type": str(field.type), "json": json_role(field) is not None}
        for field in licenses_schema(LICENSE_SCHEMA)
    ]
    if settings.as_json:
        click.echo(json.dumps({"columns": columns}))
        return
    for column in columns:
        click.echo(f"{column['name']:24}{column['type']}{' (JSON)' if column['json'] else ''}")
