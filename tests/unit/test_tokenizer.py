"""The tokenizer by itself: no transformers, no real data."""

import json
import pickle
import threading

import numpy as np
import pytest
from tokenizers import AddedToken

from mobilebert.base.errors import InputError
from mobilebert.text.tokenizer import MobileBertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijk"]
WORDS += ["un", "##able", "##aff", "cafe", "x", "##x", ".", ",", "東", "京", "Caf", "##é"]


@pytest.fixture
def tokenizer():
    return MobileBertTokenizer(vocab={word: index for index, word in enumerate(WORDS)})


def write_vocab(folder, words=WORDS):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return folder


def words_of(tokenizer, rows):
    return [tokenizer.convert_ids_to_tokens(row) for row in rows]


def test_one_text_and_a_pair(tokenizer):
    batch = tokenizer("Unaffable CAFÉ.", "x東京", return_special_tokens_mask=True, return_offsets_mapping=True)
    assert batch.tokens() == ["[CLS]", "un", "##aff", "##able", "cafe", ".", "[SEP]", "x", "東", "京", "[SEP]"]
    assert batch.token_type_ids == [0] * 7 + [1] * 4
    assert batch["attention_mask"] == [1] * 11
    assert batch.special_tokens_mask == [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert batch.offset_mapping[1:7] == [(0, 2), (2, 5), (5, 9), (10, 14), (14, 15), (0, 0)]
    assert batch.sequence_ids() == [None, 0, 0, 0, 0, 0, None, 1, 1, 1, None]
    assert batch.char_to_token(0, 11) == 4
    assert batch.char_to_token(0, 1, sequence_index=1) == 8
    assert batch.word_ids()[1:4] == [0, 0, 0]
    with pytest.raises(AttributeError):
        _ = batch.labels


def test_offsets_point_into_the_original_text(tokenizer):
    text = "CAFÉ  cafe\u0301\u200b ."
    spans = tokenizer(text, return_offsets_mapping=True).offset_mapping[1:-1]
    assert [text[begin:end] for begin, end in spans] == ["CAFÉ", "cafe", "."]  # a mark of its own is dropped


def test_batches_padding_and_tensors(tokenizer):
    batch = tokenizer(["a b c", "d"], padding=True, return_tensors="np")
    assert batch.input_ids.dtype == np.int64
    assert batch.input_ids.tolist() == [[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]]
    assert batch.attention_mask.tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    left = tokenizer(["a b c", "d"], padding=True, padding_side="left", pad_to_multiple_of=4)
    assert left.input_ids[1] == [0] * 5 + [2, 8, 3]
    assert tokenizer("a", padding="max_length", max_length=5).input_ids == [2, 5, 3, 0, 0]
    assert tokenizer("a", return_tensors="np").input_ids.shape == (1, 3)
    assert tokenizer([]).input_ids == []
    assert tokenizer("a b", return_length=True, return_attention_mask=False).keys() == {
        "input_ids",
        "token_type_ids",
        "length",
    }


def test_paddle_tensors(tokenizer):
    paddle = pytest.importorskip("paddle")
    batch = tokenizer(["a b", "c"], padding=True, return_tensors="pd")
    assert batch.input_ids.dtype == paddle.int64
    assert batch.input_ids.tolist() == [[2, 5, 6, 3], [2, 7, 3, 0]]
    assert tokenizer.decode(batch.input_ids, skip_special_tokens=True) == ["a b", "c"]


def test_words_and_tuples(tokenizer):
    assert tokenizer(["Unaffable", "a.b"], is_split_into_words=True).word_ids() == [None, 0, 0, 0, 1, 1, 1, None]
    assert words_of(tokenizer, tokenizer([["a", "b"], ["c"]], is_split_into_words=True).input_ids) == [
        ["[CLS]", "a", "b", "[SEP]"],
        ["[CLS]", "c", "[SEP]"],
    ]
    assert tokenizer([("a", "b"), ("c", "d")]).token_type_ids == [[0, 0, 0, 1, 1]] * 2


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("only_first", "[CLS] a b [SEP] e f g [SEP]"),
        ("only_second", "[CLS] a b c d [SEP] e [SEP]"),
        ("longest_first", "[CLS] a b c [SEP] e f [SEP]"),
        (True, "[CLS] a b c [SEP] e f [SEP]"),
    ],
)
def test_truncation(tokenizer, strategy, expected):
    assert tokenizer("a b c d", "e f g", truncation=strategy, max_length=8).tokens() == expected.split()


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"doc_stride": 2}], ids=str)
@pytest.mark.parametrize("pair", ["", None])
def test_only_second_without_a_second_text_is_read_where_nothing_is_cut(tokenizer, pair, options):
    options = {"truncation": "only_second", "max_length": 5, **options}
    assert tokenizer("a b c", pair, **options).tokens() == ["[CLS]", "a", "b", "c", "[SEP]"]
    assert tokenizer(["a", "b c"], **options).input_ids == [[2, 5, 3], [2, 6, 7, 3]]
    del options["truncation"]
    assert [window.ids for _, window in tokenizer.encode_windows(["a"], **options)] == [[2, 5, 3]]
    with pytest.raises(InputError, match=r"^text\[1\]: longer than max_length=5, .* there is no second text"):
        list(tokenizer.encode_windows(["a", "a b c d"], **options))


