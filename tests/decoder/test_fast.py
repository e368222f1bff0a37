"""What users of the compiled engine rely on besides equal results."""

from __future__ import annotations

import gc
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from platform import machine
from typing import Any

import pyarrow as pa
import pytest

from streamlic.decoder import DecoderOptions, open_decoder, why_not_fast
from streamlic.decoder.messages.error_codes import ErrorCode
from streamlic.emulator.records import Shape, blocks
from streamlic.errors import DecodeError, UsageError
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.schema.columns import RAW_SCHEMA
from tests.fuzz.bodies import ACCOUNT, case
from tests.fuzz.parity import difference
from tests.support.oracle import outcome

if why_not_fast():
    pytest.skip(f"the fast engine was not built: {why_not_fast()}", allow_module_level=True)

from streamlic.decoder._fast import ERROR_CODES, SIMD, FastDecoder, best

CAPACITY = Path(__file__).parent / "capacity.cpp"


def body_of(records: int) -> bytes:
    return b'{"result":[' + b"".join(blocks(7, ACCOUNT, 0, records, Shape())) + b"]}"


@pytest.mark.parametrize("seed", range(120))
def test_the_engines_are_equal_on_generated_bodies(seed: int) -> None:
    found = difference(case(random.Random(seed)))
    assert found is None, found


@pytest.mark.slow
def test_the_engines_are_equal_on_many_generated_bodies() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    for number in range(seed, seed + 5_000):
        found = difference(case(random.Random(number)))
        assert found is None, f"seed {number}: {found}"


@pytest.mark.parametrize("chunk_bytes", [1024, 4096, 65_536, 1 << 20])
def test_the_engines_are_equal_on_licenses_of_many_batches(chunk_bytes: int) -> None:
    body = body_of(2_000)
    cuts = list(range(chunk_bytes, len(body), chunk_bytes))
    rows, lengths, envelope = outcome(body, cuts, batch_rows=400, batch_bytes=160_000)
    assert len(rows) == envelope.rows == 2_000
    assert len(lengths) > 5


def test_the_engines_are_equal_where_a_strip_of_the_text_ends() -> None:
    """The compiled engine looks ahead for the ends of strings in strips of 8192 bytes."""
    for size in range(8192 - 200, 8192 + 80, 3):
        text = b"x" * size + b"\\n" + b"y" * 70
        body = b'[{"id":"%b","name":"%b"},{"id":"%b"}]' % (text, text, text)
        rows, _, _ = outcome(body + b" " * 300)
        assert rows[1]["id"] == text.decode().replace("\\n", "\n")


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b'[{"id":"1","remote_data":{"a":1},{"b":2}}]', 33),
        (b'[{"id":"1","remote_data":[{"a":1},{"b":2},]}]', 42),
        (b'[{"id":"1","remote_data":{"a":01}}]', 31),
        (b'[{"id":"1"},{"id":"2",}]', 22),
        (b'[{"id":"1"},{"id" "2"}]', 18),
    ],
)
def test_a_bad_byte_within_a_text_is_refused_as_at_its_end(body: bytes, position: int) -> None:
    """Where enough follows, the compiled engine reads on without checking where the body ends."""
    before = b'{"id":"0","remote_data":{"a":1}},'
    for given, shift in ((body, 0), (body[:1] + before + body[1:], len(before))):
        verdict = outcome(given + b" " * 300)
        assert verdict[:2] == ("DecodeError", position + shift)


BAD_VALUES = [
    *('{"p":{"a":1},{"b":2}}', '{"p":{"a":1}],"b":2}', '{"p":[{"a":1}},{"b":2}]}', '{"a":1}}'),
    *('{"p":{"a":1,}}', '{"p":{"a":1,"b"}}', '{"p":{"a":"x""b":1}}', '{"p":{"a":1"b":2}}'),
    *('{"a":-}', '{"a":1.}', '{"a":1.e1}', '{"a":1e}', '{"a":01}', '{"a":-01}', '{"a":tru}'),
    *('{"a":"\\x"}', '{"a":"\\u12G4"}', '{"a":"\\u123', '{"a":"\t"}', '{"p":[1,]}'),
    *('{"p":[,1]}', '{"p":{,"a":1}}', '{"p":[1 2]}', '{"p":[{"a":1},]}', '{"p":[{"a":1} {}]}'),
    *('{"l":[{"a":1},{"b":2},"c":3]}', '{"a":1 2}', '{"a" 1}', "{'a':1}", '{"a":{"b":1]}', "{]"),
]


