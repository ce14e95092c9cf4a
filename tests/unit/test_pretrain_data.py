"""Text to a folder of rows for pre-training: what is read, what is written, what is refused."""

import gzip
import json
import re
import sys
from dataclasses import replace

import numpy as np
import paddle
import pytest
from support.corpus import as_text, make_documents, write_text
from support.models import SIZES, randomise
from support.texts import make_tokenizer, write_vocabulary

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.commands import pretrain_data
from mobilebert.data.cache import tokenizer_digest
from mobilebert.data.pretrain import sources
from mobilebert.data.pretrain.blocks import cut_blocks
from mobilebert.data.pretrain.make import make
from mobilebert.data.pretrain.rows import PretrainingRows
from mobilebert.data.pretrain.settings import Settings
from mobilebert.data.pretrain.sources import Corpus, Document, find_files
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.tasks.pretrain import loss_sizes, pretraining_loss
from mobilebert.text.encoding import Backend
from mobilebert.text.plain import encode_plain
from mobilebert.verify.hard_texts import all_texts

DOCUMENTS = make_documents(40)
SMALL = {"max_seq_length": 48, "max_predictions_per_seq": 6, "dupe_factor": 3, "block_bytes": 3000}


def texts(*inputs, **options) -> list[list[str]]:
    """The documents of files, as lists of lines."""
    return [document.text.decode().split("\n") for document in Corpus(find_files(inputs), **options)]


def build(folder, text, **settings):
    """Make a folder in this process."""
    machine = {name: settings.pop(name) for name in ("shard", "workers", "overwrite") if name in settings}
    return make(Corpus(find_files([text])), make_tokenizer(), folder, Settings(**{**SMALL, **settings}), **machine)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture(scope="module")
def folder(text):
    """A folder of rows, of several blocks."""
    assert build(text.parent / "rows", text).blocks > 3
    return text.parent / "rows"


# -- text that is read


def packed(kind: str, path, documents) -> None:
    """Write documents as a kind of file."""
    content = as_text(documents).encode()
    if kind == "zst":
        zstd = pytest.importorskip("backports.zstd", reason="backports.zstd, of the extra [pretrain], is not installed")
        content = b"".join(zstd.compress(part) for part in (content[:99], content[99:]))  # two frames
    elif kind == "gz":
        content = gzip.compress(content)
    elif kind == "jsonl":
        content = "".join(json.dumps({"id": 1, "text": "\n\n".join(d)}) + "\n" for d in [*documents, [" "]]).encode()
    elif kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow, of the extra [pretrain], is not installed")
        from pyarrow import parquet

        column = pyarrow.array(["\r\n".join(d) for d in documents] + [None])
        return parquet.write_table(pyarrow.table({"id": [0] * len(column), "text": column}), path, row_group_size=7)
    elif kind == "windows":
        content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
    elif kind == "spaces":
        content = content.replace(b"\n\n", b" \n\t\n\xc2\xa0\n\xe3\x80\x80\n").replace(b".\n", b". \n")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("plain", "a.txt"), ("plain", "wiki_00"), ("windows", "a.txt"), ("spaces", "a.txt")),
        *(("gz", "a.txt.gz"), ("zst", "a.zst"), ("jsonl", "a.jsonl"), ("parquet", "a.parquet")),
    ],
)
def test_every_kind_of_file_has_the_same_documents(kind, name, tmp_path):
    packed(kind, tmp_path / name, DOCUMENTS)
    assert texts(tmp_path / name) == DOCUMENTS


def test_folders_and_patterns_are_read_in_the_order_of_names(tmp_path):
    (tmp_path / "b" / ".git").mkdir(parents=True)
    for number, name in enumerate(("b/2", "b/1.txt", "a.txt", "b/.git/x.txt", "b/picture.png")):
        (tmp_path / name).write_text(f"text {number}", encoding="utf-8")  # no line feed: the file ends the document
    assert texts(tmp_path) == [["text 2"], ["text 1"], ["text 0"]]
    assert texts(tmp_path / "b", tmp_path / "a.txt", tmp_path / "b" / "2") == [["text 1"], ["text 0"], ["text 2"]]
    assert texts(f"{tmp_path}/*/*.txt") == [["text 1"]]