def everything(encoding):
    """All that an encoding says of its tokens, characters and words, and of its windows."""
    tokens, places = range(len(encoding)), [(place, side) for place in range(30) for side in (0, 1)]
    return [
        (
            (one.ids, one.type_ids, one.offsets, one.attention_mask, one.special_tokens_mask),
            (one.sequence_ids, one.word_ids, one.n_sequences, [one.token_to_sequence(index) for index in tokens]),
            [one.char_to_token(*place) for place in places],
            [one.word_to_tokens(*place) for place in places],
        )
        for one in (encoding, *encoding.overflowing)
    ]


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("strategy", ["only_first", "only_second", "longest_first"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_windows_are_the_librarys(tokenizer, strategy, side, special):
    """Texts are encoded one by one and joined, uncut ones too; the library itself takes pairs."""
    firsts = ["", "a", "b unaffable", "c [SEP] d cafe\u0301 e", "f g h i j k a b c"]
    pairs = [(first, second) for first in firsts for second in firsts]
    tokenizer.truncation_side = side
    compared = 0
    for max_length in range(6, 22):
        library = tokenizer._backend.copy()
        library.enable_truncation(max_length, stride=1, strategy=strategy, direction=side)
        options = {"truncation": strategy, "max_length": max_length, "stride": 1, "add_special_tokens": special}
        for pair in pairs:
            try:
                got = tokenizer([pair], **options).encodings[0]
            except InputError:
                continue
            assert everything(got) == everything(library.encode(*pair, add_special_tokens=special))
            compared += 1
    assert compared > 200


def test_windows_share_stride_tokens(tokenizer):
    batch = tokenizer(
        ["a", "b"],
        ["c d e f g h i", "j"],
        truncation="only_second",
        max_length=8,
        stride=2,
        return_overflowing_tokens=True,
    )
    assert words_of(tokenizer, batch.input_ids) == [
        ["[CLS]", "a", "[SEP]", "c", "d", "e", "f", "[SEP]"],
        ["[CLS]", "a", "[SEP]", "e", "f", "g", "h", "[SEP]"],
        ["[CLS]", "a", "[SEP]", "g", "h", "i", "[SEP]"],
        ["[CLS]", "b", "[SEP]", "j", "[SEP]"],
    ]
    assert batch.overflow_to_sample_mapping == [0, 0, 0, 1]
    assert batch.sequence_ids(1) == [None, 0, None, 1, 1, 1, 1, None]
    assert batch.sequence_ids(3) == [None, 0, None, 1, None]  # nothing was cut
    assert (batch.char_to_token(3, 0), batch.char_to_token(3, 0, sequence_index=1)) == (1, 3)
    assert batch.token_type_ids[1] == [0, 0, 0, 1, 1, 1, 1, 1]


def google_spans(n_doc, room, step):
    """Starts and lengths of Google's windows, as run_squad.py walks over a document."""
    spans, start = [], 0
    while start < n_doc:
        length = min(n_doc - start, room)
        spans.append((start, length))
        if start + length == n_doc:
            break
        start += min(length, step)
    return spans


@pytest.mark.parametrize("max_length", [6, 7, 9, 14])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 50])
@pytest.mark.parametrize("n_doc", [1, 2, 3, 4, 6, 9, 10, 11, 23])
def test_doc_stride_is_googles(tokenizer, n_doc, step, max_length):
    questions = ["a", "a b"]  # the overlap is another for each
    document = " ".join("efghijk"[index % 7] for index in range(n_doc))
    windows = list(tokenizer.encode_windows(questions, [document] * 2, max_length=max_length, doc_stride=step, chunk=1))
    for sample, n_question in enumerate((1, 2)):
        got = []
        for index, window in windows:
            if index == sample:
                tokens = [place for place, side in enumerate(window.sequence_ids) if side == 1]
                got.append((window.offsets[tokens[0]][0] // 2, len(tokens)))
        assert got == google_spans(n_doc, max_length - n_question - 3, step)


def test_stride_is_not_the_step(tokenizer):
    options = {"truncation": "only_second", "max_length": 12, "return_overflowing_tokens": True}
    overlap = tokenizer(["a"], ["c d e f g h i j k a b c d e"], stride=2, **options)
    step = tokenizer(["a"], ["c d e f g h i j k a b c d e"], doc_stride=2, **options)
    assert len(overlap.input_ids) == 2
    assert len(step.input_ids) == 4


def test_encode_windows_equals_a_call(tokenizer):
    questions, contexts = ["a", "b c", "d", "e"], ["c d e f g h i", "j k a b c", "", "c d e f g h i"]
    options = {"max_length": 8, "stride": 1, "truncation": "only_second"}
    batch = tokenizer(questions, contexts, return_overflowing_tokens=True, **options)
    for chunk in (1, 3, 100):
        windows = list(tokenizer.encode_windows(questions, contexts, chunk=chunk, **options))
        assert [index for index, _ in windows] == batch.overflow_to_sample_mapping
        assert [window.ids for _, window in windows] == batch.input_ids
        assert [window.type_ids for _, window in windows] == batch.token_type_ids


def test_threads_with_other_settings_do_not_meet(tokenizer):
    settings = [{"max_length": n, "truncation": True, "padding": p} for n in (4, 6, 9) for p in ("max_length", False)]
    texts = ["a b c d e f g h i j k"] * 20 + ["a"] * 20
    expected = [dict(tokenizer(texts, **options)) for options in settings]
    wrong = []

    def work(index):
        for _ in range(30):
            if dict(tokenizer(texts, **settings[index])) != expected[index]:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(settings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert tokenizer.backend_tokenizer.truncation is None
    assert tokenizer.backend_tokenizer.padding is None


def test_decoding(tokenizer):
    ids = tokenizer("Unaffable, cafe.").input_ids
    assert tokenizer.decode(ids) == "[CLS] unaffable, cafe. [SEP]"
    assert tokenizer.decode(np.array(ids), skip_special_tokens=True) == "unaffable, cafe."
    assert tokenizer.batch_decode([ids, [5]], skip_special_tokens=True) == ["unaffable, cafe.", "a"]
    assert tokenizer.decode(5) == "a"
    assert tokenizer.convert_ids_to_tokens(5) == "a"
    assert tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)[0] == "un"
    assert tokenizer.convert_tokens_to_ids(["a", "nowhere"]) == [5, 1]
    assert tokenizer.convert_tokens_to_string(["un", "##able", "."]) == "unable."
    assert tokenizer.tokenize("a b") == ["a", "b"]
    assert tokenizer.encode("a", "b") == [2, 5, 3, 6, 3]


def test_vocabulary_and_special_tokens(tokenizer):
    assert tokenizer.vocab_size == len(tokenizer) == len(WORDS)
    assert tokenizer.get_vocab()["[CLS]"] == tokenizer.cls_token_id == 2
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id) == (
        0,
        1,
        3,
        4,
    )
    assert tokenizer.all_special_tokens == ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]
    assert tokenizer("a [MASK] [mask]").tokens()[1:4] == ["a", "[MASK]", "[UNK]"]
    assert tokenizer.num_special_tokens_to_add() == 2
    assert tokenizer.num_special_tokens_to_add(pair=True) == 3


