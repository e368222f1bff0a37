"""The doctor on real servers: what a run would meet there, and it leaves nothing there."""

from __future__ import annotations

from typing import Any

from streamlic.dataset.destination import writer_lock
from streamlic.storage.open_store import open_store
from tests.support.cli import run_cli
from tests.support.object_servers import BUCKET, AzuriteServer, ObjectServer, RcloneServer

NOWHERE = "http://127.0.0.1:9"


async def looked(dest: str, **env: str) -> dict[str, dict[str, Any]]:
    """Return the doctor's checks, by their names."""
    ended = await run_cli("doctor", dest, "--json", "--base-url", NOWHERE, **env)
    return {one["name"]: one for one in ended.summary["checks"]}


async def test_a_store_that_keeps_conditions_is_accepted(server: ObjectServer, dest: str) -> None:
    found = await looked(dest)
    assert found["dest"]["state"] == "ok", found["dest"]["found"]
    assert found["dest"]["facts"]["allowed"] == ["list", "write", "read", "copy", "delete"]
    assert server.keys(dest.partition(f"{BUCKET}/")[2]) == []


async def test_a_lake_that_another_writer_has_is_refused(server: ObjectServer, dest: str) -> None:
    del server
    with writer_lock(open_store(dest)):
        found = await looked(dest)
    assert (found["dest"]["state"], found["dest"]["exit_code"]) == ("failed", 1)
    assert "a writer is active" in found["dest"]["found"]
    assert (await looked(dest))["dest"]["state"] == "ok"


async def test_a_store_that_ignores_conditions_fails(rclone: RcloneServer) -> None:
    found = await looked(rclone.dest("ignored"), **rclone.environment)
    assert (found["dest"]["state"], found["dest"]["exit_code"]) == ("failed", 2)
    assert "this store ignores a request to" in found["dest"]["found"]
    assert rclone.keys("ignored") == []


async def test_a_wrong_key_fails_and_is_not_shown(azurite: AzuriteServer) -> None:
    """Azure itself says AuthenticationFailed, where Azurite says AuthorizationFailure."""
    name = "AZURE_STORAGE_ACCOUNT_KEY"
    wrong = "d3Jvbmc" + azurite.environment[name][7:]
    ended = await run_cli(
        "doctor", azurite.dest("wrong"), "--json", "--base-url", NOWHERE,
        **{**azurite.environment, name: wrong},
    )  # fmt: skip
    [check] = (one for one in ended.summary["checks"] if one["name"] == "dest")
    assert check["state"] == "failed"
    assert "(403 " in check["found"]
    assert wrong[:20] not in ended.out
