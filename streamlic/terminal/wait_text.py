"""The reasons of waits as text. Pure."""

from __future__ import annotations

from streamlic.formatting import counted, duration_text
from streamlic.truto.wait_reasons import WaitCause, WaitReason, WaitStatus


def cause_text(cause: WaitCause) -> str:
    """Say why a request waits."""
    match cause.reason:
        case WaitReason.TOKEN_LIMIT:
            return f"the token's rate limit, {cause.detail}"
        case WaitReason.ACCOUNT_LIMIT:
            return f"the account's rate limit, {cause.detail}"
        case WaitReason.PERMIT_SERVER:
            return f"the permit server at {cause.detail} does not answer"
        case WaitReason.SERVER_LIMIT:
            return "the API reported that its rate limit is used up"
        case WaitReason.RETRY_AFTER:
            return f"the API asked for it (Retry-After): {cause.detail}"
        case WaitReason.BACKOFF:
            return f"then another attempt: {cause.detail}"


def wait_text(wait: WaitStatus, now: float, *, accounts: int) -> str:
    """Say what requests wait for, and how long, in a run of so many accounts."""
    left = duration_text(wait.seconds(now) + 0.999)  # Not 0 s while it waits.
    whose = f", {counted(wait.accounts, 'account')}" if accounts > 1 else ""
    return f"waiting {left}{whose}: {cause_text(wait.cause)}"
