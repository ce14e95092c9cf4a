"""mobilebert bulk without Ray: blocks are done in this process; tests/clients/ray/ has the machines."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.table_models import save_classifier, save_reader, save_tagger

from mobilebert.base.errors import InputError
from mobilebert.commands import bulk
from mobilebert.commands.bulk import cluster, job
from mobilebert.commands.bulk.record import RECORD
from mobilebert.commands.predict import main as predict
from mobilebert.data import slices

BLOCK = job.Block(slices.Slice("rows.jsonl", 0, 0, 21), "rows.jsonl", "rows.jsonl-00000000")
CONTEXT = "ada wrote the notes in 1843 . grace wrote it in 1952 ."


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "qa": save_reader(folder / "qa", "grace", "1952"),
        "classify": save_classifier(folder / "classify", ["bad", "good"], {"great": "good", "boring": "bad"}),
        "ner": save_tagger(folder / "ner", {"ada": "B-PER", "lovelace": "I-PER"}),
    }


@pytest.fixture(autouse=True)
def done(monkeypatch):
    """The blocks that were done, in this process instead of Ray's."""
    blocks = []

    @contextmanager
    def here(address, cores):
        yield None

    def cut_files(ray, files, most, columns):
        return {name: slices.cut(file, most, columns) for name, file in files.items()}

    def answer_blocks(ray, work, left, workers, threads, bar):
        worker = job.Worker(work, threads)
        for block in left:
            _, error = worker(block)
            if error:
                raise InputError(error)
            blocks.append(block.name)

    monkeypatch.setattr(bulk, "find_spec", lambda name: name)
    monkeypatch.setattr(cluster, "cluster", here)
    monkeypatch.setattr(cluster, "count_workers", lambda ray, threads: 2)
    monkeypatch.setattr(cluster, "cut_files", cut_files)
    monkeypatch.setattr(cluster, "answer_blocks", answer_blocks)
    return blocks


