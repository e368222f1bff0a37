"""How to connect to the API: everything but the requests themselves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamlic.errors import UsageError
from streamlic.share import Share
from streamlic.truto.budget.base import TokenBudget
from streamlic.truto.credentials import TokenSource, base_url_from_environment
from streamlic.truto.rate_limit import (
    ACCOUNT_RATE_LIMIT,
    TOKEN_RATE_LIMIT,
    RateLimit,
    RateLimiter,
    parse_rate_limit,
)
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.timeouts import Timeouts


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """How to connect to the API. Settings can be pickled, to connect from other machines.

    ``token`` is a token, or a TokenSource, which is read again when its token is refused; None
    reads the variable TRUTO_API_TOKEN. A pickle contains a token that was given as text: prefer a
    TokenSource. If ``base_url`` is None, the variable TRUTO_API_BASE_URL is used, or else Truto's
    URL. ``allow_http`` lets the token travel unencrypted to other machines. ``ca_file`` is a PEM
    file of certificate authorities to trust in addition to the system's. ``rate_limit`` is the
    limit of each account (``50/10s``); None or ``none`` turns off our own limits, the token's too.
    ``token_rate_limit`` is what Truto allows the token in all. Where several processes use it, each
    has a ``token_share`` (``2/4`` is the second of four; by default a shard of a run has its own
    number), or all have a ``budget`` instead, such as
    a LeasedBudget. ``timeouts`` bounds each wait for the network, and ``retry`` says how long a
    page is retried. Proxies come from the environment (``HTTPS_PROXY``, ``NO_PROXY``), as for curl.
    """

    token: TokenSource | str | None = field(default=None, repr=False)
    base_url: str | None = None
    allow_http: bool = False
    ca_file: str | Path | None = None
    rate_limit: RateLimit | str | None = ACCOUNT_RATE_LIMIT
    token_rate_limit: RateLimit | str | None = TOKEN_RATE_LIMIT
    token_share: Share | str | None = None
    budget: TokenBudget | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        self.rate_limiter()

    def token_source(self) -> TokenSource:
        """Return where the token comes from."""
        if isinstance(self.token, TokenSource):
            return self.token
        if self.token is None:
            return TokenSource.from_environment()
        return TokenSource.from_value(self.token)

    def url(self) -> str:
        """Return the API's URL; UsageError if the environment's is empty."""
        return base_url_from_environment() if self.base_url is None else self.base_url

    def token_id(self) -> str:
        """Return a name for the token at this URL, which does not reveal the token."""
        text = f"{self.url().rstrip('/')}\n{self.token_source().read()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def account_rate_limit(self) -> RateLimit | None:
        """Return the limit of each account, None for none; UsageError if it cannot be read."""
        limit = self.rate_limit
        return parse_rate_limit(limit) if isinstance(limit, str) else limit

    def for_shard(self, shard: Share | None) -> ConnectionSettings:
        """Return the settings of a process that reads one shard of a run.

        It uses the same share of the token's rate, since all shards usually have one token. A
        ``token_share`` or a ``budget`` of its own counts instead: ``1/1`` where the shard has a
        token of its own.
        """
        has_limit = self.account_rate_limit() and self._token_limit()
        if shard is None or self.token_share or self.budget or not has_limit:
            return self
        return replace(self, token_share=shard)

    def rate_limiter(self) -> RateLimiter:
        """Return a rate limiter of these settings; UsageError if they contradict each other."""
        account, token, share = self.account_rate_limit(), self._token_limit(), self._share()
        if share and (self.budget or not account or not token):
            came = "a budget with a limit of its own" if self.budget else "none"
            raise UsageError(
                f"expected a limit of the token to take share {share} of, got {came}",
                parameter="token_share",
            )
        return RateLimiter(account, token_limit=token, share=share, budget=self.budget)

    def own_token_limit(self) -> RateLimit | None:
        """Return what the token may send with these settings; None for no limit of our own."""
        token, share = self._token_limit(), self._share()
        if token is None or self.account_rate_limit() is None:
            return None
        return token.share(share.number, share.of) if share else token

    def _token_limit(self) -> RateLimit | None:
        limit = self.token_rate_limit
        return parse_rate_limit(limit, "token_rate_limit") if isinstance(limit, str) else limit

    def _share(self) -> Share | None:
        share = self.token_share
        return Share.parse(share, "token_share") if isinstance(share, str) else share
