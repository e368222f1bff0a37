"""The words of this project: plain English, and the field's own terms.

``WORDS`` lists the words not to use, with the reason and what to write instead. ``PLACES`` lists
where the test looks. Program output that a page shows, and text that is generated from the code,
are checked where the words come from: in the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "HACKING.md",
    "Dockerfile",
    "Makefile",
    "mkdocs.yml",
    ".ci",
    ".github",
    "benchmarks",
    "deploy",
    "docs",
    "streamlic",
    "tests",
]
SUFFIXES = {
    "", ".cpp", ".h", ".md", ".pxd", ".py", ".pyi", ".pyx", ".svg", ".toml", ".yaml", ".yml",
}  # fmt: skip
_SHOWN = re.compile(
    r"^( *)```text\n.*?^\1```$|<!-- generated: .*?<!-- end -->", re.MULTILINE | re.DOTALL
)
_BREAK = r"(?:[ _]|\s+(?:#|//|--)?\s*)"
"""What separates two words: also in a name, and where a line of a comment ends."""


@dataclass(frozen=True)
class Word:
    """A word not to use.

    ``spelled`` is a regular expression, and so are ``allowed``, the phrases in which the word is
    right. A space in them matches any break.
    """

    spelled: str
    why: str
    instead: str
    example: str
    allowed: tuple[str, ...] = ()

    def uses(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the places where a text uses the word wrongly."""
        right = [one.span() for rule in self.allowed for one in _compiled(rule).finditer(text)]
        for found in _compiled(self.spelled).finditer(text):
            if not any(start <= found.start() < end for start, end in right):
                yield found


@cache
def _compiled(spelled: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<![A-Za-z])(?:{spelled.replace(' ', _BREAK)})(?![A-Za-z])", re.IGNORECASE
    )


WORDS = [
    Word(
        "behind",
        "a place, where an order is meant",
        "after, next, following",
        "the steps behind it",
        allowed=(r"behind (?:an?|the|your|its) (?:\w+ )?(?:proxy|firewall|gateway|load balancer)",),
    ),
    Word("begun", "dated", "started, partial, unfinished", "a value that has begun"),
    Word("anew", "dated", "again, from the start", "begin anew"),
    Word(
        "stands?|stood",
        "things do not stand; they are somewhere",
        "is, is written, is listed",
        "the table stands in the README",
        allowed=("stands? for",),
    ),
    Word(
        "go on|goes on|going on|gone on|went on|go_on",
        "the field's word is another",
        "resume, continue",
        "the run goes on",
    ),
    Word(
        "told",
        "who tells whom? Name the subject",
        "reported, printed, given",
        "the reason is told",
        allowed=("told apart",),
    ),
    Word(
        "who is|whoever",
        "a relative clause in the place of a noun",
        "name the subject: the caller, a reader, the encode thread",
        "who is late is waited for",
    ),
    Word(
        "(?:is|are|was|were|be) no (?!longer|more|less|fewer|other|need|way)[A-Za-z]+",
        "a negated noun",
        "is not valid JSON, is not an object, invalid",
        "a body that is no JSON",
        allowed=("there (?:is|are|was|were|will be) no [A-Za-z]+", "(?:if|that) no [A-Za-z]+"),
    ),
    Word("at hand", "dated", "local, existing", "a body at hand"),
    Word("all is well", "vague", "a run would succeed", "look whether all is well"),
    Word("speaks? of", "records do not speak", "name, mention", "files that no record speaks of"),
    Word("is there already", "indirect", "already exists", "the file is there already"),
    Word("cut short", "vague", "interrupted, truncated", "a run that was cut short"),
    Word("put off", "vague", "defer, postpone", "the account is put off"),
    Word("so far as to", "a detour", "name what happened", "it did not get so far as to say so"),
    Word("beside", "dated", "next to, as well as, with", "beside the rows"),
    Word("to be had", "dated", "available", "accounts that are not to be had"),
    Word("in the midst of", "dated", "during", "in the midst of a commit"),
    Word("look whether", "not English", "check that", "look whether DEST is writable"),
    Word("not to be trusted", "indirect", "verification failed", "it is not to be trusted"),
]


def files() -> Iterator[Path]:
    """Yield the files whose words are checked."""
    for place in PLACES:
        path = ROOT / place
        for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if one.is_file() and one.suffix in SUFFIXES and one != Path(__file__):
                yield one


def words_of(path: Path) -> str:
    """Return a file's own words, at their lines: without output and generated text."""
    text = path.read_text()
    if path.suffix != ".md":
        return text
    return _SHOWN.sub(lambda shown: "\n" * shown[0].count("\n"), text)


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_plain_words(path: Path) -> None:
    text = words_of(path)
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, use.start()) + 1}: "
        f"{use[0]!r} ({word.why}): write {word.instead}"
        for word in WORDS
        for use in word.uses(text)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.example)
def test_a_word_is_found_in_its_example_and_in_no_advice(word: Word) -> None:
    assert any(word.uses(word.example))
    assert any(word.uses(word.example.upper()))
    assert any(word.uses(word.example.replace(" ", "\n    # ")))
    assert not [use[0] for one in WORDS for use in one.uses(word.instead)]


@pytest.mark.parametrize(
    "text",
    [
        "a client behind a proxy",
        "behind the corporate firewall",
        "`...` stands for left-out lines",
        "nights are told apart by _exported_at",
        "there is no compiler",
        "The file is no longer there, and that is no more than an hour.",
        "besides, behindhand, outgoing online",
    ],
)
def test_the_right_use_of_a_word_is_no_finding(text: str) -> None:
    assert not [use[0] for word in WORDS for use in word.uses(text)]


def test_a_name_in_code_counts() -> None:
    names = "goes_on = is_told and self.is_behind"
    assert sum(1 for word in WORDS for _ in word.uses(names)) == 3


def test_output_and_generated_text_are_checked_at_their_source(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n```text\ngone on with\n```\n<!-- generated: x -->\nbegun\n<!-- end -->\ntold\n"
    )
    text = words_of(page)
    assert text.count("\n") == page.read_text().count("\n")
    assert [use[0] for word in WORDS for use in word.uses(text)] == ["told"]
