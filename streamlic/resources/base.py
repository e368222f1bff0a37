"""What a resource is: a list that the API serves, its parameters, and the columns of its rows.

One table of ``Parameter`` is the only place where a request's parameters are spelled. From it
derive:

- the query string, the validation and the identity of a request (``truto/request.py``);
- an option of the command line: ``--`` and ``option``, its help and its choices; an option of a
  ``is_repeated`` kind may be given several times;
- a column of an accounts file: ``name``, unless the parameter is ``for_all_accounts``;
- the resume command: each option whose value is not ``default``. The identity of a request holds
  the values under ``name``; those of ``NESTED`` and ``PAIRS`` as ``[key, value]`` lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(Enum):
    """What values a parameter takes."""

    TEXT = auto()
    """Text that is not empty."""
    CHOICE = auto()
    """One of the parameter's ``choices``."""
    NUMBER = auto()
    """A whole number, 1 or more."""
    FLAG = auto()
    """True or False; only True is sent."""
    FIELD = auto()
    """The name of a field of a record."""
    FIELDS = auto()
    """A tuple of names of fields."""
    NESTED = auto()
    """A mapping of keys to values, nested to any depth."""
    PAIRS = auto()
    """A tuple of (name, value) pairs, which are sent as they are."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a request: how Python, the command line and the API spell it."""

    name: str
    """In Python, in accounts files, and in the commit log."""
    wire_name: str
    """In the query string; ``PAIRS`` bring names of their own, and have none."""
    kind: Kind
    help: str
    """One sentence for the command line's help."""
    choices: tuple[str, ...] = ()
    default: Any = None
    metavar: str | None = None
    """The placeholder of the option's value in the help."""
    for_all_accounts: bool = False
    """Whether it is the same for all accounts of a run."""

    @property
    def option(self) -> str:
        """The option's name without its dashes: singular where an option is repeated."""
        name = self.name.removesuffix("s") if self.kind is Kind.FIELDS else self.name
        return name.replace("_", "-")

    @property
    def is_repeated(self) -> bool:
        """Whether its option may be given several times."""
        return self.kind in (Kind.FIELDS, Kind.NESTED, Kind.PAIRS)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A list that the API serves."""

    name: str
    path: str
    """Below the API's URL."""
    parameters: tuple[Parameter, ...]
    """In the order in which they are sent."""
    fields: tuple[str, ...]
    """The fields of a record."""
    load_schema: Callable[[], pa.Schema]
    """Returns the columns that a decoder fills. Imports pyarrow only when it is called."""
    long_text_columns: frozenset[str] = frozenset()
    """Columns of long texts, for which a Parquet dictionary does not pay."""
    unique_columns: frozenset[str] = frozenset()
    """Columns whose values are all different."""
    status_column: str | None = None
    """The column whose values ``inspect`` counts."""
    telling_columns: tuple[str, ...] = ()
    """The columns that ``head`` shows by default, the most telling first."""

    @property
    def schema(self) -> pa.Schema:
        """The columns that a decoder fills."""
        return self.load_schema()

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of this name; KeyError if there is none."""
        for one in self.parameters:
            if one.name == name:
                return one
        raise KeyError(name)