def test_what_is_passed_over_in_a_folder_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MOBILEBERT_QUIET", raising=False)
    for name in ("a.txt", "b.bz2", "c.txt.bz2", "d.json"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    assert [path.name for path in find_files([tmp_path])] == ["a.txt"]
    assert capsys.readouterr().err == f"{tmp_path}: passed over 3 files (.bz2, .json), which are not read as text\n"
    find_files([tmp_path / "a.txt"])
    assert capsys.readouterr().err == ""


def test_the_longest_line_and_row_are_read_and_no_longer_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_LONGEST_LINE", 20)
    monkeypatch.setattr(sources, "_LONGEST_DOCUMENT", 30)
    monkeypatch.setattr(sources, "_LONGEST_ROW", 50)
    (tmp_path / "a.txt").write_text("a" * 20 + "\n")
    (tmp_path / "b.txt").write_text("a" * 20)
    assert texts(tmp_path / "a.txt") == texts(tmp_path / "b.txt") == [["a" * 20]]
    (tmp_path / "a.txt").write_text("a" * 21 + "\n")
    with pytest.raises(InputError, match=r"a\.txt:1: a line of more than"):
        texts(tmp_path / "a.txt")
    # A row is a document, and may be as long as one.
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a" * 30}) + "\n")
    assert texts(tmp_path / "a.jsonl") == [["a" * 30]]
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a" * 31}) + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl:1: here begins a document of more than"):
        texts(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a" * 51}) + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl:1: a line of more than"):
        texts(tmp_path / "a.jsonl")


def test_paragraphs_are_split_into_sentences(tmp_path):
    pytest.importorskip("sentencex", reason="sentencex, of the extra [pretrain], is not installed")
    from mobilebert.data.pretrain.sentences import splitter

    lines = ["Dr. Ada wrote it in the U.S. in 1843. Was it good? Yes.", "no end", "Boris slept."]
    assert splitter("en")(lines) == ["Dr. Ada wrote it in the U.S. in 1843.", "Was it good?", "Yes.", "no end",
                                     "Boris slept."]  # fmt: skip
    assert splitter(None)(lines) == lines


def test_encoding_word_by_word_is_encoding():
    tokenizer, hard = make_tokenizer(), [text for text in all_texts() if "\n" not in text]
    hard += ["", " ", "  the  lamp ", "lamp [MASK] [SEP]the", "ΑΣ ΑΣ.Σ", "e\u0301 \u0301", "a\x1cb\u00a0the\u3000lamp"]
    base = Backend(tokenizer.backend_tokenizer).copy()
    base.encode_special_tokens = True
    rows = [encoding.ids for encoding in base.encode_batch(hard, add_special_tokens=False)]
    ids, lengths = encode_plain(tokenizer, hard)
    assert lengths.tolist() == [len(row) for row in rows] and ids.tolist() == [i for row in rows for i in row]
    assert len(hard) > 80 and not np.isin(ids, tokenizer.convert_tokens_to_ids(["[MASK]", "[SEP]"])).any()
    # An added token with a space in it is found across words, and special tokens would be without the switch.
    tokenizer.add_tokens(["the lamp"])
    assert encode_plain(tokenizer, ["put the lamp"])[1].tolist() == [2]
    assert tokenizer.encode("[MASK]", add_special_tokens=False) == [tokenizer.mask_token_id]


