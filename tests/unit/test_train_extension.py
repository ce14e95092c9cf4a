"""A finished run that goes on to a larger number of steps."""

import json

import numpy as np
import paddle
import pytest
from support.training import QUIET, Killed, Rows, loss_fn, network, records, weights

from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.train import Evaluation, Hooks, Start, TrainSettings, loop, train
from mobilebert.train.optim import learning_rate_at
from mobilebert.train.settings import LR_SCHEDULES

EPOCH = 7  # steps: 50 rows, 8 a step
SETTINGS = {**QUIET, "save_steps": 5, "eval_steps": 3, "warmup_ratio": 0.1, "best_metric": "loss"}


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr(loop.runlog, "draw_curves", lambda output_dir: None)


def run(folder, epochs, loss=loss_fn, start=Start(), score=lambda loss: loss, **settings):  # noqa: B008 (frozen)
    """A run of so many epochs, which evaluates on its own rows. Returns its model and its result."""
    paddle.seed(99)  # what the process did before must not matter
    model, whole = network(0.4), Rows().batch(np.arange(50))

    def evaluate(model):
        loss = loss_fn(model, {key: paddle.to_tensor(value) for key, value in whole.items()})
        return Evaluation({"loss": score(float(loss))})

    chosen = TrainSettings(**{**SETTINGS, "num_train_epochs": epochs, "best_is_higher": False, **settings})
    hooks = Hooks(evaluate=evaluate, save_best=lambda folder, _: (folder / "weights").write_text("x"))
    return model, train(model, Rows(), loss, chosen, folder, hooks=hooks, start=start)


def extend(folder, epochs, **options):
    return run(folder, epochs, start=Start(resume="latest", extend=True), **options)


def same_weights(one, other):
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def recorder(batches):
    def loss(model, batch):
        batches.append(batch["x"].numpy())
        return loss_fn(model, batch)

    return loss


def test_at_a_constant_rate_it_is_the_longer_run_to_the_last_bit(tmp_path):
    """Nothing but the rate knows the run's length: weights, moments, dropout and order must be the longer run's."""
    settings = {"lr_schedule": "constant", "warmup_ratio": 0.0}
    straight, _ = run(tmp_path / "straight", 3, **settings)
    first, _ = run(tmp_path / "cut", 2, **settings)
    extended, result = extend(tmp_path / "cut", 3, **settings)
    assert same_weights(extended, straight) and not same_weights(first, straight)
    for key in ("step", "epoch", "loss", "grad_norm", "lr"):
        assert [r[key] for r in records(tmp_path / "cut")] == [r[key] for r in records(tmp_path / "straight")]
    assert result.steps == 3 * EPOCH and result.epochs == 3.0


@pytest.mark.parametrize("schedule", LR_SCHEDULES)
@pytest.mark.parametrize("by_length", [False, True])
def test_the_order_is_the_longer_runs_and_the_rate_its_schedule_from_the_old_end_on(tmp_path, schedule, by_length):
    settings = {
        "lr_schedule": schedule,
        "group_by_length": by_length,
        "gradient_accumulation_steps": 2,
        "batch_size": 4,
    }
    straight, cut = [], []
    run(tmp_path / "straight", 3, recorder(straight), **settings)
    run(tmp_path / "cut", 2, recorder(cut), **settings)
    assert 0 < len(cut) < len(straight)
    extend(tmp_path / "cut", 3, loss=recorder(cut), **settings)
    assert len(cut) == len(straight) and all(np.array_equal(a, b) for a, b in zip(cut, straight, strict=True))

    chosen, old, new = TrainSettings(**SETTINGS, lr_schedule=schedule), 2 * EPOCH, 3 * EPOCH
    expected = [learning_rate_at(chosen, step, old if step < old else new) for step in range(new)]
    assert [record["lr"] for record in records(tmp_path / "cut")] == expected
    last, following = expected[old - 1], expected[old]
    assert (
        f"extended from {old} to {new} steps: the learning rate goes from {last:.3e}, its last, to {following:.3e}"
    ) in (tmp_path / "cut" / "run.log").read_text()


