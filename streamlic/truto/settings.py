"""How to connect to the API: everything but the requests themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from streamlic.truto.credentials import TokenSource, base_url_from_environment
from streamlic.truto.rate_limit import ACCOUNT_RATE_LIMIT, RateLimit, parse_rate_limit
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
    limit of each account (``50/10s``); None or ``none`` sets no limit. ``timeouts`` bounds each
    wait for the network, and ``retry`` says how long a page is retried. Proxies come from the
    environment (``HTTPS_PROXY``, ``NO_PROXY``), as for curl.
    """

    token: TokenSource | str | None = field(default=None, repr=False)
    base_url: str | None = None
    allow_http: bool = False
    ca_file: str | Path | None = None
    rate_limit: RateLimit | str | None = ACCOUNT_RATE_LIMIT
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        self.account_rate_limit()

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

    def account_rate_limit(self) -> RateLimit | None:
        """Return the limit of each account, None for none; UsageError if it cannot be read."""
        limit = self.rate_limit
        return parse_rate_limit(limit) if isinstance(limit, str) else limit
