"""Options from the command line, the environment and a file: which of them counts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.core import ParameterSource

import streamlic
from streamlic.cli.commands import cli
from streamlic.cli.option_names import CONFIG_VARIABLE, OptionNames, key_of, variable_of
from streamlic.cli.types import Size
from streamlic.decoder import NO_FAST
from streamlic.emulator import EmulatorConfig, running_emulator
from streamlic.errors import UsageError
from streamlic.terminal.log import Log
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, TOKEN, run_cli

NAMES = OptionNames(cli.commands)
OPTIONS = [(command, key) for command, own in NAMES.options.items() for key in own]
SHARED = [(command, key) for key, having in NAMES.shared.items() for command in having]


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*NAMES.variables(), CONFIG_VARIABLE]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def parsed(command: str, *args: str, config: Path | None = None) -> click.Context:
    """Return a command's context as it is when the command begins; nothing runs."""
    group = click.Context(cli, info_name="streamlic")
    group.params["config"] = config and str(config)
    return cli.commands[command].make_context(command, [*args, *_arguments(command)], group)


def value(command: str, key: str, *args: str, config: Path | None = None) -> Any:
    context = parsed(command, *args, config=config)
    if key == "log-format":  # Not exposed: the log has its value.
        return "json" if context.ensure_object(Log).is_json else "text"
    return context.params[NAMES.options[command][key].name]


def _arguments(command: str) -> list[str]:
    return ["x" for one in cli.commands[command].params
            if isinstance(one, click.Argument) and one.required]  # fmt: skip


def samples(option: click.Option) -> list[tuple[str, str, Any]]:
    """Return two values that an option may have: as text, as TOML, and as the command gets them."""
    kind = option.type
    if option.is_flag:
        return [("1", "true", True), ("false", "false", False)]
    if isinstance(kind, click.Choice):
        found = [(one, json.dumps(one), one) for one in kind.choices[:2]]
    elif isinstance(kind, Size):
        found = [("130MiB", '"130MiB"', 130 << 20), ("140000000", "140000000", 140_000_000)]
    elif isinstance(kind, click.types.IntParamType):
        found = [("7", "7", 7), ("8", "8", 8)]
    elif isinstance(kind, click.types.FloatParamType):
        found = [("0.5", "0.5", 0.5), ("1", "1", 1.0)]
    elif isinstance(kind, click.Path):
        found = [("/a", '"/a"', "/a"), ("/b", '"/b"', "/b")]
    else:
        found = [("a=1", '"a=1"', "a=1"), ("b=2", '"b=2"', "b=2")]
    if option.multiple:
        return [(text, f"[{toml}]", (got,)) for text, toml, got in found]
    return found


@pytest.mark.parametrize(("text", "share"), [("3%", 0.03), ("12.5 %", 0.125), ("0.2", 0.2)])
def test_a_share_can_be_a_percentage(text: str, share: float) -> None:
    assert value("emulate", "changes", "--changes", text) == share
    assert value("emulate", "changes") == 0.03


