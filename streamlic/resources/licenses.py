"""The list of licenses: its path and parameters."""

from __future__ import annotations

LICENSES_PATH = "/unified/user-directory/licenses"


PRODUCTS = ("azure_active_directory", "onedrive")


LICENSE_FIELDS = (
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
)