def documents_of(*sizes: int) -> list[Document]:
    return [Document("x", number, b"a" * size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "blocks"),
    [
        ([6, 6, 6, 6], [2, 2]),
        ([30, 1, 30, 1], [2, 2]),  # a block has two documents, however long one is
        ([6, 6, 1, 1], [4]),  # less than half a block is no block
        ([6, 6, 9], [3]),  # nor is one document
        ([1, 1], [2]),
    ],
)
def test_blocks_are_cut_by_the_documents_alone(sizes, blocks):
    cut = list(cut_blocks(documents_of(*sizes), 10))
    assert [len(block.documents) for block in cut] == blocks
    assert [block.index for block in cut] == list(range(len(blocks)))


# -- rows that are written


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_rows_are_the_texts_own(folder, text, tmp_path, dynamic):
    if dynamic:
        build(tmp_path / "out", text, dynamic=True)
        folder = tmp_path / "out"
    rows, tokenizer = PretrainingRows.open(folder), make_tokenizer()
    assert rows.vocab_digest == tokenizer_digest(tokenizer) and rows.max_seq_length == 48
    batch = rows.batch(np.arange(len(rows)))
    truth = batch["input_ids"].copy()
    which, column = np.nonzero(batch["masked_weights"])
    truth[which, batch["masked_positions"][which, column]] = batch["masked_ids"][which, column]
    whole = [" ".join(sentences) for sentences in DOCUMENTS]
    for ids, types, mask, label in zip(
        truth, batch["token_type_ids"], batch["attention_mask"], batch["next_sentence_label"], strict=True
    ):
        length = mask.sum()
        cut = length - types.sum()
        assert ids[0] == tokenizer.cls_token_id and ids[length:].sum() == 0 and types[:cut].sum() == 0
        assert [cut - 1, length - 1] == np.flatnonzero(ids == tokenizer.sep_token_id).tolist()
        first, second = tokenizer.decode(ids[1 : cut - 1]), tokenizer.decode(ids[cut : length - 1])
        assert any(first in document for document in whole) and any(second in document for document in whole)
        assert label or any(second in document.partition(first)[2] for document in whole)  # cut where they meet
    assert set(batch["next_sentence_label"]) == {0, 1}
    assert (rows.lengths == batch["attention_mask"].sum(1)).all() and rows.lengths.max() == 48
    assert {name: (v.dtype.name, v.ndim) for name, v in batch.items()} == {
        **dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ("int64", 2)),
        **{"masked_positions": ("int64", 2), "masked_ids": ("int64", 2), "masked_weights": ("float32", 2)},
        "next_sentence_label": ("int64", 1),
    }
    assert (np.diff(batch["masked_positions"], axis=1)[batch["masked_weights"][:, 1:] > 0] > 0).all()
    assert (batch["masked_ids"][batch["masked_weights"] == 0] == 0).all()


def test_a_batch_is_the_same_rows_in_whatever_company(folder):
    rows = PretrainingRows.open(folder)
    everything = rows.batch(np.arange(len(rows)))
    chosen = np.array([len(rows) - 1, 3, 200, 3])
    some = rows.batch(chosen, pad_to_multiple_of=64)
    assert some["input_ids"].shape[1] == 64
    for name, values in some.items():
        width = min(values.shape[-1], everything[name].shape[-1])
        assert (values[..., :width] == everything[name][chosen][..., :width]).all() and values.size, name
    assert {name: len(values) for name, values in rows.batch(np.array([], int)).items()} == dict.fromkeys(some, 0)


def test_dynamic_masks_change_with_epoch_and_seed_and_nothing_else(text, tmp_path):
    build(tmp_path / "out", text, dynamic=True, whole_word_mask=True)
    rows = PretrainingRows.open(tmp_path / "out")
    base = rows.batch(np.arange(100), epoch=1, seed=2)
    again = PretrainingRows.open(tmp_path / "out").batch(np.arange(99, -1, -1), epoch=1, seed=2)
    assert all((values == again[name][::-1]).all() for name, values in base.items())
    for other in (rows.batch(np.arange(100), epoch=2, seed=2), rows.batch(np.arange(100), epoch=1, seed=3)):
        assert (other["input_ids"] != base["input_ids"]).any(axis=1).mean() > 0.5
        assert (other["next_sentence_label"] == base["next_sentence_label"]).all()


