"""Lakes whose licenses have a partition for each day: a day is replaced account by account."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streamlic.emulator import EmulatorConfig, emulated_accounts
from tests.job.test_many_accounts import faulty, refused
from tests.support.cli import run_cli

pytest.importorskip("deltalake")

ACCOUNTS = emulated_accounts(3, records=20)
FIRST, SECOND, THIRD = ACCOUNTS


async def test_a_run_of_some_accounts_keeps_the_others_of_its_day(tmp_path: Path) -> None:
    """Such as a second run that adds an account, or one in which an account fails."""
    dest = tmp_path / "lake"
    failing = {THIRD}

    def rows() -> dict[str, int]:
        table = pl.read_delta(str(dest / "licenses"))
        assert table["export_date"].n_unique() == 1
        assert table["id"].n_unique() == table.height
        return dict(table["integrated_account_id"].value_counts().iter_rows())

    async with faulty(
        EmulatorConfig(accounts=ACCOUNTS, page_size=10),
        lambda _, account: refused(404, message="gone") if account in failing else None,
    ) as emulator:
        given = [
            "--base-url", emulator.url, "--rate-limit", "none", "--mode", "append", "--json",
            "--quiet", "--format", "delta", "--partition-by", "export_date", "--skip-failed",
        ]  # fmt: skip

        async def export(*accounts: str) -> dict[str, int]:
            chosen = [part for one in accounts for part in ("--account", one)]
            ended = await run_cli("export", str(dest), *(chosen or ["--all-accounts"]), *given)
            assert ended.code in (0, 6), ended.err
            carried = ended.summary["carried_over"]
            return {one["account"]: one["rows"] for one in carried}

        assert await export() == {}
        assert rows() == {FIRST: 20, SECOND: 20}
        failing.clear()
        assert await export(THIRD) == {FIRST: 20, SECOND: 20}
        assert rows() == {FIRST: 20, SECOND: 20, THIRD: 20}
        failing.add(SECOND)
        assert await export() == {SECOND: 20}
        assert rows() == {FIRST: 20, SECOND: 20, THIRD: 20}
        failing.clear()
        assert await export() == {}
        assert rows() == {FIRST: 20, SECOND: 20, THIRD: 20}
    verified = await run_cli("verify", str(dest))
    assert verified.code == 0, verified.out
