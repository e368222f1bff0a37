"""One table of parameters: what a request takes, sends and records is derived from it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from streamlic.resources.base import Kind
from streamlic.resources.licenses import LICENSES
from streamlic.truto.request import LicensesRequest

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
NOT_OF_THE_TABLE = {"account", "next_cursor"}
VALUES: dict[Kind, Any] = {
    Kind.TEXT: "a text",
    Kind.NUMBER: 7,
    Kind.FLAG: True,
    Kind.FIELD: "id",
    Kind.FIELDS: ("name",),
    Kind.NESTED: {"a": "b"},
    Kind.PAIRS: (("updated_at[gt]", "2026-01-01"),),
}


def test_a_request_has_the_parameters_of_its_resource_and_their_defaults() -> None:
    request = LicensesRequest(account=ACCOUNT)
    names = {one.name for one in dataclasses.fields(request)}
    assert names == {one.name for one in LICENSES.parameters} | NOT_OF_THE_TABLE
    for parameter in LICENSES.parameters:
        value = getattr(request, parameter.name)
        assert value == parameter.default or parameter.kind is Kind.NESTED, parameter.name


@pytest.mark.parametrize("parameter", LICENSES.parameters, ids=lambda one: one.name)
def test_each_parameter_is_sent_under_its_name_and_recorded(parameter: Any) -> None:
    value = parameter.choices[-1] if parameter.choices else VALUES[parameter.kind]
    request = LicensesRequest(account=ACCOUNT, **{parameter.name: value})
    sent = [name for name, _ in request.query_items()]
    assert any(name.partition("[")[0] == (parameter.wire_name or "updated_at") for name in sent)
    plain = LicensesRequest(account=ACCOUNT)
    changed = {
        name for name, value in request.identity().items() if value != plain.identity()[name]
    }
    assert changed == {parameter.name}


def test_the_columns_that_a_resource_describes_are_in_its_schema() -> None:
    names = set(LICENSES.schema.names)
    assert set(LICENSES.fields) < names
    assert LICENSES.long_text_columns | LICENSES.unique_columns | {LICENSES.status_column} <= names
    with pytest.raises(KeyError):
        LICENSES.parameter("no such")