def test_a_batch_without_masks_has_a_loss(text, tmp_path):
    build(tmp_path / "out", text, dynamic=True, whole_word_mask=True)
    rows = PretrainingRows.open(tmp_path / "out")
    # As where every word has more pieces than may be masked: all tokens go on with the one before.
    whole = replace(rows, vocabulary=replace(rows.vocabulary, continues=np.ones_like(rows.vocabulary.continues)))
    batch = whole.batch(np.arange(4))
    assert batch["masked_weights"].shape == (4, 1) and not batch["masked_weights"].any()
    assert (batch["masked_positions"] == 0).all() and rows.batch(np.arange(4))["masked_weights"].any()
    sizes = {**SIZES, "vocab_size": rows.vocabulary.size, "max_position_embeddings": rows.max_seq_length}
    net = randomise(HEADS["pretraining"](MobileBertConfig(**sizes)))
    masked, pairs = pretraining_loss(net, {name: paddle.to_tensor(value) for name, value in batch.items()}).numpy()
    assert masked == 0 and np.isfinite(pairs) and pairs > 0
    assert loss_sizes(batch).tolist() == [0, 4]


def test_stored_masks_stay(folder):
    rows = PretrainingRows.open(folder)
    one, other = rows.batch(np.arange(50)), rows.batch(np.arange(50), epoch=3, seed=9)
    assert all((values == other[name]).all() for name, values in one.items())


def test_workers_and_machines_change_nothing(folder, text, tmp_path):
    whole = contents(folder)
    build(tmp_path / "two", text, workers=2)
    assert contents(tmp_path / "two") == whole
    parts = [build(tmp_path / "parts", text, shard=(number, 3)) for number in (2, 0, 1)]
    assert [part.manifest is None for part in parts] == [True, True, False]
    assert sum(part.made for part in parts) == parts[0].blocks == len(whole) - 1
    assert contents(tmp_path / "parts") == whole
    build(tmp_path / "seed", text, seed=1)
    assert contents(tmp_path / "seed").keys() == whole.keys() and contents(tmp_path / "seed") != whole


def test_what_is_there_is_kept(folder, text, tmp_path):
    build(tmp_path / "out", text)
    (tmp_path / "out" / "block-000002.safetensors").unlink()
    (tmp_path / "out" / "pretraining.json").unlink()
    with pytest.raises(InputError, match="is not complete, or no folder of pre-training data"):
        PretrainingRows.open(tmp_path / "out")
    assert build(tmp_path / "out", text).made == 1
    assert contents(tmp_path / "out") == contents(folder)
    assert build(tmp_path / "out", text).made == 0


def test_rows_of_other_text_or_settings_are_not_mixed_in(text, tmp_path):
    out = tmp_path / "out"
    build(out, text)
    before = contents(out)
    message = "made of other text, with other settings or another vocabulary; choose another `out`, or give"
    for change in ({"seed": 1}, {"dynamic": True}, {"max_seq_length": 64}):
        with pytest.raises(InputError, match=message):
            build(out, text, **change)
    with pytest.raises(InputError, match=message):
        build(out, write_text(tmp_path / "other.txt", seed=1))
    assert contents(out) == before
    # A text that is shorter by whole blocks leaves blocks over.
    blocks = list(cut_blocks(Corpus([text]), SMALL["block_bytes"]))
    shorter = tmp_path / "shorter.txt"
    shorter.write_bytes(b"\n\n".join(d.text for block in blocks[:-1] for d in block.documents))
    with pytest.raises(InputError, match=r"safetensors: is of other text; choose another `out`"):
        build(out, shorter)
    assert build(out, shorter, overwrite=True).blocks == len(blocks) - 1
    with pytest.raises(InputError, match="`overwrite` would remove what the other shards write"):
        build(out, shorter, overwrite=True, shard=(0, 2))


