"""GLUE against transformers/torch: encoded examples, the loss, and a few steps of training on the same batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from mobilebert.convert.convert import convert
from mobilebert.data.classify.encode import encode_examples
from mobilebert.data.collate import PackedDataset
from mobilebert.data.glue.files import read_split
from mobilebert.data.glue.tasks import TASKS
from mobilebert.model.config import MobileBertConfig
from mobilebert.tasks import class_scores, classifier, classify
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train.optim import learning_rate_at
from mobilebert.train.sampler import epoch_order
from mobilebert.train.settings import TrainSettings

SAMPLES = Path(__file__).parents[2] / "samples" / "glue"


@pytest.fixture(scope="module")
def vocab(tmp_path_factory):
    words = sorted({word for path in SAMPLES.rglob("*.t*") for word in path.read_text("utf-8-sig").lower().split()})
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("name", ["cola", "mrpc", "mnli", "qqp"])
@pytest.mark.parametrize("max_seq_length", [12, 64])
def test_examples_are_encoded_as_transformers_does(vocab, name, max_seq_length):
    task = TASKS[name]
    examples = read_split(task, SAMPLES, "train")
    ours = PackedDataset(encode_examples(examples, MobileBertTokenizer(vocab_file=vocab), max_seq_length), 0)
    tokenizer = transformers.BertTokenizerFast(vocab=str(vocab), do_lower_case=True)
    theirs = tokenizer(
        examples.texts, examples.pairs, truncation=True, max_length=max_seq_length, padding=True, return_tensors="np"
    )
    batch = ours.batch(np.arange(len(ours)))
    for key in ("input_ids", "attention_mask", "token_type_ids"):
        np.testing.assert_array_equal(batch[key], theirs[key])
    swapped = tokenizer(examples.texts[::-1], examples.pairs and examples.pairs[::-1], truncation=True,
                        max_length=max_seq_length, padding="max_length", return_tensors="np")  # fmt: skip
    assert not np.array_equal(batch["input_ids"], swapped["input_ids"][:, : batch["input_ids"].shape[1]])


def settings_of(**changes):
    values = {
        "num_train_epochs": 4, "batch_size": 16, "learning_rate": 1e-3, "lr_schedule": "linear", "max_grad_norm": 1.0,
        "weight_decay": 0.01, "eval_steps": 0, "save_steps": 0, "log_steps": 1, "seed": 3, "group_by_length": True,
    }  # fmt: skip
    return TrainSettings(**{**values, **changes})


def torch_losses(model, data, settings):
    """The loss of every step, trained by torch in the order and with the schedule of ``settings``."""
    groups = [
        {"params": [p for p in model.parameters() if (p.ndim >= 2) == decayed], "weight_decay": decay}
        for decayed, decay in ((True, settings.weight_decay), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, betas=(settings.adam_beta1, settings.adam_beta2), eps=settings.adam_epsilon)
    size, losses = settings.batch_size, []
    steps = -(-len(data) // size)
    total = int(settings.num_train_epochs * steps)
    model.train()
    for step in range(total):
        order = epoch_order(data.lengths, size, settings.seed, step // steps, settings.group_by_length)
        batch = data.batch(order[step % steps * size :][:size])
        loss = model(**{key: torch.from_numpy(value) for key, value in batch.items()}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(settings, step, total)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", ["sst2", "stsb"])
def test_training_follows_torch_step_by_step(vocab, name, tmp_path):
    from mobilebert.train import train
    from mobilebert.train.runlog import read_records

    task, settings = TASKS[name], settings_of()
    tokenizer = MobileBertTokenizer(vocab_file=vocab)
    config = MobileBertConfig(
        vocab_size=len(tokenizer), hidden_size=32, embedding_size=16, intra_bottleneck_size=16, intermediate_size=32,
        num_hidden_layers=2, num_attention_heads=2, num_feedforward_networks=2, max_position_embeddings=64,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.1,
    )  # fmt: skip
    model, labels, _ = classifier.build_model(task, config=config)
    model.save_pretrained(tmp_path / "paddle")
    convert(tmp_path / "paddle", tmp_path / "torch", reverse=True)
    reference = transformers.MobileBertForSequenceClassification.from_pretrained(tmp_path / "torch")
    examples = read_split(task, SAMPLES, "train", labels)
    data = classify.encode(task, examples, tokenizer, 64, None)

    train(model, data, lambda net, batch: net(**batch).loss, settings, tmp_path / "run")
    ours = [record["loss"] for record in read_records(tmp_path / "run" / "train.jsonl")]
    theirs = torch_losses(reference, data, settings)
    assert len(ours) == len(theirs) >= 12
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)

    again = transformers.MobileBertForSequenceClassification.from_pretrained(tmp_path / "torch")
    assert not np.allclose(torch_losses(again, data, settings_of(seed=4)), theirs, rtol=1e-3)  # the order matters


def test_the_mean_loss_is_transformers_loss(vocab, tmp_path):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, 3)), rng.integers(0, 3, 7)
    theirs = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert class_scores.mean_loss(TASKS["mnli"], logits, labels) == pytest.approx(theirs, rel=1e-12)
    assert class_scores.mean_loss(TASKS["mnli"], logits, (labels + 1) % 3) != pytest.approx(theirs, rel=1e-3)
