"""The kinds of files that commands read: how a small real one is made, and what reads it.

``make`` fills a folder; ``read`` reads what is in it as a command would, and returns what shows a difference.
"""

import contextlib
import gzip
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from support import fake_tensorflow
from support.google_mobilebert import CONFIGS, random_variables
from support.models import forget_digests, save_checkpoint
from support.table_models import save_reader
from support.texts import make_tokenizer, write_squad, write_table, write_vocabulary

from mobilebert.base import digests, outputs
from mobilebert.base.files import file_digest
from mobilebert.commands.bulk.job import Job
from mobilebert.commands.bulk.record import open_folder
from mobilebert.commands.predict.batch import answer_file
from mobilebert.commands.predict.session import Model
from mobilebert.convert.convert import convert
from mobilebert.convert.formats import hf, tf
from mobilebert.data import slices
from mobilebert.data.cache import cached_rows
from mobilebert.data.classify.columns import find_columns
from mobilebert.data.classify.examples import FileRules, read_examples
from mobilebert.data.classify.label_sets import LabelSets, read_set_words
from mobilebert.data.classify.report import make_report
from mobilebert.data.glue.files import read_split
from mobilebert.data.glue.tasks import TASKS
from mobilebert.data.ner.encode import encode_sentences
from mobilebert.data.ner.sentences import TagRules, read_sentences
from mobilebert.data.packed import PackedRows
from mobilebert.data.pretrain.blocks import cut_blocks, make_shard
from mobilebert.data.pretrain.make import make
from mobilebert.data.pretrain.rows import PretrainingRows
from mobilebert.data.pretrain.settings import Settings, Vocabulary
from mobilebert.data.pretrain.sources import Corpus, find_files
from mobilebert.data.qa.features import build_features
from mobilebert.data.qa.squad_json import read_squad
from mobilebert.demo.models import load
from mobilebert.export.export import export
from mobilebert.export.folder import check_replaceable
from mobilebert.export.plan import ExportPlan
from mobilebert.inference.predictor import Predictor
from mobilebert.inference.source import read_source
from mobilebert.model import tensor_files
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.tasks import class_answers
from mobilebert.tasks.class_answers import ClassAnswers
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation, Hooks, Start, TrainSettings, train

# What readers import when they need it; here it is done once, before the forks.
for module in ("matplotlib.figure", "onnxruntime", "paddle.inference", "torch", "visualdl"):
    import_module(module)
HAS_LITERT = find_spec("ai_edge_litert") is not None
if HAS_LITERT:
    import_module("ai_edge_litert.interpreter")

HAS_TENSORFLOW = find_spec("tensorflow") is not None
if not HAS_TENSORFLOW:
    sys.modules["tensorflow"] = fake_tensorflow.module
