"""An imitation of Google Cloud Storage: its XML API as obstore uses it, its JSON API as Arrow does.

It is our own, written from Google's reference, because no emulator that can be installed has the
preconditions of these APIs. So what is tested with it is our side of the protocol, not Google's
server. It keeps objects in files, never in memory. XML: PUT with ``x-goog-if-generation-match``,
GET with a range, HEAD, DELETE, copy, lists and multipart uploads. JSON: metadata, reading, lists,
deletion and resumable uploads, by which pyiceberg reaches its files.

    python tests/support/fake_gcs.py DIRECTORY PORT
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web
from aiohttp.web import Request, Response, StreamResponse

_PIECE = 1 << 20
_MOST_KEYS = 1000
_CONDITION = "x-goog-if-generation-match"
_JSON = re.compile(r"/(upload/|download/)?storage/v1/b/([^/]+)/o(?:/(.+))?")
_RESUME = 308


@dataclass(frozen=True)
class _Object:
    path: Path
    generation: int
    etag: str
    size: int
    changed: datetime

    @property
    def headers(self) -> dict[str, str]:
        return {
            "ETag": self.etag,
            "Last-Modified": format_datetime(self.changed, usegmt=True),
            "x-goog-generation": str(self.generation),
        }


class _Refused(Exception):
    """An answer with an error in XML."""

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self.response = Response(status=status, text=body, content_type="application/xml")


class FakeGcs:
    """Buckets in memory, the bytes of their objects in a directory.

    An object changes between two steps of the event loop, so requests see it whole and race fairly.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._numbers = itertools.count(1)
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, dict[int, tuple[Path, str]]] = {}

    async def answer(self, request: Request) -> StreamResponse:
        """Answer one request."""
        path = request.raw_path.split("?", 1)[0]
        if json_api := _JSON.fullmatch(path):
            return await self._answer_json(json_api, request)
        key = unquote(path).lstrip("/")
        query = request.query
        if "/" not in key.rstrip("/"):
            return self._list(key.rstrip("/"), request)
        ways: dict[str, Callable[[str, Request], Awaitable[StreamResponse]]] = {
            "GET": self._get, "HEAD": self._get, "DELETE": self._delete, "PUT": self._put,
        }  # fmt: skip
        if "uploads" in query or "uploadId" in query:
            ways = {"POST": self._upload, "PUT": self._part, "DELETE": self._abort}
        try:
            return await ways[request.method](key, request)
        except _Refused as refused:
            return refused.response

    async def _answer_json(self, path: re.Match[str], request: Request) -> StreamResponse:
        """Answer a request of the JSON API."""
        upload, bucket, name = path[1] == "upload/", path[2], unquote(path[3] or "")
        key = f"{bucket}/{name}"
        try:
            if upload:
                return await self._resumable(bucket, request)
            if not name:
                return self._list_json(bucket, request)
            if request.method == "DELETE":
                return await self._delete(key, request)
            if request.query.get("alt") == "media":
                return await self._get(key, request)
            return web.json_response(self._metadata(key))
        except _Refused as refused:
            said = {"code": refused.status, "message": refused.response.text}
            return web.json_response({"error": said}, status=refused.status)

    def _metadata(self, key: str) -> dict[str, str]:
        held, (bucket, _, name) = self._found(key), key.partition("/")
        return {
            "kind": "storage#object", "bucket": bucket, "name": name, "size": str(held.size),
            "generation": str(held.generation), "metageneration": "1", "etag": held.etag,
            "updated": f"{held.changed:%Y-%m-%dT%H:%M:%S.%fZ}",
        }  # fmt: skip

    def _list_json(self, bucket: str, request: Request) -> Response:
        """Return all objects below a prefix at once: the tests' tables have few files."""
        prefix = f"{bucket}/{request.query.get('prefix', '')}"
        found = [self._metadata(key) for key in sorted(self._objects) if key.startswith(prefix)]
        return web.json_response({"kind": "storage#objects", "items": found})

    async def _resumable(self, bucket: str, request: Request) -> Response:
        """Start a resumable upload, or take its next bytes; the last ones make the object."""
        if request.method == "POST":
            await request.read()
            upload, key = f"resumable-{next(self._numbers)}", f"{bucket}/{request.query['name']}"
            self._uploads[upload] = {0: (self._new_path(), key)}
            where = request.url.with_query({"uploadType": "resumable", "upload_id": upload})
            return Response(headers={"Location": str(where)})
        upload = request.query["upload_id"]
        if upload not in self._uploads:
            raise _Refused(404, "NoSuchUpload")
        path, key = self._uploads[upload][0]
        with path.open("ab") as file:
            file.write(await request.read())
        size = path.stat().st_size
        if request.headers.get("Content-Range", f"/{size}").rpartition("/")[2] != str(size):
            headers = {"Range": f"bytes=0-{size - 1}"} if size else {}
            return Response(status=_RESUME, headers=headers)
        del self._uploads[upload]
        self._keep(key, path, f'"{path.name}"')
        return web.json_response(self._metadata(key))

    def _found(self, key: str) -> _Object:
        if key not in self._objects:
            raise _Refused(404, "NoSuchKey")
        return self._objects[key]

    def _check(self, key: str, request: Request) -> None:
        """Compare the generation that a request expects; 0 means that there is no object."""
        expected = request.headers.get(_CONDITION)
        held = self._objects.get(key)
        if expected is not None and int(expected) != (held.generation if held else 0):
            raise _Refused(412, "PreconditionFailed")

    def _keep(self, key: str, path: Path, etag: str) -> _Object:
        old = self._objects.get(key)
        new = _Object(path, next(self._numbers), etag, path.stat().st_size, datetime.now(UTC))
        self._objects[key] = new
        if old is not None:
            old.path.unlink()
        return new

    def _new_path(self) -> Path:
        return self._directory / f"{next(self._numbers)}"

    async def _received(self, request: Request) -> tuple[Path, str]:
        path, digest = self._new_path(), hashlib.md5(usedforsecurity=False)
        with path.open("wb") as file:
            async for piece in request.content.iter_chunked(_PIECE):
                digest.update(piece)
                file.write(piece)
        return path, f'"{digest.hexdigest()}"'

    async def _put(self, key: str, request: Request) -> StreamResponse:
        source = request.headers.get("x-goog-copy-source")
        if source is None:
            path, etag = await self._received(request)
        else:
            held = self._found(unquote(source).lstrip("/"))
            path, etag = self._new_path(), held.etag
            shutil.copyfile(held.path, path)
        try:
            self._check(key, request)
        except _Refused:
            path.unlink()
            raise
        kept = self._keep(key, path, etag)
        text = f"<CopyObjectResult><ETag>{escape(etag)}</ETag></CopyObjectResult>" if source else ""
        return Response(headers=kept.headers, text=text)

    async def _get(self, key: str, request: Request) -> StreamResponse:
        held = self._found(key)
        if request.headers.get("If-Match", held.etag) != held.etag:
            raise _Refused(412, "PreconditionFailed")
        asked = request.http_range
        first = asked.start or 0
        if first < 0:
            first = max(held.size + first, 0)
        end = min(held.size if asked.stop is None else asked.stop, held.size)
        headers = {**held.headers, "Content-Length": str(max(end - first, 0))}
        is_part = "Range" in request.headers
        if is_part and first >= held.size:
            raise _Refused(416, "InvalidRange")
        if is_part:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{held.size}"
        answer = StreamResponse(status=206 if is_part else 200, headers=headers)
        with held.path.open("rb") as file:  # Opened before others may delete it.
            await answer.prepare(request)
            file.seek(first)
            while first < end and request.method == "GET":
                piece = file.read(min(_PIECE, end - first))
                first += len(piece)
                await answer.write(piece)
        await answer.write_eof()
        return answer

    async def _delete(self, key: str, request: Request) -> StreamResponse:
        held = self._found(key)
        self._check(key, request)
        del self._objects[key]
        held.path.unlink()
        return Response(status=204)

    def _list(self, bucket: str, request: Request) -> Response:
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        after = request.query.get("continuation-token") or request.query.get("start-after", "")
        entries: dict[str, _Object | None] = {}  # None for a prefix that stands for several keys.
        for path in sorted(self._objects):
            key = path.removeprefix(f"{bucket}/")
            if key == path or not key.startswith(prefix):
                continue
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            entry = prefix + head + delimiter if found else key
            if entry > after:
                entries[entry] = None if found else self._objects[path]
        page = dict(itertools.islice(entries.items(), _MOST_KEYS))
        text = "".join(self._listed(page.items()))
        if len(page) < len(entries):
            text += f"<NextContinuationToken>{escape([*page][-1])}</NextContinuationToken>"
        text = f"<?xml version='1.0'?><ListBucketResult>{text}</ListBucketResult>"
        return Response(text=text, content_type="application/xml")

    @staticmethod
    def _listed(entries: Iterable[tuple[str, _Object | None]]) -> Iterable[str]:
        for name, one in entries:
            if one is None:
                yield f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            else:
                yield (
                    f"<Contents><Key>{escape(name)}</Key><Size>{one.size}</Size>"
                    f"<LastModified>{one.changed:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified>"
                    f"<ETag>{escape(one.etag)}</ETag></Contents>"
                )

    async def _upload(self, key: str, request: Request) -> StreamResponse:
        """Start a multipart upload, or complete one."""
        if "uploads" in request.query:
            upload = f"upload-{next(self._numbers)}"
            self._uploads[upload] = {}
            text = (
                f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
            return Response(text=text, content_type="application/xml")
        await request.read()
        parts = self._parts(request)
        self._check(key, request)
        path = self._new_path()
        with path.open("wb") as file:
            for _, (part, _etag) in sorted(parts.items()):
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, file)
                part.unlink()
        del self._uploads[request.query["uploadId"]]
        kept = self._keep(key, path, f'"{path.name}-{len(parts)}"')
        text = (
            f"<CompleteMultipartUploadResult><ETag>{escape(kept.etag)}</ETag>"
            "</CompleteMultipartUploadResult>"
        )
        return Response(text=text, content_type="application/xml", headers=kept.headers)

    async def _part(self, _key: str, request: Request) -> StreamResponse:
        path, etag = await self._received(request)
        self._parts(request)[int(request.query["partNumber"])] = path, etag
        return Response(headers={"ETag": etag})

    async def _abort(self, _key: str, request: Request) -> StreamResponse:
        for path, _ in self._parts(request).values():
            path.unlink()
        del self._uploads[request.query["uploadId"]]
        return Response(status=204)

    def _parts(self, request: Request) -> dict[int, tuple[Path, str]]:
        if request.query["uploadId"] not in self._uploads:
            raise _Refused(404, "NoSuchUpload")
        return self._uploads[request.query["uploadId"]]


def main() -> None:
    """Serve until the process ends."""
    app = web.Application(client_max_size=1 << 40)
    app.router.add_route("*", "/{key:.*}", FakeGcs(Path(sys.argv[1])).answer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None)


if __name__ == "__main__":
    main()