@pytest.mark.parametrize("text", ["101%", "-1%", "1.01", "nan", "%", "three"])
def test_a_share_is_from_0_to_1(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parsed("emulate", "--changes", text)


LEVELS = [(command, key, level) for command, key in OPTIONS for level in NAMES.levels(command, key)]


@pytest.mark.parametrize(("command", "key", "level"), LEVELS)
def test_every_option_is_read_from_its_variables(
    monkeypatch: pytest.MonkeyPatch, command: str, key: str, level: str
) -> None:
    name = NAMES.options[command][key].name
    for text, _, expected in samples(NAMES.options[command][key]):
        monkeypatch.setenv(variable_of(level, key), text)
        assert value(command, key) == expected
    monkeypatch.setenv(variable_of(level, key), "")  # Empty is not set.
    assert parsed(command).get_parameter_source(name) not in (None, ParameterSource.ENVIRONMENT)


@pytest.mark.parametrize(("command", "key", "level"), LEVELS)
def test_every_option_is_read_from_the_file(command: str, key: str, level: str) -> None:
    for _, toml, expected in samples(NAMES.options[command][key]):
        assert value(command, key, config=_file(level, f"{key} = {toml}")) == expected


@pytest.mark.parametrize(("command", "key"), OPTIONS)
def test_command_line_before_environment_before_file_before_default(
    monkeypatch: pytest.MonkeyPatch, command: str, key: str
) -> None:
    option = NAMES.options[command][key]
    (text, toml, first), (other_text, other_toml, second) = samples(option)
    default = value(command, key)
    file = _file(command, f"{key} = {toml}")
    other_file = _file(command, f"{key} = {other_toml}", "other.toml")
    assert {value(command, key, config=file), value(command, key, config=other_file)} != {default}

    variable = variable_of(command, key)
    monkeypatch.setenv(variable, other_text)
    assert value(command, key, config=file) == second
    monkeypatch.setenv(variable, text)
    assert value(command, key, config=other_file) == first
    if option.is_flag:
        args, given = [f"--{key}"], True
        monkeypatch.setenv(variable, "0")
    else:
        args, given = [f"--{key}", other_text], second
    assert value(command, key, *args) == given
    monkeypatch.delenv(variable)
    assert value(command, key, *args, config=file) == given


@pytest.mark.parametrize(("command", "key"), SHARED)
def test_what_is_said_for_the_command_comes_before_what_is_said_for_all(
    monkeypatch: pytest.MonkeyPatch, command: str, key: str
) -> None:
    (text, toml, first), (other_text, other_toml, second) = samples(NAMES.options[command][key])
    both = _file("", f"{key} = {other_toml}\n[{command}]\n{key} = {toml}")
    assert value(command, key, config=both) == first
    monkeypatch.setenv(variable_of("", key), other_text)
    assert value(command, key, config=both) == second  # The environment, for all, is nearer.
    monkeypatch.setenv(variable_of(command, key), text)
    assert value(command, key, config=both) == first


def test_no_two_options_are_meant_by_one_name() -> None:
    meant: dict[str, set[tuple[str, str]]] = {
        CONFIG_VARIABLE: {("", "config")},
        NO_FAST: {("", "")},
    }
    for command, key, level in LEVELS:
        if level in ("", command):  # What holds for doctor too is export's.
            meant.setdefault(variable_of(level, key), set()).add((level, key))
    assert [name for name, options in meant.items() if len(options) > 1] == []
    assert NAMES.shared.keys().isdisjoint(cli.commands)
    for having in NAMES.shared.values():
        assert len({repr(option.type.to_info_dict()) for option in having.values()}) == 1


def test_what_commands_share_has_one_meaning() -> None:
    assert {"base-url", "token-file", "memory", "engine", "mode", "json"} <= NAMES.shared.keys()
    assert set(NAMES.shared["integration"]) == {
        "accounts",
        "export",
        "report",
    }  # The emulator's is another.
    assert NAMES.shared.keys().isdisjoint({"account", "records", "limit", "token", "port"})


@pytest.mark.parametrize("key", ["base-url", "token-file", "memory"])
def test_what_is_said_for_export_holds_for_doctor(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (text, toml, first), (_, other_toml, second) = samples(NAMES.options["doctor"][key])
    file = _file("export", f"{key} = {other_toml}")
    assert value("doctor", key, config=file) == second
    monkeypatch.setenv(variable_of("export", key), text)
    assert value("doctor", key, config=file) == first
    assert value("doctor", "json", config=_file("export", "json = true")) is False
    if key in NAMES.options["accounts"]:
        assert value("accounts", key, config=_file("export", f"{key} = {toml}")) != first


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--latency-ms", "nan"),
        ("--latency-ms", "inf"),
        ("--unhealthy", "nan"),
        ("--records", "9" * 20),
        ("--accounts", "9" * 9),
        ("--page-size", "9" * 20),
    ],
)
def test_numbers_that_no_emulator_could_have_are_refused(option: str, value: str) -> None:
    with pytest.raises(click.BadParameter, match=r"not in the range|expected a number"):
        parsed("emulate", option, value)


def test_texts_are_split_at_blanks_for_options_that_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIC_EXPORT_ACCOUNT", f"{ACCOUNT} {OTHER_ACCOUNT}")
    assert value("export", "account") == (ACCOUNT, OTHER_ACCOUNT)


