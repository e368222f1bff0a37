"""An Iceberg catalog, opened by pyiceberg's own configuration, and its errors in our words.

Rules:
1. No error shows a secret: neither a URL's user and query, nor a value of the configuration whose
   name says that it is one.
2. A commit that a catalog refuses is looked for in the table before it counts as refused. A client
   below pyiceberg (Glue's, or a proxy) sends a request again whose answer was lost; the second one
   is refused because of the first. pyiceberg then deletes the manifests of a commit that was made.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    BadRequestError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    OAuthError,
    ServerError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
    TooManyRequestsError,
    UnauthorizedError,
)
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import AddSnapshotUpdate, TableRequirement, TableUpdate
from pyiceberg.utils.config import Config

from streamlic.dataset.records import DEFAULT_NAMESPACE
from streamlic.errors import IntegrityError, StoreError, StreamlicError, UsageError

_SECRET = re.compile(r"secret|token|credential|password|key|connection-string|sas", re.IGNORECASE)
_DENIED = re.compile(r"ACCESS_DENIED|AccessDenied|Forbidden|\b403\b|AuthorizationFailure")
_METADATA = re.compile(r"\.(metadata\.json|avro)\b")
_LONGEST_TEXT = 400
_FROM_ENVIRONMENT = {
    "s3.endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "s3.region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
}
"""Properties that pyiceberg does not take from the environment, and the lake's store does."""


class _NoStatisticsMissing(logging.Filter):
    """Drops a warning for each column of each file that has no statistics: long texts have none."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("PyArrow statistics missing")


logging.getLogger("pyiceberg.io.pyarrow").addFilter(_NoStatisticsMissing())


@dataclass(frozen=True)
class OpenCatalog:
    """A catalog and the namespace in it that holds the tables of a lake."""

    name: str
    namespace: tuple[str, ...]
    catalog: Catalog

    def __repr__(self) -> str:
        return f"OpenCatalog({self.full_name()!r})"

    def identifier(self, table: str) -> tuple[str, ...]:
        """Return the identifier of a table, as pyiceberg takes it."""
        return (*self.namespace, table)

    def full_name(self, table: str = "") -> str:
        """Return the name of a table, or of the namespace, for messages."""
        return ".".join([self.name, *self.namespace, *([table] if table else [])])

    def find(self, table: str) -> Table | None:
        """Return a table as it is now, None if there is none."""
        try:
            found = self.catalog.load_table(self.identifier(table))
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
        found.catalog = cast("Catalog", _Believing(self.catalog))
        return found

    @contextmanager
    def translated(self, table: str = "") -> Iterator[None]:
        """Raise streamlic's errors in place of those of pyiceberg and of what it uses."""
        try:
            yield
        except StreamlicError:
            raise
        except Exception as error:  # noqa: BLE001  (pyiceberg's errors have no common base)
            place = f"Iceberg table {self.full_name(table)}" if table else f"catalog {self.name}"
            # Not "from error": its text may hold what must not be shown.
            raise _error(error, place, self.catalog.properties) from None


