"""Plans the answers about integrated accounts: all of them, or one.

Source: Truto's reference of ``GET /integrated-account`` and ``GET /integrated-account/{id}``.
"""

from __future__ import annotations

from streamlic.emulator.asked import UUID, Asked
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.planned import Answer, json_answer, refused

ACCOUNTS_PATH = "/integrated-account"


def accounts_answer(config: EmulatorConfig, asked: Asked) -> Answer:
    """Plan one page of the list, filtered by tenant and integration."""
    tenant, integration = asked.value("tenant_id"), asked.value("integration.name")
    listed = [
        account
        for account in map(config.account, config.accounts or ())
        if tenant in (None, account.tenant_id) and integration in (None, account.integration)
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
    if not UUID.fullmatch(account) or config.records_of(account) is None:
        raise refused(404, "Integrated account not found")
    return json_answer(200, config.account(account).listed())
