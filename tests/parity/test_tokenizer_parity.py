"""The tokenizer against transformers' two; and that the comparison fails where they are not the same."""

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import pytest

from mobilebert.base.errors import InputError
from mobilebert.text.tokenizer import MobileBertTokenizer

pytest.importorskip("transformers")

from mobilebert.verify import hard_texts, report_tokenizer
from mobilebert.verify.peers import paddlenlp_tokenizer
from mobilebert.verify.tokenizer import (
    References,
    compare_boundaries,
    compare_calls,
    compare_hard,
    compare_texts,
    compare_windows,
)

DATA = os.environ.get("MOBILEBERT_DATA")
QUESTIONS = ["Who saw the fox?", "What is quick?", "Où?"] * 2
CONTEXTS = [
    "The quick brown fox, number one of five, saw two cafés in Zürich. " * 6,
    "one two three",
    "é 東京 " * 30,
] * 2


@pytest.fixture(scope="module")
def vocab():
    return report_tokenizer.built_in_vocab()


@pytest.fixture(scope="module")
def folder(vocab, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    MobileBertTokenizer(vocab=vocab).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def references(folder):
    return References(folder)


def differences(tokenizer, references):
    texts = hard_texts.all_texts()
    checks = [
        compare_texts(tokenizer, references, "texts", texts),
        compare_windows(tokenizer, references, "windows", QUESTIONS, CONTEXTS, max_length=40, stride=9),
    ]
    return sum(check.differences for check in checks)


def test_hard_cases_are_equal(vocab, references):
    checks = compare_hard(MobileBertTokenizer(vocab=vocab), references)
    assert [check.examples for check in checks] == [[]] * len(checks)
    assert all(check.compared > 80 for check in checks)
    # The references themselves differ where Python's and Rust's Unicode do; that must not be hidden.
    assert checks[0].references["final sigma"] == 1
    assert checks[0].references["a character's class"] > 0


@pytest.mark.parametrize("stride", [0, 1, 9])
def test_windows_are_equal(vocab, references, stride):
    check = compare_windows(
        MobileBertTokenizer(vocab=vocab), references, "windows", QUESTIONS, CONTEXTS, max_length=40, stride=stride
    )
    assert (check.differences, check.references) == (0, {})
    assert check.compared > len(QUESTIONS)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"do_lower_case": False, "strip_accents": True},
    ],
    ids=str,
)
def test_settings_are_read_as_transformers_reads_them(vocab, references, tmp_path, settings):
    MobileBertTokenizer(vocab=vocab, **settings).save_pretrained(tmp_path)
    ours = MobileBertTokenizer.from_pretrained(tmp_path)
    assert differences(ours, References(tmp_path)) == 0
    assert differences(ours, references) > 0  # the negative control: other settings are noticed


def test_one_swapped_line_of_the_vocabulary_is_noticed(vocab, references):
    swapped = {**vocab, "a": vocab["b"], "b": vocab["a"]}
    assert differences(MobileBertTokenizer(vocab=swapped), references) > 0


def test_swapped_special_tokens_are_noticed(vocab, references):
    swapped = {**vocab, "[SEP]": vocab["[CLS]"], "[CLS]": vocab["[SEP]"]}
    assert differences(MobileBertTokenizer(vocab=swapped), references) > 0


def test_a_step_where_the_overlap_was_asked_is_noticed(vocab, references):
    class Step(MobileBertTokenizer):
        def __call__(self, *texts, stride=0, **options):
            return super().__call__(*texts, doc_stride=stride or None, **options)

    check = compare_windows(Step(vocab=vocab), references, "windows", QUESTIONS, CONTEXTS, max_length=40, stride=9)
    assert check.differences > 0
    assert check.examples[0]["kind"] == "window mapping"


@pytest.mark.parametrize("key", ["token_type_ids", "offset_mapping", "attention_mask", "special_tokens_mask"])
def test_one_wrong_number_is_noticed(vocab, references, key):
    class Wrong(MobileBertTokenizer):
        def __call__(self, *texts, **options):
            batch = super().__call__(*texts, **options)
            row = batch[key][0]
            row[-1] = (7, 7) if key == "offset_mapping" else 1 - row[-1]
            return batch

    check = compare_texts(Wrong(vocab=vocab), references, "texts", ["one two", "three"])
    assert (check.differences, check.examples[0]["kind"]) == (1, f"{key} (fast)")