@pytest.mark.parametrize("death", [1, 3, 6])
def test_an_extension_that_was_cut_off_is_resumed_bit_for_bit(tmp_path, death):
    for name in ("whole", "cut"):
        run(tmp_path / name, 2)
    whole, expected = extend(tmp_path / "whole", 4)
    calls = 0

    def dying(model, batch):
        nonlocal calls
        calls += 1
        if calls == death:
            raise Killed
        return loss_fn(model, batch)

    with pytest.raises(Killed):
        extend(tmp_path / "cut", 4, loss=dying)
    # By itself, and with the flag left in, as in a job that is started again by its own command line.
    for start in (Start(resume="latest", extend=True), Start(resume="latest")):
        with pytest.raises(Killed):
            calls = 0
            run(tmp_path / "cut", 4, dying, start)
    resumed, result = run(tmp_path / "cut", 4, start=Start(resume="latest"))
    assert same_weights(resumed, whole)
    assert result.history == expected.history and result.best_step == expected.best_step
    with pytest.raises(InputError, match="num_train_epochs was 4, is 2"):
        run(tmp_path / "cut", 2, start=Start(resume="latest"))


def test_the_best_of_the_first_run_stays_until_it_is_beaten(tmp_path):
    scores = iter([0.9, 0.3, 0.5, 0.4, 0.6, 0.7, 0.31, 0.32])
    _, first = run(tmp_path, 2, score=lambda loss: next(scores))
    _, result = extend(tmp_path, 3, score=lambda loss: next(scores))
    assert result.best_step == first.best_step == 6 and result.best_metrics == first.best_metrics == {"loss": 0.3}
    assert result.history[: len(first.history)] == first.history and len(result.history) > len(first.history)
    scores = iter([0.1, 0.2])
    _, result = extend(tmp_path, 3.5, score=lambda loss: next(scores))
    assert result.best_step == 24 and result.best_metrics == {"loss": 0.1}


def test_max_steps_extends_too(tmp_path):
    run(tmp_path, 2)
    _, result = extend(tmp_path, 2, max_steps=17)
    assert result.steps == 17 and len(records(tmp_path)) == 17


def test_what_is_no_extension_is_refused_in_one_line(tmp_path):
    run(tmp_path, 2)
    state = (tmp_path / "checkpoints" / "step_00000014" / "state.json").read_bytes()
    for epochs, words in ((2, "14 steps is not extended to 14; raise `num_train_epochs`"), (1.5, "not extended to 11")):
        with pytest.raises(InputError, match=words):
            extend(tmp_path, epochs)
    with pytest.raises(InputError, match=r"\(learning_rate was 0.01, is 0.02\); resume with the same values$"):
        extend(tmp_path, 3, learning_rate=2e-2)
    with pytest.raises(InputError, match=r"was 2, is 3\); resume with the same values, or `extend` a finished run"):
        run(tmp_path, 3, start=Start(resume="latest"))
    with pytest.raises(InputError, match="step 10 of 14 is not the end of its run"):
        run(tmp_path, 3, start=Start(resume=tmp_path / "checkpoints" / "step_00000010", extend=True))
    with pytest.raises(InputError, match="`extend`: there is nothing to extend without a checkpoint; add `resume`"):
        Start(extend=True)
    assert (tmp_path / "checkpoints" / "step_00000014" / "state.json").read_bytes() == state


def test_a_run_that_was_stopped_early_is_not_extended(tmp_path):
    bad = {"loss": lambda model, batch: -loss_fn(model, batch), "early_stop_patience": 2}
    _, result = run(tmp_path, 4, **bad)
    assert result.stopped_early and result.steps < 4 * EPOCH
    with pytest.raises(InputError, match="`early_stop_patience=2` ended its run"):
        extend(tmp_path, 5, **bad)


def test_a_checkpoint_with_an_absurd_length_is_refused_by_its_file(tmp_path):
    run(tmp_path, 2)
    folder = tmp_path / "checkpoints" / "step_00000014"
    state = json.loads((folder / "state.json").read_text())
    state["identity"]["num_train_epochs"] = "many"
    (folder / "state.json").write_text(json.dumps(state))
    table = {"step": 14, "files": digests.describe(folder)}
    write_json(folder / digests.TABLE, table)
    with pytest.raises(InputError, match=r"state\.json: num_train_epochs='many'"):
        extend(tmp_path, 3)
