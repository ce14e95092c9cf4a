"""What is written is what is read: tables, rows, records, tensors."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import characters, texts

from mobilebert.base import outputs
from mobilebert.base.files import read_json, write_json
from mobilebert.commands.predict.output import errors_in, json_line, write_rows
from mobilebert.data.glue.files import SUBMISSION_HEADER, write_submission
from mobilebert.data.packed import PackedRows, pack_rows
from mobilebert.data.tables import bare, open_table
from mobilebert.inference.manifest import Manifest
from mobilebert.model import tensor_files
from mobilebert.model.config import ACTIVATIONS, PRESETS, MobileBertConfig
from mobilebert.train import checkpoint, runlog

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


# ---- tables ----

cells = st.one_of(st.text(st.sampled_from('a",;\t\r\n \u2028\x85\x00'), max_size=8), st.text(characters, max_size=8))
names = st.lists(cells.filter(lambda name: bare(name) == name != ""), min_size=2, max_size=4, unique=True)


@st.composite
def tables(draw, cell: st.SearchStrategy, name: st.SearchStrategy = names):
    """A header and rows as wide as it."""
    header = draw(name)
    return header, draw(st.lists(st.lists(cell, min_size=len(header), max_size=len(header)), min_size=1, max_size=4))


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    table = open_table(path)
    return list(table.header), [row for _, row in table.rows]


@settings(max_examples=50)
@given(tables(cells), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_csv(folder, drawn, quoting):
    text = io.StringIO()
    csv.writer(text, quoting=quoting).writerows([drawn[0], *drawn[1]])
    path = folder / "table.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert read(path) == drawn


plain = st.text(
    st.one_of(characters, st.sampled_from(" \u2028\x85'")).filter(lambda char: char not in '"\t\r\n'), max_size=8
)
plain_names = st.lists(plain.filter(lambda name: bare(name) == name != ""), min_size=2, max_size=4, unique=True)


@settings(max_examples=50)
@given(tables(plain, plain_names), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]), st.booleans())
def test_tsv(folder, drawn, end, mark, quotes):
    """Every cell as it is, one with a quotation mark of its own among them: then marks are text."""
    header, rows = drawn
    if quotes:
        rows = [*rows, ['a "b', *rows[0][1:]]]
    path = folder / "table.tsv"
    path.write_text(mark + end.join("\t".join(row) for row in [header, *rows]) + end, encoding="utf-8", newline="")
    assert read(path) == (header, rows)


@settings(max_examples=50)
@given(tables(st.one_of(cells, st.none(), st.booleans(), st.integers(), finite)), st.booleans(), st.booleans())
def test_json_rows(folder, drawn, is_array, ascii):
    header, rows = drawn
    objects = [dict(zip(header, row, strict=True)) for row in rows]
    path = folder / ("table.json" if is_array else "table.jsonl")
    lines = [json.dumps(value, ensure_ascii=ascii) for value in objects]
    path.write_text(json.dumps(objects, indent=1) if is_array else "\n".join(lines), encoding="utf-8")
    found_header, found = read(path)
    assert found_header == header
    for row, values in zip(found, rows, strict=True):
        for cell, value in zip(row, values, strict=True):
            assert cell == value if isinstance(value, str) else json.loads(cell or "null") == value


@settings(max_examples=40)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_submission(folder, rows):
    ids, words = zip(*rows, strict=True)
    path = folder / "submission.tsv"
    write_submission(path, ids, words)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == SUBMISSION_HEADER and len(lines) == len(rows) + 1
    for line, pair in zip(lines[1:], rows, strict=True):
        written = line.split("\t")
        for cell, text in zip(written, pair, strict=True):
            assert cell == text or cell.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


# ---- records ----


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(PRESETS)),
    st.lists(texts.filter(str.strip), min_size=1, max_size=4, unique_by=str.strip),
    st.fixed_dictionaries(
        {}, optional={"hidden_act": st.sampled_from(ACTIVATIONS), "classifier_dropout": st.floats(0, 0.5)}
    ),
    st.dictionaries(texts.map("x_".__add__), st.one_of(texts, st.none(), finite, st.lists(st.integers())), max_size=2),
)
def test_config(folder, preset, labels, changes, extra):
    config = MobileBertConfig.preset(preset, id2label=dict(enumerate(labels)), extra=extra, **changes)
    config.save_pretrained(folder)
    assert MobileBertConfig.from_pretrained(folder) == config


@settings(max_examples=30)
@given(
    st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)),
    st.dictionaries(texts, finite),
    st.dictionaries(texts, st.dictionaries(texts, finite)),
    texts,
)
def test_manifest(folder, outputs_, errors, metrics, sha256):
    manifest = Manifest("model", outputs_, ["onnx"], None, False, 20, 64, errors, metrics, sha256)
    manifest.save(folder)
    assert Manifest.load(folder) == manifest


names_below = st.text(characters, min_size=1, max_size=6).filter(
    lambda name: (
        "\0" not in name and "**" not in name and Path(name).parts and name[0] != "/" and ".." not in Path(name).parts
    )
)


@settings(max_examples=30)
@given(st.sets(names_below))
def test_record(folder, entries):
    (folder / outputs.RECORD).unlink(missing_ok=True)
    outputs.record(folder, entries)
    assert outputs.recorded(folder) == entries


@settings(max_examples=30)
@given(st.lists(st.tuples(cells, cells, st.booleans()), min_size=1, max_size=4))
def test_outputs(folder, rows):
    """A line a row, whatever its texts are; a run that was cut off anywhere goes on to the same file."""
    path = folder / "answers.jsonl"
    ids, prints = [row[0] for row in rows], [f"{number}" for number in range(len(rows))]
    values = [{"error": text} if is_error else {"answer": text} for _, text, is_error in rows]
    path.unlink(missing_ok=True)
    write_rows(path, ids, prints, lambda: lambda part: values[part], False, "answering")
    whole = path.read_bytes()
    assert len(whole.decode().splitlines()) == len(rows)
    assert errors_in(path) == [text for _, text, is_error in rows if is_error]
    for end in {0, 1, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:end])
        write_rows(path, ids, prints, lambda: lambda part: values[part], False, "answering")
        assert path.read_bytes() == whole
    assert json.loads(json_line(values[0])) == values[0]


@settings(max_examples=30)
@given(
    st.lists(st.fixed_dictionaries({"step": st.integers(0, 10**9), "loss": st.one_of(st.none(), finite), "lr": finite}))
)
def test_log(folder, records):
    path = folder / runlog.TRAIN_LOG
    path.write_text("".join(map(runlog._line, records)) + '{"step": 3, "lo', encoding="utf-8")
    assert runlog.read_records(path) == records


@settings(max_examples=30)
@given(st.dictionaries(texts, st.one_of(texts, finite, st.lists(texts), st.integers(-(10**20), 10**20)), max_size=3))
def test_json(folder, value):
    write_json(folder / "any.json", value)
    assert read_json(folder / "any.json") == value


# ---- tensors ----

DTYPES = [
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
]


@st.composite
def arrays(draw, dtypes: list[str]) -> dict[str, np.ndarray]:
    """Some arrays by name, of any shape and any bits."""
    drawn = {}
    for name in draw(st.sets(st.text(characters, min_size=1, max_size=5), max_size=3)):
        dtype = np.dtype(draw(st.sampled_from(dtypes)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        size = math.prod(shape) * dtype.itemsize
        raw = draw(st.binary(min_size=size, max_size=size))
        if dtype == np.bool_:
            raw = bytes(byte & 1 for byte in raw)
        drawn[f"n{name}"] = np.frombuffer(raw, dtype).reshape(shape)
    return drawn


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    """Names, types, shapes and bits."""
    facts = ({key: (a.dtype, a.shape, a.tobytes()) for key, a in part.items()} for part in (found, expected))
    return next(facts) == next(facts)


@settings(max_examples=40)
@given(arrays(["float16", "float32", "float64"]), st.sampled_from(["pd", "pt"]))
def test_weights(folder, state, layout):
    tensor_files.save_state(state, folder, layout)
    found, found_layout = tensor_files.read_state(folder)
    assert same(found, state) and found_layout == layout


@settings(max_examples=25)
@given(arrays(DTYPES), arrays(["uint16", "float16", "float32", "float64"]))
def test_checkpoint_of_a_training(folder, model, optimizer):
    for path in (folder / checkpoint.FOLDER).glob("*"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    saved = checkpoint.save(folder, 3, checkpoint.Checkpoint(model, optimizer, {"progress": {"step": 3}}), keep=1)
    found = checkpoint.load(checkpoint.verify(saved))
    assert same(found.model, model) and same(found.optimizer, optimizer)


@settings(max_examples=40)
@given(st.data())
def test_packed_rows(folder, data):
    rows = data.draw(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=4))
    labels = data.draw(arrays(DTYPES))
    ids = data.draw(st.lists(cells, min_size=len(rows), max_size=len(rows)))
    packed = pack_rows(
        rows, [len(row) for row in rows], ids, labels, data.draw(st.dictionaries(texts, st.integers(0, 9)))
    )
    packed.save(folder / "rows.safetensors")
    found = PackedRows.load(folder / "rows.safetensors")
    assert [found.row(number).tolist() for number in range(len(found))] == rows
    assert same(dict(found.labels), labels)
    assert (list(found.example_ids), dict(found.info)) == (ids, dict(packed.info))
    assert found.second_starts.tolist() == [len(row) for row in rows] and found.offsets is None
