"""An account of moto with a user whose policy is enforced, action by action.

moto looks at a policy's actions, not at its resources.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import boto3

from tests.support.examples import ROOT
from tests.support.object_servers import BUCKET, MotoServer

ACTIONS = (
    "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
)  # fmt: skip
_POLICY = ROOT / "deploy" / "aws" / "policy.json"
_USER = "streamlic"
_ROOT_KEY = {"aws_access_key_id": "test", "aws_secret_access_key": "testtest"}


class MotoAccount:
    """A bucket, and a user with a key."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._s3: Any = self._client("s3")
        self._iam: Any = self._client("iam")
        self._iam.create_user(UserName=_USER)
        key = self._iam.create_access_key(UserName=_USER)["AccessKey"]
        self.environment = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
        }
        self.secrets = (key["SecretAccessKey"],)

    def dest(self, name: str) -> str:
        """Return a DEST in the bucket."""
        return f"s3://{BUCKET}/{name}"

    def allow(self, actions: Sequence[str]) -> None:
        """Allow the user these actions, and no other, from now on."""
        self._enforce(False)
        statement = {"Effect": "Allow", "Action": [*actions], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._iam.put_user_policy(UserName=_USER, PolicyName="lake", PolicyDocument=document)
        self._enforce(True)

    def policy_of_the_page(self) -> list[str]:
        """Return the actions of the policy that the page about S3 shows."""
        statements = json.loads(_POLICY.read_text())["Statement"]
        return [action for one in statements for action in one["Action"]]

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix."""
        return [one["Key"] for one in self._listed(prefix)]

    def sizes(self, prefix: str) -> list[int]:
        """Return the sizes of the objects below a prefix."""
        return [one["Size"] for one in self._listed(prefix)]

    def put(self, key: str, data: bytes) -> None:
        """Write an object, as somebody else."""
        self._enforce(False)
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        self._enforce(True)

    def _listed(self, prefix: str) -> list[dict[str, Any]]:
        self._enforce(False)
        found: list[dict[str, Any]] = self._s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get(
            "Contents", []
        )
        self._enforce(True)
        return found

    def _client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self._url, region_name="us-east-1", **_ROOT_KEY
        )  # fmt: skip

    def _enforce(self, is_enforced: bool) -> None:
        request = Request(  # noqa: S310  (moto, on loopback)
            f"{self._url}/moto-api/reset-auth",
            data=b"0" if is_enforced else b"inf",
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        urlopen(request, timeout=30).close()  # noqa: S310


@contextmanager
def moto_account() -> Iterator[MotoAccount]:
    """Run moto, and yield an account of it."""
    with MotoServer() as server:
        yield MotoAccount(server.environment["AWS_ENDPOINT_URL"])
