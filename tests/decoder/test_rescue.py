"""What is rescued of many records at once is, digit for digit, what each of them holds."""

from __future__ import annotations

import json
import random

import pytest

from streamlic.decoder.reference.member_text import lone_texts
from streamlic.decoder.reference.rescue import locate, rescued_json, rescued_texts
from streamlic.decoder.scanner import PathStep

Path = tuple[PathStep, ...]

TOP: Path = ("x",)
INNER: Path = ("p", 1, "x")

CASES: list[tuple[str, Path, str]] = [
    ('{"x":1.50}', TOP, "1.50"),
    ('{"a":[{}],"x" : "b\\"}" , "c":{}}', TOP, '"b\\"}"'),
    ('{"x":null,"a":1}', TOP, "null"),
    ('{"x":{"a":[1, 2]}}', TOP, '{"a":[1, 2]}'),
    ('{"x":{"a":1},"b":{"c":[{}]}}', TOP, '{"a":1}'),
    ('{"x":[{"x":1}]}', TOP, '[{"x":1}]'),
    ('{"a":"x","x":2}', TOP, "2"),
    ('{"a":"\\"x\\":3","x":2}', TOP, "2"),
    ('{"x":1,"x":2}', TOP, "2"),
    ('{"\\u0078":2}', TOP, "2"),
    ('{"\\u0078":2,"a":{"x":3}}', TOP, "2"),
    ('{"a":{"x":3},"\\u0078":2}', TOP, "2"),
    ('{"b\\"x":1,"\\u0078":2}', TOP, "2"),
    ('{"p":[{"x":9},{"a":1,"x":{"b":1}},{"c":[1]}],"d":"}"}', INNER, '{"b":1}'),
    ('{"p":[{},{"x":[1]}]}', INNER, "[1]"),
    ('{"p":[{"a":1},{"x":{}}],"b":[{}]}', INNER, "{}"),
    ('{"p":[{},{"x":"S-1"}],"x":"S-2"}', INNER, '"S-1"'),
    ('{"x":"S-2","p":[{},{"x":"S-1"}]}', INNER, '"S-1"'),
    ('{"p":[{},{"\\u0078":1}],"a":[{"x":2}]}', INNER, "1"),
    ('{"p":[0,{"x":1}],"p":[0,{"x":2}]}', INNER, "2"),
    ('{"p":[0,{"x":1}],"p":[0,{"x":2},{"q":1}]}', INNER, "2"),
]


def pair(path: Path, value: str) -> str:
    return f'{{"/{"/".join(map(str, path))}":{value}}}'


@pytest.mark.parametrize(("text", "path", "value"), CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("neighbours", [0, 1, 3])
def test_a_value_is_found_whatever_its_neighbours(
    text: str, path: Path, value: str, neighbours: int
) -> None:
    plain = ['{"a":0}', '{"x":"y","b":{"c":1}}', '{"p":[{},{"x":7}]}'] * neighbours
    texts = [one.encode() for one in [*plain, text, *plain]]
    paths: list[Path | None] = [None, TOP, INNER] * neighbours
    paths = [*paths, path, *paths]
    want = [None, '{"/x":"y"}', '{"/p/1/x":7}'] * neighbours
    by_row = {number: [one] for number, one in enumerate(paths) if one}
    assert rescued_texts(texts, by_row) == [*want, pair(path, value), *want]


def test_all_cases_together_are_found() -> None:
    rng = random.Random(7)
    for _ in range(200):
        some = rng.sample(CASES, rng.randrange(1, len(CASES)))
        texts = [text.encode() for text, _, _ in some]
        by_row = {number: [path] for number, (_, path, _) in enumerate(some)}
        want = [pair(path, value) for _, path, value in some]
        assert rescued_texts(texts, by_row) == want


def test_a_scalar_record_and_one_with_many_values_among_others() -> None:
    texts = [b'{"x":1}', b'[1,{"x":2}]', b'{"y":{"z":3},"x":4}', b'{"p":[1,2]}']
    by_row: dict[int, list[Path]] = {
        1: [()],
        0: [TOP],
        2: [("x",), ("y", "z")],
        3: [("p", 1)],
    }
    assert rescued_texts(texts, by_row) == [
        '{"/x":1}',
        '{"":[1,{"x":2}]}',
        '{"/y/z":3,"/x":4}',
        '{"/p/1":2}',
    ]


@pytest.mark.parametrize("key", ['a"b', "a\\b", "a/b", "\n", "é", "😀", "k" * 70, ""])
def test_a_key_of_any_characters_is_found_or_left_to_exact_reading(key: str) -> None:
    for written in (json.dumps(key), json.dumps(key, ensure_ascii=False)):
        for escaped in (written, written.replace("/", "\\/")):
            text = f"{{{json.dumps(key + '_')}:12,{escaped}:[1]}}".encode()
            one = rescued_json(text, locate(text, [(key,)]))
            assert json.loads(one).popitem()[1] == [1]
            assert rescued_texts([text, text], {0: [(key,)], 1: [(key,)]}) == [one, one]


def test_a_key_that_occurs_once_is_read_without_a_search_for_each() -> None:
    """With a search for each, the result is right but slow."""
    assert lone_texts("x", [b'{"x":1,"a":2}', b'{"p":[{"x":[2]},{}]}']) == [b"1", b"[2]"]
