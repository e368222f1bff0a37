"""Which option of a command helps with an error of the decoder, which knows no options."""

from __future__ import annotations

from collections.abc import Collection

from streamlic.errors import DecodeError

_HELP = {
    "expected rows at ": {
        "--rows-at": "names the path to the rows",
        "--lines": "reads newline-delimited records",
    },
    "(key_by)": {"--key-by": "names the field"},
    "records, got an array": {"--no-lines": "reads an array"},
    "(max_record_bytes)": {
        "--max-record-bytes": "allows more, and takes more memory",
        "--memory": "raises its default, which is three times as large with --engine fast",
    },
    "(max_depth)": {"--max-depth": "allows more"},
}


def hint(error: Exception, options: Collection[str]) -> str:
    """Return which of these options help, to be appended to the error's message; often none."""
    if not isinstance(error, DecodeError):
        return ""
    helps = [
        f"{option} {does}"
        for sign, those in _HELP.items()
        if sign in error.reason
        for option, does in those.items()
        if option in options
    ]
    return "".join(f"; {one}" for one in helps)
