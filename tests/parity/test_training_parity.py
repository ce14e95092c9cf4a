"""Fifty steps on real SQuAD features: our loop and Paddle against transformers, torch's AdamW and its LambdaLR."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from support.models import paddle_twin

from mobilebert.data.collate import PackedDataset
from mobilebert.data.qa.features import load_train_features
from mobilebert.model import weights
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import TrainSettings, train
from mobilebert.train.sampler import step_examples

pytestmark = pytest.mark.slow

STEPS, BATCH, LENGTH = 50, 4, 96
SETTINGS = TrainSettings(
    max_steps=STEPS,
    batch_size=BATCH,
    learning_rate=3e-4,
    min_lr=0.0,
    decay_ratio=1.0,
    max_grad_norm=1.0,
    log_steps=1,
    save_steps=0,
)
CONFIG = {
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "embedding_size": 32,
    "intra_bottleneck_size": 32,
    "intermediate_size": 64,
    "num_feedforward_networks": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_activation": False,
    "attn_implementation": "eager",
}


@pytest.fixture(scope="module")
def data(data_folder, tmp_path_factory):
    """Features of one real article."""
    folder = tmp_path_factory.mktemp("squad")
    whole = json.loads((data_folder / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))
    article = {"version": "1.1", "data": [{**whole["data"][0], "paragraphs": whole["data"][0]["paragraphs"][:12]}]}
    (folder / "train.json").write_text(json.dumps(article), encoding="utf-8")
    tokenizer = MobileBertTokenizer.from_pretrained(str(data_folder / "vocab.txt"))
    rows = load_train_features(
        str(folder / "train.json"),
        tokenizer,
        max_seq_length=LENGTH,
        doc_stride=32,
        version_2_with_negative=False,
        on_bad_answer="error",
        cache_folder=None,
    )
    return PackedDataset(rows, tokenizer.pad_token_id)


def both(data, dtype, folder, steps=STEPS, weight_decay_of_biases=0.0):
    """Our and their loss of every step, and the relative error of the final weights."""
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    theirs = transformers.MobileBertForQuestionAnswering(transformers.MobileBertConfig(**CONFIG))
    theirs = theirs.to(getattr(torch, dtype)).train()
    ours = paddle_twin(theirs, "question-answering", dtype)

    train(ours, data, lambda net, batch: net(**batch).loss, replace(SETTINGS, max_steps=steps), folder)
    losses = [json.loads(line)["loss"] for line in (folder / "train.jsonl").read_text().splitlines()]

    plain = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": SETTINGS.weight_decay},
        {"params": plain, "weight_decay": weight_decay_of_biases},
    ]
    optimizer = torch.optim.AdamW(groups, lr=SETTINGS.learning_rate, betas=(0.9, 0.98), eps=1e-6)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, steps // 10, steps)
    expected = []
    for indices in step_examples(data.lengths, BATCH, SETTINGS.seed, False, 0, steps):
        batch = {name: torch.from_numpy(array) for name, array in data.batch(indices).items()}
        loss = theirs(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), SETTINGS.max_grad_norm)
        optimizer.step()
        schedule.step()
        expected.append(loss.item())
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    twins, _ = weights.fit_state(ours, state, "pt", "the torch model")  # in Paddle's layout
    # Over all weights together: single ones whose true gradient is 0, such as a key's bias, follow AdamW's rounding.
    difference = np.concatenate([(p.numpy() - twins[name]).ravel() for name, p in ours.named_parameters()])
    scale = np.concatenate([array.ravel() for array in twins.values()])
    return np.array(losses), np.array(expected), np.linalg.norm(difference) / np.linalg.norm(scale)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-8), ("float32", 1e-3)])
def test_fifty_steps_agree(data, tmp_path, dtype, tolerance):
    losses, expected, weight_error = both(data, dtype, tmp_path)
    assert len(losses) == STEPS and expected[-5:].mean() < expected[:5].mean()  # it learns
    loss_error = np.abs(losses / expected - 1).max()
    print(
        f"{dtype}: loss {losses[0]:.4f} to {losses[-1]:.4f}, error of loss {loss_error:.1e}, weights {weight_error:.1e}"
    )
    assert loss_error < tolerance and weight_error < tolerance


def test_decaying_the_biases_is_noticed(data, tmp_path):
    """Negative control."""
    losses, expected, weight_error = both(data, "float64", tmp_path, steps=10, weight_decay_of_biases=0.1)
    assert np.abs(losses / expected - 1).max() > 1e-8 and weight_error > 1e-6
