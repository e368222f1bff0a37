"""Translates aiohttp's errors: what failed, through which proxy, and what helps."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import aiohttp

from streamlic.errors import TransportError
from streamlic.truto.api_errors import one_line
from streamlic.truto.proxies import Proxy

_HOPELESS = (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL)
_PROXY_WANTS_CREDENTIALS = 407


class Translation:
    """Raises aiohttp's errors as TransportError, without ``token`` and the proxy's credentials.

    Use it as a context manager, as often as you like: it keeps no state. ``answer_seconds`` and
    ``silence_seconds`` are the limits to name in a timeout's error.
    """

    __slots__ = ("_answer_seconds", "_proxy", "_silence_seconds", "_token")

    def __init__(
        self, token: str, proxy: Proxy | None, *, answer_seconds: float, silence_seconds: float
    ) -> None:
        self._token = token
        self._proxy = proxy
        self._answer_seconds = answer_seconds
        self._silence_seconds = silence_seconds

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            raise refused_by(self._proxy, error.status) from None  # It has the proxy's request.
        if isinstance(error, (aiohttp.ClientError, OSError)):  # OSError includes TimeoutError.
            proxy = self._proxy
            secrets = (self._token, *(proxy.secrets if proxy else ()))
            detail = one_line(_hidden(str(error), secrets))
            silence = _silence(error, self._answer_seconds, self._silence_seconds)
            said = silence or _failure(error, detail)
            raise TransportError(
                f"{said}; asked through the proxy {proxy}" if proxy else said,
                retryable=not isinstance(error, _HOPELESS),
                parameter=_parameter(error, is_silence=silence is not None),
            ) from (None if _shows(error, secrets) else error)


def refused_by(proxy: Proxy | None, status: int) -> TransportError:
    """Return the error for a proxy that refused the request."""
    named = f"the proxy {proxy}"
    if status == _PROXY_WANTS_CREDENTIALS:
        says = "refused the user and password" if proxy and proxy.user else "wants a user"
        return TransportError(
            f"{named} {says} (HTTP 407): give http://USER:PASSWORD@HOST:PORT", retryable=False
        )
    return TransportError(f"{named} made no connection to the API (HTTP {status})")


def _hidden(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _shows(error: Exception, secrets: Sequence[str]) -> bool:
    """Return whether a secret is in an error or its causes, as a traceback shows them."""
    shown = "".join(traceback.format_exception(error, limit=0))
    return any(secret in shown for secret in secrets)


def _silence(error: Exception, answer_seconds: float, silence_seconds: float) -> str | None:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "the API could not be reached in time"
    if type(error) is TimeoutError:
        return f"no answer came in time: {answer_seconds:g} s"
    if isinstance(error, TimeoutError):
        return f"the API fell silent for {silence_seconds:g} s"
    return None


def _parameter(error: Exception, *, is_silence: bool) -> str | None:
    """Return the parameter that helps with an error, None if there is none."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "ca_file"
    return "silence_seconds" if is_silence else None


def _failure(error: Exception, detail: str) -> str:
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the body was cut before its end: {detail}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the API closed the connection without an answer"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"certificate verification failed: {detail}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy could not be reached: {detail}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the API could not be reached: {detail}"
    return f"the connection failed: {detail or type(error).__name__}"
