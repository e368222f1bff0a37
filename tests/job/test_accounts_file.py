"""Accounts from a file: every kind, with options of their own, and every mistake by its line."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from streamlic.emulator import EmulatorConfig, running_emulator
from streamlic.errors import UsageError
from streamlic.job import accounts_file
from streamlic.job.accounts_file import read_accounts, read_file
from streamlic.truto.accounts import IntegratedAccount
from streamlic.truto.request import LicensesRequest
from tests.support.cli import export_args, run_cli

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
SHARED = LicensesRequest(account=C, limit=7, product="onedrive")


def read(text: str) -> list[LicensesRequest]:
    return read_accounts(text.splitlines(keepends=True), SHARED, "accounts.csv").requests


def read_bytes(data: bytes) -> list[LicensesRequest]:
    return read_file(io.BytesIO(data), SHARED, "accounts.csv").requests


def of(account: str, **changes: object) -> LicensesRequest:
    return LicensesRequest(account=account, **{"limit": 7, "product": "onedrive", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", [f"{A}\n{B}", f"\ufeff{A}\r\n\r\n  {B.upper()} \r\n", f"# customers\n{A}\n#\n{B}\n"]
)
def test_one_id_a_line(text: str) -> None:
    assert read(text) == [of(A), of(B)]


def test_csv_has_options_of_each_account() -> None:
    text = (
        "Account,product,organization_id,limit,ignore_limit,exclude_fields,remote_query,query\n"
        f'{A},azure_active_directory,"acme, inc",5,true,name status,a[b]=1&c=2,d=e\n'
        f"{B},,,,,,,\n"
    )
    assert read(text) == [
        of(
            A,
            product="azure_active_directory",
            organization_id="acme, inc",
            limit=5,
            ignore_limit=True,
            exclude_fields=("name", "status"),
            remote_query={"a": {"b": "1"}, "c": "2"},
            query=(("d", "e"),),
        ),
        of(B),
    ]


def test_json_lines_have_options_of_each_account() -> None:
    given = {
        "integrated_account_id": A,
        "product": None,
        "limit": 9,
        "ignore_remote_data": False,
        "key_by": "id",
        "exclude_fields": ["name"],
        "remote_query": {"a": [1, {"b": True}]},
        "query": {"updated_at[gt]": "2026"},
    }
    assert read(f"{json.dumps(given)}\n\n{json.dumps({'id': B})}") == [
        of(
            A,
            limit=9,
            key_by="id",
            exclude_fields=("name",),
            remote_query={"a": [1, {"b": True}]},
            query=(("updated_at[gt]", "2026"),),
        ),
        of(B),
    ]


def test_what_is_listed_as_json_is_taken_line_by_line() -> None:
    account = IntegratedAccount(
        id=A, tenant_id="t", integration="slack", status="active", is_blocked=False
    )
    listed = json.dumps({**asdict(account), "readable": True})
    assert read(listed) == [of(A)]


@pytest.mark.parametrize("name", ["id", "ID", "Account ID", "integrated-account-id", '"account"'])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_as_spreadsheets_write_it(name: str, separator: str, end: str) -> None:
    rows = [
        ["Integration", name, "Ignore Limit", "organization_id", "", ""],
        ["slack, inc", A, "TRUE", "acme", "", ""],
        ["", B.upper(), "no", " ", "", ""],
        [""] * 6,
    ]
    quoted = [[f'"{cell}"' if cell and separator in cell else cell for cell in row] for row in rows]
    text = end.join(map(separator.join, quoted))
    both = [of(A, ignore_limit=True, organization_id="acme"), of(B)]
    assert read(text) == both
    assert read_bytes(text.encode()) == both


@pytest.mark.parametrize(
    ("said", "meant"),
    [("true", True), ("True", True), ("YES", True), ("1", True), ("FALSE", False), ("0", False)],
)
def test_a_flag_is_what_people_and_spreadsheets_write(said: str, meant: bool) -> None:
    assert read(f"account,ignore_limit\n{A},{said}") == [of(A, ignore_limit=meant)]


@pytest.mark.parametrize("text", [f"{A}\r\n{B}\r\n", f"{A}\r{B}", f"id;limit\n{A};\n{B};7\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_is_read_in_the_encoding_that_it_names(text: str, encoding: str) -> None:
    assert read_bytes(text.encode(encoding)) == [of(A), of(B)]
    big_endian = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    assert read_bytes(big_endian) == [of(A), of(B)]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as workbook:
        workbook.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (zipped(), "an Excel workbook, or another zip archive: save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook: save it as CSV"),
        (gzip.compress(A.encode(), mtime=0), "this is gzip: unpack it first"),
        (b"%PDF-1.7", "this is a PDF"),
        (f"{A}\n".encode("utf-16-le"), "NUL characters, as in UTF-16 without a byte-order mark"),
        (f"id,organization_id\n{A},Gr\u00fcn".encode("cp1252"), "line 2 is not UTF-8 (byte 58)"),
        (codecs.BOM_UTF16_LE + b"a", "line 1 is not UTF-16"),
    ],
)
def test_a_file_of_another_kind_is_named(data: bytes, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_bytes(data)
    assert says in str(caught.value)
    assert str(caught.value).startswith("accounts.csv: ")
    assert str(caught.value).endswith("(accounts_file)")


def test_a_file_that_is_far_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_file, "_MOST_BYTES", 37)
    assert read_bytes(f"{A}\n".encode()) == [of(A)]
    with pytest.raises(UsageError, match="is too large for a list of accounts"):
        read_bytes(f"{A}\r\n".encode())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no account"),
        ("# nothing\n", "names no account"),
        ("account,product\n", "names no account"),
        (f"{A}\nnonsense\n", "line 2: the account must be a UUID"),
        (f"{A}\n\n{B}\n{A.upper()}\n", f"line 4: account {A} is already in line 1"),
        (f"account,seats\n{A},5\n", "line 1: expected a header of account, product"),
        (f"account,limit,limit\n{A},5,5\n", "line 1: expected a header"),
        (f"account,limit\n{A}\n", "line 2: expected 2 cells, got 1"),
        (f"account,limit\n{A},many\n", "line 2: limit: expected a whole number, got 'many'"),
        (f"account,limit\n{A},0\n", "line 2: the limit must be 1 or more"),
        (f"account,ignore_limit\n{A},WAHR\n", "line 2: ignore_limit: expected true or false, got"),
        (f"account,,limit\n{A},5,\n", "line 2: a cell is in a column without a name"),
        (
            f"{A},onedrive\n{B},\n",
            "line 1: a file with several columns needs a header",
        ),
        (f"customer;ids\nacme;{A}\n", "line 1: a file with several columns needs a header"),
        (f"account;limt\n{A};5\n", "line 1: expected a header of account, product"),
        (f"account,product\n{A},teams\n", "line 2: the product must be one of"),
        ("account,product\n,onedrive\n", "line 2: expected one account"),
        (f"account,query\n{A},x\n", "line 2: expected KEY=VALUE"),
        ('{"account":1}', "line 1: the account must be a UUID"),
        (f'{{"account":"{A}","seats":1}}', "line 1: unknown option 'seats'"),
        (f'{{"account":"{A}","limit":true}}', "line 1: limit: expected a whole number, got 'True'"),
        (f'{{"account":"{A}","query":{{"a":1}}}}', "line 1: query: expected a text, got"),
        (
            f'{{"account":"{A}","exclude_fields":[1]}}',
            "line 1: exclude_fields: expected names of fields, got",
        ),
        (f'{{"account":"{A}","query":{{"a":"\\ud800"}}}}', "line 1: expected valid Unicode"),
        (
            f'{{"account":"{A}","remote_query":{{"\\ud800":1}}}}',
            "line 1: expected valid Unicode, got 'remote_query[\\ud800]' (accounts_file)",
        ),
        (f"account,organization_id\n{A},\udcff\n", "line 2: expected valid Unicode, got '\\udcff'"),
        (f"{A}\n{A[:-1]}\udcff\n", "line 2: the account must be a UUID"),
        (f'{{"account":"{A}"}}\n[1]', "line 2: expected a JSON object"),
        (f'{{"account":"{A}"}}\n{{', "line 2: invalid JSON"),
        ("{" + '"a":[' * 5000, "line 1: invalid JSON"),
        (f"account,limit\n{A}," + "9" * 5000, "line 2: limit: expected a whole number, got '99"),
        (f"account,product\n{A}," + "x" * 200_000, "line 2: expected CSV"),
        ('{"account":"' + "x" * 200_000 + '"}', "line 1: the account must be a UUID"),
    ],
)
def test_a_bad_line_is_reported_with_its_number(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert says in str(caught.value)
    assert str(caught.value).startswith("accounts.csv")
    assert str(caught.value).endswith("(accounts_file)")


def test_many_bad_lines_are_reported_in_one_short_line() -> None:
    with pytest.raises(UsageError, match=r"line 6: .*; and 15 more") as caught:
        read("\n".join([A, *["x" * 1000] * 20]))
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


async def test_a_file_and_standard_input_and_options_reach_the_api(tmp_path: Path) -> None:
    """Each account is asked for as its line says; nothing is asked where a line is bad."""
    file = tmp_path / "accounts.csv"
    file.write_text(f"account,product,limit\n{A},onedrive,\n{B},,5\n")
    async with running_emulator(EmulatorConfig(records=10)) as emulator:
        args = export_args(tmp_path / "out", emulator.url, "--limit", "10")
        args = [one for one in args if one not in ("--account", args[args.index("--account") + 1])]
        ended = await run_cli(*args, "--accounts-file", str(file), "--account", C)
        seen = [
            (one.value("integrated_account_id"), one.value("product"), one.value("limit"))
            for one in emulator.requests
        ]
        assert ended.code == 0, ended.err
        assert sorted(seen, key=str) == [
            (A, "onedrive", "10"),
            (B, None, "5"),
            (B, None, "5"),
            (C, None, "10"),
        ]
        args[1] = str(tmp_path / "piped")
        piped = await run_cli(*args, "--accounts-file", "-", stdin=f"{A}\n{B}\n".encode())
        assert [one["rows"] for one in piped.summary["accounts"]] == [10, 10]
        before = len(emulator.requests)
        args[1] = str(tmp_path / "none")
        for text, more, says in [
            (f"{A}\n{A}\n", [], "line 2: account"),
            (f"{A}\n", ["--account", A], "is given by --account too"),
            (f"{A}\n", ["--all-accounts"], "--all-accounts excludes"),
            (f"{A}\n", ["--tenant", "t"], "need --all-accounts"),
        ]:
            refused = await run_cli(*args, "--accounts-file", "-", *more, stdin=text.encode())
            assert refused.code == 2
            assert says in refused.err
            assert refused.err.count("\n") == 1
        assert (await run_cli(*args)).code == 2
        missing = await run_cli(*args, "--accounts-file", str(tmp_path / "missing"))
        assert missing.code == 2
        assert "cannot be read" in missing.err
        assert len(emulator.requests) == before
        assert not (tmp_path / "none").exists()