TEXT = "Ada Lovelace wrote the first program in 1843 . Où ? 東京"


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        files: names or patterns, in the folder that ``make`` fills, of the files that are damaged, one at a time.
        make: fills the folder.
        read: reads it.
        share: of all mutations, the smaller the longer a reading takes.
    """

    files: tuple[str, ...]
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    share: int = 10


def array_digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# -- checkpoints


def make_checkpoint(folder: Path) -> None:
    save_checkpoint(folder, "question-answering", num_hidden_layers=1)


def make_noted_checkpoint(folder: Path) -> None:
    make_checkpoint(folder)
    config = MobileBertConfig.from_pretrained(folder)
    example = {"passage": "Ada wrote it .", "question": "Who ?", "answer": "Ada"}
    noted = config.with_task_params("question-answering", max_seq_length=48, examples=[example, example])
    noted.save_pretrained(folder)


def describe_for_the_page(folder: Path) -> str:
    return repr([model.describe() for model in load([folder], None, 1)])


def read_config(folder: Path) -> str:
    config = MobileBertConfig.from_pretrained(folder)
    config.save_pretrained(folder / "again")
    return repr(config) + str(config.extra)


def read_model(folder: Path) -> str:
    model = HEADS["question-answering"].from_pretrained(folder)
    return array_digest({name: value.numpy() for name, value in model.named_parameters()})


def answer(folder: Path, engine: str | None = None) -> str:
    predictor = Predictor(folder, engine=engine, threads=1)
    found = predictor.read("who wrote the program ?", TEXT, top_k=2)
    return repr(found)


def make_shards(folder: Path) -> None:
    make_checkpoint(folder)
    state = list(tensor_files.read_state(folder)[0].items())
    shards = {f"model-0000{n}-of-00002.safetensors": dict(state[n - 1 :: 2]) for n in (1, 2)}
    for name, part in shards.items():
        tensor_files.save_state(part, folder, "pd")
        (folder / tensor_files.SAFETENSORS).rename(folder / name)
    weight_map = {key: name for name, part in shards.items() for key in part}
    (folder / tensor_files.SAFETENSORS_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def make_pdparams(folder: Path) -> None:
    make_checkpoint(folder)
    model = HEADS["question-answering"].from_pretrained(folder)
    paddle.save(model.state_dict(), str(folder / tensor_files.PDPARAMS))
    (folder / tensor_files.SAFETENSORS).unlink()


def make_torch_pickle(folder: Path) -> None:
    import torch

    make_checkpoint(folder)
    state, _ = tensor_files.read_state(folder)
    torch.save({key: torch.from_numpy(np.array(value)) for key, value in state.items()}, folder / hf.PICKLE)
    (folder / tensor_files.SAFETENSORS).unlink()


def make_torch_checkpoint(folder: Path) -> None:
    make_checkpoint(folder / "there")
    convert(folder / "there", folder / "src", reverse=True)
    shutil.rmtree(folder / "there")


def make_tensorflow(folder: Path) -> None:
    """Two steps as Google's code leaves them; without TensorFlow by the stand-in, whose own files are let be."""
    (folder / "src").mkdir()
    config = CONFIGS["tiny"]
    tf.save(random_variables(config, "model", dtype="float32"), folder / "src" / "model.ckpt-5")
    tf.save(random_variables(config, "model", 1, "float32"), folder / "src" / "model.ckpt-7")
    (folder / "src" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-5"\n')
    (folder / "src" / "bert_config.json").write_text(json.dumps(config))


def convert_tensorflow(folder: Path) -> str:
    convert(folder / "src", folder / "dst")
    return file_digest(folder / "dst" / "model.safetensors")


def convert_all(folder: Path) -> str:
    convert(folder / "src", folder / "dst")
    # Paddle's pickle, and so the table of digests, has other names for its tensors each time.
    return "".join(file_digest(folder / "dst" / name) for name in CHECKPOINT)


# -- tokenizers


def make_old_tokenizer(folder: Path) -> None:
    write_vocabulary(folder / "vocab.txt")
    words = len((folder / "vocab.txt").read_text().splitlines())
    contents = {
        "tokenizer_config.json": {
            "do_lower_case": True,
            "model_max_length": int(1e30),
            "strip_accents": None,
            "cls_token": {"content": "[CLS]", "lstrip": False},
            "padding_side": "right",
        },
        "special_tokens_map.json": {"sep_token": "[SEP]", "additional_special_tokens": ["<e>", {"content": "<f>"}]},
        "added_tokens.json": {"<e>": words, "<f>": words + 1},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))


def read_tokenizer(folder: Path) -> str:
    tokenizer = MobileBertTokenizer.from_pretrained(folder)
    rows = tokenizer(["<e> " + TEXT, "where"], ["a b c", TEXT], truncation=True, max_length=12, padding=True)
    tokenizer.save_pretrained(folder / "again")
    return repr((rows.input_ids, tokenizer.decode(rows.input_ids[0]), tokenizer.backend_tokenizer.to_str()))


# -- exports


