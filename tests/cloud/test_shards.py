"""Four shards of one run into each object store, of which one is killed and started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_shards import check_in_bucket
from tests.cloud.conftest import SERVERS
from tests.support.object_servers import ObjectServer


@pytest.mark.parametrize("server", SERVERS)
async def test_four_shards_of_which_one_is_killed_are_one_complete_run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    store: ObjectServer = request.getfixturevalue(server)
    await check_in_bucket(store, tmp_path, monkeypatch, seed=13)
