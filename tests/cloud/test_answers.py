"""A lake in a bucket answers as one on a disk does."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from streamlic.emulator import license_json
from tests.support.cli import ACCOUNT, run_cli
from tests.support.object_servers import ObjectServer

RECORDS = 300
QUERY = "select count(*) as n, sum(unused_seats) as unused, sum(cost) as cost from licenses_now"


async def test_a_lake_in_a_bucket_answers_as_one_on_a_disk(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    body = tmp_path / "body.json"
    records = b",".join(license_json(7, ACCOUNT, number) for number in range(RECORDS))
    body.write_bytes(b'{"result":[' + records + b"]}")
    found = []
    for dest in (str(tmp_path / "lake"), server.dest(f"answers-{uuid4().hex[:8]}")):
        options = ["--account", ACCOUNT, "--quiet", "--json", "--part-bytes", "64KiB"]
        landed = await run_cli("convert", str(body), dest, *options)
        assert landed.code == 0, landed.err
        ended = await run_cli("sql", dest, QUERY, "--json")
        assert ended.code == 0, ended.err
        found.append(json.loads(ended.out))
        report = await run_cli("report", dest)
        assert (report.code, "paid seats" in report.out) == (0, True), report.err
    assert found[0] == pytest.approx(found[1])
    assert found[0]["n"] == RECORDS