def call(main, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mobilebert", *map(str, words)])
        main()


def run(*words):
    call(bulk.main, *words)


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def results(folder):
    return [row for path in sorted(Path(folder).glob("*.jsonl")) for row in lines(path)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def questions(count):
    return [{"id": f"q{n}", "question": "who ?", "context": n * "the " + CONTEXT} for n in range(count)]


TEXTS = [{"text": n * "the " + word} for n in range(7) for word in ("great film", "boring film", "ada lovelace")]


@pytest.mark.parametrize(
    ("task", "rows", "words"),
    [("qa", questions(20), ["--id", "id", "--top_k", 1]), ("classify", TEXTS, []), ("ner", TEXTS, [])],
)
def test_the_results_are_those_of_predict(models, tmp_path, capsys, done, task, rows, words):
    table = write(tmp_path / "rows.jsonl", rows)
    out, whole = tmp_path / "out", tmp_path / "whole.jsonl"
    run(task, "--model", models[task], "--input", table, "--output", out, "--block_rows", 6, *words)
    assert f"{len(rows)} rows in 4 blocks" in capsys.readouterr().out and len(done) == 4
    more = words[2:]
    call(predict, task, "--model", models[task], "--input", table, "--output", whole, *more)
    expected = [{k: v for k, v in row.items() if k not in ("id", "fingerprint")} for row in lines(whole)]
    found = results(out)
    assert [{k: v for k, v in row.items() if k != "id"} for row in found] == expected
    names = [row["id"] for row in rows] if task == "qa" else [f"rows.jsonl:{n}" for n in range(len(rows))]
    assert [row["id"] for row in found] == names
    assert not (out / "_failed").exists() and not list(out.glob(".*.tries"))
    # The comparison would see a row that is not its neighbour's.
    assert [{k: v for k, v in row.items() if k != "id"} for row in found[1:] + found[:1]] != expected


def test_rows_without_a_result_have_a_file_with_the_reason(models, tmp_path, capsys):
    rows = [
        {"id": 1, "question": "who ?", "context": CONTEXT},
        {"id": 2, "question": " ", "context": CONTEXT},
        {"id": 3, "question": "who ?", "context": " "},
        {"id": 4, "question": "who ?"},
        {"id": None, "question": "who ?", "context": CONTEXT},
        {"id": 6, "question": "who ?", "context": None},
        {"id": 7, "question": "who ?", "context": CONTEXT + 4_000_000 * "a"},
        {"id": 8, "question": 400 * "who ", "context": CONTEXT},
        {"id": 9, "question": "who ?", "context": "\ud800"},
        {"id": 10, "question": "who ?", "context": CONTEXT},
    ]
    table, out = write(tmp_path / "rows.jsonl", rows), tmp_path / "out"
    with open(table, "a") as handle:
        handle.write('{"id": 11, "question"\n')
    run("qa", "--model", models["qa"], "--input", table, "--output", out, "--id", "id")
    assert [row["id"] for row in results(out)] == ["1", "10"]
    failed = lines(out / "_failed" / "rows.jsonl-00000000.jsonl")
    assert [row["row"] for row in failed] == [1, 2, 3, 4, 5, 6, 7, 8, 10]
    said = [
        "is empty",
        "context is empty",
        "no 'context'",
        "'id' is missing",
        "null",
        "4,000,000 at most",
        "question 8",
    ]
    for row, part in zip(failed, [*said, "invalid character", "broken JSON"], strict=True):
        assert part in row["reason"] and row["file"] == "rows.jsonl"
    # All that can be read, of the row without a context too.
    assert [row["id"] for row in failed] == ["2", "3", "4", None, "6", "7", "8", "9", None]
    assert "2 rows in 1 blocks; 9 rows have no result, _failed/ in it says why" in capsys.readouterr().out


def test_without_a_column_of_ids_failed_rows_have_their_number(models, tmp_path):
    table = write(tmp_path / "rows.jsonl", [{"text": "great film"}, {"text": " "}, {"other": 1}])
    run("classify", "--model", models["classify"], "--input", table, "--output", tmp_path / "out")
    failed = lines(tmp_path / "out" / "_failed" / "rows.jsonl-00000000.jsonl")
    assert [row["id"] for row in failed] == ["rows.jsonl:1", "rows.jsonl:2"]


def test_an_output_inside_the_input_is_no_input(models, tmp_path, done):
    write(tmp_path / "rows.jsonl", TEXTS)
    words = ("classify", "--model", models["classify"], "--input", tmp_path, "--output", tmp_path / "out")
    run(*words)
    done.clear()
    run(*words)
    assert done == [] and len(results(tmp_path / "out")) == len(TEXTS)
    with pytest.raises(InputError, match="in it outside of"):
        run(*words[:-1], tmp_path)


def test_results_of_nobody_knows_what_are_not_taken_for_finished(models, tmp_path, done, monkeypatch):
    table, out = write(tmp_path / "rows.jsonl", TEXTS), tmp_path / "out"
    words = ("classify", "--model", models["classify"], "--input", table, "--output", out)
    run(*words)
    before = (out / RECORD).read_text()
    (out / RECORD).unlink()
    with pytest.raises(InputError, match=r"has results but no _bulk\.json"):
        run(*words)
    (out / RECORD).write_text(before)
    removed = []
    monkeypatch.setattr(
        Path, "unlink", lambda self, unlink=Path.unlink, **k: (removed.append(self.name), unlink(self, **k))
    )
    done.clear()
    run(*words, "--overwrite")
    assert done == ["rows.jsonl-00000000"]
    ours = [name for name in removed if name in (RECORD, "rows.jsonl-00000000.jsonl")]
    assert ours[:2] == ["rows.jsonl-00000000.jsonl", RECORD]


def test_a_run_of_rows_without_results_only_is_an_error(models, tmp_path):
    table = write(tmp_path / "rows.jsonl", [{"text": " "}])
    with pytest.raises(InputError, match="none of 1 rows has a result"):
        run("classify", "--model", models["classify"], "--input", table, "--output", tmp_path / "out")


def test_finished_blocks_are_not_done_again(models, tmp_path, capsys, done):
    table, out = write(tmp_path / "rows.jsonl", TEXTS), tmp_path / "out"
    words = ("classify", "--model", models["classify"], "--input", table, "--output", out)
    run(*words, "--block_rows", 5)
    before = {path.name: path.read_bytes() for path in out.glob("*.jsonl")}
    (out / "rows.jsonl-00000002.jsonl").unlink()
    (out / ".rows.jsonl-00000002.jsonl.0123456789abcdef.tmp").write_text("torn")
    done.clear()
    run(*words)  # 5 rows a block, as it was begun
    assert done == ["rows.jsonl-00000002"]
    assert {path.name: path.read_bytes() for path in out.glob("*.jsonl")} == before
    assert not list(out.glob(".*.tmp"))
    assert "21 rows in 5 blocks, 16 of them were there already" in capsys.readouterr().out


def test_a_run_goes_on_only_with_what_it_was_begun_with(models, tmp_path, done):
    folder, out = tmp_path / "rows", tmp_path / "out"
    folder.mkdir()
    write(folder / "a.jsonl", TEXTS)
    words = ["classify", "--model", models["classify"], "--input", folder, "--output", out]
    run(*words, "--block_rows", 10)
    for more, said in (
        (["--block_rows", 9], r"another block_rows \(10, now 9\)"),
        (["--format", "parquet"], r"another format \(jsonl, now parquet\)"),
        (["--max_seq_length", 16], "another options"),
        (["--id", "text"], r"another id \(None, now text\)"),
    ):
        with pytest.raises(InputError, match=said):
            run(*words, *more)
    with pytest.raises(InputError, match="another task"):
        run("ner", "--model", models["ner"], "--input", folder, "--output", out)
    write(folder / "b.jsonl", TEXTS[:3])  # a new file is more to do
    done.clear()
    run(*words)
    assert done == ["b.jsonl-00000000"]
    write(folder / "a.jsonl", TEXTS[1:])
    with pytest.raises(InputError, match=r"a\.jsonl has changed since the run began"):
        run(*words)
    (folder / "a.jsonl").unlink()
    with pytest.raises(InputError, match=r"a\.jsonl was read by this run and is not given"):
        run(*words)
    done.clear()
    run(*words, "--overwrite")
    assert done == ["b.jsonl-00000000"] and [path.name for path in out.glob("*.jsonl")] == ["b.jsonl-00000000.jsonl"]


def test_another_model_is_another_run(models, tmp_path):
    table, out = write(tmp_path / "rows.jsonl", TEXTS), tmp_path / "out"
    other = save_classifier(tmp_path / "other", ["bad", "good"], {"great": "bad"})
    run("classify", "--model", models["classify"], "--input", table, "--output", out)
    with pytest.raises(InputError, match="another model"):
        run("classify", "--model", other, "--input", table, "--output", out)


def test_other_peoples_files_stay(models, tmp_path):
    table, out = write(tmp_path / "rows.jsonl", TEXTS), tmp_path / "out"
    out.mkdir()
    theirs = write(out / "rows.jsonl-00000000.jsonl", [{"theirs": 1}])
    for more in ([], ["--overwrite"]):
        with pytest.raises(InputError, match="is there already, and not as the output of a run"):
            run("classify", "--model", models["classify"], "--input", table, "--output", out, *more)
    assert lines(theirs) == [{"theirs": 1}] and len(list(out.iterdir())) == 1


def test_a_block_whose_workers_die_is_named(models, tmp_path, monkeypatch):
    table, out = write(tmp_path / "rows.jsonl", TEXTS), tmp_path / "out"
    tries = []

    class Dead(BaseException):
        pass

    def die(*arguments):
        tries.append(1)
        raise Dead

    monkeypatch.setattr(job.Job, "_answer", die)
    words = ("classify", "--model", models["classify"], "--input", table, "--output", out)
    with pytest.raises(Dead):
        run(*words)

    def again(ray, work, left, workers, threads, bar):  # as Ray does it
        worker = job.Worker(work, threads)
        while True:
            try:
                raise InputError(worker(left[0])[1])
            except Dead:
                continue

    tries.clear()
    monkeypatch.setattr(cluster, "answer_blocks", again)
    with pytest.raises(InputError, match=r"rows\.jsonl: rows 0 to 20: 5 workers died over them"):
        run(*words)
    assert len(tries) == 5
    (out / ".rows.jsonl-00000000.tries").write_text(7 * ".")  # two workers had it at a time
    with pytest.raises(InputError, match="7 workers died over them"):
        job.Job._counted(SimpleNamespace(output=str(out)), BLOCK).__enter__()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threads", 0], "`threads=0`: expected at least 1"),
        (["--max_seq_length", 9999], "max_seq_length=9999"),
        (["--engine", "native"], "was not exported for native"),
        (["--text_column", "body"], "no column 'body'; the file has text"),
        (["--text_column", "a", "b", "c"], "expected one column, or two"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_done(models, tmp_path, done, words, said):
    table = tmp_path / "rows.csv"
    table.write_text("text\ngreat film\n")
    with pytest.raises(InputError, match=said):
        run("classify", "--model", models["classify"], "--input", table, "--output", tmp_path / "out", *words)
    assert done == []


def test_without_ray_the_extra_is_named(models, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"ray is not installed: pip install '\.\[ray\]'"):
        run("qa", "--model", models["qa"], "--input", "x.csv", "--output", tmp_path / "out")


def test_two_files_of_one_name_are_told(models, tmp_path):
    folder = tmp_path / "rows"
    (folder / "a").mkdir(parents=True)
    for name in ("a/b.jsonl", "a--b.jsonl"):
        write(folder / name, TEXTS)
    with pytest.raises(InputError, match="the same name"):
        run("classify", "--model", models["classify"], "--input", folder, "--output", tmp_path / "out")
