"""Iceberg tables through a REST catalog: an imitation of our own, see there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rest_catalog import RestCatalog
from tests.tables.iceberg_lake import IcebergLake


@pytest.mark.parametrize("partition_by", [None, "export_date"])
def test_changes_are_shown_once_each(
    server: RestCatalog, tmp_path: Path, partition_by: str | None
) -> None:
    lake = IcebergLake(tmp_path, catalog="prod", partition_by=partition_by)
    old, kept, new = (lake.part(number) for number in (1, 2, 3))
    changes = [lake.change(1, [old, kept, lake.part(1, table="runs")])]
    changes.append(lake.change(2, [new], [old]))
    for change in changes:
        lake.format.show(change)
    commits = server.commits
    for change in changes:
        lake.format.show(change)
    assert (lake.parts(), lake.parts("runs")) == ([2, 3], [1])
    assert server.commits == commits


def test_a_commit_whose_answer_was_lost_counts_once(server: RestCatalog, tmp_path: Path) -> None:
    lake = IcebergLake(tmp_path, catalog="prod")
    lake.format.show(lake.change(1, [lake.part(1)]))
    server.lost_answers = 1
    lake.format.show(lake.change(2, [lake.part(2)]))
    assert lake.parts() == [1, 2]
    assert server.lost_answers == 0
    assert len(lake.table().snapshots()) == 2
