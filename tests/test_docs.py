"""The pages of docs/: their examples run, and all else is checked without running."""

from __future__ import annotations

import ast
import fnmatch
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from streamlic import errors
from streamlic.cli.commands import cli
from streamlic.cli.demo import DEMO_TOKEN, emulator_process
from streamlic.cli.types import Size
from streamlic.system import machine
from streamlic.system.machine import MemoryLimit
from tests.support.examples import (
    ROOT,
    RUN,
    blocks_of,
    check_command,
    commands_in,
    module_of_docs,
    run_page,
)

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MARKDOWN = [*PAGES, *ROOT.glob("*.md")]
RUNNING = [
    page
    for page in PAGES
    if any(block.language in RUN for block in blocks_of(page.read_text()))
    and page.name != "python.md"  # Cells of a notebook too: see test_python_page.
]
MANIFESTS = sorted((ROOT / "deploy").rglob("*.yaml"))
LOOKED_AT = {"console", "json", "py", "sql", "text", "yaml"}
RETRYABLE = {1}
INTERRUPTED = {129, 130, 143}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def url() -> Iterator[str]:
    with emulator_process(2000) as url:
        yield url


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=named)
def test_the_examples_print_what_the_page_shows(page: Path, url: str, tmp_path: Path) -> None:
    run_page(page.read_text(), tmp_path, TRUTO_API_BASE_URL=url, TRUTO_API_TOKEN=DEMO_TOKEN)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_streamlic_accepts_every_command_of_a_page(page: Path) -> None:
    for block in blocks_of(page.read_text()):
        for text in strings_of(block.text) if block.language == "py" else [block.text]:
            for command in commands_in(text):
                check_command(command)


def strings_of(program: str) -> list[str]:
    """Return the strings of a Python program, with what Airflow puts into them."""
    constants = (node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant))
    texts = [one.value for one in constants if isinstance(one.value, str)]
    return [re.sub(r"\{\{.*?\}\}", "2026-01-01", text) for text in texts]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_block_that_cannot_run_here_is_well_formed(page: Path) -> None:
    for block in blocks_of(page.read_text()):
        assert block.language in {*RUN, *LOOKED_AT}, f"{page.name}:{block.line}"
        if block.language == "yaml":
            assert list(yaml.safe_load_all(block.text))
        elif block.language == "json":
            assert json.loads(block.text)
        elif block.language == "console":
            assert block.text.startswith("$ "), f"{page.name}:{block.line}"


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("```sh\nexit 3\n```\n", "line 2 ended with 3"),
        ("```sh\ntrue\n```\n```python\n1 / 0\n```\n", "(?s)line 5 ended with 1.*ZeroDivision"),
        ("```sh\nstreamlic schema\n```\n```text\nno such column\n```\n", "is shown, but not said"),
    ],
)
def test_a_failing_example_is_reported(page: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=says):
        run_page(page, tmp_path)


@pytest.mark.parametrize("command", ["export x --acount y", "verify", "schema --jsn"])
def test_a_command_that_streamlic_refuses_is_reported(command: str) -> None:
    text = f"$ docker run --rm -v x:/data streamlic \\\n    {command} | tail > out\n"
    [found] = commands_in(text)
    assert found == command.split()
    with pytest.raises(click.UsageError):
        check_command(found)


@pytest.mark.parametrize("path", MANIFESTS, ids=named)
def test_the_manifests_command_would_be_taken(path: Path) -> None:
    container = container_of(job_of(path))
    check_command([str(argument) for argument in container["args"]])
    assert container["args"][0] == "export"


