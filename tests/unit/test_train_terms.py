"""Losses of several terms, each a mean over things of its own, and sets that change in each epoch."""

import math

import numpy as np
import paddle
import pytest
from support.training import QUIET, Killed, Rows, network, records, weights

from mobilebert.base.errors import InputError
from mobilebert.train import Hooks, Start, Terms, TrainSettings, loop, train


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr(loop.runlog, "draw_curves", lambda output_dir: None)


class Changing(Rows):
    """Rows of which another part is marked in each epoch; only what is marked counts in the first term."""

    number = 0

    def of_epoch(self, epoch):
        view = type(self)()
        view.number = epoch
        return view

    def batch(self, indices):
        marked = (indices * 7 + self.number) % 3 == 0
        return {**super().batch(indices), "marked": marked.astype("float64")}


def two_terms(model, batch):
    """Cross-entropy over the marked rows, and a mean over all."""
    logits = model(batch["x"])
    losses = paddle.nn.functional.cross_entropy(logits, batch["y"], reduction="none").flatten()
    marked = batch["marked"]
    return paddle.stack([(losses * marked).sum() / marked.sum().clip(min=1), 0.3 * (logits**2).mean()])


TERMS = Terms(("choice", "size"), lambda batch: np.array([batch["marked"].sum(), len(batch["x"])]))


def run(folder, loss=two_terms, terms=TERMS, resume=None, model=None, **settings):
    model = model or network(dropout=settings.pop("dropout", 0.0))
    settings = TrainSettings(**{**QUIET, "max_steps": 14, **settings})
    train(model, Changing(), loss, settings, folder, hooks=Hooks(), start=Start(resume=resume), terms=terms)
    return model


def test_micro_batches_equal_one_batch_term_by_term(tmp_path):
    whole = run(tmp_path / "whole", batch_size=12, max_grad_norm=0.5)
    parts = run(tmp_path / "parts", batch_size=4, gradient_accumulation_steps=3, max_grad_norm=0.5)
    ones = run(tmp_path / "ones", batch_size=1, gradient_accumulation_steps=12, max_grad_norm=0.5)  # some have no mark
    for folder, model in (("parts", parts), ("ones", ones)):
        for key in ("loss", "choice_loss", "size_loss", "grad_norm"):
            expected, found = ([record[key] for record in records(tmp_path / name)] for name in ("whole", folder))
            np.testing.assert_allclose(found, expected, rtol=1e-11)
        for a, b in zip(weights(whole), weights(model), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)
    for record in records(tmp_path / "whole"):
        assert math.isclose(record["loss"], record["choice_loss"] + record["size_loss"], rel_tol=1e-12)

    # Negative control: the mean of the micro-batches' losses, each counted by its examples.
    run(
        tmp_path / "mean", lambda model, batch: two_terms(model, batch).sum(), None,
        batch_size=4, gradient_accumulation_steps=3, max_grad_norm=0.5,
    )  # fmt: skip
    expected, found = ([record["loss"] for record in records(tmp_path / name)] for name in ("whole", "mean"))
    assert not np.allclose(found, expected, rtol=1e-4)


def test_each_epoch_sees_its_own_set(tmp_path):
    seen = []

    def loss(model, batch):
        seen.append(batch["marked"].numpy().sum())
        return two_terms(model, batch)

    run(tmp_path, loss, batch_size=50, max_steps=3)
    assert seen == [((np.arange(50) * 7 + epoch) % 3 == 0).sum() for epoch in range(3)]


def test_a_step_without_anything_of_a_term_goes_on(tmp_path):
    terms = Terms(TERMS.names, lambda batch: np.array([0.0, len(batch["x"])]))
    run(tmp_path, terms=terms, max_steps=2)
    assert [record["choice_loss"] for record in records(tmp_path)] == [0.0, 0.0]


def test_a_killed_run_goes_on_bit_for_bit_in_the_middle_of_an_epoch(tmp_path):
    settings = {"dropout": 0.3, "optimizer": "lamb", "save_steps": 3, "log_steps": 4, "max_steps": 14}
    whole = run(tmp_path / "whole", **settings)
    calls = []

    def dying(model, batch):
        calls.append(1)
        if len(calls) == 12:
            raise Killed
        return two_terms(model, batch)

    with pytest.raises(Killed):
        run(tmp_path / "cut", dying, **settings)
    # From step 9 to a log step over 9 to 12: what was summed up before is in the checkpoint.
    cut = run(tmp_path / "cut", resume="latest", **settings)
    for a, b in zip(weights(whole), weights(cut), strict=True):
        assert np.array_equal(a, b)
    for key in ("loss", "choice_loss", "size_loss"):
        assert [r[key] for r in records(tmp_path / "whole")] == [r[key] for r in records(tmp_path / "cut")]
    with pytest.raises(InputError, match="optimizer was lamb, is adamw"):
        run(tmp_path / "cut", resume="latest", **{**settings, "optimizer": "adamw"})


def test_a_checkpoint_from_before_there_were_optimizers_is_adamws(tmp_path, monkeypatch):
    from mobilebert.train import run as begins

    identify = begins.identify
    without = lambda *values: {k: v for k, v in identify(*values).items() if k != "optimizer"}  # noqa: E731
    with monkeypatch.context() as older:
        older.setattr(begins, "identify", without)
        run(tmp_path, save_steps=7, max_steps=7)
    run(tmp_path, save_steps=7, max_steps=7, resume="latest")
    with pytest.raises(InputError, match="optimizer was adamw, is lamb"):
        run(tmp_path, save_steps=7, max_steps=7, resume="latest", optimizer="lamb")
