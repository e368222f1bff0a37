"""Object stores on this machine, each a process on a free port of loopback, its data on disk.

Start one with ``with SeaweedServer() as server:``; its data is deleted at the end. SeaweedFS, moto
and Azurite are servers of others, GCS has an imitation of our own, and rclone ignores conditions:
streamlic refuses such a store. ``make test-cloud`` installs them, and pytest's fixtures in
``tests/cloud/conftest.py`` start each once a session.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

ROOT = Path(__file__).parents[2]
SERVERS = ROOT / ".venv-servers" / "bin"
AZURITE = ROOT / "build" / "azurite" / "node_modules" / ".bin"
HOST = "127.0.0.1"
BUCKET = "lake-bucket"
START_SECONDS = 60
_POLL_SECONDS = 0.1
_KEY, _SECRET = "test", "testtest"  # What every server here accepts; they open nothing else.
_AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = (  # Published with Azurite, for everybody.
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


class CannotStart(Exception):
    """A server is not installed here, or did not start."""


def catalog_variables(catalog: str, properties: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which pyiceberg has a catalog of these properties."""
    prefix = f"PYICEBERG_CATALOG__{catalog.upper()}__"
    return {
        prefix + name.upper().replace(".", "__").replace("-", "_"): value
        for name, value in properties.items()
    }


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