@pytest.mark.parametrize("path", MANIFESTS, ids=named)
def test_the_manifests_limit_leaves_room_above_the_aim(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = container_of(job_of(path))
    limit_bytes = Size().convert(container["resources"]["limits"]["memory"], None, None)
    limit = MemoryLimit(limit_bytes, "memory.max", is_containers=True)
    monkeypatch.setattr(machine, "memory_limit", lambda: limit)
    assert not any(one.startswith("--memory") for one in container["args"])
    assert machine.default_memory_bytes() * 4 <= limit_bytes * 3


@pytest.mark.parametrize("path", MANIFESTS, ids=named)
def test_the_manifests_retry_what_a_retry_can_help(path: Path) -> None:
    job = job_of(path)
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # As podFailurePolicy demands.
    by_action: dict[str, set[int]] = {}
    for rule in job["podFailurePolicy"]["rules"]:
        by_action.setdefault(rule["action"], set()).update(
            rule.get("onExitCodes", {}).get("values", [])
        )
    known = {one.exit_code for one in vars(errors).values() if hasattr(one, "exit_code")}
    fails = "FailIndex" if job.get("completionMode") == "Indexed" else "FailJob"
    assert by_action == {
        "Ignore": INTERRUPTED,
        fails: (known | {3, errors.NO_RETRY_HELPS}) - RETRYABLE,
    }


@pytest.mark.parametrize("path", MANIFESTS, ids=named)
def test_the_manifests_pod_may_do_little(path: Path) -> None:
    spec = job_of(path)["template"]["spec"]
    container = container_of(job_of(path))
    assert spec["securityContext"]["runAsNonRoot"]
    assert (
        spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == image_user()
    )
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert container["args"][1].startswith((*mounts, "s3://"))
    places = [one.partition("=")[2] for one in container["args"] if one.startswith("--scratch=")]
    assert {*places} <= {*mounts}


def job_of(path: Path) -> Any:
    """Return the specification of a manifest's one Job, or of the one that it makes."""
    documents = list(yaml.safe_load_all(path.read_text()))
    assert all({"apiVersion", "kind", "metadata", "spec"} <= one.keys() for one in documents)
    [job] = (one for one in documents if one["kind"] in ("Job", "CronJob"))
    return job["spec"] if job["kind"] == "Job" else job["spec"]["jobTemplate"]["spec"]


def container_of(job: Any) -> Any:
    [container] = job["template"]["spec"]["containers"]
    return container


def instructions(name: str) -> list[str]:
    """Return what the Dockerfile gives an instruction, each time."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)


def image_user() -> int:
    [user] = instructions("USER")
    return int(user.partition(":")[0])


def test_the_image_runs_the_command_line_as_a_user_of_its_own() -> None:
    assert instructions("ENTRYPOINT") == ['["streamlic"]']
    assert f"--uid {image_user()} " in instructions("RUN")[-1]
    assert instructions("WORKDIR")[-1] == instructions("VOLUME")[0] == "/data"
    last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert "g++" not in last_stage


@pytest.mark.slow
def test_the_image_is_built_from_what_is_copied(tmp_path: Path) -> None:
    """The first stage by hand: what is copied, and not ignored, makes a wheel with its engine."""
    sources = tmp_path / "src"
    sources.mkdir()
    listed = (ROOT / ".dockerignore").read_text().split("\n")
    let_in = {line[1:] for line in listed if line.startswith("!")}
    left_out = [line.removeprefix("**/") for line in listed if line.startswith("**/")]
    for copied in instructions("COPY"):
        *names, target = copied.split()
        for name in names if not names[0].startswith("--from") else ():
            assert name in let_in
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, sources / target, ignore=shutil.ignore_patterns(*left_out)
                )
            else:
                shutil.copy(ROOT / name, sources / target)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            tmp_path,
            ".",
        ],
        cwd=sources,
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    assert fnmatch.filter(zipfile.ZipFile(wheel).namelist(), "streamlic/decoder/_fast*.so")


def on_the_site(page: Path) -> str:
    """Return a page's Markdown as the site has it; a file outside of docs/ unchanged."""
    if not page.is_relative_to(DOCS):
        return page.read_text()
    text: str = module_of_docs("hooks").page_markdown(
        page.read_text(), page.relative_to(DOCS).as_posix()
    )
    return text


def links_of(text: str) -> list[str]:
    """Return what a text links to on this site: not in its code, and no other sites."""
    prose = re.sub(r"^( *)```.*?^\1```$|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\((?!\w+:)([^)\s]+)\)", prose)


def anchors_of(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", one).lower()) for one in headings}


@pytest.mark.parametrize("page", MARKDOWN, ids=named)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in links_of(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(on_the_site(target)), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_of_the_site_leads_to_the_same_file(page: Path) -> None:
    """The site has a file from outside of docs/ at the same path as the repository."""
    for link in links_of(on_the_site(page)):
        path = link.partition("#")[0]
        target = (page.parent / path).resolve() if path else page
        assert target.exists() or (ROOT / target.relative_to(DOCS)).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_escape_is_shown_on_the_site(page: Path) -> None:
    text = on_the_site(page)
    assert "\b" not in text
    assert not re.search(r"^\|.*`[^`\n]*\\\|[^`\n]*`", text, re.MULTILINE)


@pytest.mark.parametrize("name", cli.commands)
def test_no_escape_is_shown_in_a_help(name: str) -> None:
    with click.Context(cli.commands[name], info_name=name) as ctx:
        text = cli.commands[name].get_help(ctx)
    assert not re.search(r"\\|[\x00-\x09\x0b-\x1f]", text)


def test_a_broken_link_of_the_site_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "pic ture.svg").touch()
    good = '<h1 id="top">x</h1><a href="#top"></a><img src="pic%20ture.svg"><a href="sub/#a"></a>'
    (tmp_path / "index.html").write_text(good + '<a href="https://example.com/nowhere">')
    (tmp_path / "sub/index.html").write_text('<a name="a" href="../index.html?q#top"><a href="/">')
    check = module_of_docs("check_links")
    monkeypatch.setattr(sys, "argv", ["check_links", str(tmp_path)])
    assert check.main() == 0
    (tmp_path / "bad.html").write_text(
        '<a href="index.html#no"><img src="no.svg"><a href="../../etc"><script src="no.js">'
    )
    assert check.broken_links(tmp_path) == [
        "bad.html: index.html#no is an anchor that does not exist",
        "bad.html: no.svg does not exist",
        "bad.html: ../../etc does not exist",
        "bad.html: no.js does not exist",
    ]
    assert check.main() == 1
    assert "3 pages, 4 broken links" in capsys.readouterr().out
