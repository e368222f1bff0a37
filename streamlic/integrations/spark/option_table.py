"""The options of ``spark.read.format("truto")``: their names, and the values they take. Pure.

An option is spelled as the argument of ``read_licenses`` or of a request, in camel case:
``exclude_fields`` is ``excludeFields``. Spark ignores the case of options.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from streamlic.errors import StreamlicError, UsageError
from streamlic.resources.base import Kind
from streamlic.resources.licenses import LICENSES
from streamlic.truto.query import parse_remote_query, split_assignment
from streamlic.validation import shown

_SECRETS = ("token", "secret", "password", "credential")
_FLAGS = {"true": True, "false": False}
Read = Callable[[str, str], Any]
"""Reads the text of the option of this name; UsageError if it cannot."""


def camel_case(name: str) -> str:
    """Return an argument of Python as an option: ``base_url`` is ``baseUrl``."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _text(name: str, value: str) -> str:
    if not value.strip():
        raise UsageError(f"the option {name} is empty")
    return value.strip()


def _flag(name: str, value: str) -> bool:
    flag = _FLAGS.get(value.strip().lower())
    if flag is None:
        raise UsageError(f"the option {name}: expected true or false, got {shown(value)}")
    return flag


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", value) or not int(value):
        raise UsageError(f"the option {name}: expected a whole number, got {shown(value)}")
    return int(value)


def _seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,9})?\s*", value):
        raise UsageError(f"the option {name}: expected seconds, got {shown(value)}")
    return float(value)


def _names(name: str, value: str) -> tuple[str, ...]:
    found = tuple(one.strip() for one in value.split(",") if one.strip())
    if not found:
        raise UsageError(f"the option {name}: expected names with commas between, got none")
    return found


def _remote_query(_: str, value: str) -> dict[str, Any]:
    return parse_remote_query(value.split("&"))


def _pairs(name: str, value: str) -> tuple[tuple[str, str], ...]:
    return tuple(split_assignment(one, name) for one in value.split("&"))


_OF_KIND: dict[Kind, Read] = {
    Kind.TEXT: _text,
    Kind.CHOICE: _text,
    Kind.NUMBER: _number,
    Kind.FLAG: _flag,
    Kind.FIELD: _text,
    Kind.FIELDS: _names,
    Kind.NESTED: _remote_query,
    Kind.PAIRS: _pairs,
}
_OF_REQUESTS: dict[str, Read] = {one.name: _OF_KIND[one.kind] for one in LICENSES.parameters}
_OTHERS: dict[str, Read] = {
    "accounts": _names,
    "accounts_file": _text,
    "all_accounts": _flag,
    "integration": _text,
    "tenant": _text,
    "account_details": _flag,
    "skip_failed": _flag,
    "rows_at": _text,
    "strict": _flag,
    "engine": _text,
    "memory_bytes": _number,
    "concurrency": _number,
    "base_url": _text,
    "allow_http": _flag,
    "ca_file": _text,
    "token_file": _text,
    "rate_limit": _text,
    "token_rate_limit": _text,
    "token_share": _text,
    "retry_for_seconds": _seconds,
    "slots": _number,
    "packing_from": _text,
}
REQUEST_NAMES = frozenset(_OF_REQUESTS)
"""The options that are parameters of a request, as Python names them."""
_READ = {**_OTHERS, **_OF_REQUESTS}
OPTIONS = tuple(map(camel_case, _READ))
"""All options, as they are documented."""
_BY_LOWER_CASE = {camel_case(name).lower(): name for name in _READ}


def read_options(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that were given, by their name in Python, each read from its text.

    Raises UsageError for an option that does not exist, for one that might hold a secret, and for a
    text that cannot be read.
    """
    values: dict[str, Any] = {}
    for option, text in given.items():
        name = _BY_LOWER_CASE.get(option.lower())
        if name is None:
            raise _unknown(option)
        values[name] = _READ[name](camel_case(name), text)
    return values


def _unknown(option: str) -> UsageError:
    lower = option.lower()
    if any(word in lower for word in _SECRETS):
        return UsageError(
            f"the option {shown(option)} may hold a secret, and options end up in plans, pages and "
            "event logs of Spark: set TRUTO_API_TOKEN in the environment of the executors, or name "
            "a file on each of them with tokenFile"
        )
    if lower == "path":
        return UsageError("expected load() without a path: options say what is read")
    if lower in ("account", "accountid", "integratedaccountid"):
        return UsageError(f"there is no option {shown(option)} (did you mean accounts?)")
    near = difflib.get_close_matches(lower.replace("_", ""), _BY_LOWER_CASE, 1)
    meant = f" (did you mean {camel_case(_BY_LOWER_CASE[near[0]])}?)" if near else ""
    return UsageError(
        f"there is no option {shown(option)}{meant}: the options are {', '.join(sorted(OPTIONS))}"
    )


def option_of(parameter: str, value: str = "") -> str:
    """Return a parameter of Python as Spark spells it: ``rowsAt``, ``skipFailed=true``."""
    name = {"account": "accounts", "token": "token_file"}.get(parameter, parameter)
    return f"{camel_case(name)}={value.lower()}" if value else camel_case(name)


def spelled(error: StreamlicError) -> StreamlicError:
    """Return an error whose message names options of Spark, in place of arguments of Python."""
    said = error.__copy__()
    said.args = (error.with_advice(option_of),)
    said.parameter, said.advice = None, ""
    return said.with_traceback(error.__traceback__)
