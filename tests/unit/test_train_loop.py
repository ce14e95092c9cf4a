"""The loop on a small model: accumulation, clipping, guards, evaluation, early stop, logs, resume."""

import json
import math
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import paddle
import pytest
import torch
from support.training import QUIET, Killed, Rows, loss_fn, network, records, weights

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import file_digest
from mobilebert.train import Evaluation, Hooks, Start, TrainSettings, loop, train
from mobilebert.train.optim import learning_rate_at
from mobilebert.train.sampler import step_examples


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Drawing takes longer than all these runs; one test wants it."""
    monkeypatch.setattr(loop.runlog, "draw_curves", lambda output_dir: None)


def run(
    folder, model=None, data=None, loss=loss_fn, evaluate=None, resume=None, save_best=None, example_weights=None,
    **settings,
):  # fmt: skip
    model = model or network()
    settings = TrainSettings(**{**QUIET, "max_steps": 14, **settings})
    hooks = Hooks(evaluate=evaluate, save_best=save_best, copy_from_best=("answers",))
    result = train(
        model, Rows() if data is None else data, loss, settings, folder, hooks=hooks, start=Start(resume=resume),
        weights=example_weights,
    )  # fmt: skip
    return model, result


def losses(folder):
    return [record["loss"] for record in records(folder)]


def test_the_loop_equals_the_same_loop_in_torch(tmp_path):
    data, settings = Rows(), TrainSettings(**{**QUIET, "max_steps": 14, "max_grad_norm": 0.3})
    model = network()
    twin = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)).double()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        theirs.data = torch.tensor(ours.numpy().T if ours.ndim == 2 else ours.numpy())
    decay = [{"params": [p], "weight_decay": 0.1 if p.ndim == 2 else 0.0} for p in twin.parameters()]
    optimizer = torch.optim.AdamW(decay, betas=(0.9, 0.98), eps=1e-6)
    expected = []
    for step, indices in enumerate(step_examples(data.lengths, 8, 42, False, 0, 14)):
        loss = torch.nn.functional.cross_entropy(twin(torch.tensor(data.x[indices])), torch.tensor(data.y[indices]))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.3)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(settings, step, 14)
        optimizer.step()
        expected.append((loss.item(), norm.item()))
    run(tmp_path, model, data, max_grad_norm=0.3)
    ours = [(record["loss"], record["grad_norm"]) for record in records(tmp_path)]
    np.testing.assert_allclose(ours, expected, rtol=1e-8)
    assert max(norm for _, norm in ours) > 0.3  # clipping had something to do
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy().T if p.ndim == 2 else q.detach().numpy(), rtol=1e-8)


def test_a_run_of_hours_says_so_after_a_few_steps(tmp_path, monkeypatch):
    run(tmp_path / "short", max_steps=4)
    assert "s a step on this machine" not in (tmp_path / "short/run.log").read_text()
    monkeypatch.setattr(loop, "LONG_SECONDS", 0.0)
    run(tmp_path / "long", max_steps=4)
    said = [line for line in (tmp_path / "long/run.log").read_text().splitlines() if "s a step on this machine" in line]
    assert len(said) == 1 and said[0].endswith(" s a step on this machine: some 0:00:00 to go, evaluations not counted")


def test_micro_batches_equal_one_large_batch_the_short_last_one_too(tmp_path):
    # 50 examples in steps of 12: the last step of an epoch has 2, and 12 = 5 + 5 + 2.
    whole, _ = run(tmp_path / "whole", batch_size=12, max_grad_norm=0.5)
    parts, _ = run(tmp_path / "parts", batch_size=4, gradient_accumulation_steps=3, max_grad_norm=0.5)
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "whole"), rtol=1e-12)
    for a, b in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    run(tmp_path / "other", batch_size=5, gradient_accumulation_steps=3, max_grad_norm=0.5)  # negative control
    assert not np.allclose(losses(tmp_path / "other"), losses(tmp_path / "whole"), rtol=1e-6)


def test_the_last_uneven_micro_batch_has_its_own_weight(tmp_path):
    # One step over all 50 examples: micro-batches of 20, 20 and 10.
    one, _ = run(tmp_path / "one", batch_size=50, max_steps=3)
    three, _ = run(tmp_path / "three", batch_size=20, gradient_accumulation_steps=3, max_steps=3)
    np.testing.assert_allclose(losses(tmp_path / "three"), losses(tmp_path / "one"), rtol=1e-12)
    for a, b in zip(weights(one), weights(three), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_weighted_examples_give_torchs_weighted_mean_however_a_step_is_cut(tmp_path):
    data, by_class = Rows(), np.array([0.5, 4.0])

    def weighted(model, batch):
        return paddle.nn.functional.cross_entropy(model(batch["x"]), batch["y"], weight=paddle.to_tensor(by_class))

    def losses_of(name, loss=weighted, **settings):
        model, _ = run(tmp_path / name, data=data, loss=loss, example_weights=by_class[data.y], **settings)
        return losses(tmp_path / name), weights(model)

    whole, after_whole = losses_of("whole", batch_size=12)
    parts, after_parts = losses_of("parts", batch_size=4, gradient_accumulation_steps=3)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    for a, b in zip(after_whole, after_parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)

    first = next(step_examples(data.lengths, 12, 42, False, 0, 1))
    criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor(by_class))
    logits = torch.tensor(network()(paddle.to_tensor(data.x[first])).numpy())
    assert whole[0] == pytest.approx(criterion(logits, torch.tensor(data.y[first])).item(), rel=1e-12)

    # Negative control: micro-batches that count by their examples, as without weights, are another loss.
    run(tmp_path / "counted", data=data, loss=weighted, batch_size=4, gradient_accumulation_steps=3)
    assert not np.allclose(losses(tmp_path / "counted"), whole, rtol=1e-4)


@pytest.mark.parametrize("bad", [np.ones(49), np.zeros(50), np.full(50, -1.0)], ids=["few", "zero", "negative"])
def test_weights_are_as_many_as_the_examples_and_above_0(tmp_path, bad):
    with pytest.raises(InputError, match=f"{len(bad)} weights for 50 examples: expected as many, each above 0"):
        run(tmp_path, example_weights=bad)


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_a_step_that_is_not_finite_names_itself_and_keeps_its_batch(tmp_path, how):
    def broken(model, batch):
        loss = loss_fn(model, batch)
        hit = batch["y"].sum() == hit_sum
        if how == "loss":
            return loss / (1 - hit.astype("float64"))
        root = paddle.sqrt(model[0].bias * 0)  # its gradient at 0 is not finite, itself is 0
        return loss + root.sum() * hit.astype("float64")

    data = Rows()
    order = list(step_examples(data.lengths, 8, 42, False, 0, 14))
    hit_sum = int(data.y[order[3]].sum())
    first = next(step for step, indices in enumerate(order) if data.y[indices].sum() == hit_sum) + 1
    if how == "gradient":
        first = 1  # 0 * inf is NaN whatever the factor
    with pytest.raises(InputError) as error:
        run(tmp_path, loss=broken)
    text, ids = str(error.value), data.example_ids(order[first - 1])
    assert text.startswith(f"step {first}: loss ") and "\n" not in text and ", ".join(ids) in text
    rate = learning_rate_at(TrainSettings(**QUIET), first - 1, 14)
    assert f"at learning rate {rate:g}; the 8 examples are" in text and "on_nan=skip" in text
    assert "0.bias" in text and ("loss inf" in text) == (how == "loss")
    dumped = np.load(tmp_path / f"nonfinite_step{first}.npz")
    assert dumped["example_ids"].tolist() == ids and np.array_equal(dumped["x"], data.x[order[first - 1]])


def nan_in(data, bad_row):
    data.x[bad_row, 2] = np.nan
    return data


def test_skipping_leaves_the_update_out_and_counts(tmp_path, capsys):
    bad_row = 11
    model, result = run(tmp_path, data=nan_in(Rows(), bad_row), on_nan="skip")
    order = list(step_examples(Rows().lengths, 8, 42, False, 0, 14))
    hits = [step + 1 for step, indices in enumerate(order) if bad_row in indices]
    assert result.skipped_steps == len(hits) == 2 and result.steps == 14
    assert [record["step"] for record in records(tmp_path) if record["loss"] is None] == hits
    assert all(np.isfinite(array).all() for array in weights(model))
    assert records(tmp_path)[-1]["skipped_steps"] == 2 and "update skipped (2 so far)" in capsys.readouterr().out


def test_a_run_that_skips_every_step_ends(tmp_path):
    data = Rows()
    data.x[:] = np.nan
    with pytest.raises(InputError, match="10 in a row, the run has diverged"):
        run(tmp_path, data=data, on_nan="skip")


def test_fp16_loss_scale_changes_nothing_but_survives_overflow(tmp_path, monkeypatch, capsys):
    # A CPU has no fp16; what is tried here is the scale, on float32.
    monkeypatch.setattr("mobilebert.train.run.check_amp", lambda amp: None)
    monkeypatch.setattr(loop, "autocast", lambda amp: nullcontext)
    data = Rows(dtype="float32")
    plain, _ = run(tmp_path / "plain", network(dtype="float32"), data, max_grad_norm=0.2)
    scaled, _ = run(tmp_path / "scaled", network(dtype="float32"), data, max_grad_norm=0.2, amp="fp16")
    np.testing.assert_allclose(losses(tmp_path / "scaled"), losses(tmp_path / "plain"), rtol=1e-5)
    for a, b in zip(weights(plain), weights(scaled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

    def huge(model, batch):
        return loss_fn(model, batch) * 1e16  # its squared gradient overflows float32 at scale 65536, not at 1

    capsys.readouterr()
    _, result = run(tmp_path / "huge", network(dtype="float32"), data, loss=huge, amp="fp16", max_steps=30)
    lowered = capsys.readouterr().out.count("fp16 overflow, loss scale lowered")
    assert 1 <= lowered <= 16 and result.skipped_steps == 0 and math.isfinite(result.train_loss)


def test_best_final_and_early_stop(tmp_path):
    scores, saved = iter([0.5, 0.7, 0.7, 0.6, 0.9]), []

    def evaluate(model):
        assert not model.training and not paddle.is_grad_enabled()
        paddle.rand([10])  # draws here must not change the run
        score = next(scores)
        return Evaluation({"score": score, "count": np.int64(3)}, outputs=f"answers of {score}")

    def save_best(folder, answers):
        saved.append(folder)
        (folder / "model").write_text(str(len(saved)))
        (folder / "answers").write_text(answers)

    common = {"eval_steps": 2, "best_metric": "score", "early_stop_patience": 2, "max_steps": 20}
    model, result = run(tmp_path, network(0.3), evaluate=evaluate, save_best=save_best, **common)
    assert result.stopped_early and result.steps == 8 and not model.training
    assert (result.best_step, result.best_metrics) == (4, {"score": 0.7, "count": 3})
    assert result.final_metrics == {"score": 0.6, "count": 3}
    assert [record["score"] for record in result.history] == [0.5, 0.7, 0.7, 0.6] and result.history == records(
        tmp_path, "eval.jsonl"
    )
    assert (tmp_path / "best" / "model").read_text() == "2"
    assert (tmp_path / "best" / "answers").read_text() == (tmp_path / "answers").read_text() == "answers of 0.7"
    assert {"best/model", "best/answers", "answers"} <= outputs.recorded(tmp_path)
    run(tmp_path / "unwatched", network(0.3), max_steps=20)
    assert losses(tmp_path) == losses(tmp_path / "unwatched")[:8]


def test_a_lower_metric_can_be_the_better_one(tmp_path):
    values = iter([3.0, 1.0, 2.0])
    _, result = run(
        tmp_path,
        evaluate=lambda model: Evaluation({"perplexity": next(values)}),
        best_metric="perplexity",
        best_is_higher=False,
        eval_steps=5,
    )
    assert (result.best_step, result.best_metrics["perplexity"]) == (10, 1.0)


def test_a_best_metric_that_the_evaluation_lacks_is_named(tmp_path):
    with pytest.raises(InputError, match="best_metric=f2: the evaluation gives f1, exact"):
        run(tmp_path, evaluate=lambda model: Evaluation({"f1": 1.0, "exact": 1.0}), best_metric="f2", eval_steps=1)


def test_somebody_elses_file_is_not_replaced_by_a_copy_from_best(tmp_path):
    (tmp_path / "answers").write_text("mine")
    with pytest.raises(InputError, match="answers: is there already, and not as the output of a run"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["answers"]


def test_an_empty_train_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="the train set is empty"):
        run(tmp_path, data=Rows(0))
    assert not list(tmp_path.iterdir())


def test_early_stop_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match="early_stop_patience=2: there is no evaluation"):
        run(tmp_path, early_stop_patience=2, best_metric="f1")


def test_epochs_may_be_fractions_and_end_with_a_short_batch(tmp_path):
    _, result = run(tmp_path, max_steps=0, num_train_epochs=1.5)
    assert result.steps == math.ceil(1.5 * 7) and records(tmp_path)[6]["epoch"] == 1.0


def test_everything_is_logged(tmp_path, monkeypatch):
    monkeypatch.undo()  # draw the curves
    settings = {
        "evaluate": lambda model: Evaluation({"f1": 0.5, "loss": 1.0}),
        "eval_steps": 5,
        "best_metric": "f1",
        "log_steps": 4,
    }
    run(tmp_path, **settings)
    assert [record["step"] for record in records(tmp_path)] == [4, 8, 12, 14]
    keys = "step epoch loss lr grad_norm examples_per_second tokens_per_second peak_memory_mib seconds_left"
    assert set(keys.split()) <= set(records(tmp_path)[0])
    text = (tmp_path / "run.log").read_text()
    for words in (
        f"paddle {paddle.__version__}",
        "device cpu",
        '"learning_rate": 0.01',
        "data: 50 examples",
        "step 8/14",
        "evaluation at step 10: f1 0.5000",
        "dev-selected (step 5, best f1)",
        "final checkpoint (step 14)",
    ):
        assert words in text
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    from visualdl import LogReader

    (log,) = (tmp_path / "logs").iterdir()
    tags = LogReader(file_path=str(log)).get_tags()
    assert {"train/loss", "train/lr", "train/grad_norm", "eval/f1"} <= set(tags["scalar"])
    points = LogReader(file_path=str(log)).get_data("scalar", "train/loss")
    assert [point.id for point in points] == [4, 8, 12, 14]


@pytest.mark.parametrize("settings", [{}, {"group_by_length": True, "gradient_accumulation_steps": 2, "log_steps": 3}])
def test_a_resumed_run_is_the_tail_of_the_straight_one(tmp_path, settings):
    settings = {**settings, "save_steps": 4, "eval_steps": 3, "best_metric": "loss", "best_is_higher": False}
    whole = Rows().batch(np.arange(50))

    def evaluate(model):
        loss = loss_fn(model, {key: paddle.to_tensor(value) for key, value in whole.items()})
        return Evaluation({"loss": float(loss)})

    straight, expected = run(tmp_path / "straight", network(0.4), evaluate=evaluate, max_steps=25, **settings)
    calls = 0

    def dying(model, batch):
        nonlocal calls
        calls += 1
        if calls % 17 == 0:
            raise Killed
        return loss_fn(model, batch)

    resume, deaths = None, 0
    while True:
        try:
            paddle.seed(deaths)  # what the process did before must not matter
            model = network(0.4)
            model, result = run(
                tmp_path / "cut", model, loss=dying, evaluate=evaluate, resume=resume, max_steps=25, **settings
            )
            break
        except Killed:
            resume, deaths = "latest", deaths + 1
    assert deaths >= 1
    for key in ("loss", "lr", "grad_norm"):
        assert [r[key] for r in records(tmp_path / "cut")] == [r[key] for r in records(tmp_path / "straight")]
    assert result.history == expected.history and result.best_step == expected.best_step
    for a, b in zip(weights(model), weights(straight), strict=True):
        assert np.array_equal(a, b)


def test_resuming_something_else_is_refused_by_name(tmp_path):
    run(tmp_path, save_steps=5, max_steps=10)
    for changed, words in (
        ({"learning_rate": 2e-2}, "learning_rate was 0.01, is 0.02"),
        ({"max_steps": 12}, "max_steps was 10, is 12"),
        ({"data": Rows(49)}, "number of examples was 50, is 49"),
    ):
        with pytest.raises(InputError, match=words):
            run(tmp_path, resume="latest", save_steps=5, **{"max_steps": 10, **changed})
    with pytest.raises(
        InputError, match=r"checkpoint of another model \(0.weight is \[6, 16\] there, \[6, 15\] here\)"
    ):
        other = paddle.nn.Sequential(paddle.nn.Linear(6, 15), paddle.nn.Linear(15, 2))
        run(tmp_path, other, resume="latest", save_steps=5, max_steps=10)
    _, result = run(tmp_path, resume="latest", save_steps=7, log_steps=3, max_steps=10)
    assert result.steps == 10


def test_a_checkpoint_of_other_devices_is_refused_in_one_line(tmp_path):
    run(tmp_path, save_steps=5, max_steps=10)
    folder = tmp_path / "checkpoints" / "step_00000010"
    state = json.loads((folder / "state.json").read_text())
    (states,) = (rank["paddle"] for rank in state["random"])
    states["gpu"] = 2 * states["cpu"]  # as a machine with two GPUs has it
    (folder / "state.json").write_text(json.dumps(state))
    manifest = json.loads((folder / "manifest.json").read_text())
    facts = {"bytes": (folder / "state.json").stat().st_size, "sha256": file_digest(folder / "state.json")}
    manifest["files"]["state.json"] = facts
    (folder / "manifest.json").write_text(json.dumps(manifest))
    model = network()
    before = weights(model)
    with pytest.raises(InputError, match=r"other devices \(random generators: 1 cpu, 2 gpu; here: 1 cpu\)"):
        run(tmp_path, model, resume="latest", save_steps=5, max_steps=10)
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True))


def test_an_earlier_run_is_neither_mixed_with_nor_deleted_unasked(tmp_path):
    run(tmp_path, save_steps=5)
    (tmp_path / "args.json").write_text("not ours")
    with pytest.raises(InputError, match="holds an earlier run"):
        run(tmp_path, save_steps=5)
    settings = TrainSettings(**{**QUIET, "max_steps": 3})
    train(network(), Rows(), loss_fn, settings, tmp_path, start=Start(overwrite=True))
    assert len(records(tmp_path)) == 3 and (tmp_path / "args.json").exists()
    assert not (tmp_path / "checkpoints").exists()


def test_peak_memory_is_this_process_own():
    code = "from mobilebert.train import runlog; print(runlog.peak_memory_mib())"
    parent = (
        "import subprocess, sys; block = b'x' * (1 << 30);"
        f"print(subprocess.run([sys.executable, '-c', {code!r}], stdout=subprocess.PIPE, text=True).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 50 < int(done.stdout.split()[-1]) < 800