class ObjectServer(ABC):
    """A server that runs while its context lasts."""

    name: str
    scheme = "s3"
    ports_needed = 1

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.directory = Path()
        """Where its data is, on disk. It is deleted when the server ends."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port of the store itself. A proxy may be put between it and a client."""
        return self.ports[0]

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which streamlic reaches this server."""
        return self.environment_at(self.port)

    def environment_at(self, port: int) -> dict[str, str]:
        """Return these variables for a proxy that listens on another port."""
        return {
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
            "AWS_ALLOW_HTTP": "true",
        }

    def dest(self, name: str) -> str:
        """Return a DEST in the server's bucket."""
        return f"{self.scheme}://{BUCKET}/{name}"

    def iceberg_dest(self, name: str) -> str:
        """Return the same as Iceberg names it."""
        return self.dest(name)

    def iceberg_files(self, port: int) -> dict[str, str]:
        """Return the properties with which pyiceberg reaches files, by a port."""
        return {
            "s3.endpoint": f"http://{HOST}:{port}",
            "s3.access-key-id": _KEY,
            "s3.secret-access-key": _SECRET,
            "s3.region": "us-east-1",
        }

    def store(self) -> S3Store | GCSStore | AzureStore:
        """Return obstore's view of the whole bucket, to look at it without streamlic."""
        return S3Store(
            BUCKET,
            access_key_id=_KEY,
            secret_access_key=_SECRET,
            region="us-east-1",
            endpoint=f"http://{HOST}:{self.port}",
            client_options={"allow_http": True},
        )

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys of the bucket, sorted."""
        found = obstore.list(self.store(), prefix or None).collect()
        return sorted(one["path"] for one in found)

    def delete(self, prefix: str) -> None:
        """Delete what is below a prefix of the bucket."""
        obstore.delete(self.store(), self.keys(prefix))

    @abstractmethod
    def command(self, ports: Sequence[int]) -> list[str | Path]:
        """Return the command that serves on these ports, with its data in ``directory``."""

    def prepare(self) -> None:  # noqa: B027  # Most have nothing to prepare.
        """Create the bucket, once the server listens."""

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix=f"streamlic-{self.name}-"))
        self.ports = free_ports(self.ports_needed)
        try:
            command = [str(one) for one in self.command(self.ports)]
            if shutil.which(command[0]) is None:
                raise CannotStart(f"{self.name} is not installed: `make test-cloud` installs it")
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's process: to stop it, or to end it early."""
        assert self._process is not None
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.directory / "server.log"

    def _wait(self) -> None:
        """Wait until an object can be written: only then a server has started."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        is_prepared = False
        while True:
            try:
                with socket.create_connection((HOST, self.port), timeout=1):
                    pass
                if not is_prepared:
                    self.prepare()
                    is_prepared = True
                obstore.put(self.store(), "is-ready", b"yes")
                obstore.delete(self.store(), "is-ready")
            except (OSError, obstore.exceptions.BaseError, subprocess.CalledProcessError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = self._log.read_text(errors="replace")[-2000:]
                    raise CannotStart(f"{self.name} did not start: {said}") from error
                time.sleep(_POLL_SECONDS)
            else:
                return


class SeaweedServer(ObjectServer):
    """SeaweedFS: S3 with all conditions, and an Iceberg REST catalog at ``catalog_url``.

    The catalog's tables are in the bucket ``TABLE_BUCKET``, which refuses files that are not of a
    table.
    """

    name = "seaweedfs"
    ports_needed = 11
    TABLE_BUCKET = "lake-tables"

    @property
    def catalog_url(self) -> str:
        """Where the Iceberg REST catalog is."""
        return f"http://{HOST}:{self.ports[1]}"

    @property
    def catalog(self) -> dict[str, str]:
        """The properties with which pyiceberg reaches this catalog and the files of its tables."""
        return {
            "type": "rest",
            "uri": self.catalog_url,
            "warehouse": self.TABLE_BUCKET,
            "credential": f"{_KEY}:{_SECRET}",
            **self.iceberg_files(self.port),
        }

    def command(self, ports: Sequence[int]) -> list[str | Path]:
        """Keep it on loopback: by itself it listens everywhere and sends telemetry."""
        key = {"accessKey": _KEY, "secretKey": _SECRET}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "test", "credentials": [key], "actions": actions}
        config = self.directory / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        (self.directory / "data").mkdir()
        options: Mapping[str, object] = {
            "dir": self.directory / "data", "ip": HOST, "ip.bind": HOST,
            "master.telemetry": "false", "admin.ui": "false", "webdav": "false",
            "s3.config": config, "bucket": BUCKET, "tableBucket": self.TABLE_BUCKET,
            "master.volumeSizeLimitMB": 1024, "s3.port.lance": 0,
            "s3.port": ports[0], "s3.port.iceberg": ports[1], "s3.port.grpc": ports[2],
            "master.port": ports[3], "master.port.grpc": ports[4],
            "filer.port": ports[5], "filer.port.grpc": ports[6],
            "volume.port": ports[7], "volume.port.grpc": ports[8],
            "filer.localSocket": self.directory / "filer.sock",
            "s3.localSocket": self.directory / "s3.sock",
            "admin.port": ports[9], "admin.port.grpc": ports[10],
        }  # fmt: skip
        return [SERVERS / "weed", "mini", *(f"-{name}={value}" for name, value in options.items())]


class MotoServer(ObjectServer):
    """moto: S3, and Glue's catalog, in the memory of one process. Its copies ignore conditions."""

    name = "moto"

    def command(self, ports: Sequence[int]) -> list[str | Path]:
        """Run it from the environment of the tests, which has it."""
        script = Path(__file__).with_name("moto_server.py")
        return [sys.executable, "-P", script, "-H", HOST, "-p", str(ports[0])]

    def prepare(self) -> None:
        """Create the bucket."""
        import boto3

        client = boto3.client(
            "s3",
            aws_access_key_id=_KEY,
            aws_secret_access_key=_SECRET,
            region_name="us-east-1",
            endpoint_url=f"http://{HOST}:{self.port}",
        )
        client.create_bucket(Bucket=BUCKET)


class RcloneServer(ObjectServer):
    """``rclone serve s3``: it ignores the conditions of a PUT, and says nothing of it."""

    name = "rclone"

    def command(self, ports: Sequence[int]) -> list[str | Path]:
        """Serve a directory, whose directories are buckets."""
        data = self.directory / "data"
        (data / BUCKET).mkdir(parents=True)
        return [SERVERS / "rclone", "serve", "s3", "--addr", f"{HOST}:{ports[0]}", "--auth-key",
                f"{_KEY},{_SECRET}", "--config", self.directory / "none.conf", data]  # fmt: skip


