"""An imitation of Azure's Blob service, whose copies take a while.

Azurite copies at once. Here a copy ends when its destination has been looked at a few times, and
fails if its source is gone by then, as Azure documents it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.support.store_proxy import Quiet, served

_HEADERS = [("ETag", '"1"'), ("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT")]


@dataclass
class PendingAzure:
    """The account ``acc``. Names of blobs begin with their container."""

    looks: int
    """How often a blob is looked at before the copy to it ends."""
    url: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    copies: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Those that are pending, by their destination: the source, and the looks that are left."""

    @property
    def environment(self) -> dict[str, str]:
        """Return what reaches it."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": "acc",
            "AZURE_STORAGE_ACCOUNT_KEY": "aHVudGVyMg==",
            "AZURE_ALLOW_HTTP": "true",
            "AZURE_STORAGE_ENDPOINT": f"{self.url}/acc",
        }

    def look(self, name: str) -> None:
        """Let a pending copy to this blob move on."""
        if name not in self.copies:
            return
        source, left = self.copies[name]
        self.copies[name] = source, left - 1
        if left == 1:
            del self.copies[name]
            self.blobs[name] = self.blobs.get(source, b"")


@contextmanager
def pending_azure(*, looks: int) -> Iterator[PendingAzure]:
    """Run the server for as long as the context lasts."""
    azure = PendingAzure(looks)

    class Azure(Quiet):
        def act(self) -> None:
            body, name = self.body(), unquote(urlsplit(self.path).path).removeprefix("/acc/")
            copied = self.headers.get("x-ms-copy-source")
            if self.command == "POST":  # The only one is a batch of deletions.
                self._delete(body)
            elif self.command == "PUT" and copied:
                self._copy(unquote(urlsplit(copied).path).removeprefix("/acc/"), name)
            elif self.command == "PUT":
                azure.blobs[name] = body
                self.answer(201, _HEADERS, b"")
            else:
                self._read(name)

        def _read(self, name: str) -> None:
            azure.look(name)
            found = azure.blobs.get(name)
            if found is None:
                self.answer(404, [("x-ms-error-code", "BlobNotFound")], b"")
            elif self.command == "HEAD":
                self.answer(200, [*_HEADERS, ("Content-Length", str(len(found)))], b"")
            else:  # Only ranges are asked for.
                start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
                range_ = ("Content-Range", f"bytes {start}-{end}/{len(found)}")
                self.answer(206, [*_HEADERS, range_], found[start : end + 1])

        def _copy(self, source: str, name: str) -> None:
            if name in azure.copies:
                self.answer(409, [], b"<Error><Code>PendingCopyOperation</Code></Error>")
            elif source not in azure.blobs:
                self.answer(404, [("x-ms-error-code", "BlobNotFound")], b"")
            else:
                azure.blobs[name] = b""
                azure.copies[name] = source, azure.looks
                self.answer(202, [*_HEADERS, ("x-ms-copy-status", "pending")], b"")

        def _delete(self, body: bytes) -> None:
            parts = b""
            for number, path in enumerate(re.findall(rb"DELETE (\S+) HTTP", body)):
                name = unquote(urlsplit(path.decode()).path).removeprefix("/acc").strip("/")
                del azure.blobs[name]
                parts += (
                    b"--batch_1\r\nContent-Type: application/http\r\n"
                    b"Content-ID: %d\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n\r\n" % number
                )
            kind = ("Content-Type", "multipart/mixed; boundary=batch_1")
            self.answer(202, [kind], parts + b"--batch_1--\r\n")

    with served(Azure) as azure.url:
        yield azure
