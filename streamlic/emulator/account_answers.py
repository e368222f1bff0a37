"""Plans the answers about integrated accounts: all of them, or one.

Source: Truto's reference of ``GET /integrated-account`` and ``GET /integrated-account/{id}``.
"""

from __future__ import annotations

from streamlic.emulator.asked import UUID, Asked
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.filters import check_known
from streamlic.emulator.planned import Answer, json_answer, refused

ACCOUNTS_PATH = "/integrated-account"
_KNOWN = frozenset({"limit", "next_cursor", "truto_ignore_limit"})


def accounts_answer(config: EmulatorConfig, asked: Asked) -> Answer:
    """Plan one page of the list, filtered by tenant, integration and status."""
    wanted = {name: asked.value(name) for name in ("tenant_id", "integration.name", "status")}
    for name, value in asked.query:
        if value not in ("", "None"):
            check_known(name, _KNOWN.union(wanted))
    listed = [
        one
        for one in config.world.accounts.values()
        if wanted["tenant_id"] in (None, one.tenant_id)
        and wanted["integration.name"] in (None, one.integration)
        and wanted["status"] in (None, one.status)
    ]
    start, limit = asked.offset(), asked.limit(config.page_size, len(listed))
    stop = start + limit
    body = {
        "result": [account.listed() for account in listed[start:stop]],
        "next_cursor": asked.cursor(stop) if stop < len(listed) else None,
        "limit": limit,
    }
    return json_answer(200, body)


def account_answer(config: EmulatorConfig, account: str) -> Answer:
    """Plan the object of one account, as the list has it. It exists if its licenses do."""
    account = account.lower()
    found = config.world.account(account) if UUID.fullmatch(account) else None
    if found is None:
        raise refused(404, "Integrated account not found")
    return json_answer(200, found.listed())