def test_a_folder_of_somebody_else_is_left_alone(text, tmp_path):
    (tmp_path / "pretraining.json").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is there already, and not as the output of a run"):
        build(tmp_path, text)


def test_damage_is_noticed(folder, tmp_path):
    for name in contents(folder):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    PretrainingRows.open(tmp_path)
    for name, content in contents(folder).items():
        if name.startswith("block-000001"):
            flipped = bytearray(content)
            flipped[-5] ^= 1
            for damaged, said in ((flipped, "has another sha256"), (content[:-1], "bytes instead of")):
                (tmp_path / name).write_bytes(damaged)
                with pytest.raises(InputError, match=f"{said}.*, says pretraining.json; make the folder again"):
                    PretrainingRows.open(tmp_path)
            (tmp_path / name).write_bytes(content)
    manifest = json.loads((folder / "pretraining.json").read_text())
    for change, said in (
        ({"format": 0}, "of format 0, and 1 is read"),
        ({"files": {}}, "damaged"),
        ({"files": {"../x": manifest["files"]["block-000000.safetensors"]}}, "damaged"),
        ({"settings": {**manifest["settings"], "max_seq_length": 1}}, "max_seq_length=1: give a number from 5"),
        ({"settings": {**manifest["settings"], "max_seq_length": 20}}, "its rows are not what it says they are"),
        ({"vocabulary": {**manifest["vocabulary"], "continues": "zz"}}, "vocabulary.continues is damaged"),
    ):
        (tmp_path / "pretraining.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(InputError, match=said):
            PretrainingRows.open(tmp_path)
    with pytest.raises(InputError, match="no such folder of pre-training data"):
        PretrainingRows.open(tmp_path / "none")


# -- the command, and what it refuses


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the command; returns its exit code and what it printed, errors behind."""

    def run(*arguments) -> tuple[int, str]:
        vocab = write_vocabulary(tmp_path / "vocab.txt")
        words = ["--vocab", vocab, "--out", tmp_path / "out", "--workers", 1, *arguments]
        monkeypatch.setattr(sys, "argv", ["pretrain-data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.run(pretrain_data.main)
        return ended.value.code, "".join(capsys.readouterr())

    return run


def test_the_command_says_what_it_made(run, text, tmp_path):
    code, said = run("--input", text, "--max_seq_length", 32, "--dupe_factor", 2)
    assert code == 0 and "40 documents" in said and "1 files in" in said and "1 of them new" in said
    rows = PretrainingRows.open(tmp_path / "out")
    assert f"{len(rows):,} of {rows.lengths.mean():.1f} tokens on average" in said
    assert rows.settings.max_predictions_per_seq == 5 and not rows.settings.dynamic
    code, said = run("--input", text, "--out", tmp_path / "b", "--shard", "2/2", "--max_seq_length", 8)
    assert code == 0 and "0 of 1 blocks made, 1 are left to the other shards" in said
    code, said = run("--input", text, "--out", tmp_path / "c", "--masking", "dynamic", "--max_seq_length", 16)
    assert code == 0 and "--paragraphs splits them" in said  # a note: sentences are long for such rows
    assert PretrainingRows.open(tmp_path / "c").settings.dupe_factor == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "there is no text in the input"),
        ("a.txt", b"\n \n\r\n", "there is no text in the input"),
        ("a.txt", b"one\ntwo\nthree\n", "a.txt:1: the input is one document"),
        ("a.txt", b"\n\none\n\n\x01\x02\n", "from here to .*a.txt:5 there is only one document with words in it"),
        ("a.txt", b"one\n\ntwo\nthr\xe9e\n", "a.txt:4: not UTF-8 text; save it as UTF-8"),
        ("a.txt", "one\n\ntwo".encode("utf-16"), "a.txt: UTF-16, not UTF-8 text; save it as UTF-8"),
        ("a.txt.gz", b"one", "a.txt.gz: cannot be read .* is the file complete"),
        ("a.txt.gz", gzip.compress(b"one\n\ntwo")[:-9], "a.txt.gz: cannot be read .* is the file complete"),
        ("a.csv", b"text\none", "a.csv: .csv is not read as text"),
        ("a.csv.gz", b"text\none", "a.csv.gz: .csv is not read as text"),
        (
            "a.jsonl",
            b'{"text": "one"}\n{"body": "two"}\n',
            "a.jsonl:2: no 'text'; it has body: name one with --text_col",
        ),
        ("a.jsonl", b'{"text": 1}\n', "a.jsonl:1: no text 'text'"),
        ("a.jsonl", b'{"text": "one"\n', "a.jsonl:1: broken JSON"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "a.jsonl:1: half of a surrogate pair in 'text'"),
    ],
)
def test_bad_text_is_one_line(run, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    code, errors = run("--input", tmp_path / name)
    line = errors.strip().split("\n")[-1]
    assert code == 2 and line.startswith("error: ")
    assert re.search(said, line), line
    assert not list((tmp_path / "out").glob("block-*")) and not (tmp_path / "out" / "pretraining.json").exists()


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("parquet", b"PAR1", "a.parquet: not a sound Parquet file"),
        ("zst", b"(\xb5/\xfd\x04", "a.zst: cannot be read"),
        ("zst", b"nothing", "a.zst: cannot be read"),
        (
            "zst",
            bytes.fromhex("28b52ffd2009490000") + b"one\n\ntwo",
            "a.zst: cannot be read",
        ),  # the last byte is missing
    ],
)
def test_bad_packed_text_is_one_line(run, tmp_path, kind, content, said):
    pytest.importorskip({"zst": "backports.zstd"}.get(kind, "pyarrow"), reason="the extra [pretrain] is not installed")
    (tmp_path / f"a.{kind}").write_bytes(content)
    code, errors = run("--input", tmp_path / f"a.{kind}")
    assert code == 2 and f"error: {tmp_path}/{said}" in errors


def test_a_table_without_the_column_is_one_line(run, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow, of the extra [pretrain], is not installed")
    packed("parquet", tmp_path / "a.parquet", DOCUMENTS)
    assert run("--input", tmp_path / "a.parquet", "--text_column", "x")[1].endswith(
        "a.parquet: no column 'x'; it has id, text: name one with --text_column\n"
    )
    assert "column 'id' is int64, and texts are expected" in run(
        "--input", tmp_path / "a.parquet", "--text_column", "id"
    )[1]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shard", "3/2"], "--shard 3/2: give I/N"),
        (["--shard", "x"], "--shard x: give I/N"),
        (["--workers", "0"], "--workers 0: give 1 or more"),
        (["--max_seq_length", "4"], "--max_seq_length 4: give a number from 5"),
        (["--input", "none.txt"], "none.txt: no such file; name files of text"),
        (["--input_file", "x"], "unknown argument --input_file; here --input"),
        (["--vocab", "none.txt"], "none.txt: no such file"),
    ],
)
def test_bad_flags_are_one_line(run, text, tmp_path, flags, said):
    code, errors = run("--input", text, *flags)
    assert code == 2 and said in errors.strip().split("\n")[-1]
    assert not (tmp_path / "out").exists()


def test_lines_and_documents_have_a_bound(run, tmp_path, monkeypatch):
    from mobilebert.data.pretrain import sources

    monkeypatch.setattr(sources, "_LONGEST_LINE", 100)
    monkeypatch.setattr(sources, "_LONGEST_DOCUMENT", 300)
    (tmp_path / "a.txt").write_text("x" * 101 + "\n\nb\n")
    assert "a.txt:1: a line of more than" in run("--input", tmp_path / "a.txt")[1]
    (tmp_path / "a.txt").write_text("a\n\n" + 5 * f"{'x' * 80}\n")
    assert "a.txt:3: here begins a document of more than" in run("--input", tmp_path / "a.txt")[1]