def test_the_variables_that_there_were_keep_working(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUTO_API_BASE_URL", "https://old")
    assert value("export", "base-url") == "https://old"
    monkeypatch.setenv("STREAMLIC_BASE_URL", "https://new")
    assert value("export", "base-url") == "https://new"


@pytest.mark.parametrize(
    ("file", "env", "args", "expected"),
    [
        ("all-accounts = true", {}, ["--account", "a"], {"account": ("a",), "all-accounts": False}),
        ("all-accounts = true\ntenant = 't'", {}, ["--accounts-file", "f"], {"tenant": None}),
        ("all-accounts = true\ntenant = 't'", {}, [], {"all-accounts": True, "tenant": "t"}),
        ("account = ['a']", {}, ["--all-accounts"], {"account": (), "all-accounts": True}),
        ("account = ['a']", {"ACCOUNT": "b c"}, [], {"account": ("b", "c")}),
        ("accounts-file = '/f'", {"ACCOUNT": "b"}, [], {"accounts-file": None}),
        ("", {"ACCOUNT": "b", "TENANT": "t"}, [], {"account": ("b",), "tenant": "t"}),
        ("", {"ACCOUNT": "b"}, ["--all-accounts", "--tenant", "t"], {"account": (), "tenant": "t"}),
        ("account = ['a']\naccounts-file = '/f'", {}, [], {"account": ("a",)}),
        ("limit = 9", {}, ["--ignore-limit"], {"limit": None, "ignore-limit": True}),
        ("ignore-limit = true", {"LIMIT": "9"}, [], {"limit": 9, "ignore-limit": False}),
        ("quiet = true", {}, ["-v"], {"quiet": False, "verbose": True}),
    ],
)
def test_an_option_that_is_nearer_ends_what_excludes_it(
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    env: dict[str, str],
    args: list[str],
    expected: dict[str, Any],
) -> None:
    for key, text in env.items():
        monkeypatch.setenv(f"STREAMLIC_EXPORT_{key}", text)
    context = parsed("export", *args, config=_file("export", file))
    own = NAMES.options["export"]
    assert {key: context.params[own[key].name] for key in expected} == expected


@pytest.mark.parametrize(
    ("token", "env", "args", "expected"),
    [
        ("t", {}, [], None),  # The environment is nearer than the file.
        ("", {}, [], "/in-config"),
        ("t", {"STREAMLIC_TOKEN_FILE": "/in-env"}, [], "/in-env"),
        ("t", {}, ["--token-file", "/in-line"], "/in-line"),
    ],
)
def test_the_token_comes_from_what_is_nearest(
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    env: dict[str, str],
    args: list[str],
    expected: str | None,
) -> None:
    monkeypatch.setenv("TRUTO_API_TOKEN", token)
    for name, text in env.items():
        monkeypatch.setenv(name, text)
    config = _file("", "token-file = '/in-config'")
    assert value("export", "token-file", *args, config=config) == expected


def test_help_tells_of_the_other_ways_and_survives_a_file_that_is_wrong() -> None:
    Path("streamlic.toml").write_text("broken")
    with pytest.raises(UsageError, match="not valid TOML"):
        parsed("export")
    for command in cli.commands.values():
        with click.Context(command, info_name=command.name) as ctx:
            text = command.get_help(ctx)
        option = next((one for one in command.params if isinstance(one, click.Option)), None)
        if option:
            assert variable_of(command.name or "", key_of(option)) in " ".join(text.split())
    with click.Context(cli, info_name="streamlic") as ctx:
        text = cli.get_help(ctx)
    for said in ("STREAMLIC_CONFIG", "streamlic.toml", "STREAMLIC_RATE_LIMIT", "TRUTO_API_TOKEN"):
        assert said in text


def _file(level: str, content: str, name: str = "given.toml") -> Path:
    path = Path(name).absolute()
    path.write_text(f"[{level}]\n{content}\n" if level else f"{content}\n")
    return path


async def test_a_run_takes_all_that_the_file_says(tmp_path: Path) -> None:
    """A real run with nothing on the command line but the file and DEST."""
    async with running_emulator(EmulatorConfig(records=300, token=TOKEN)) as emulator:
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "token").chmod(0o600)
        config = tmp_path / "elsewhere.toml"
        config.write_text(
            f"""
            base-url = "{emulator.url}"
            token-file = "token"
            rate-limit = "none"
            [export]
            account = ["{ACCOUNT}", "{OTHER_ACCOUNT}"]
            limit = 10
            json = true
            query = {{ "updated_at[lt]" = 2026-01-01T00:00:00Z, truto_super_query = "apac" }}
            remote-query = {{ first = 20, paid = true, filter = {{ status = ["active", "x"] }} }}
            """
        )
        os.mkdir("apart")  # noqa: PTH102
        ended = await run_cli(
            "--config", str(config), "export", "apart/out", "--quiet", TRUTO_API_TOKEN=""
        )
        asked = emulator.requests[-1].query
    assert ended.code == 0, ended.err
    assert ended.summary["rows"] == 40
    assert ended.summary["pages"] == 4
    expected = {
        ("updated_at[lt]", "2026-01-01T00:00:00+00:00"),
        ("truto_super_query", "apac"),
        ("remote_query[paid]", "true"),
        ("remote_query[first]", "20"),
        ("remote_query[filter][status][]", "active"),
        ("remote_query[filter][status][]", "x"),
    }
    assert expected <= set(asked)


