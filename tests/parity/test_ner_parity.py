"""Entities against transformers: the features of its run_ner.py, and loss and logits on them."""

import numpy as np
import paddle
import pytest
import torch
import transformers
from support.models import paddle_twin, torch_model
from support.texts import SPECIAL_TOKENS

from mobilebert.data.collate import PackedDataset
from mobilebert.data.ner.encode import encode_sentences, gold_tags, with_labels
from mobilebert.data.ner.schemes import OUTSIDE
from mobilebert.data.ner.sentences import Sentences, read_sentences
from mobilebert.text.tokenizer import MobileBertTokenizer

# Words that a tokenizer drops, splits, does not know, or might take for its own.
ODD = [
    *("", "\u200b", "\x00", "\u0301", "na\u00efve", "e\u0301t\u00e9", "\u65e5\u672c", "New York", "[SEP]", "x" * 101),
    *("U.N.", "http://t.co/x1", "@paul", "\U0001f642", "\ufffd", "it's", "-", "\u2028", "I\u0307"),
]


def tokenize_and_align_labels(tokenizer, words, tags, labels, max_length, all_tokens):
    """Of transformers' examples/pytorch/token-classification/run_ner.py, re-derived: one sentence."""
    index = {label: number for number, label in enumerate(labels)}
    inside = [
        labels.index(label.replace("B-", "I-"))
        if label.startswith("B-") and label.replace("B-", "I-") in labels
        else number
        for number, label in enumerate(labels)
    ]
    encoded = tokenizer(words, truncation=True, max_length=max_length, is_split_into_words=True)
    found, before = [], None
    for word in encoded.word_ids(0):
        if word is None:
            found.append(-100)
        elif word != before:
            found.append(index[tags[word]])
        else:
            found.append(inside[index[tags[word]]] if all_tokens else -100)
        before = word
    return encoded["input_ids"], found


def differences(sentences, labels, ours, theirs, all_tokens, theirs_all_tokens=None, max_length=512):
    """Sentences whose token ids or labels differ."""
    tags = gold_tags(sentences, labels)
    encoded = with_labels(encode_sentences(sentences.words, ours, max_length, 8), tags, labels, all_tokens)
    all_tokens = all_tokens if theirs_all_tokens is None else theirs_all_tokens
    rows, found = encoded.rows, []
    for number, (words, one) in enumerate(zip(sentences.words, tags, strict=True)):
        ids, wanted = tokenize_and_align_labels(theirs, words, one, labels, max_length, all_tokens)
        row = np.searchsorted(rows.example_index, number)
        got = rows.token_labels[rows.row_starts[row] : rows.row_starts[row + 1]]
        if rows.row(row).tolist() != ids or got.tolist() != wanted:
            found.append(number)
    return found


@pytest.fixture(scope="module")
def wnut(data_folder):
    vocab = data_folder / "vocab.txt"
    sentences = read_sentences(data_folder / "ner" / "wnut17" / "dev.conll")
    types = sorted({tag[2:] for tags in sentences.tags for tag in tags if tag != OUTSIDE})
    labels = [OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]
    return sentences, labels, MobileBertTokenizer(vocab_file=vocab), transformers.BertTokenizer.from_pretrained(vocab)


@pytest.mark.parametrize("all_tokens", [False, True])
def test_the_features_of_wnut_are_those_of_run_ner(wnut, all_tokens):
    sentences, labels, ours, theirs = wnut
    assert len(sentences) == 1009
    assert differences(sentences, labels, ours, theirs, all_tokens) == []
    # The control: labelled the other way, each sentence with a word of several pieces differs.
    assert len(differences(sentences, labels, ours, theirs, all_tokens, not all_tokens)) > 500


def test_odd_words_have_the_pieces_that_transformers_gives_them(tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-./:@'"
    vocab = tmp_path / "vocab.txt"
    pieces = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), "new", "york", "\u65e5"]
    vocab.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    ours, theirs = MobileBertTokenizer(vocab_file=vocab), transformers.BertTokenizer.from_pretrained(vocab)
    labels = ["O", "B-X", "I-X"]
    words = [ODD, ODD[::-1], *([word] for word in ODD), ["a", *ODD, "b"] * 2]
    tags = [[labels[place % 3] for place in range(len(one))] for one in words]
    sentences = Sentences("odd", words, [[1] * len(one) for one in words], tags)
    for all_tokens in (False, True):
        assert differences(sentences, labels, ours, theirs, all_tokens) == []
    encoded = encode_sentences([ODD], ours, 512, 8)
    dropped = [word for word, token in zip(ODD, encoded.tokens, strict=True) if token < 0]
    assert dropped == ["", "\u200b", "\x00", "\u0301", "\ufffd", "\u2028"]


@pytest.mark.parametrize(("dtype", "limit"), [("float64", 1e-8), ("float32", 1e-4)])
def test_loss_and_logits_are_those_of_transformers(dtype, limit):
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    theirs = torch_model("token-classification", dtype, num_labels=len(labels))
    ours = paddle_twin(theirs, "token-classification", dtype)
    words = [["ada", "lovelace", "wrote", "it"], ["in", "london"], ["a" * 3] * 25]
    tags = [["B-PER", "I-PER", "O", "O"], ["O", "B-LOC"], ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"] * 5]
    tokens = dict.fromkeys([*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz", *(f"##{x}" for x in "abcdelnorvw")])
    tokenizer = MobileBertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    rows = with_labels(encode_sentences(words, tokenizer, 24, 8), tags, labels, False).rows
    assert len(rows) > 3  # windows
    batch = PackedDataset(rows, tokenizer.pad_token_id).batch(np.arange(len(rows)))
    assert (batch["labels"] >= 0).sum() == sum(map(len, words))  # each word once
    expected = theirs(**{name: torch.from_numpy(value) for name, value in batch.items()})
    output = ours(**{name: paddle.to_tensor(value) for name, value in batch.items()})
    for name in ("loss", "logits"):
        wanted = expected[name].detach().numpy()
        assert np.abs(output[name].numpy() - wanted).max() <= limit * np.abs(wanted).max()
    batch["labels"][batch["labels"] == 1] = 2
    other = ours(**{name: paddle.to_tensor(value) for name, value in batch.items()})
    assert abs(float(other.loss) - expected.loss.item()) > 1e-3
