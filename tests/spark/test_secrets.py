"""The token is nowhere but in the environment and in the file from which it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from streamlic.emulator import EmulatedAccount, EmulatorConfig
from tests.spark import processes
from tests.spark.cluster import Cluster
from tests.support.cli import TOKEN
from tests.support.server_thread import served

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
ACCOUNT = EmulatedAccount(id="62f44730-dd91-461e-bd6a-aedd9e0ad79d", records=10)
LINK = re.compile(r"/(?!static|.*threadDump|.*heap)[\w/-]*(?:\?(?:id|attempt)=[\w=&]*)?")
"""What a page of the driver links to, without tables sorted otherwise."""
OF_FILE = "token-in-a-file-c1d9"
OF_OPTION = "token-in-an-option-c1d9"


def pages_of(url: str) -> Iterator[tuple[str, str]]:
    """Yield the pages of a driver, with what each links to on it."""
    left, seen = [url], {url}
    while left:
        page = left.pop()
        try:
            with urlopen(page) as answer:  # noqa: S310  (the driver's own)
                text = answer.read().decode(errors="replace")
        except OSError:  # A thread dump of an executor that has ended, for one.
            continue
        yield page, text
        links = map(unescape, re.findall(r"""href=["'](/[^"'#]*)""", text))
        found = {url + link for link in links if LINK.fullmatch(link)}
        left += found - seen
        seen |= found
        if len(seen) > 300:
            raise AssertionError(f"more pages than a driver has: {sorted(seen)[-20:]}")


def test_the_token_is_in_no_plan_page_log_command_line_or_error(
    spark: SparkSession, cluster: Cluster, tmp_path: Path
) -> None:
    from pyspark.errors import AnalysisException, PythonException

    from streamlic.integrations.spark import register
    from streamlic.integrations.spark.permits import _servers

    register(spark)
    config = EmulatorConfig(accounts={ACCOUNT.id: ACCOUNT}, token=TOKEN)
    file = tmp_path / "token"
    file.write_text(OF_FILE)
    said = []
    with served(config) as emulator:
        options = {"baseUrl": emulator.url, "allAccounts": "true"}
        reader = spark.read.format("truto")
        frame = reader.options(**options).load()
        assert frame.count() == ACCOUNT.records
        said.append(frame._jdf.queryExecution().toString())
        with pytest.raises(AnalysisException) as raised:
            spark.read.format("truto").options(**options, apiToken=OF_OPTION).load()
        said.append(str(raised.value))
        file.write_text(OF_FILE)
        with served(EmulatorConfig(token=OF_FILE)) as other:
            spark.sql(
                "create or replace temporary view licenses using truto options ("
                f"accounts '{ACCOUNT.id}', baseUrl '{other.url}', tokenFile '{file}', limit 10)"
            )
            assert spark.sql("select * from licenses limit 5").count() == 5
            refused_options = {"baseUrl": other.url, "accounts": ACCOUNT.id}
            with pytest.raises(PythonException, match="AuthenticationError") as refused:
                spark.read.format("truto").options(**refused_options).load().collect()
            said.append(str(refused.value))
        commands = processes.command_lines()
    ui = spark.sparkContext.uiWebUrl
    application = spark.sparkContext.applicationId
    rest = f"{ui}/api/v1/applications/{application}"
    found = dict(pages_of(ui))
    for path in ("environment", "sql?details=true&planDescription=true", "stages?details=true"):
        with urlopen(f"{rest}/{path}") as answer:  # noqa: S310  (the driver's own)
            found[path] = answer.read().decode()
    assert any("SQL/execution" in page for page in found)
    assert "truto" in "".join(found.values())
    logs = cluster.texts()
    assert any(name.startswith("events/") and "truto" in text for name, text in logs.items())
    assert any(name.startswith("work-") and name.endswith("stderr") for name in logs)
    every = {**found, **logs, "plans and errors": "\n".join(said), "ps": "\n".join(commands)}
    keys = [server.key for server in _servers.values()]
    assert keys
    for secret in (TOKEN, OF_FILE, OF_OPTION, *keys):
        assert [name for name, text in every.items() if secret in text] == []