@pytest.mark.parametrize("bad", BAD_VALUES)
def test_bad_json_within_a_value_is_refused_though_its_like_was_read_before(bad: str) -> None:
    good = '{"p":{"a":1,"b":"x"},"a":1,"l":[{"a":1},{"b":2}]}'
    for schema in (LICENSE_SCHEMA, RAW_SCHEMA):
        for before in ("", f'{{"id":"0","remote_data":{good}}},'):
            body = f'[{before}{{"id":"1","remote_data":{bad}}}]{" " * 300}'
            assert outcome(body.encode(), schema=schema)[0] == "DecodeError"


def test_invalid_utf8_is_located_after_a_record_that_was_held() -> None:
    """What completes a held record is copied piece by piece; of the last piece more is said."""
    rows = b",".join(b'{"id":"%d","name":"%b"}' % (i, b"x" * 50) for i in range(300))
    bad = b"[" + rows + b',{"id":"bad","name":"\xa0"}]'
    for cut in (0, 40, 100):
        verdict = outcome(bad, [cut] if cut else [])
        assert verdict[1:3] == (bad.index(b"\xa0"), "[300].name")


@pytest.mark.parametrize("bad", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xc3\xa9\xa9"])
def test_invalid_utf8_is_found_at_every_offset(bad: bytes) -> None:
    """The compiled engine looks at 64 at a time; what one block begins may be wrong in the next."""
    for before in range(140):
        body = b'["' + b"x" * before + bad + b"y" * 200 + b'"]'
        good = len(bad) - 1 if bad.startswith(b"\xc3\xa9") else 0
        assert outcome(body)[:2] == ("DecodeError", 2 + before + good)


def test_what_is_deeply_nested_ends_where_it_began() -> None:
    """The compiled engine keeps which brackets are open 64 at a time."""
    for depth in (63, 64, 65, 66, 100):
        opened, closed = '{"a":[' * (depth // 2), ',{"b":2}],"c":3}' * (depth // 2)
        text = f'{{"z":{opened}1{closed}}}'
        rows, _, _ = outcome(f'[{{"id":"1","remote_data":{text}}}]{" " * 300}'.encode())
        assert rows[0]["remote_data"] == text


@pytest.mark.parametrize("pad", ["", " " * 300])
def test_a_line_holds_one_record(pad: str) -> None:
    verdict = outcome(f'{{"id":"1"}},{{"id":"2"}}\n{pad}'.encode(), ndjson=True)
    assert verdict[:2] == ("DecodeError", 10)


def test_whole_records_that_follow_each_other_are_several() -> None:
    body = b'[{"a":[{"b":1},{"b":2}]},{"a":3},{"a":4}]' + b" " * 300
    rows, _, _ = outcome(body, schema=RAW_SCHEMA)
    assert [row["record"] for row in rows] == ['{"a":[{"b":1},{"b":2}]}', '{"a":3}', '{"a":4}']


def test_every_day_of_the_calendar_is_read_alike() -> None:
    days = [
        f"{year}-{month:02d}-{day:02d}"
        for year in (1900, 2000, 2023, 2024, 9999)
        for month in range(14)
        for day in range(33)
    ]
    texts = [f'{{"created_at":"{day}T23:59:59{end}"}}' for day in days for end in ("Z", ".5Z")]
    rows, _, envelope = outcome(f"[{','.join(texts)}]".encode())
    known = sum(row["created_at"] is not None for row in rows)
    assert known == 2 * (365 * 3 + 366 * 2)
    assert envelope.rescued == len(rows) - known


def test_a_large_record_in_small_chunks_takes_linear_time() -> None:
    """Read again for each chunk it would take minutes."""
    text = "x\\n" * 500_000
    body = f'[{{"id":"{text}"}}]'.encode()
    for engine in ("fast", "reference"):
        decoder = open_decoder(engine=engine)
        batches = []
        for start in range(0, len(body), 64):
            batches += decoder.feed(body[start : start + 64])
        batches += decoder.close()
        assert batches[0]["id"][0].as_py() == "x\n" * 500_000


def test_batches_outlive_their_decoder_and_the_batches_before_them() -> None:
    """Memory is used again, but not while anybody still looks at it."""
    body = body_of(3_000)
    expected = outcome(body, batch_rows=100)[0]
    decoder = open_decoder(engine="fast", batch_rows=100)
    batches = decoder.feed(body) + decoder.close()
    columns = [batch.column("products") for batch in batches]
    kept = [batch.to_pylist() for batch in batches]
    del batches, decoder
    gc.collect()
    again = open_decoder(engine="fast", batch_rows=100)
    for batch in again.feed(body) + again.close():
        assert batch.num_rows == 100
    assert [row for rows in kept for row in rows] == expected
    assert [one for column in columns for one in column.to_pylist()] == [
        row["products"] for row in expected
    ]


def test_a_batch_is_taken_by_any_reader_of_the_c_data_interface() -> None:
    decoder = open_decoder(engine="fast")
    decoder.feed(b'[{"id":"a","products":[{"id":"p"}]}]')
    (batch,) = decoder.close()
    taken = pa.record_batch(batch)
    assert taken.schema.equals(LICENSE_SCHEMA, check_metadata=True)
    taken.validate(full=True)


def test_feeding_lets_other_threads_run() -> None:
    """Otherwise a thread that waits for the interpreter's lock gets it only when all is decoded."""
    body = b'{"result":[' + b",".join([body_of(2_000)[11:-2]] * 40)
    decoder = open_decoder(engine="fast")
    is_feeding, is_done = threading.Event(), False

    def feed() -> None:
        nonlocal is_done
        is_feeding.set()
        decoder.feed(body)
        is_done = True

    before = sys.getswitchinterval()
    sys.setswitchinterval(100)  # Nobody is made to give the lock up.
    try:
        thread = threading.Thread(target=feed)
        thread.start()
        is_feeding.wait()
        was_done = is_done
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not was_done
    assert is_done


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="it keeps what was freed")
def test_memory_does_not_grow_with_the_body() -> None:
    script = """
import sys
from pathlib import Path
from platform import machine
from streamlic.decoder import open_decoder
from tests.decoder.test_fast import body_of
rows = body_of(2_000)[11:-2]
decoder = open_decoder(engine="fast")
decoder.feed(b'{"result":[' + rows)
for _ in range(int(sys.argv[1])):
    for start in range(0, len(rows), 65_536):
        decoder.feed((b"," if start == 0 else b"") + rows[start : start + 65_536])
decoder.feed(b"]}")
decoder.close()
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    small, large = (
        int(subprocess.check_output([sys.executable, "-c", script, times])) / 1024
        for times in ("10", "100")
    )
    assert large - small < 4


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="it keeps what was freed")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="it is Linux's")
def test_a_batch_that_is_kept_takes_no_room_for_more_rows() -> None:
    script = """
from pathlib import Path
from platform import machine
from streamlic.decoder import open_decoder
from streamlic.emulator import license_json
def kept(count):
    batches = []
    for number in range(count):
        decoder = open_decoder(engine="fast")
        body = b"[" + license_json(7, "a", number) + b"]"
        batches += decoder.feed(body) + decoder.close()
    return batches
def kilobytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4
few, before = kept(10), kilobytes()
batches = kept(1_000)
print((kilobytes() - before) / 1_000)
"""
    assert float(subprocess.check_output([sys.executable, "-c", script])) < 60


def test_every_set_of_instructions_can_be_asked_for() -> None:
    assert best() in SIMD
    for simd in SIMD[: SIMD.index(best()) + 1]:
        decoder = FastDecoder(LICENSE_SCHEMA, DecoderOptions(), simd=simd)
        decoder.feed(b'[{"id":"a"}]')
        assert decoder.close()[0]["id"].to_pylist() == ["a"]


def test_the_core_and_the_table_of_sentences_have_the_same_codes() -> None:
    assert sorted(code.name for code in ERROR_CODES[2:] if code) == sorted(
        code.name for code in ErrorCode
    )


@pytest.mark.parametrize("chunk", [None, "text", bytearray(b"[]"), 5])
def test_only_bytes_are_fed(chunk: Any) -> None:
    decoder = open_decoder(engine="fast")
    with pytest.raises(TypeError):
        decoder.feed(chunk)
    decoder.feed(b"[]")  # It was the caller's slip: the body is as it was.
    assert decoder.close() == []


def test_a_spent_decoder_says_so() -> None:
    decoder = open_decoder(engine="fast")
    decoder.feed(b"[]")
    decoder.close()
    for call in (decoder.close, lambda: decoder.feed(b"")):
        with pytest.raises(UsageError, match="spent"):
            call()
    assert decoder.envelope.rows == 0
    bad = open_decoder(engine="fast")
    with pytest.raises(DecodeError):
        bad.feed(b"[}")
    with pytest.raises(UsageError, match="spent"):
        bad.feed(b"")


def test_there_is_no_decoder_that_was_not_made_whole() -> None:
    """A decoder without its core would crash the process."""
    with pytest.raises(TypeError):
        FastDecoder.__new__(FastDecoder)
    with pytest.raises(ValueError, match="tuple"):
        FastDecoder(LICENSE_SCHEMA, DecoderOptions(), simd="unknown")
    with pytest.raises(UsageError, match="rescued"):
        FastDecoder(pa.schema([("id", pa.string())]), DecoderOptions())


def test_nobody_else_uses_a_decoder_while_it_is_at_work() -> None:
    members = b",".join(b'"next_cursor":"%b"' % (b"x" * (20 + i)) for i in range(500))
    body = b'{"next_cursor":"a",' + b",".join([members] * 150)
    decoder = open_decoder(engine="fast")
    thread = threading.Thread(target=decoder.feed, args=(body,))
    thread.start()
    refused: list[str] = []
    while thread.is_alive() and not refused:
        try:
            assert decoder.envelope.rows == 0
        except UsageError as error:
            refused.append(str(error))
    thread.join()
    assert refused == ["this decoder is at work in another thread"]
    assert decoder.envelope.next_cursor == "x" * 519


def compiled(target: Path, source: str | None, *options: str, cores: str = "*.cpp") -> Path:
    """Compile files of the core, and a program with them; skip where that cannot be."""
    compiler = shutil.which("c++") or pytest.skip("there is no C++ compiler")
    package = Path(__file__).parents[2] / "streamlic" / "decoder"
    files = [str(path) for name in cores.split() for path in (package / "core").rglob(name)]
    if not files:
        pytest.skip("the core's sources are not next to the decoder")
    if source is not None:
        target.with_suffix(".cpp").write_text(source)
        files.append(str(target.with_suffix(".cpp")))
    files = ["-o", str(target), *files]
    subprocess.run([compiler, "-std=c++17", f"-I{package}", *options, *files], check=True)
    return target


def test_text_beyond_what_offsets_address_is_refused(tmp_path: Path) -> None:
    """Also in a batch that, after a large one, began with more room than that."""
    source = """
#include "core/arrow/columns.h"
using namespace streamlic;
bool is_refused(ColumnBuilder& column, int64_t row, size_t bytes) {
  try {
    column.make_room(row + 1);
    column.add_text(Row(row), bytes);
  } catch (const CapacityExceeded&) {
    return true;
  }
  return false;
}
int main() {
  ColumnBuilder first{Field{}};
  if (is_refused(first, 0, 1950000000u)) return 1;
  first.finish(1);
  ColumnBuilder second{Field{}};
  second.reserve_like(first, 1, 1);
  if (!is_refused(second, 0, 2400000000u)) return 2;
  ColumnBuilder third{Field{}};
  if (is_refused(third, 0, (size_t{1} << 31) - 64)) return 3;
  if (!is_refused(third, 1, 1)) return 4;
}
"""
    program = compiled(tmp_path / "capacity", source, cores="columns.cpp buffer.cpp")
    assert subprocess.run([program], check=False).returncode == 0


@pytest.mark.slow  # for the compiler
def test_no_function_that_files_share_is_compiled_for_avx2(tmp_path: Path) -> None:
    """The linker keeps one copy of a shared inline function, for all processors.

    Instructions of AVX2 begin with a v, and the others of BMI and BMI2 are listed. A processor
    without BMI takes tzcnt for bsf.
    """
    disassembler = shutil.which("objdump") or pytest.skip("there is no disassembler")
    if machine() != "x86_64":
        pytest.skip("AVX2 is x86-64's")
    found = compiled(tmp_path / "avx2.o", None, "-O2", "-c", cores="avx2.cpp")
    listing = subprocess.check_output([disassembler, "-dC", "--no-show-raw-insn", found], text=True)
    bmi = ("andn", "bextr", "blsi", "blsmsk", "blsr", "bzhi", "mulx", "pdep", "pext", "rorx")
    pattern = re.compile(rf"\t(v\w+|{'|'.join(bmi)}|sarx|shlx|shrx)\b")
    functions = re.findall(r"^[0-9a-f]+ <(.*)>:\n((?:.+\n)*)", listing, re.MULTILINE)
    newer = {name for name, code in functions if pattern.search(code)}
    assert any("streamlic::avx2::" in name for name in newer)
    assert [name for name in newer if "streamlic::avx2::" not in name] == []


@pytest.mark.slow  # for the compiler
def test_where_a_body_is_cut_does_not_change_which_row_is_too_much(tmp_path: Path) -> None:
    """Nor whether it is: a row that is wrong in itself is that, and others get all the room."""
    program = compiled(tmp_path / "full", CAPACITY.read_text(), "-DSTREAMLIC_MOST_TEXT=4096")
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    assert not done.returncode, done.stdout
