"""The API token: where it comes from, and that nobody sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from streamlic.errors import UsageError

TOKEN_VARIABLE = "TRUTO_API_TOKEN"  # noqa: S105  (the variable's name is no secret)


class TokenSource:
    """Reads the token each time it is asked, so that a long run outlives a token that expires."""

    def __init__(self, read: Callable[[], str], origin: str) -> None:
        self._read = read
        self._origin = origin

    def __repr__(self) -> str:
        return f"TokenSource({self._origin})"

    def read(self) -> str:
        """Return the token as it is now; UsageError where there is none, or no possible one."""
        token = self._read().strip()
        if not token:
            raise UsageError(
                f"no API token in {self._origin}: set {TOKEN_VARIABLE} or give --token-file"
            )
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise UsageError(f"the API token in {self._origin} has characters that no token has")
        return token

    @classmethod
    def from_environment(cls) -> TokenSource:
        """Return a source that reads TRUTO_API_TOKEN."""
        return cls(lambda: os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE)

    @classmethod
    def from_file(cls, path: Path | str) -> TokenSource:
        """Return a source that reads a file, anew each time."""

        def read() -> str:
            try:
                return Path(path).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"the token file cannot be read: {error} (--token-file)"
                ) from error

        return cls(read, str(path))

    @classmethod
    def from_value(cls, token: str) -> TokenSource:
        """Return a source that always gives this token."""
        return cls(lambda: token, "the value given")