def make_export(format: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        make_checkpoint(folder / "source")
        export(ExportPlan(str(folder / "source"), folder / "export", format=format))
        shutil.rmtree(folder / "source")

    return make


def read_export(engine: str) -> Callable[[Path], str]:
    return lambda folder: answer(folder / "export", engine)


def make_unguarded_litert(folder: Path) -> None:
    """Without digests, so that LiteRT is what finds the damage."""
    make_export("litert")(folder)
    forget_digests(folder / "export")


def replace_export(folder: Path) -> None:
    check_replaceable(folder / "export", [])


# -- training


class Rows:
    """A data set of 20 rows of 6 numbers."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x, self.lengths = rng.normal(size=(20, 6)).astype("float32"), rng.integers(3, 9, 20)
        self.y = (self.x[:, 0] > 0).astype("int64")

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return {"x": self.x[indices], "y": self.y[indices]}

    def example_ids(self, indices):
        return [f"row{index}" for index in indices]


def fit(folder: Path, max_evaluations: int | None, resume: str | None) -> Any:
    """Train for 6 steps; ``max_evaluations`` ends it after so many as a signal would."""
    paddle.seed(5)
    model = paddle.nn.Sequential(paddle.nn.Linear(6, 8), paddle.nn.Linear(8, 2))
    left = [max_evaluations]

    def evaluate(_):
        if left[0] is not None:
            if left[0] == 0:
                raise SystemExit(143)
            left[0] -= 1
        return Evaluation({"score": 0.5, "count": 3})

    settings = TrainSettings(
        max_steps=6, save_steps=2, eval_steps=2, log_steps=1, batch_size=4, learning_rate=0.01, best_metric="score"
    )
    hooks = Hooks(evaluate=evaluate, save_best=lambda path, _: (path / "model.txt").write_text("best"))
    return train(
        model,
        Rows(),
        lambda net, batch: paddle.nn.functional.cross_entropy(net(batch["x"]), batch["y"]),
        settings,
        folder,
        hooks=hooks,
        start=Start(resume=resume),
    )


def make_run(folder: Path) -> None:
    with contextlib.suppress(SystemExit):
        fit(folder, 2, None)


def resume_run(folder: Path) -> str:
    result = fit(folder, None, "latest")
    logs = [(folder / name).read_text() for name in ("eval.jsonl",)]
    return repr((result.steps, result.train_loss, result.history, logs))


def resume_sealed_run(folder: Path) -> str:
    """As ``resume_run``, where whoever damaged the files made their digests right again."""
    for manifest in folder.glob("checkpoints/step_*/manifest.json"):
        content = json.loads(manifest.read_text())
        for name, facts in content["files"].items():
            path = manifest.with_name(name)
            facts.update(bytes=path.stat().st_size, sha256=file_digest(path))
        manifest.write_text(json.dumps(content))
    return resume_run(folder)


def use_record(folder: Path) -> str:
    outputs.check(folder, ("run.log", "best"))
    outputs.copy_others(folder, "best", folder)
    outputs.remove(folder)
    return repr(sorted(path.name for path in folder.rglob("*")))


# -- data


@cache
def tokenizer() -> MobileBertTokenizer:
    return make_tokenizer()


def squad_rows(examples: list) -> PackedRows:
    return build_features(examples, tokenizer(), max_seq_length=32, doc_stride=8, is_training=True)


def make_squad(folder: Path) -> None:
    write_squad(folder / "squad.json", 6, unanswerable=True)


def read_squad_file(folder: Path) -> str:
    path, results = folder / "squad.json", []
    for purpose in ("train", "score", "answer"):
        examples, _ = read_squad(path, version_2_with_negative=True, purpose=purpose)
        results.append(examples)
    return repr(results) + array_digest({"ids": squad_rows(results[0]).input_ids})


def make_cache(folder: Path) -> None:
    write_squad(folder / "squad.json", 6)
    use_cache(folder)
    (path,) = (folder / "cache").iterdir()
    path.rename(folder / "cache" / "rows.safetensors")


def use_cache(folder: Path) -> str:
    """Rows from the cache, damaged or not, are those that are built."""
    (folder / "cache").mkdir(exist_ok=True)
    for path in (folder / "cache").glob("rows.safetensors"):
        name = hashlib.sha256(json.dumps({"format": CACHE_FORMAT}, sort_keys=True).encode()).hexdigest()[:32]
        path.rename(path.with_name(f"rows-{name}.safetensors"))
    rows = cached_rows("rows", {}, lambda: squad_rows(read_squad(folder / "squad.json")[0]), folder / "cache")
    arrays = {name: getattr(rows, name) for name in ("input_ids", "row_starts", "second_starts", "example_index")}
    return array_digest(arrays | dict(rows.labels)) + repr((list(rows.example_ids), dict(rows.info)))


CACHE_FORMAT = sys.modules[cached_rows.__module__]._FORMAT


def make_tables(folder: Path) -> None:
    rows = [("good film", 1), ("bad , film", 0), ('a "great" engine', 1), ("boring", 0)]
    write_table(folder / "t.tsv")
    (folder / "t.csv").write_text(
        "sentence,label\n" + "".join(f'"{t.replace(chr(34), chr(34) * 2)}",{n}\n' for t, n in rows)
    )
    objects = [{"sentence": text, "label": label} for text, label in rows]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    (folder / "t.json").write_text(json.dumps(objects, indent=1))


def make_report_file(folder: Path) -> None:
    report = make_report(("a", "b"), np.array([0, 1, 1]), np.array([0, 0, 1]))
    ClassAnswers({"dev": report}, None).write(folder)


def read_report_file(folder: Path) -> str:
    class_answers.show(folder, in_log=True)
    return (folder / class_answers.CLASSES).read_text()


def make_label_sets(folder: Path) -> None:
    rows = [{"comment": f"good film {i}", "topics": ["a", "b"][: i % 3]} for i in range(8)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.csv").write_text("comment;topics\n" + "".join(f"good film {i};{'a|b'[: i % 4]}\n" for i in range(8)))


def read_label_sets(folder: Path) -> str:
    found = []
    for name, separator in (("t.jsonl", ""), ("t.csv", "|")):
        if (folder / name).exists():
            columns = replace(find_columns(folder / name), separator=separator)
            words = read_set_words(folder / name, columns)
            rules = FileRules(label_sets=LabelSets(separator))
            label_ids = {word: index for index, word in enumerate(words)}
            examples = read_examples(folder / name, columns.texts, columns.label, label_ids, rules)
            found.append((words, examples.texts, examples.labels.tolist()))
    return repr(found)


def read_tables(folder: Path) -> str:
    found = []
    for name in ("t.tsv", "t.csv", "t.jsonl", "t.json"):
        examples = read_examples(folder / name, ["sentence"], "label", {"0": 0, "1": 1})
        found.append((examples.ids, examples.texts, examples.labels.tolist()))
    return repr(found)


def make_glue(folder: Path) -> None:
    (folder / "STS-B").mkdir()
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    rows = "".join(f"{n}\tnews\tf\t2012\t{n}\tnone\tnone\ta man .\tthe man {n} .\t{n % 5}.5\n" for n in range(8))
    (folder / "STS-B" / "dev.tsv").write_text(header + rows)
    (folder / "CoLA").mkdir()
    (folder / "CoLA" / "dev.tsv").write_text("".join(f"gj04\t{n % 2}\t\tThe book {n} was put .\n" for n in range(8)))


def read_glue(folder: Path) -> str:
    found = [read_split(TASKS[name], folder, "dev") for name in ("stsb", "cola")]
    return repr([(one.texts, one.pairs, one.labels.tolist()) for one in found])


def make_sentences(folder: Path) -> None:
    words = {"ada": "B-PER", "lovelace": "I-PER", "wrote": "O", "\u6771\u4eac": "B-LOC"}
    (folder / "s.conll").write_text("-DOCSTART- O\n\n" + "".join(f"{w} NN {t}\n" for w, t in words.items()) * 2)
    row = "{}\t{}\t_\tNOUN\t_\t_\t0\t_\t_\tNER={}\n"
    lines = (row.format(number, *pair) for number, pair in enumerate(words.items(), start=1))
    (folder / "s.conllu").write_text("# text\n" + "".join(lines))
    year = TEXT.index("1843")
    rows = [
        {"tokens": [*words], "tags": [*words.values()]},
        {"text": TEXT, "entities": [[0, 12, "PER"], {"start": year, "end": year + 4, "label": "DATE"}]},
    ]
    (folder / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_all_sentences(folder: Path) -> str:
    found = []
    for name in ("s.conll", "s.conllu", "s.jsonl"):
        for on_bad in ("repair", "error"):
            sentences = read_sentences(folder / name, TagRules(on_bad=on_bad))
            rows = encode_sentences(sentences.words, tokenizer(), 8, 2)
            found.append((sentences.words, sentences.tags, rows.tokens.tolist()))
    return repr(found)


# -- pre-training


def make_corpus(folder: Path) -> None:
    documents = [[f"{TEXT} {n}", "who wrote it ?", "東京 " * n] for n in range(6)]
    text = "\n\n".join("\n".join(lines) for lines in documents)
    (folder / "t.txt").write_text(text, encoding="utf-8")
    (folder / "t.txt.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "t.jsonl").write_text("".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in documents))


def read_corpus(folder: Path) -> str:
    settings, words = Settings(max_seq_length=24, dupe_factor=1), tokenizer()
    shards = []
    for name in ("t.txt", "t.txt.gz", "t.jsonl"):
        for block in cut_blocks(Corpus(find_files([folder / name])), 100):
            shard, counts = make_shard(block, words, settings, Vocabulary.of(words))
            shards.append((vars(shard), counts))
    return "".join(array_digest(arrays) + str(counts) for arrays, counts in shards)


def make_pretraining_rows(folder: Path) -> None:
    make_corpus(folder)
    settings = Settings(max_seq_length=24, dupe_factor=2, block_bytes=100)
    make(Corpus([folder / "t.txt"]), tokenizer(), folder, settings)


def read_pretraining_rows(folder: Path) -> str:
    rows = PretrainingRows.open(folder)
    return array_digest(rows.batch(np.arange(len(rows))))


def read_sealed_pretraining_rows(folder: Path) -> str:
    """As if the damage had been there when the folder was made."""
    manifest = json.loads((folder / "pretraining.json").read_text())
    manifest["files"] = digests.describe(folder, sorted(path.name for path in folder.glob("block-*")))
    (folder / "pretraining.json").write_text(json.dumps(manifest))
    return read_pretraining_rows(folder)


# -- predict.py


def make_predictions(folder: Path) -> None:
    save_reader(folder / "model", "ada", "lovelace")
    lines = [{"id": f"q{n}", "question": "who wrote it ?", "context": f"{TEXT} {n}"} for n in range(40)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    predict(folder)
    lines = (folder / "answers.jsonl").read_text().splitlines(keepends=True)
    (folder / "answers.jsonl").write_text("".join(lines[:35]) + lines[35][:50])


def predict(folder: Path) -> str:
    model = Model(read_source(folder / "model"), "onnxruntime", threads=1, verify=False)
    answer_file(model, folder / "questions.jsonl", folder / "answers.jsonl", False, {})
    return (folder / "answers.jsonl").read_text()


# -- mobilebert bulk


def make_bulk(folder: Path) -> None:
    lines = [{"text": f"{TEXT} {n}", "id": n} for n in range(20)]
    (folder / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cells = "\n".join(f'{n};"{TEXT}, ""quoted""\nand on {n}"' for n in range(20))
    (folder / "t.csv").write_text(f"id;text\n{cells}\n")
    bulk_record(folder)


def bulk_record(folder: Path) -> str:
    job = Job("ner", "model", "native", {}, ("text",), "id", str(folder), "jsonl", "digest")
    return repr(open_folder(job, {}, 7, False))


def read_slices(folder: Path) -> str:
    found = []
    for name in ("t.jsonl", "t.csv"):
        for piece in slices.cut(folder / name, 7, ("text",)):
            found += [(piece, place, str(row)) for place, row in slices.read(piece, ("text", "id"))]
    return repr(found) + bulk_record(folder)


TOKENIZER = ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
EXPORT = tuple(f"export/{name}" for name in ("export.json", "config.json", "tokenizer.json", "tokenizer_config.json"))
CHECKPOINT = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")

KINDS = {
    "config": Kind(("config.json",), make_checkpoint, read_config),
    "page": Kind(("config.json",), make_noted_checkpoint, describe_for_the_page),
    "tokenizer": Kind(("tokenizer.json", "tokenizer_config.json"), make_checkpoint, read_tokenizer),
    "old-tokenizer": Kind(TOKENIZER, make_old_tokenizer, read_tokenizer),
    "checkpoint": Kind(CHECKPOINT, make_checkpoint, answer),
    "weights": Kind(("model.safetensors", "config.json"), make_checkpoint, read_model),
    "shards": Kind(("model.safetensors.index.json", "model-00001*"), make_shards, read_model),
    "pdparams": Kind(("model_state.pdparams",), make_pdparams, read_model),
    "torch-pickle": Kind((hf.PICKLE,), make_torch_pickle, lambda folder: array_digest(hf.read(folder)), 4),
    "convert": Kind(tuple(f"src/{name}" for name in CHECKPOINT), make_torch_checkpoint, convert_all, 4),
    # TensorFlow 2.21's C++ reader has ended no process on some two hundred damaged indexes and data files.
    "tensorflow": Kind(
        ("src/bert_config.json", "src/checkpoint", *(("src/model.ckpt-5.*",) if HAS_TENSORFLOW else ())),
        make_tensorflow,
        convert_tensorflow,
        4,
    ),
    "onnx-export": Kind(EXPORT, make_export("onnx"), read_export("onnxruntime"), 8),
    "paddle-export": Kind(EXPORT, make_export("paddle"), read_export("paddle"), 4),
    "replaced-export": Kind(("export/export.json",), make_export("onnx"), replace_export),
    "run": Kind(("*.jsonl", "*.json", ".mobilebert.json", "checkpoints/*4/*"), make_run, resume_run, 2),
    "sealed-run": Kind(("checkpoints/*4/[!m]*", "checkpoints/*4/model*"), make_run, resume_sealed_run, 3),
    "record": Kind((".mobilebert.json",), make_run, use_record),
    "squad": Kind(("squad.json",), make_squad, read_squad_file),
    "cache": Kind(("cache/rows.safetensors",), make_cache, use_cache),
    "tables": Kind(("t.tsv", "t.csv", "t.jsonl", "t.json"), make_tables, read_tables),
    "label-sets": Kind(("t.jsonl", "t.csv"), make_label_sets, read_label_sets),
    "class-report": Kind(("classes.json",), make_report_file, read_report_file),
    "glue": Kind(("STS-B/dev.tsv", "CoLA/dev.tsv"), make_glue, read_glue),
    "sentences": Kind(("s.conll", "s.conllu", "s.jsonl"), make_sentences, read_all_sentences),
    "corpus": Kind(("t.txt", "t.txt.gz", "t.jsonl"), make_corpus, read_corpus),
    "pretraining": Kind(("pretraining.json", "block-000001*"), make_pretraining_rows, read_pretraining_rows),
    "sealed-pretraining": Kind(("block-*",), make_pretraining_rows, read_sealed_pretraining_rows),
    "bulk": Kind(("t.jsonl", "t.csv", "_bulk.json", ".mobilebert.json"), make_bulk, read_slices),
    "predictions": Kind(("answers.jsonl", "questions.jsonl"), make_predictions, predict),
}
if HAS_LITERT:  # pip install '.[litert]'
    KINDS["litert-export"] = Kind((*EXPORT, "export/model.tflite"), make_unguarded_litert, read_export("litert"), 4)
