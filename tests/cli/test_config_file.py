"""What is wrong with a file is one line that names it, the key, and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamlic.cli.commands import cli
from streamlic.cli.config_file import read_config
from streamlic.errors import UsageError
from tests.support.cli import run_cli

SECRET = "abc-secret"


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("\n[export\n", "not valid TOML: .*line 2"),
        ("\xff", "not valid TOML: line 1 is not UTF-8"),
        ("a\0 = 1", "not valid TOML: there are NUL characters"),
        ("a = " + "[" * 100_000, "not valid TOML: "),
        ("mode = 1\nmode = 2\n", "not valid TOML: .*line 2"),
        ("[exprot]", r"\[exprot\]: unknown table \(did you mean export\?\): expected accounts, "),
        ("export = 1", "export: expected a table, got 1"),
        ("[export]\nrate_limit = 'none'",
         r"\[export\] rate_limit: unknown key \(did you mean rate-limit\?\): expected absent-acc"),
        ("[verify]\nmode = 'error'", r"\[verify\] mode: unknown key: expected json$"),
        ("[completion]\nx = 1", r"\[completion\]: unknown table: expected accounts, "),
        ("[export]\ndest = 'x'", r"\[export\] dest: unknown key"),
        ("colour = 1", "colour: unknown key: expected absent-accounts, allow-http, base-url, "),
        ("limit = 5", r"limit: this option is not shared by commands: put it below \[export\]"),
        ("'' = 5", "'': unknown key"),
        ('"a\\nb\\u001b" = 5', r"'a\\nb\\x1b': unknown key"),
        ("strict = 'yes'", "strict: expected true or false, got a text, 'yes'"),
        ("strict = 1", "strict: expected true or false, got 1"),
        ("[export]\nlimit = '5'", r"\[export\] limit: expected a whole number, got a text, '5'"),
        ("[export]\nlimit = 5.0", "expected a whole number, got 5.0"),
        ("[export]\nlimit = true", "expected a whole number, got True"),
        ("commit-seconds = '5'", "expected a whole number or a number, got a text, '5'"),
        ("commit-seconds = -1", "commit-seconds: -1.0 is not in the range x>=0"),
        ("max-depth = 513", "max-depth: 513 is not in the range 5<=x<=512"),
        ("memory = 1.5", "memory: expected a whole number or a text, got 1.5"),
        ("memory = true", "memory: expected a whole number or a text, got True"),
        ("memory = '256 potatoes'", "memory: expected a size such as 256MiB, got '256 potatoes'"),
        ("mode = 'delete'", "mode: 'delete' is not one of 'error', 'append', 'overwrite'"),
        ("mode = ['error']", "mode: expected a text, got an array"),
        ("base-url = 2026-01-01", "base-url: expected a text, got 2026-01-01"),
        ("[export]\naccount = 'a'", "account: expected an array of texts, got a text, 'a'"),
        ("[export]\naccount = [1]", "account: expected a text, got 1"),
        ("[export]\naccount = {a = 1}", "account: expected an array of texts, got a table"),
        ("[export]\nquery = 'a=1'", "query: expected an array of texts, or a table, got a text"),
        ("[export]\nlimit = {}", "limit: expected a whole number, got a table"),
    ],
)  # fmt: skip
def test_an_invalid_file_is_reported(tmp_path: Path, toml: str, says: str) -> None:
    path = tmp_path / "given.toml"
    path.write_bytes(toml.encode("latin-1"))
    with pytest.raises(UsageError, match=says) as raised:
        read_config(path, cli.commands, is_named=True)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "toml",
    [
        f"token = '{SECRET}'",
        f"[export]\ntoken = '{SECRET}'",
        f"[export]\nAPI_TOKEN = '{SECRET}'",
        f"TRUTO_API_TOKEN = '{SECRET}'",
        f"[token]\nvalue = '{SECRET}'",
    ],
)
def test_a_token_is_refused_with_the_reason_and_not_shown(tmp_path: Path, toml: str) -> None:
    path = tmp_path / "given.toml"
    path.write_text(toml)
    with pytest.raises(
        UsageError, match=r"shared and committed: .*token-file.*TRUTO_API_TOKEN"
    ) as e:
        read_config(path, cli.commands, is_named=True)
    assert SECRET not in str(e.value)


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("base-url = 'https://evil.example'", "base-url"),
        ("[export]\nallow-http = true", "allow-http"),
        ("[accounts]\nca-file = 'mine.pem'", "ca-file"),
    ],
)
async def test_a_file_that_was_found_does_not_say_where_the_token_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("streamlic.toml").write_text(toml)
    found = await run_cli("schema")
    assert found.code == 2
    assert re.search(
        f"^streamlic: streamlic.toml: .*{key}: .*only a file named with --config may set where",
        found.err,
    )
    assert "use --config streamlic.toml" in found.err
    assert found.err.count("\n") == 1
    assert (await run_cli("--config", "streamlic.toml", "schema")).code == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_taken(tmp_path: Path, encoding: str) -> None:
    """Editors on Windows write one."""
    path = tmp_path / "given.toml"
    path.write_bytes('memory = "192MiB"\r\n# gr\u00fcn\r\n'.encode(encoding))
    given = read_config(path, cli.commands, is_named=True)["export"]
    assert given["memory"].value == 192 << 20


@pytest.mark.parametrize("name", ["missing.toml", "."])
async def test_a_file_that_cannot_be_read_is_wrong_use(name: str) -> None:
    ended = await run_cli("--config", name, "schema")
    assert ended.code == 2
    assert ended.err.startswith(f"streamlic: {name} cannot be read: ")
    assert ended.err.endswith("(--config)\n")


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    path = tmp_path / "given.toml"
    path.write_text("token-file = 't'\nca-file = '/c'\n[export]\naccounts-file = '~/a'")
    given = read_config(path, cli.commands, is_named=True)["export"]
    assert given["token-file"].value == str(tmp_path / "t")
    assert given["ca-file"].value == "/c"
    assert given["accounts-file"].value == "/home/me/a"
    path.write_text("[export]\naccounts-file = '-'")
    given = read_config(path, cli.commands, is_named=True)["export"]
    assert given["accounts-file"].value == "-"
