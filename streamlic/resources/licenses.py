"""The list of licenses: ``GET /unified/user-directory/licenses`` of the Truto unified API.

Sources: the endpoint's own page, and Truto's page on specifying query parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamlic.resources.base import Kind, Parameter, Resource

if TYPE_CHECKING:
    import pyarrow as pa


def _schema() -> pa.Schema:
    from streamlic.resources.license_schema import LICENSE_SCHEMA  # noqa: PLC0415  (loads pyarrow)

    return LICENSE_SCHEMA


LICENSES: Final = Resource(
    name="licenses",
    path="/unified/user-directory/licenses",
    parameters=(
        Parameter(
            name="response_format",
            wire_name="truto_response_format",
            kind=Kind.CHOICE,
            choices=("stream", "unified", "normalized", "raw"),
            default="stream",
            for_all_accounts=True,
            help="Response format to request from the API.",
        ),
        Parameter(
            name="product",
            wire_name="product",
            kind=Kind.CHOICE,
            choices=("azure_active_directory", "onedrive"),
            help="Product to list; Microsoft 365 accounts need it.",
        ),
        Parameter(
            name="organization_id",
            wire_name="organization_id",
            kind=Kind.TEXT,
            metavar="ID",
            help="Organization; Cisco Meraki, ClickUp and GitHub accounts need it.",
        ),
        Parameter(
            name="limit",
            wire_name="limit",
            kind=Kind.NUMBER,
            metavar="N",
            help="Records per page.",
        ),
        Parameter(
            name="ignore_limit",
            wire_name="truto_ignore_limit",
            kind=Kind.FLAG,
            default=False,
            help="Request all records in one body.",
        ),
        Parameter(
            name="key_by",
            wire_name="truto_key_by",
            kind=Kind.FIELD,
            metavar="FIELD",
            help="Request an object keyed by this field; each record keeps its key.",
        ),
        Parameter(
            name="ignore_remote_data",
            wire_name="truto_ignore_remote_data",
            kind=Kind.FLAG,
            default=False,
            help="Leave remote_data out.",
        ),
        Parameter(
            name="exclude_fields",
            wire_name="truto_exclude_fields",
            kind=Kind.FIELDS,
            default=(),
            metavar="F",
            help="Field to leave out; can be repeated.",
        ),
        Parameter(
            name="remote_query",
            wire_name="remote_query",
            kind=Kind.NESTED,
            metavar="K=V",
            help="Parameter for the remote API: K, K[SUB] or K[]; can be repeated.",
        ),
        Parameter(
            name="query",
            wire_name="",
            kind=Kind.PAIRS,
            default=(),
            metavar="K=V",
            help="Any other unified parameter, such as updated_at[gt]=2026-01-01; can be repeated.",
        ),
    ),
    fields=(
        "id",
        "name",
        "description",
        "available_quantity",
        "assigned_quantity",
        "unit_amount",
        "currency",
        "is_paid",
        "status",
        "products",
        "roles",
        "created_at",
        "updated_at",
        "remote_data",
    ),
    load_schema=_schema,
    long_text_columns=frozenset({"description"}),
    unique_columns=frozenset({"id"}),
    status_column="status",
    telling_columns=(
        "name",
        "available_quantity",
        "assigned_quantity",
        "unit_amount",
        "currency",
        "status",
    ),
)
