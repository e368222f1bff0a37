"""An imitation of an Iceberg REST catalog, as far as pyiceberg's client uses it.

It is our own, because no server that can be installed here takes a table whose place the client
chooses. Tables are kept by pyiceberg's own SQL catalog. So what is tested with it is our use of the
client, and what its errors come to: not anybody's server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.web import Request, Response
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    BadRequestError,
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest, Table
from pyiceberg.table.sorting import SortOrder
from pyiceberg.typedef import EMPTY_DICT

_STATUS: dict[type[Exception], int] = {
    NoSuchNamespaceError: 404,
    NoSuchTableError: 404,
    NamespaceAlreadyExistsError: 409,
    TableAlreadyExistsError: 409,
    CommitFailedException: 409,
    BadRequestError: 400,
}


class RestCatalog:
    """The server. ``lost_answers`` is how many commits from now on are answered with a 504.

    ``refused_location`` is the end of places that it refuses, as SeaweedFS refuses all that are not
    in its own bucket; ``places`` is where it puts tables instead of where it is asked to.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.url = ""
        self.commits = 0
        self.lost_answers = 0
        self.refused_location = ""
        self.places = ""
        self._catalog = SqlCatalog(
            "rest", uri=f"sqlite:///{root}/rest.db", warehouse=f"file://{root}/warehouse"
        )
        self._turn = asyncio.Lock()
        self._staged: dict[tuple[str, str], Table] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RestCatalog]:
        """Serve on a free port of 127.0.0.1."""
        app = web.Application()
        tables = "/v1/namespaces/{namespace}/tables"
        app.add_routes(
            [
                web.get("/v1/config", self._answered(self._config)),
                web.post("/v1/namespaces", self._answered(self._create_namespace)),
                web.get("/v1/namespaces/{namespace}", self._answered(self._namespace)),
                web.get(tables, self._answered(self._tables)),
                web.post(tables, self._answered(self._create)),
                web.get(tables + "/{table}", self._answered(self._load)),
                web.post(tables + "/{table}", self._answered(self._commit)),
                web.delete(tables + "/{table}", self._answered(self._drop)),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def _answered(
        self, work: Callable[[Request, Any], Any]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that does this work in a thread, one request at a time."""

        async def answer(request: Request) -> Response:
            body = await request.json() if request.can_read_body else {}
            async with self._turn:
                try:
                    found = await asyncio.to_thread(work, request, body)
                except tuple(_STATUS) as error:
                    status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
                    described = {
                        "message": str(error),
                        "type": type(error).__name__,
                        "code": status,
                    }
                    return web.json_response({"error": described}, status=status)
            return found if isinstance(found, Response) else web.json_response(found)

        return answer

    def _config(self, request: Request, body: Any) -> Any:  # noqa: ARG002
        return {"defaults": {}, "overrides": {}}

    def _create_namespace(self, request: Request, body: Any) -> Any:  # noqa: ARG002
        self._catalog.create_namespace(tuple(body["namespace"]))
        return {"namespace": body["namespace"], "properties": {}}

    def _namespace(self, request: Request, body: Any) -> Any:  # noqa: ARG002
        namespace = request.match_info["namespace"]
        return {
            "namespace": [namespace],
            "properties": self._catalog.load_namespace_properties(namespace),
        }

    def _tables(self, request: Request, body: Any) -> Any:  # noqa: ARG002
        namespace = request.match_info["namespace"]
        found = self._catalog.list_tables(namespace)
        return {"identifiers": [{"namespace": [namespace], "name": one[-1]} for one in found]}

    def _create(self, request: Request, body: Any) -> Any:
        spec, order = body.get("partition-spec"), body.get("write-order")
        identifier = (request.match_info["namespace"], body["name"])
        location = body.get("location")
        if self.refused_location and location.endswith(self.refused_location):
            raise BadRequestError("table location must be within bucket lake-tables")
        given: dict[str, Any] = {
            "location": self.places or location,
            "partition_spec": PartitionSpec.model_validate(spec) if spec else PartitionSpec(),
            "sort_order": SortOrder.model_validate(order) if order else SortOrder(order_id=0),
            "properties": body.get("properties") or EMPTY_DICT,
        }
        schema = Schema.model_validate(body["schema"])
        if body.get("stage-create"):  # The first commit creates it.
            staged = self._catalog._create_staged_table(identifier, schema, **given)
            self._staged[identifier] = staged
            return _described(staged)
        table = self._catalog.create_table(identifier, schema, **given)
        return _described(table)

    def _load(self, request: Request, body: Any) -> Any:  # noqa: ARG002
        return _described(self._catalog.load_table(_identifier(request)))

    def _commit(self, request: Request, body: Any) -> Any:
        asked = CommitTableRequest.model_validate(body)
        identifier = _identifier(request)
        table = self._staged.pop(identifier, None) or self._catalog.load_table(identifier)
        done = self._catalog.commit_table(table, asked.requirements, asked.updates)
        self.commits += 1
        if self.lost_answers:
            self.lost_answers -= 1
            lost = {"message": "the answer was lost", "type": "", "code": 504}
            return web.json_response({"error": lost}, status=504)
        return {
            "metadata-location": done.metadata_location,
            "metadata": json.loads(done.metadata.model_dump_json()),
        }

    def _drop(self, request: Request, body: Any) -> Any:  # noqa: ARG002
        self._catalog.drop_table(_identifier(request))
        return Response(status=204)


def _identifier(request: Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["table"]


def _described(table: Table) -> Any:
    return {
        "metadata-location": table.metadata_location,
        "metadata": json.loads(table.metadata.model_dump_json()),
        "config": {},
    }
