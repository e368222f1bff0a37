"""What ``--help`` shows: groups, defaults from the dataclasses, examples, whole sentences."""

from __future__ import annotations

import re
import shlex
from dataclasses import MISSING, fields
from typing import Any

import click
import pytest

from streamlic.cli import settings
from streamlic.cli.commands import cli
from streamlic.cli.help import OPTIONS
from streamlic.job.limits import Limits
from streamlic.job.options import JobOptions
from streamlic.resources.licenses import LICENSES
from streamlic.truto.request import LicensesRequest
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.timeouts import Timeouts


def help_of(command: click.Command) -> str:
    with click.Context(command, info_name=command.name, terminal_width=80) as ctx:
        return command.get_help(ctx)


def test_export_lists_its_options_in_groups() -> None:
    text = help_of(cli.commands["export"])
    titles = re.findall(r"^([A-Z][\w ]+):$", text, re.MULTILINE)
    assert titles == [
        "Accounts",
        "Request",
        "Connection",
        "Limits",
        "Memory and speed",
        "Dataset",
        "Bodies",
        "Table format",
        "Object stores",
        "Parquet files",
        "Output",
        OPTIONS,
    ]
    [rest] = re.findall(rf"^{OPTIONS}:\n((?:  .*\n)+)", text, re.MULTILINE)
    assert re.findall(r"--[a-z-]+", rest) == ["--help"], "every option of export has a group"


def test_export_has_two_examples_that_it_accepts() -> None:
    command = cli.commands["export"]
    examples = re.findall(r"^ +(streamlic export .*)$", help_of(command), re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        command.make_context("export", shlex.split(example)[2:], resilient_parsing=False)


def test_the_list_of_commands_is_not_cut_off() -> None:
    text = " ".join(help_of(cli).split())
    assert "..." not in text.partition("Commands:")[2].partition("Options of commands")[0]
    for command in cli.commands.values():
        first = " ".join((command.help or "").partition("\n\n")[0].split())
        assert first.rstrip(".") in text


@pytest.mark.parametrize("kind", [JobOptions, Limits, RetryPolicy, Timeouts, LicensesRequest])
def test_a_default_is_that_of_the_dataclass(kind: Any) -> None:
    names = {"retry_for_seconds": "retry_for", "silence_seconds": "read_timeout"}
    ctx = cli.commands["export"].make_context("export", ["dest"])
    for field in fields(kind):
        name = names.get(field.name, field.name)
        is_computed = field.default is MISSING or name == "query"
        if name in ctx.params and not is_computed and name != "exclude_fields":
            assert ctx.params[name] == field.default, name
    assert ctx.params["memory_bytes"] == JobOptions().memory_bytes


def test_the_settings_of_a_command_have_the_fields_of_its_parameters() -> None:
    kinds = {
        "accounts": settings.AccountsSettings,
        "compact": settings.CompactSettings,
        "convert": settings.ConvertSettings,
        "demo": settings.DemoSettings,
        "doctor": settings.DoctorSettings,
        "emulate": settings.EmulateSettings,
        "expire": settings.ExpireSettings,
        "export": settings.ExportSettings,
        "head": settings.HeadSettings,
        "inspect": settings.InspectSettings,
        "report": settings.ReportSettings,
        "schema": settings.SchemaSettings,
        "sql": settings.SqlSettings,
        "verify": settings.DatasetSettings,
    }
    assert kinds.keys() == cli.commands.keys() - {"completion"}
    for name, kind in kinds.items():
        params = {one.name for one in cli.commands[name].params if one.expose_value}
        names = {field.name for field in fields(kind)}
        if "request" in names:
            names = names - {"request"} | {one.name for one in LICENSES.parameters}
        assert names == params, name


def test_every_parameter_of_the_resource_is_an_option() -> None:
    """Its name, help and choices are those of the table, and nowhere else."""
    options = {one.name: one for one in cli.commands["export"].params}
    for parameter in LICENSES.parameters:
        option = options[parameter.name]
        assert isinstance(option, click.Option)
        assert option.opts == [f"--{parameter.option}"]
        assert option.help == parameter.help
        assert option.multiple == parameter.is_repeated
        if parameter.choices:
            assert isinstance(option.type, click.Choice)
            assert option.type.choices == parameter.choices
