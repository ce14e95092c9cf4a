"""Fifty steps of pre-training: our loop against transformers' model, torch's AdamW and its schedule."""

import json
from dataclasses import replace

import numpy as np
import torch
import transformers
from support.models import SIZES, paddle_twin
from support.pretraining import Rows

from mobilebert.data.collate import INPUT_NAMES
from mobilebert.tasks.pretrain import PRETRAINING_TERMS, EpochRows, pretraining_loss
from mobilebert.train import TrainSettings, train
from mobilebert.train.sampler import step_examples

STEPS, BATCH = 50, 8
SETTINGS = TrainSettings(
    max_steps=STEPS,
    batch_size=BATCH // 2,
    gradient_accumulation_steps=2,  # with other numbers of masked tokens: it must not show
    learning_rate=1e-2,
    lr_schedule="linear",
    max_grad_norm=1.0,
    log_steps=1,
    save_steps=0,
)


def ours_and_theirs(folder, steps=STEPS, more_tokens=0.0):
    """The loss of every step, ours and theirs; theirs with so much added to the number of masked tokens."""
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    changes = {"hidden_dropout_prob": 0.0, "initializer_range": 0.1, "attn_implementation": "eager"}
    config = transformers.MobileBertConfig(**SIZES, **changes)
    theirs = transformers.MobileBertForPreTraining(config).double().train()
    ours = paddle_twin(theirs, "pretraining")
    data = EpochRows(Rows(), SETTINGS.seed)
    train(ours, data, pretraining_loss, replace(SETTINGS, max_steps=steps), folder, terms=PRETRAINING_TERMS)
    losses = [json.loads(line)["loss"] for line in (folder / "train.jsonl").read_text().splitlines()]

    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": SETTINGS.weight_decay},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=SETTINGS.learning_rate, betas=(0.9, 0.98), eps=1e-6)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    expected = []
    for step, indices in enumerate(step_examples(data.lengths, BATCH, SETTINGS.seed, False, 0, steps)):
        batch = data.of_epoch(step // -(-len(data) // BATCH)).batch(indices)
        labels = np.full(batch["input_ids"].shape, -100)
        rows, columns = np.nonzero(batch["masked_weights"])
        labels[rows, batch["masked_positions"][rows, columns]] = batch["masked_ids"][rows, columns]
        inputs = {name: torch.from_numpy(batch[name]) for name in (*INPUT_NAMES, "next_sentence_label")}
        output = theirs(labels=torch.from_numpy(labels), **inputs)
        pairs = torch.nn.functional.cross_entropy(output.seq_relationship_logits, inputs["next_sentence_label"])
        loss = pairs + (output.loss - pairs) * (len(rows) / (len(rows) + more_tokens)) if more_tokens else output.loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), SETTINGS.max_grad_norm)
        optimizer.step()
        schedule.step()
        expected.append(loss.item())
    return np.array(losses), np.array(expected)


def test_fifty_steps_agree(tmp_path):
    losses, expected = ours_and_theirs(tmp_path)
    assert len(losses) == STEPS and expected[-5:].mean() < expected[:5].mean() - 0.3  # it learns
    error = np.abs(losses / expected - 1).max()
    print(f"loss {losses[0]:.4f} to {losses[-1]:.4f}, largest relative error {error:.1e}")
    assert error < 1e-8


def test_googles_other_denominator_is_noticed(tmp_path):
    """Negative control: Google's code divides by the number of masked tokens + 1e-5."""
    losses, expected = ours_and_theirs(tmp_path, steps=1, more_tokens=1e-5)
    assert 1e-8 < np.abs(losses / expected - 1).max() < 1e-6
