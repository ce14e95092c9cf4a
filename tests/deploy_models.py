"""Small checkpoints with norms far from 1 and 0, for the tests of deployment."""

import json
from pathlib import Path

import numpy as np

from mobilebert.model.config import MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

_TEXT = (
    "the a of in was wrote by ada lovelace 1843 who when it program notes engine good bad film great boring and is ? ."
)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_TEXT.split()]
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "embedding_size": 64,
    "intra_bottleneck_size": 64,
    "max_position_embeddings": 64,
}


def perturb(model, seed: int = 0) -> None:
    """Give every parameter of a Paddle model a random value; activations stay of the order of 1."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        shape = parameter.shape
        if name.endswith("LayerNorm.weight"):
            value = rng.uniform(0.5, 1.5, shape) * rng.choice([1, -1], shape)
        elif name.endswith("bias"):
            value = rng.normal(0, 0.3, shape)
        else:
            value = rng.normal(0, 0.5 * shape[0] ** -0.5, shape)
        parameter.set_value(value.astype(str(parameter.dtype).removeprefix("paddle.")))
    model.eval()


def save_checkpoint(folder: Path, head: str, preset: str = "mobilebert", **changes) -> Path:
    """Write a small checkpoint with tokenizer; ``changes`` go to the config."""
    from mobilebert.model.heads import HEADS

    model = HEADS[head](MobileBertConfig.preset(preset, **{**SIZES, **changes}))
    perturb(model)
    words = model.get_input_embeddings().weight
    table = words.numpy()
    table[0] = 0.0  # as in every real checkpoint: the trigram of a row's last token reads the padding
    words.set_value(table)
    model.save_pretrained(folder)
    MobileBertTokenizer(vocab={word: index for index, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


def write_squad(path: Path, questions: int = 4) -> Path:
    """A SQuAD file whose contexts need two windows of 64 tokens."""
    context = "The engine was in it . Ada Lovelace wrote the notes in 1843 . " * 8
    start = context.index("Ada")
    qas = [
        {"id": f"q{i}", "question": "Who wrote it ?", "answers": [{"text": "Ada Lovelace", "answer_start": start}]}
        for i in range(questions)
    ]
    data = [{"title": "engine", "paragraphs": [{"context": context, "qas": qas}]}]
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    return path


def write_table(path: Path) -> Path:
    """A table of sentences with the labels 0 and 1."""
    rows = [("good film", 1), ("bad film", 0), ("a great engine", 1), ("boring notes and a bad program", 0)]
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows * 3))
    return path


def save_checkpoints_and_text(folder: Path) -> Path:
    """Write a checkpoint of both heads that a predictor knows, ``qa`` and ``sst2``, and labelled text for each."""
    save_checkpoint(folder / "qa", "question-answering")
    save_checkpoint(folder / "sst2", "sequence-classification", id2label={0: "negative", 1: "positive"})
    write_squad(folder / "squad.json")
    write_table(folder / "sst2.tsv")
    return folder
