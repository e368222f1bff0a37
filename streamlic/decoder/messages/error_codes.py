"""The messages for what is wrong with a body: one table for both engines.

The compiled core returns a code and an argument. ``core/json/error_code.h`` lists the same codes.
"""

from __future__ import annotations

from enum import Enum, unique


@unique
class ErrorCode(Enum):
    """A code; its value is the sentence, with ``{}`` for the argument."""

    VALUE = "expected a value"
    VALUE_OR_END = "expected a value or ]"
    KEY = "expected a key in double quotes"
    KEY_OR_END = "expected a key in double quotes or }}"
    COLON = "expected : after the key"
    COMMA_OR_END = "expected , or {}"
    DIGIT = "expected a digit"
    LITERAL = "expected {}"
    CONTROL_CHARACTER = "expected no control character in a string"
    ESCAPE = r"expected one of \" \\ \/ \b \f \n \r \t \u after \ "
    HEX_DIGITS = r"expected four hexadecimal digits after \u"
    UTF8 = "expected UTF-8, got bytes that are not UTF-8"
    BYTE_ORDER_MARK = "expected JSON, got a byte-order mark"
    TOP = "expected an object or an array"
    ROWS = "expected an array or an object of rows"
    SECOND_ROWS = "expected the rows once, got them twice"
    KEYED_ROWS = (
        "expected an array of rows, got an object: either one record, or records keyed by a field"
    )
    ARRAY_OF_LINES = "expected newline-delimited records, got an array"
    LINE_FEED = "expected a line feed after the record"
    END = "expected nothing after the end of the JSON"
    TRUNCATED = "the body ended before its JSON was complete"
    MAX_DEPTH = "expected at most {} open brackets"
    MAX_RECORD_BYTES = "expected at most {} bytes in one value"
    BATCH_TEXT = "expected at most 2 GiB of text in one column of a batch"
    ROW_KEY = "expected a record with {}, or a column of strings for its key, got neither"
    MEMORY = "no memory for a batch of the body"
    CONTRADICTION = "expected JSON that both passes of this decoder accept: please report this body"

    def text(self, argument: object = "") -> str:
        """Return the sentence."""
        return self.value.format(argument)

    @property
    def parameter(self) -> str | None:
        """The Python name of the parameter that the error is about, or that helps."""
        return _PARAMETERS.get(self)

    @property
    def advice(self) -> str:
        """What else helps, with parameters in braces."""
        return _ADVICE.get(self, "")


_PARAMETERS = {
    ErrorCode.KEYED_ROWS: "key_by",
    ErrorCode.MAX_DEPTH: "max_depth",
    ErrorCode.MAX_RECORD_BYTES: "max_record_bytes",
    ErrorCode.ROW_KEY: "strict",
}
_ADVICE = {
    ErrorCode.MAX_RECORD_BYTES: "{memory_bytes} raises its default, which is three times as large "
    "with {engine=fast}",
}
