"""Whatever stands in a stranger's file, its reader gives a value or refuses it in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import almost, archives, as_json, damaged, files, json_values, outcome, texts
from support.texts import VOCABULARY, make_tokenizer, squad

from mobilebert.base import outputs
from mobilebert.base.files import read_json, read_text
from mobilebert.commands.predict.batch import read_questions, read_texts
from mobilebert.commands.predict.output import errors_in, is_output, json_line, write_rows
from mobilebert.data.cache import cached_rows
from mobilebert.data.classify.examples import read_examples, read_lines
from mobilebert.data.classify.labels import read_label_words
from mobilebert.data.glue.files import read_file, read_split
from mobilebert.data.glue.tasks import TASKS
from mobilebert.data.packed import pack_rows
from mobilebert.data.qa.squad_json import is_labelled, read_squad
from mobilebert.data.tables import open_table
from mobilebert.export.folder import check_replaceable
from mobilebert.inference.manifest import MANIFEST, Manifest
from mobilebert.inference.source import read_source
from mobilebert.model.config import CONFIG_NAME, MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train.runlog import read_records

SAMPLES = Path(__file__).parents[2] / "samples" / "glue"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# ---- SQuAD ----

LISTS = {"text": ["ada", ""], "answer_start": [0, 4.0]}
QA = {"id": 7, "question": "who ?", "answers": [{"text": "ada", "answer_start": 0.0}], "is_impossible": "false"}
OTHERS = {"id": "b", "question": "?", "answers": LISTS}, {"id": "c", "question": "what", "is_impossible": 1}
TOOLS = {"data": [{"paragraphs": [{"context": "ada and", "qas": [QA, *OTHERS]}]}]}
ROWS = [{"question": "who ?", "context": "ada", "id": 1, "answers": LISTS}]
squad_files = files(squad(2), squad(3, unanswerable=True), TOOLS, ROWS)


@settings(max_examples=60)
@given(squad_files, st.booleans(), st.sampled_from(["error", "drop"]))
def test_squad(folder, content, version_2, on_bad_answer):
    path = put(folder / "squad.json", content)
    for purpose in ("train", "score", "answer"):
        options = {"version_2_with_negative": version_2, "on_bad_answer": on_bad_answer, "purpose": purpose}
        read = outcome(lambda options=options: read_squad(path, **options))
        for example in read[0] if read else ():
            example.context.encode(), example.question.encode(), example.id.encode()
            if purpose == "train":
                places = zip(example.answers, example.answer_starts, strict=True)
                assert all(text and example.context.startswith(text, start) for text, start in places)
    outcome(lambda: is_labelled(path))
    outcome(lambda: read_questions(path))


# ---- tables ----


def as_rows(separator: str):
    """A writer of tables: a list of rows of cells, or whatever became of it."""

    def write(value) -> str:
        rows = [row if isinstance(row, list) else [row] for row in (value if isinstance(value, list) else [value])]
        return "\n".join(separator.join(c if isinstance(c, str) else as_json(c) for c in row) for row in rows) + "\n"

    return write


ROW_OBJECTS = [
    {"sentence": "good film", "label": 1, "id": 0, "question": "who ?", "context": "ada"},
    {"sentence": "bad film", "label": 0, "id": 1, "question": "what ?", "context": "lovelace"},
    {"sentence": "film", "label": None, "id": "x", "question": "why ?", "context": "1843"},
]
CELLS = [list(ROW_OBJECTS[0]), *([str(cell) for cell in row.values()] for row in ROW_OBJECTS)]
quotes = st.sampled_from(['"', '"open', '"a" b', 'a "b"', '""'])
others = st.sampled_from(["a\tb", "\r", "1.0", "-1", "nan", "1,5", "[1, 2]", "\u22121"])
cells = st.one_of(texts, quotes, others)
TABLES = {
    "tsv": files(CELLS, write=as_rows("\t"), others=cells),
    "csv": files(CELLS, [["sep=;"], *CELLS], write=as_rows(","), others=cells),
    "json": files(ROW_OBJECTS, {"sentence": {"0": "a"}, "label": {"0": 1}}),
    "jsonl": files(
        ROW_OBJECTS, write=lambda value: "\n".join(map(as_json, value if isinstance(value, list) else [value]))
    ),
    "txt": files(CELLS, write=as_rows("\t"), others=cells),
}


@pytest.mark.parametrize("suffix", TABLES)
@settings(max_examples=60)
@given(data=st.data())
def test_table(folder, suffix, data):
    path = put(folder / f"table.{suffix}", data.draw(TABLES[suffix]))
    rows = outcome(lambda: list(open_table(path).rows))
    assert rows is None or all(isinstance(cell, str) for _, row in rows for cell in row)
    outcome(lambda: read_texts(path, None))
    outcome(lambda: read_lines(path))
    outcome(lambda: read_label_words(path, "label", data.draw(st.sampled_from([None, "error", "drop"]))))
    for labels in ({"0": 0, "1": 1}, None):
        read = outcome(lambda labels=labels: read_examples(path, ["sentence"], "label", labels))
        assert read is None or len(read.ids) == len(read.texts) == len(read.labels) > 0
    if suffix != "txt":
        outcome(lambda: read_questions(path))


@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=12)
@given(data=st.data())
def test_glue(folder, name, data):
    task = TASKS[name]
    sources = sorted(path for path in (SAMPLES / task.folder).rglob("*") if path.is_file())
    source = data.draw(st.sampled_from(sources))
    lines = [line.split("\t") for line in source.read_text(encoding="utf-8").split("\n")[:4]]
    here = folder / name
    here.mkdir(exist_ok=True)
    for other in sources:
        put(here / other.name, other.read_bytes())
    path = put(here / source.name, data.draw(files(lines, write=as_rows("\t"), others=cells)))
    policy = data.draw(st.sampled_from([None, "drop"]))
    for kind in ("train", "dev", "test"):
        outcome(lambda kind=kind: read_file(task, path, kind, on_missing_label=policy))
    for split in task.splits:
        outcome(lambda split=split: read_split(task, here, split, on_missing_label=policy))


@settings(max_examples=60)
@given(archives(st.one_of(squad_files, TABLES["tsv"])))
def test_gzip(folder, content):
    outcome(lambda: read_squad(put(folder / "squad.json.gz", content)))
    outcome(lambda: list(open_table(put(folder / "table.tsv.gz", content)).rows))
    outcome(lambda: read_text(folder / "table.tsv.gz"))


# ---- tokenizers ----

vocabulary_lines = st.one_of(st.sampled_from([*VOCABULARY[:8], "", "\u00e9", "##s", "a\r", "[X]"]), texts)


@settings(max_examples=30)
@given(
    st.one_of(st.lists(vocabulary_lines).map(lambda lines: "\n".join([*VOCABULARY[:5], *lines]).encode()), st.binary())
)
def test_vocabulary(folder, content):
    use(outcome(lambda: MobileBertTokenizer.from_pretrained(put(folder / "vocab.txt", content))))


def use(tokenizer: MobileBertTokenizer | None) -> None:
    """What was loaded must work."""
    if tokenizer is not None:
        rows = tokenizer(["ada [MASK] Caf\u00e9 \u4e00", ""], ["notes", "x"], padding=True, return_offsets_mapping=True)
        assert len(rows["input_ids"][0]) == len(rows["input_ids"][1])
        tokenizer.decode(rows["input_ids"][0], skip_special_tokens=True)


def tokenizer_files() -> dict[str, object]:
    tokenizer = make_tokenizer(VOCABULARY[:12])
    tokenizer.add_special_tokens({"extra_special_tokens": ["[X]"]})
    contents = {}
    token = {"content": "[MASK]", "lstrip": True, "normalized": False}
    contents["special_tokens_map.json"] = {
        "unk_token": "[UNK]",
        "mask_token": token,
        "additional_special_tokens": ["[X]"],
    }
    contents["added_tokens.json"] = {"[X]": 12}
    contents["tokenizer.json"] = json.loads(tokenizer.backend_tokenizer.to_str())
    contents["tokenizer_config.json"] = {
        **{
            "do_lower_case": True,
            "strip_accents": None,
            "model_max_length": 512,
            "mask_token": token,
            "padding_side": "left",
        },
        "added_tokens_decoder": {"4": {**token, "special": True}, "12": {"content": "[X]", "special": True}},
        "extra_special_tokens": ["[X]"],
    }
    return contents


TOKENIZER_FILES = tokenizer_files()


@pytest.mark.parametrize("name", TOKENIZER_FILES)
@settings(max_examples=35)
@given(data=st.data())
def test_tokenizer(folder, name, data):
    here = folder / f"tokenizer of {name}"
    here.mkdir(exist_ok=True)
    (here / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY[:12]), encoding="utf-8")
    for path in here.glob("*.json"):
        path.unlink()
    others = data.draw(st.sets(st.sampled_from(sorted({*TOKENIZER_FILES} - {name}))))
    for other in others:
        put(here / other, as_json(TOKENIZER_FILES[other]).encode())
    put(here / name, data.draw(files(TOKENIZER_FILES[name])))
    use(outcome(lambda: MobileBertTokenizer.from_pretrained(here)))
    if name == "tokenizer.json":
        use(outcome(lambda: MobileBertTokenizer.from_pretrained(here / name)))


# ---- models ----

CONFIG = {
    **MobileBertConfig.preset("mobilebert")
    .with_task_params("question-answering", max_seq_length=64, doc_stride=9)
    .to_dict(),
    "architectures": ["MobileBertForQuestionAnswering"],
}
EXPORT = Manifest("question-answering", ["start_logits", "end_logits"], ["onnx"], "int8", True, 20, 64, {"onnx": 1e-6})
EXPORT = {**vars(EXPORT), "metrics": {"fp32": {"f1": 90.0}}, "versions": {"onnx": "1.20"}}


@settings(max_examples=80)
@given(files(CONFIG), st.one_of(st.none(), files(EXPORT)))
def test_model(folder, config, manifest):
    here = folder / "model"
    here.mkdir(exist_ok=True)
    put(here / CONFIG_NAME, config)
    read = outcome(lambda: MobileBertConfig.from_pretrained(here))
    if read is not None:
        assert read.num_labels == len(read.id2label) and len(read.label2id) == read.num_labels
        json.dumps(read.to_dict())
        assert read.head is None or read.for_head(read.head)
    (here / MANIFEST).unlink(missing_ok=True)
    if manifest is not None:
        put(here / MANIFEST, manifest)
        outcome(lambda: Manifest.load(here))
        outcome(lambda: check_replaceable(here, []))
    outcome(lambda: read_source(here))


# ---- records of runs ----

RECORD = {"about": "...", "entries": ["run.log", "logs/vdl*.log"]}
STEPS = [{"step": 1, "loss": 0.5, "lr": 1e-4, "grad_norm": None}, {"step": 2, "loss": 0.25, "lr": 1e-4}]
lines_of_steps = files(
    STEPS, write=lambda value: "".join(f"{as_json(v)}\n" for v in (value if isinstance(value, list) else [value]))
)


@settings(max_examples=50)
@given(files(RECORD), lines_of_steps)
def test_record_and_log(folder, record, log):
    put(folder / outputs.RECORD, record)
    entries = outcome(lambda: outputs.recorded(folder))
    assert entries is None or all(not Path(entry).is_absolute() and ".." not in Path(entry).parts for entry in entries)
    records = outcome(lambda: read_records(put(folder / "train.jsonl", log)))
    assert records is None or all(isinstance(one, dict) and isinstance(one["step"], int) for one in records)


PREDICTED = [{"id": f"q{number}", "answer": "ada", "error": "no", "fingerprint": f"f{number}"} for number in range(3)]


outputs_there = (
    st.sampled_from([PREDICTED, PREDICTED[:2], [*PREDICTED, PREDICTED[-1]]])
    .flatmap(almost)
    .map(lambda rows: "".join(f"{as_json(r)}\n" for r in (rows if isinstance(rows, list) else [rows])))
)
outputs_there = outputs_there.map(lambda text: text.encode("utf-8", "surrogatepass"))


@settings(max_examples=50)
@given(st.one_of(outputs_there, outputs_there.flatmap(damaged)))
def test_output_to_go_on_with(folder, before):
    path = put(folder / "answers.jsonl", before)
    names, prints = [f"q{n}" for n in range(3)], [f"f{n}" for n in range(3)]

    def compute(rows: slice) -> list[dict]:
        return [{"answer": "new"} for _ in names[rows]]

    done = outcome(lambda: write_rows(path, names, prints, lambda: compute, False, "answering"))
    if done is None:
        assert path.read_bytes() == before
        return
    lines = path.read_bytes().decode().split("\n")[:-1]
    assert [json.loads(line)["fingerprint"] for line in lines] == prints
    assert (
        lines[done:]
        == [json_line({"id": n, "answer": "new", "fingerprint": p})[:-1] for n, p in zip(names, prints, strict=True)][
            done:
        ]
    )
    assert before.startswith("".join(f"{line}\n" for line in lines[:done]).encode()[:-1])
    outcome(lambda: errors_in(path))


@settings(max_examples=40)
@given(
    st.one_of(st.binary(max_size=80), json_values.map(lambda value: as_json(value).encode("utf-8", "surrogatepass")))
)
def test_any_json_and_any_bytes(folder, content):
    path = put(folder / "any.json", content)
    outcome(lambda: read_json(path))
    assert is_output(path) in (True, False)


@settings(max_examples=50)
@given(st.data())
def test_cache(folder, data):
    """A file that is damaged is built anew; never is anything else than what was built taken from it."""
    rows = pack_rows([range(400), [4]], [2, 1], ["a", "b"], {"labels": np.array([1, 0])}, {"n": 1})
    here = folder / "cache"
    for path in here.glob("*"):
        path.unlink()
    first = cached_rows("x", {"key": 1}, lambda: rows, here)
    (path,) = here.iterdir()
    content = data.draw(damaged(path.read_bytes()))
    path.unlink()
    put(path, content)
    again = cached_rows("x", {"key": 1}, lambda: rows, here)
    for name in ("input_ids", "row_starts", "second_starts", "example_index"):
        one, other = getattr(first, name), getattr(again, name)
        assert one.dtype == other.dtype and one.tolist() == other.tolist()
    assert again.labels["labels"].tolist() == [1, 0] and list(again.example_ids) == ["a", "b"]
    del first, again