async def test_a_variable_that_sets_no_option_gives_a_warning() -> None:
    """And the nearest that there is, which may be what was meant."""
    unknown = {"STREAMLIC_RATELIMIT": "none", "STREAMLIC_": "", "STREAMLIC_XYZ": "1"}
    known = {"STREAMLIC_NO_FAST": "", "STREAMLIC_CONFIG": "/dev/null", "STREAMLIC_JSON": "0"}
    nearest = "STREAMLIC_RATE_LIMIT"
    ended = await run_cli("schema", **known, **unknown)
    assert ended.code == 0
    assert ended.err.splitlines() == [
        "streamlic: warning: STREAMLIC_ sets no option",
        f"streamlic: warning: STREAMLIC_RATELIMIT sets no option: did you mean {nearest}?",
        "streamlic: warning: STREAMLIC_XYZ sets no option",
    ]
    doctor = await run_cli("doctor", "--offline", **unknown)
    assert doctor.err == "", "a check tells of them"
    assert f"did you mean {nearest}?" in doctor.out


@pytest.mark.parametrize("name", ["TRUTO_API_BASE_URL", "STREAMLIC_BASE_URL"])
async def test_an_empty_base_url_does_not_stand_for_production(name: str) -> None:
    for command in (["export", "out", "--account", ACCOUNT], ["accounts"], ["doctor"]):
        ended = await run_cli(*command, **{name: ""})
        assert ended.code == 2
        assert f"{name} is empty: unset it, or give the API's URL (" in (ended.out + ended.err)
    assert not Path("out").exists()
    given = ["--base-url", "http://127.0.0.1:9", "--limit", "0"]
    ended = await run_cli("export", "out", *given, **{name: ""})
    assert "is empty" not in ended.err


def test_nor_does_it_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUTO_API_BASE_URL", "")
    with pytest.raises(UsageError, match="TRUTO_API_BASE_URL is empty"):
        streamlic.export("out", ACCOUNT, connection=streamlic.ConnectionSettings(token=TOKEN))
    with pytest.raises(UsageError, match="TRUTO_API_BASE_URL is empty"):
        streamlic.Client(streamlic.ConnectionSettings(token=TOKEN))
    monkeypatch.delenv("TRUTO_API_BASE_URL")
    streamlic.Client(streamlic.ConnectionSettings(token=TOKEN))


async def test_the_file_in_this_directory_is_taken_without_being_named(tmp_path: Path) -> None:
    Path("streamlic.toml").write_text("json = true")
    assert "columns" in json.loads((await run_cli("schema")).out)
    assert not (await run_cli("schema", STREAMLIC_JSON="0")).out.startswith("{")
    assert not (await run_cli("--config", "/dev/null", "schema")).out.startswith("{")
    (tmp_path / "other.toml").write_text("[schema]\njson = false")
    assert not (await run_cli("schema", STREAMLIC_CONFIG="other.toml")).out.startswith("{")
    named = await run_cli("--config", "streamlic.toml", "schema", STREAMLIC_CONFIG="other.toml")
    assert named.out.startswith("{")


async def test_config_after_the_command_says_where_it_belongs() -> None:
    ended = await run_cli("schema", "--config", "c.toml")
    assert ended.code == 2
    assert "streamlic --config FILE schema" in ended.err


@pytest.mark.parametrize(
    ("toml", "env", "says"),
    [
        ("rate-limit = 'fast'", {}, "(--rate-limit, from c.toml: rate-limit)\n"),
        ("", {"STREAMLIC_RATE_LIMIT": "fast"}, "(--rate-limit, from STREAMLIC_RATE_LIMIT)\n"),
        ("token-share = '5/4'", {}, "got '5/4' (--token-share, from c.toml: token-share)\n"),
        ("", {"STREAMLIC_TOKEN_SHARE": "1/900"}, "(--token-share, from STREAMLIC_TOKEN_SHARE)\n"),
        ("[export]\naccount = ['a']", {}, "(--account, from c.toml: [export] account)\n"),
        ("[export]\naccount = ['a']\nall-accounts = true", {},
         "[--all-accounts is from c.toml: [export] all-accounts; --account is from c.toml"),
        ("", {"STREAMLIC_MAX_DEPTH": "9000"}, "(from STREAMLIC_MAX_DEPTH)"),
        ("", {"STREAMLIC_EXPORT_STRICT": "perhaps"}, "(from STREAMLIC_EXPORT_STRICT)"),
    ],
)  # fmt: skip
async def test_a_usage_error_names_the_source_of_its_option(
    toml: str, env: dict[str, str], says: str
) -> None:
    Path("c.toml").write_text(toml)
    account = [] if "account" in toml else ["--account", ACCOUNT]
    ended = await run_cli("--config", "c.toml", "export", "out", *account, **env)
    assert ended.code == 2
    assert says in ended.err
    assert not Path("out").exists()