def test_wrong_calls_and_boundaries_are_noticed(vocab, references):
    class Left(MobileBertTokenizer):
        def __call__(self, *texts, padding_side=None, **options):
            self.truncation_side = "left"
            return super().__call__(*texts, **options)

    assert compare_calls(Left(vocab=vocab), references, "calls", ["one two three", "one"]).differences > 0
    assert compare_boundaries(Left(vocab=vocab), references, "cuts", [("one two three four", None)]).differences > 0


def test_a_slow_tokenizer_that_differs_without_a_reason_is_a_difference(vocab, folder):
    references = References(folder)
    references.slow.vocab = {**vocab, "one": vocab["two"]}
    check = compare_texts(MobileBertTokenizer(vocab=vocab), references, "texts", ["one", "three"])
    assert (check.differences, check.examples[0]["kind"]) == (1, "input_ids (slow; no known reason)")


def test_transformers_loads_what_we_save(vocab, tmp_path):
    from transformers import AutoTokenizer

    ours = MobileBertTokenizer(vocab=vocab, do_lower_case=False, model_max_length=12, padding_side="left")
    ours.add_tokens(["<new>"])
    ours.add_special_tokens({"extra_special_tokens": ["<e>"]})
    ours.save_pretrained(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = ["One <new> two<e> three four five Café one two three", "one"]
    options = {"truncation": True, "padding": True, "return_offsets_mapping": True}
    assert dict(ours(text, **options)) == dict(theirs(text, **options))
    assert len(ours) == len(theirs)
    for ids in ours(text, **options).input_ids:
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


def test_we_load_what_transformers_saves(vocab, tmp_path, folder):
    from transformers import BertTokenizer

    theirs = BertTokenizer.from_pretrained(folder, do_lower_case=False, model_max_length=9)
    theirs.add_tokens(["<new>"])
    theirs.save_pretrained(tmp_path)
    ours = MobileBertTokenizer.from_pretrained(tmp_path)
    texts = [*hard_texts.all_texts(), "a <new> b"]
    assert dict(ours(texts, truncation=True)) == dict(theirs(texts, truncation=True))
    assert ours.model_max_length == 9


MASK = {"content": "[MASK]", "single_word": False, "lstrip": True, "rstrip": True, "normalized": False, "special": True}
EXTRA = {**MASK, "content": "<E>", "rstrip": False}
WORD = {**EXTRA, "normalized": True, "special": False}
CONFIG, OLDER, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"


@pytest.mark.parametrize(
    ("declared", "files"),
    [
        ([MASK], {CONFIG: {"mask_token": "[MASK]"}}),
        ([MASK, EXTRA], {CONFIG: {"mask_token": "[MASK]", "extra_special_tokens": ["<E>"]}}),
        ([EXTRA], {CONFIG: {"additional_special_tokens": ["<E>"]}}),
        ([MASK, WORD], {OLDER: {"mask_token": "[MASK]", "additional_special_tokens": ["<E>"]}}),
        ([], {OLDER: {"mask_token": MASK, "additional_special_tokens": ["<E>"]}}),
        ([{**MASK, "lstrip": False}], {OLDER: {"mask_token": MASK}}),
        ([], {CONFIG: {"mask_token": "[MASK]", "added_tokens_decoder": {"mask": MASK, "extra": WORD}}}),
        ([], {ADDED: ["<E>"]}),
        ([], {ADDED: ["<E>"], OLDER: {"additional_special_tokens": ["<E>"]}}),
        ([], {ADDED: ["<E>"], OLDER: {"extra_special_tokens": ["<E>"]}}),
        ([], {ADDED: ["<E>"], CONFIG: {"extra_special_tokens": ["<E>"]}}),
        ([], {ADDED: ["<E>"], CONFIG: {"extra_special_tokens": {"e_token": "<E>"}}}),
        ([], {CONFIG: {"extra_special_tokens": ["<E>"]}, OLDER: {"additional_special_tokens": ["<F>"]}}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("has_json", [True, False])
def test_special_tokens_match_as_in_transformers(vocab, tmp_path, declared, files, has_json):
    """Whichever of the files of a tokenizer says what of a token."""
    from transformers import MobileBertTokenizer as Reference

    MobileBertTokenizer(vocab=vocab).save_pretrained(tmp_path)
    ids = {"[MASK]": vocab["[MASK]"], "<E>": len(vocab), "mask": vocab["[MASK]"], "extra": len(vocab)}
    whole = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    contents = {token["content"] for token in declared}
    kept = [token for token in whole["added_tokens"] if token["content"] not in contents]
    whole["added_tokens"] = [*kept, *({"id": ids[token["content"]], **token} for token in declared)]
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    if not has_json:
        (tmp_path / "tokenizer.json").unlink()
    (tmp_path / CONFIG).unlink()
    for name, content in files.items():
        if name == ADDED:
            content = {token: ids[token] for token in content}
        elif "added_tokens_decoder" in content:
            decoder = content["added_tokens_decoder"]
            content = {**content, "added_tokens_decoder": {ids[key]: token for key, token in decoder.items()}}
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    ours, theirs = MobileBertTokenizer.from_pretrained(tmp_path), Reference.from_pretrained(tmp_path)
    texts = ["one [MASK] two <E> three <e> [mask] one<E>two", "[MASK]  <E>", "One<e>two <F> <f>"]
    assert dict(ours(texts, return_offsets_mapping=True)) == dict(theirs(texts, return_offsets_mapping=True))
    ours.save_pretrained(tmp_path / "again")
    again = MobileBertTokenizer.from_pretrained(tmp_path / "again")
    assert dict(again(texts, return_offsets_mapping=True)) == dict(theirs(texts, return_offsets_mapping=True))


def run(**options):
    out = io.StringIO()
    defaults = {"files": [], "vocab": None, "tokenizer": None, "max_length": 40, "stride": 9, "limit": None}
    with contextlib.redirect_stdout(out):
        code = report_tokenizer.run(**{**defaults, "peer": "transformers", "report": None, **options})
    return code, out.getvalue()


def test_script(tmp_path, folder):
    squad = {
        "data": [
            {"paragraphs": [{"context": context, "qas": [{"question": question, "id": "x", "answers": []}]}]}
            for question, context in zip(QUESTIONS, CONTEXTS, strict=True)
        ]
    }
    (tmp_path / "squad.json").write_text(json.dumps(squad), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("one two\nthree café\n\n", encoding="utf-8")
    report = tmp_path / "report.json"
    files = [str(tmp_path / "squad.json"), str(tmp_path / "notes.txt")]
    code, text = run(files=files, tokenizer=str(folder), report=str(report))
    assert code == 0, text
    assert "0 differences" in text
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["differences"] == 0
    assert [check["name"] for check in written["checks"]][4:] == ["squad.json", "notes.txt"]
    assert written["checks"][5]["compared"] == 4


def test_script_fails_where_the_tokenizer_differs(monkeypatch, vocab, folder):
    wrong = MobileBertTokenizer(vocab=vocab, do_lower_case=False)
    monkeypatch.setattr(report_tokenizer, "load", lambda *_: (wrong, "wrong"))
    code, text = run(tokenizer=str(folder))
    assert code == 1
    assert "FAILED" in text
    assert "hard texts: input_ids (fast)" in text


def test_script_chooses_a_tokenizer_and_says_which(monkeypatch, tmp_path, folder, vocab):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOBILEBERT_DATA", raising=False)
    assert "built-in vocabulary" in report_tokenizer.load(None, None)[1]
    (tmp_path / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    monkeypatch.setenv("MOBILEBERT_DATA", str(tmp_path))
    assert "(MOBILEBERT_DATA)" in report_tokenizer.load(None, None)[1]
    (tmp_path / "weight").mkdir()
    folder_there = tmp_path / "weight" / "paddle"
    MobileBertTokenizer(vocab=vocab).save_pretrained(folder_there)
    assert report_tokenizer.load(None, None)[1] == "weight/paddle"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "no such file"),
        ("empty.txt", "", "no text"),
        ("bad.json", "{", "broken JSON at line 1"),
        ("other.json", '{"rows": []}', "not SQuAD's form"),
        ("hollow.json", '{"data": []}', "no questions"),
    ],
)
def test_script_refuses_bad_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        run(files=[str(tmp_path / name)])
    assert name in str(caught.value)


def test_paddlenlp_without_its_environment(monkeypatch, tmp_path, vocab):
    monkeypatch.setenv("PADDLENLP_PYTHON", str(tmp_path / "nowhere"))
    tokenizer = MobileBertTokenizer(vocab=vocab)
    with pytest.raises(InputError, match=r"nowhere: no PaddleNLP environment; make it with bash scripts/setup.sh padd"):
        paddlenlp_tokenizer.compare(tokenizer, tmp_path / "vocab.txt", [], 40, 9)
    monkeypatch.setenv("PADDLENLP_PYTHON", sys.executable)
    with pytest.raises(InputError, match=r"PaddleNLP failed \(ModuleNotFoundError"):
        paddlenlp_tokenizer.compare(tokenizer, tmp_path / "vocab.txt", [], 40, 9)


def test_paddlenlp_differences_by_kind(monkeypatch, tmp_path, vocab):
    """A stand-in answers as PaddleNLP would: right, wrong ids, an error."""
    tokenizer = MobileBertTokenizer(vocab=vocab)
    right = tokenizer("one")
    answers = [
        {"ids": [right.input_ids], "types": [right.token_type_ids], "offsets": None},
        {"ids": [[1]], "types": [[0]], "offsets": None},
        {"ids": [[1]], "types": [[0]], "offsets": None},
        {"error": "ValueError: no"},
    ]
    monkeypatch.setattr(paddlenlp_tokenizer, "_ask", lambda *_: {"version": "0", "answers": [answers]})
    batch = paddlenlp_tokenizer.Batch("texts", ["one", "two", "a [MASK]", ""], None, windows=False)
    [check] = paddlenlp_tokenizer.compare(tokenizer, tmp_path / "vocab.txt", [batch], 40, 9)
    assert check.kinds == {
        "ids: other ways to split or clean": 1,
        "ids: a special token in the text is taken apart": 1,
        "fails (ValueError)": 1,
    }
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        paddlenlp_tokenizer.print_differences([check])
    assert "3 of 4 texts differ" in out.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("data_folder")
def test_real_squad_is_equal():
    code, text = run(
        files=[str(Path(DATA) / "squad" / "dev-v1.1.json")],
        vocab=str(Path(DATA) / "vocab.txt"),
        max_length=384,
        stride=128,
        limit=400,
    )
    assert code == 0, text


CHINESE = [
    "北京大学的图书馆在1902年建成，藏书800万册。",
    "使用MobileBERT模型：12层，768维！「智能」手机也能运行。",
    "語言模型、繁體中文；全角ＡＢＣ１２３　空格",
    "混合English和中文text，没有空格",
    "𠮷野家と東京タワー ひらがな カタカナ",
    "㐀㐁兀嗀〇々〆 한국어 뷁",
    "未登录的字：龘靐齉爩",
]


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}], ids=str)
def test_chinese_is_split_into_characters_as_by_transformers(settings, tmp_path):
    """With a vocabulary as Chinese checkpoints have it: characters, their continuations, Latin pieces."""
    characters = dict.fromkeys(char for text in CHINESE[:-1] for char in text if not char.isspace())
    pieces = ["mobile", "##bert", "english", "English", "text", "1902", "80", "##0", "abc"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{char}" for char in characters), *pieces]
    vocab = {word: number for number, word in enumerate(dict.fromkeys(words))}
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in vocab), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    ours = MobileBertTokenizer.from_pretrained(tmp_path)
    references = References(tmp_path)
    check = compare_texts(ours, references, "Chinese", CHINESE)
    assert (check.differences, check.compared) == (0, len(CHINESE))
    tokens = ours.tokenize("使用MobileBERT模型：没有空格")
    known = (
        ["mobile", "##bert"] if not settings else ["M", "##o", "##b", "##i", "##l", "##e", "##B", "##E", "##R", "##T"]
    )
    assert tokens == ["使", "用", *known, "模", "型", "：", "没", "有", "空", "格"]
    whole = MobileBertTokenizer(vocab=vocab, tokenize_chinese_chars=False, **settings)
    assert compare_texts(whole, references, "Chinese", CHINESE).differences > 0
