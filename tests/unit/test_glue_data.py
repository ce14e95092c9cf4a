"""GLUE's files: every format, what the official sets must count, and what bad files say."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.classify.examples import FileRules, read_examples
from mobilebert.data.classify.labels import read_label_words
from mobilebert.data.glue.files import read_split
from mobilebert.data.glue.tasks import NLI, TASKS, Task, get_task, ordered_labels

SAMPLES = Path(__file__).parents[2] / "samples" / "glue"

# rows of the samples: train, dev, test
SAMPLE_ROWS = {
    "cola": (48, 12, 8),
    "sst2": (64, 16, 10),
    "mrpc": (40, 12, 8),
    "stsb": (40, 12, 8),
    "qqp": (40, 12, 8),
    "mnli": (48, 12, 9),
    "qnli": (40, 12, 8),
    "rte": (40, 12, 8),
    "wnli": (40, 12, 8),
}


@pytest.mark.parametrize("name", SAMPLE_ROWS)
def test_every_task_reads_its_sample(name):
    task = TASKS[name]
    for split in task.splits:
        examples = read_split(task, SAMPLES, split)
        assert len(examples) == SAMPLE_ROWS[name][("train", "dev", "test").index(split.split("_")[0])]
        assert (examples.labels is None) == split.startswith("test")
        assert (examples.pairs is None) == (len(task.text_columns) == 1)
        assert read_split(task, SAMPLES / task.folder, split).texts == examples.texts  # the task's own folder works too


def test_ax_has_only_a_test_set():
    examples = read_split(TASKS["ax"], SAMPLES, "test")
    assert len(examples) == 9 and examples.ids[-1] == "8"
    assert examples.texts[0] == 'Yesterday Runa moved the piano, "they say.'  # the quotation mark stays
    assert TASKS["ax"].dev_splits == ()


OFFICIAL_ROWS = {
    ("cola", "train"): 8551,
    ("cola", "dev"): 1043,
    ("cola", "test"): 1063,
    ("sst2", "train"): 67349,
    ("sst2", "dev"): 872,
    ("sst2", "test"): 1821,
    ("mrpc", "train"): 3668,
    ("mrpc", "dev"): 408,
    ("mrpc", "test"): 1725,
    ("stsb", "train"): 5749,
    ("stsb", "dev"): 1500,
    ("stsb", "test"): 1379,
    ("rte", "train"): 2490,
    ("rte", "dev"): 277,
    ("rte", "test"): 3000,
    ("wnli", "train"): 635,
    ("wnli", "dev"): 71,
    ("wnli", "test"): 146,
    ("qnli", "dev"): 5463,
    ("mnli", "dev_matched"): 9815,
    ("ax", "test"): 1104,
}


@pytest.mark.parametrize(("name", "split"), OFFICIAL_ROWS)
def test_official_files_have_their_row_counts(name, split, data_folder):
    examples = read_split(TASKS[name], data_folder / "glue", split)
    assert len(examples) == OFFICIAL_ROWS[name, split]
    if split.startswith("test"):
        assert examples.ids == [str(number) for number in range(len(examples))]
        assert TASKS[name].submissions[split][1] == len(examples)
    elif not TASKS[name].is_regression:
        assert set(examples.labels.tolist()) == set(range(len(TASKS[name].labels)))


def test_official_qqp_and_mrpc_in_their_distributed_form(tmp_path, data_folder):
    qqp = TASKS["qqp"]
    (tmp_path / "QQP").mkdir()
    (tmp_path / "QQP" / "train.tsv.gz").symlink_to(data_folder / "glue/QQP/train_first_part.tsv.gz")
    assert len(read_split(qqp, tmp_path, "train")) == 23497

    folder = data_folder / "glue" / "MRPC"
    mrpc = TASKS["mrpc"]
    train, dev = (folder / f"{split}.tsv" for split in ("train", "dev"))
    rows = dev.read_text("utf-8").splitlines()[1:] + train.read_text("utf-8-sig").splitlines()[1:]
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    (tmp_path / "msr_paraphrase_train.txt").write_text("\r\n".join([header, *rows]) + "\r\n", "utf-8", newline="")
    (tmp_path / "dev_ids.tsv").symlink_to(folder / "dev_ids.tsv")
    for split in ("train", "dev"):
        ours, official = read_split(mrpc, tmp_path, split), read_split(mrpc, folder, split)
        assert (ours.texts, ours.pairs) == (official.texts, official.pairs)
        assert ours.labels.tolist() == official.labels.tolist()


def test_mrpc_original_is_split_by_its_dev_ids():
    task = TASKS["mrpc"]
    for split in ("train", "dev", "test"):
        original = read_split(task, SAMPLES / "MRPC" / "original", split)
        glue = read_split(task, SAMPLES, split)
        assert sorted(zip(original.texts, original.pairs, strict=True)) == sorted(
            zip(glue.texts, glue.pairs, strict=True)
        )


def test_mnli_original_columns_and_rows_without_consensus(tmp_path):
    header = "gold_label\tsentence1_binary_parse\tsentence1\tsentence2\tpairID\tlabel1"
    rows = ["neutral\t( a )\ta\tb\t1n\tneutral", "-\t( c )\tc\td\t2e\tneutral", "entailment\t( e )\te\tf\t3e\tx"]
    (tmp_path / "multinli_1.0_dev_matched.txt").write_text("\n".join([header, *rows]) + "\n")
    examples = read_split(TASKS["mnli"], tmp_path, "dev_matched")
    assert examples.texts == ["a", "e"] and examples.labels.tolist() == [1, 0]
    # elsewhere such a row is one without a label
    with pytest.raises(InputError, match=r"dev_matched.txt:3: no label \('-'\); rows without one: 1 of 3"):
        read_examples(
            tmp_path / "multinli_1.0_dev_matched.txt", ("sentence1",), "gold_label", {"neutral": 0, "entailment": 1}
        )


def test_labels_follow_the_order_of_the_model():
    task = TASKS["mnli"]
    ours = read_split(task, SAMPLES, "train").labels
    google = ("contradiction", "entailment", "neutral")
    theirs = read_split(task, SAMPLES, "train", google).labels
    assert [task.labels[i] for i in ours] == [google[i] for i in theirs]
    assert ours.tolist() != theirs.tolist()


def test_stsb_is_float_scores():
    labels = read_split(TASKS["stsb"], SAMPLES, "dev").labels
    assert labels.dtype == np.float32 and labels.max() == 5.0


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl", "tsv.gz"])
def test_a_file_of_ones_own(tmp_path, suffix):
    rows = {
        "tsv": 'a\tkind\tb\n "x\tyes\ty, z\n\nq\tno\tr\n',
        "csv": 'a,kind,b\n" ""x",yes,"y, z"\nq,no,r\n',
        "jsonl": '{"a": " \\"x", "kind": "yes", "b": "y, z"}\n{"kind": "no", "b": "r", "a": "q"}\n',
    }[suffix.removesuffix(".gz")].encode()
    path = tmp_path / f"mine.{suffix}"
    path.write_bytes(gzip.compress(rows) if suffix.endswith("gz") else rows)
    assert read_label_words(path, "kind") == ["no", "yes"]
    examples = read_examples(path, ("a", "b"), "kind", {"no": 0, "yes": 1})
    assert examples.texts == [' "x', "q"] and examples.pairs == ["y, z", "r"] and examples.labels.tolist() == [1, 0]


def test_label_words_are_ordered_as_numbers_where_they_are(tmp_path):
    (tmp_path / "n.tsv").write_text("t\ty\na\t10\nb\t2\nc\tx\n")
    assert read_label_words(tmp_path / "n.tsv", "y") == ["2", "10", "x"]


def test_only_line_feeds_end_a_line(tmp_path):
    (tmp_path / "u.tsv").write_text("t\ty\na\u2028b\x0bc\t1\n", "utf-8", newline="")
    assert read_examples(tmp_path / "u.tsv", ("t",), "y", {"1": 0}).texts == ["a\u2028b\x0bc"]


BAD_FILES = {
    "unknown label": ("t\ty\na\t1\nb\tmaybe\n", r"f.tsv:3: unknown label 'maybe'; expected one of 0, 1"),
    "short row": ("t\ty\na\t1\nb\n", r"f.tsv:3: 1 columns, expected 2 \(t, y\)"),
    "long row": ("t\ty\na\t1\nb\tc\t1\n", r"f.tsv:3: 3 columns, expected 2 \(t, y\)"),
    "no column": ("text\ty\na\t1\n", r"f.tsv: no column 't'; the file has text, y"),
    "no rows": ("t\ty\n", r"f.tsv: no examples"),
    "empty": ("", r"f.tsv: empty; expected a header line"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_named(tmp_path, case):
    content, message = BAD_FILES[case]
    (tmp_path / "f.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_examples(tmp_path / "f.tsv", ("t",), "y", {"0": 0, "1": 1})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.csv", 't,y\n"a,1\n', r"f.csv:2: broken CSV"),
        ("f.jsonl", '{"t": "a", "y": 1}\n{"t": \n', r"f.jsonl:2: broken JSON at column"),
        ("f.jsonl", '{"t": "a", "y": 1}\n{"t": "b"}\n', r"f.jsonl:2: no 'y', which the first line has"),
        ("f.jsonl", "[1]\n", r"f.jsonl:1: expected one JSON object a line, got list"),
        ("f.xlsx", "", r"f.xlsx: cannot tell the format from '.xlsx'"),
    ],
)
def test_bad_csv_and_json_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_examples(tmp_path / name, ("t",), "y", {"1": 0})


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("good", "label 'good' is not a number"),
        ("5.1", r"outside 0\.\.5"),
        ("inf", "not a number"),
        ("1_0", "not a number"),
        ("nan", r"no label \('nan'\)"),
    ],
)
def test_bad_scores_are_named(tmp_path, score, message):
    (tmp_path / "f.tsv").write_text(f"t\ty\na\t1.5\nb\t{score}\n")
    with pytest.raises(InputError, match=rf"f.tsv:3: .*{message}"):
        read_examples(tmp_path / "f.tsv", ("t",), "y", None, FileRules(score_range=(0.0, 5.0)))


def test_qqps_few_broken_rows_are_left_out_and_counted(tmp_path, caplog):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    (tmp_path / "train.tsv").write_text(header + "7\t1\t2\ta\tb\t1\n8\t3\t4\tcut off\n")
    examples = read_split(TASKS["qqp"], tmp_path, "train")
    assert examples.ids == ["7"] and "1 rows with a wrong number of columns left out (lines [3])" in caplog.text
    (tmp_path / "train.tsv").write_text(header + "8\t3\t4\tcut off\n" * 11)
    with pytest.raises(InputError, match=r"train.tsv:12: 4 columns, expected 6"):
        read_split(TASKS["qqp"], tmp_path, "train")


def test_a_missing_file_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"no dev_matched.tsv or multinli_1.0_dev_matched.txt .*`data_dir`"):
        read_split(TASKS["mnli"], tmp_path, "dev_matched")


def test_class_orders_are_matched_by_name():
    mnli = TASKS["mnli"]
    google = ("contradiction", "entailment", "neutral")
    assert ordered_labels(mnli, ("CONTRADICTION", "Entailment", "neutral"), "x") == google
    assert ordered_labels(mnli, NLI, "x") == NLI
    assert ordered_labels(TASKS["sst2"], ("1", "0"), "x") == ("positive", "negative")
    assert ordered_labels(TASKS["rte"], ("not-entailment", "entailment"), "x") == ("not_entailment", "entailment")
    own = Task("own", "", ("text",), labels=("A", "a"))
    assert ordered_labels(own, ("a", "A"), "x") == ("a", "A")  # case matters where it tells classes apart


@pytest.mark.parametrize("names", [("LABEL_0", "LABEL_1", "LABEL_2"), NLI[:2], (*NLI[:2], "entailment")])
def test_unknown_class_names_are_refused(names):
    with pytest.raises(InputError, match=r"config.json: class names .* cannot be matched .* `label_order=entailment,"):
        ordered_labels(TASKS["mnli"], names, "config.json")


def test_task_names():
    assert get_task("SST-2") is TASKS["sst2"] and get_task("sts_b") is TASKS["stsb"]
    with pytest.raises(InputError, match=r"`task_name=snli`: expected one of cola, sst2, "):
        get_task("snli")