class _Believing:
    """A catalog that looks at the table before it reports that a commit was refused: rule 2."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        try:
            return self._catalog.commit_table(table, requirements, updates)
        except CommitFailedException:
            ours = {
                update.snapshot.snapshot_id
                for update in updates
                if isinstance(update, AddSnapshotUpdate)
            }
            # If this fails, too, nobody knows, and pyiceberg deletes nothing.
            now = self._catalog.load_table(table.name())
            if ours and ours <= {snapshot.snapshot_id for snapshot in now.metadata.snapshots}:
                return CommitTableResponse.model_construct(
                    metadata=now.metadata, metadata_location=now.metadata_location
                )
            raise


def open_catalog(text: str) -> OpenCatalog:
    """Open ``NAME`` or ``NAME.NAMESPACE`` of pyiceberg's configuration.

    Raises UsageError if pyiceberg is not configured for it, StoreError if it cannot be reached.
    """
    name, *namespace = text.split(".")
    try:
        properties = Config().get_catalog_config(name)
    except Exception as error:  # noqa: BLE001  (a file of the user's, read by pyiceberg and strictyaml)
        reason = f"{type(error).__name__} while pyiceberg read its configuration"
        raise UsageError(f"catalog {name}: {reason}", parameter="catalog") from None
    if not properties:
        variable = f"PYICEBERG_CATALOG__{name.upper().replace('-', '_')}__"
        raise UsageError(
            f"no Iceberg catalog {name!r} is configured: expected {variable}URI (or {variable}TYPE)"
            f" in the environment, or catalog: {name}: in .pyiceberg.yaml, which pyiceberg looks"
            " for in PYICEBERG_HOME, then in the home directory, then in the current one",
            parameter="catalog",
        )
    for one, variables in _FROM_ENVIRONMENT.items():
        values = (os.environ[variable] for variable in variables if os.environ.get(variable))
        if one not in properties and (value := next(values, None)):
            properties = {**properties, one: value}
    try:
        catalog = _loaded(name, properties)
    except Exception as error:  # noqa: BLE001  (pyiceberg's errors have no common base)
        raise _error(error, f"catalog {name}", properties, at_start=True) from None
    return OpenCatalog(name, tuple(namespace) or (DEFAULT_NAMESPACE,), catalog)


def _loaded(name: str, properties: Mapping[str, Any], attempts: int = 3) -> Catalog:
    """Load a catalog; another process may create the two tables of a new one in this moment."""
    try:
        return load_catalog(name, **cast("dict[str, str]", properties))
    except Exception as error:
        if attempts == 1 or not may_have_landed(error):
            raise
    return _loaded(name, properties, attempts - 1)


def may_have_landed(error: Exception) -> bool:
    """Return whether only another look can say what a failed request has done.

    That is also so if another writer was first.
    """
    if isinstance(error, FileNotFoundError) or is_denial(error):
        return False
    kinds = (
        CommitFailedException,
        CommitStateUnknownException,
        ServerError,
        ServiceUnavailableError,
        TableAlreadyExistsError,
        TooManyRequestsError,
        OSError,  # requests' errors, too
    )
    return isinstance(error, kinds) or type(error).__name__ == "OperationalError"  # sqlalchemy's


def is_denial(error: Exception) -> bool:
    """Return whether a file was denied: filesystems say so in different ways."""
    return isinstance(error, PermissionError) or bool(_DENIED.search(str(error)))


def _error(
    error: Exception, place: str, properties: Mapping[str, Any], *, at_start: bool = False
) -> StreamlicError:
    """Return what to raise in place of a foreign error."""
    text = shown(error, properties)
    if isinstance(error, FileNotFoundError) and _METADATA.search(str(error)):
        return IntegrityError(
            f"{place}: the table's metadata is missing: {text}",
            advice="bring the file back, or the whole lake if it was moved; or register the newest"
            " metadata that there is in the catalog again; or export into another {dest} with"
            " another namespace of {catalog}",
        )
    if isinstance(error, FileNotFoundError):
        return IntegrityError(
            f"{place}: a file was promised and is missing: {text}",
            advice="fetch again with {restart=True}, or into another {dest}",
        )
    if isinstance(error, UnauthorizedError | OAuthError):
        return UsageError(f"{place}: the catalog refused the credentials: {text}")
    if isinstance(error, ForbiddenError) or is_denial(error):
        return StoreError(
            f"{place}: denied: {text} (may this user change the table, and write to its metadata"
            " directory? A bucket of tables, such as S3 Tables, takes no files of a lake)"
        )
    if isinstance(error, BadRequestError) and "location" in str(error):
        return UsageError(
            f"{place}: {text} (such a catalog takes tables in places of its own only, as Amazon S3"
            " Tables does; a lake needs one that takes them where the lake is)",
            parameter="catalog",
        )
    if at_start and isinstance(error, ValueError | TypeError):
        return UsageError(f"{place}: {text}", parameter="catalog")
    if type(error).__name__ in ("NotInstalledError", "ModuleNotFoundError"):
        return UsageError(f"{place}: {text}", parameter="catalog")
    return StoreError(f"{place}: {text}")


def shown(error: Exception, properties: Mapping[str, Any]) -> str:
    """Return what an error says, in one line, without secrets."""
    text = f"{type(error).__name__}: {error}"
    for name, value in properties.items():
        if _SECRET.search(name) and isinstance(value, str) and len(value) > 3:
            text = text.replace(value, "…")
    text = re.sub(r"(\w://)[^/\s'\"]*@", r"\1", text)  # user and password
    text = re.sub(r"(\w://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)  # query
    return shortened(text)


def shortened(text: str) -> str:
    """Return a foreign text in one line that is not too long."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