class AzuriteServer(ObjectServer):
    """Azurite: Azure's Blob service, as Microsoft emulates it. It has no hierarchical namespace."""

    name = "azurite"
    scheme = "az"

    def environment_at(self, port: int) -> dict[str, str]:
        """Return the variables of Azure's storage."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": _AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://{HOST}:{port}/{_AZURE_ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }

    def iceberg_dest(self, name: str) -> str:
        """Return the name with the account in it: pyiceberg has no az://."""
        return f"abfss://{BUCKET}@{_AZURE_ACCOUNT}.dfs.core.windows.net/{name}"

    def iceberg_files(self, port: int) -> dict[str, str]:
        """Return what adlfs takes, by which pyiceberg reaches Azure."""
        text = (
            f"DefaultEndpointsProtocol=http;AccountName={_AZURE_ACCOUNT};AccountKey={_AZURE_KEY};"
            f"BlobEndpoint=http://{HOST}:{port}/{_AZURE_ACCOUNT};"
        )
        return {"adls.account-name": _AZURE_ACCOUNT, "adls.connection-string": text}

    def store(self) -> AzureStore:
        """Return the container."""
        return AzureStore(
            BUCKET,
            account_name=_AZURE_ACCOUNT,
            account_key=_AZURE_KEY,
            endpoint=f"http://{HOST}:{self.port}/{_AZURE_ACCOUNT}",
            client_options={"allow_http": True},
        )

    def command(self, ports: Sequence[int]) -> list[str | Path]:
        """Return Azurite's Blob service alone."""
        where: list[str | Path] = [
            "--blobHost",
            HOST,
            "--blobPort",
            str(ports[0]),
            "-l",
            self.directory / "data",
        ]
        command = [AZURITE / "node", AZURITE / "azurite-blob", *where]
        return [*command, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]

    def prepare(self) -> None:
        """Create the container, by Azure's own client: obstore cannot create one."""
        text = (
            "import sys; from azure.storage.blob import ContainerClient; "
            "ContainerClient(sys.argv[1], sys.argv[2], credential=sys.argv[3]).create_container()"
        )
        url = f"http://{HOST}:{self.port}/{_AZURE_ACCOUNT}"
        command: list[str | Path] = [SERVERS / "python", "-c", text, url, BUCKET, _AZURE_KEY]
        subprocess.run(command, check=True, capture_output=True, timeout=START_SECONDS)


class GcsServer(ObjectServer):
    """An imitation of GCS, our own: see ``tests/support/fake_gcs.py``."""

    name = "gcs"
    scheme = "gs"

    def environment_at(self, port: int) -> dict[str, str]:
        """Return a service account that reaches the imitation, without OAuth."""
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": self._account(port), "GOOGLE_ALLOW_HTTP": "true"}

    def iceberg_files(self, port: int) -> dict[str, str]:
        """Return what Arrow's client takes, by which pyiceberg reaches GCS."""
        ends = str(int(time.time() * 1000) + 86_400_000)
        token = {"gcs.oauth2.token": "test", "gcs.oauth2.token-expires-at": ends}
        return {**token, "gcs.service.host": f"http://{HOST}:{port}"}

    def store(self) -> GCSStore:
        """Return the bucket."""
        account = self._account(self.port)
        options = {"allow_http": True}
        return GCSStore(BUCKET, service_account_key=account, client_options=options)  # type: ignore[arg-type]

    def command(self, ports: Sequence[int]) -> list[str | Path]:
        """Run the module in a process of its own."""
        return [sys.executable, ROOT / "tests" / "support" / "fake_gcs.py", self.directory / "data",
                str(ports[0])]  # fmt: skip

    @staticmethod
    def _account(port: int) -> str:
        account = {"private_key": "", "private_key_id": "", "client_email": ""}
        where = {"gcs_base_url": f"http://{HOST}:{port}", "disable_oauth": True}
        return json.dumps({**account, **where})