def test_added_tokens(tokenizer):
    assert tokenizer.add_tokens(["newword", "a"]) == 1
    assert tokenizer.add_special_tokens({"cls_token": "<c>", "extra_special_tokens": ["<e>"]}) == 2
    assert (tokenizer.vocab_size, len(tokenizer)) == (len(WORDS), len(WORDS) + 3)
    assert tokenizer("a newword<e>").tokens() == ["<c>", "a", "newword", "<e>", "[SEP]"]
    assert tokenizer.decode(tokenizer.encode("a <e>"), skip_special_tokens=True) == "a"
    with pytest.raises(InputError, match="no_token is none of unk_token"):
        tokenizer.add_special_tokens({"no_token": "x"})


def test_split_special_tokens():
    vocab = {word: index for index, word in enumerate(WORDS)}
    tokenizer = MobileBertTokenizer(vocab=vocab, split_special_tokens=True)
    assert "[SEP]" not in tokenizer("a [SEP] b").tokens()[:-1]
    windows = tokenizer("a [SEP] b c d e", truncation=True, max_length=5, stride=1, return_overflowing_tokens=True)
    assert all(row.count(3) == 1 for row in windows.input_ids)


def test_save_load_and_pickle(tokenizer, tmp_path):
    tokenizer.add_tokens([AddedToken("NewWord", normalized=False), "other"])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<e>"]})
    tokenizer.model_max_length = 6
    tokenizer.save_pretrained(tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "manifest.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    text = "a NewWord newword OTHER <e> b c d"
    for again in (
        MobileBertTokenizer.from_pretrained(tmp_path / "new" / "folder"),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
        assert dict(again(text, truncation=True)) == dict(tokenizer(text, truncation=True))
        assert len(again(text, truncation=True).input_ids) == 6
        assert again.all_special_tokens == tokenizer.all_special_tokens
    (tmp_path / "new" / "folder" / "tokenizer.json").unlink()
    from_vocab = MobileBertTokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert dict(from_vocab(text)) == dict(tokenizer(text))


def test_what_is_saved_for_transformers_4_and_5(tokenizer, tmp_path):
    """4.57.6 fails at a list under ``extra_special_tokens``, even an empty one; 5 reads the older name too."""

    def saved(**options):
        tokenizer.save_pretrained(tmp_path, **options)
        return json.loads((tmp_path / "tokenizer_config.json").read_text())

    config = saved(model_max_length=128)
    assert config["model_max_length"] == 128 and tokenizer.model_max_length == int(1e30)
    assert not {"extra_special_tokens", "additional_special_tokens"} & set(config)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<e>"]})
    config = saved()
    assert config["model_max_length"] == int(1e30)
    assert "extra_special_tokens" not in config and config["additional_special_tokens"] == ["<e>"]
    assert MobileBertTokenizer.from_pretrained(tmp_path).extra_special_tokens == ["<e>"]


@pytest.mark.parametrize("source", ["vocab.txt", "tokenizer.json"])
def test_config_is_honoured(tokenizer, tmp_path, source):
    if source == "vocab.txt":
        write_vocab(tmp_path)
    else:
        (tmp_path / source).write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    config = tmp_path / "tokenizer_config.json"

    def tokens(text, **settings):
        config.write_text(json.dumps(settings))
        return MobileBertTokenizer.from_pretrained(tmp_path).tokenize(text)

    assert tokens("Café") == ["cafe"]
    assert tokens("Café", do_lower_case=False) == ["Caf", "##é"]
    assert tokens("Café", strip_accents=False) == ["[UNK]"]
    assert tokens("café", do_lower_case=False, strip_accents=True) == ["cafe"]
    assert tokens("東京") == ["東", "京"]
    assert tokens("東京", tokenize_chinese_chars=False) == ["[UNK]"]
    assert tokens("zzz", unk_token="x") == ["x"]
    config.write_text(json.dumps({"model_max_length": 4, "padding_side": "left", "cls_token": {"content": "a"}}))
    loaded = MobileBertTokenizer.from_pretrained(tmp_path)
    assert loaded("b c d e", truncation=True).tokens() == ["a", "b", "c", "[SEP]"]
    assert loaded("b", padding="max_length", truncation=True).input_ids == [0, 5, 6, 3]
    assert MobileBertTokenizer.from_pretrained(tmp_path, model_max_length=3).model_max_length == 3


def test_tokenizer_json_speaks_where_the_config_is_silent(tmp_path):
    vocab = {word: index for index, word in enumerate(WORDS)}
    cased = MobileBertTokenizer(vocab=vocab, do_lower_case=False)
    (tmp_path / "tokenizer.json").write_text(cased.backend_tokenizer.to_str(), encoding="utf-8")
    assert MobileBertTokenizer.from_pretrained(tmp_path).tokenize("Café") == ["Caf", "##é"]
    assert MobileBertTokenizer.from_pretrained(tmp_path / "tokenizer.json").tokenize("Café") == ["Caf", "##é"]


def test_older_files(tmp_path):
    write_vocab(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"mask_token": {"content": "<m>", "lstrip": True}}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<m>": len(WORDS), "word": len(WORDS) + 1}))
    tokenizer = MobileBertTokenizer.from_pretrained(tmp_path)
    assert tokenizer.mask_token_id == len(WORDS)
    assert tokenizer("a <m> WORD").input_ids[1:-1] == [5, len(WORDS), len(WORDS) + 1]
    assert tokenizer("a <m>", return_offsets_mapping=True).offset_mapping[2] == (1, 5)  # lstrip takes the space
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<m>": 900}))
    with pytest.raises(InputError, match=r"added token '<m>' has id 900, but the vocabulary makes it 28"):
        MobileBertTokenizer.from_pretrained(tmp_path)


def test_a_special_token_keeps_what_was_declared_of_it(tokenizer, tmp_path):
    """``tokenizer.json`` says how it matches, ``tokenizer_config.json`` only that it is the mask."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["added_tokens"][4] |= {"lstrip": True, "rstrip": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"mask_token": "[MASK]"}))
    offsets = MobileBertTokenizer.from_pretrained(tmp_path)("a [MASK] b", return_offsets_mapping=True).offset_mapping
    assert offsets[2] == (1, 9)
    given = MobileBertTokenizer.from_pretrained(
        tmp_path, mask_token=AddedToken("[MASK]", lstrip=True, normalized=False)
    )
    assert given("a [MASK] b", return_offsets_mapping=True).offset_mapping[2] == (1, 8)  # the caller's word


def test_an_extra_token_of_the_old_files_is_matched_lower_cased_too(tmp_path):
    """As in transformers 5.23, which takes it for a word."""
    write_vocab(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<E>": len(WORDS)}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["<E>"]}))
    tokenizer = MobileBertTokenizer.from_pretrained(tmp_path)
    assert tokenizer("a <E> <e>").input_ids[1:-1] == [5, len(WORDS), len(WORDS)]
    assert tokenizer.all_special_ids[-1] == len(WORDS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", {"mask_token": 4}, r"\$.mask_token: expected str \| object \| null, got int"),
        (
            "tokenizer_config.json",
            {"extra_special_tokens": "<e>"},
            r"\$.extra_special_tokens: expected object \| list \| null, got str",
        ),
        (
            "tokenizer_config.json",
            {"extra_special_tokens": [7]},
            r"\$.extra_special_tokens\[0\]: expected str \| object, got int",
        ),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": ["a"]},
            r"\$.added_tokens_decoder: expected object, got list",
        ),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}, "'x' where the id of an added"),
        (
            "special_tokens_map.json",
            {"additional_special_tokens": [{"text": "a"}]},
            "object missing required field content",
        ),
        ("added_tokens.json", {"<e>": None}, r"\$\[...\]: expected int, got null"),
    ],
)
def test_broken_special_tokens(tmp_path, name, content, message):
    (write_vocab(tmp_path) / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        MobileBertTokenizer.from_pretrained(tmp_path)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "empty; a vocabulary has one token a line"),
        ([*WORDS, "a"], "'a' is on line 6 and on line 29"),
        ([*WORDS[:7], "", *WORDS[7:]], "line 8 is empty"),
        (
            [word for word in WORDS if word != "[CLS]"],
            r"has no '\[CLS\]'; add it, or name the one it has with cls_token=",
        ),
        ([word for word in WORDS if word != "[UNK]"], r"has no '\[UNK\]'"),
    ],
)
def test_broken_vocabularies(tmp_path, words, message):
    with pytest.raises(InputError, match=message) as caught:
        MobileBertTokenizer.from_pretrained(write_vocab(tmp_path, words))
    assert "vocab.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ({}, "empty vocabulary"),
        ({"a": 0, "b": 0}, "'a' and 'b' both have id 0"),
        ({"a": 0, "b": 2}, "'b' has id 2; 2 tokens have ids 0 to 1"),
    ],
)
def test_broken_ids(vocab, message):
    with pytest.raises(InputError, match=message):
        MobileBertTokenizer(vocab=vocab)


def test_broken_folders(tokenizer, tmp_path):
    with pytest.raises(InputError, match=r"has neither tokenizer.json nor vocab.txt"):
        MobileBertTokenizer.from_pretrained(tmp_path)
    write_vocab(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match="broken JSON at line 1"):
        MobileBertTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": "yes"}')
    with pytest.raises(InputError, match=r"\$.do_lower_case: expected bool, got str"):
        MobileBertTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object, got list"):
        MobileBertTokenizer.from_pretrained(tmp_path)
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["model"]["type"] = "BPE"
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tokenizer.json: model.type is 'BPE', BERT's is 'WordPiece'"):
        MobileBertTokenizer.from_pretrained(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        tokenizer.save_pretrained(tmp_path / "file" / "folder")
    with pytest.raises(InputError, match="give either vocab"):
        MobileBertTokenizer()


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ((["a", None],), {}, r"text\[1\]: NoneType where a string is expected"),
        ((["a"], "b"), {}, "text_pair: one text for a batch of 1"),
        ((["a"], ["b", "c"]), {}, "text_pair: 2 texts for a batch of 1"),
        ((["a", ("b", "c")],), {}, r"text\[1\]: a batch holds either texts or pairs"),
        (("a",), {"is_split_into_words": True}, "list of words is expected"),
        (("a \ud800",), {}, r"half a surrogate pair \(U\+D800\) at character 2"),
        (("a",), {"truncation": "last", "max_length": 4}, "truncation='last': expected one of only_first"),
        (("a",), {"padding": "most"}, "padding='most': expected one of longest, max_length"),
        (("a",), {"padding": True, "padding_side": "up"}, "padding_side='up'"),
        (("a",), {"return_tensors": "pt"}, "return_tensors='pt': expected one of np, pd"),
        ((["a", "b c"],), {"return_tensors": "np"}, "rows of different lengths make no tensor; give padding=True"),
        (("a b c",), {"truncation": True, "max_length": 1}, "max_length=1: special tokens alone are 2"),
        (
            ("a b c",),
            {"truncation": True, "max_length": 4, "stride": 2},
            r"stride=2: windows of text\[0\] have room for 2",
        ),
        (("a",), {"truncation": True, "max_length": 4, "stride": 3}, "stride=3: windows have room for 2 tokens"),
        (("a b c d", "e f g"), {"truncation": "only_second", "max_length": 9, "stride": 2}, r"of text\[0\] have room"),
        (("a b c d e", "f"), {"truncation": "only_second", "max_length": 6}, "cutting the second text alone cannot"),
        (("a b c d e", "f"), {"truncation": "only_second", "max_length": 6, "stride": 1}, "cutting the second text"),
        (
            ("a b",),
            {"truncation": "only_second", "max_length": 3},
            r"text\[0\]: longer than max_length=3, .* no second text",
        ),
        (
            ("a b", ""),
            {"truncation": "only_second", "max_length": 3, "stride": 1},
            r"text\[0\]: longer than .* no second",
        ),
        (("a",), {"truncation": True, "max_length": 3, "stride": -1}, "stride=-1"),
        (("a",), {"truncation": True, "max_length": 3, "stride": 1, "doc_stride": 1}, "not both"),
        (("a",), {"truncation": True, "max_length": 3, "doc_stride": 0}, "doc_stride=0"),
        (("a b", "c"), {"truncation": True, "max_length": 4, "doc_stride": 1}, "doc_stride steps over one text"),
        (
            ("a",),
            {"truncation": True, "padding": True, "max_length": 6, "pad_to_multiple_of": 4},
            "no multiple of pad_to_multiple_of=4",
        ),
    ],
)
def test_bad_calls(tokenizer, inputs, options, message):
    with pytest.raises(InputError, match=message) as caught:
        tokenizer(*inputs, **options)
    assert "\n" not in str(caught.value)


def test_bad_text_is_found_in_later_chunks(tokenizer):
    texts = ["a"] * 5
    with pytest.raises(InputError, match=r"text\[4\]: cutting the second text alone"):
        list(tokenizer.encode_windows([*texts[:4], "a b c d e f"], texts, max_length=6, stride=1, chunk=2))
    with pytest.raises(InputError, match=r"text\[3\]: int where a string"):
        list(tokenizer.encode_windows(texts, ["a", "b", "c", 5, "d"], max_length=6, chunk=2))
    with pytest.raises(InputError, match="5 texts but 1 second texts"):
        list(tokenizer.encode_windows(texts, ["a"], max_length=6))
