"""Runs of several stages: what learns, how fast, and that a resumed one goes on bit for bit."""

import numpy as np
import paddle
import pytest
from support.training import QUIET, Killed, Rows, loss_fn, network, records, weights

from mobilebert.base.errors import InputError
from mobilebert.train import Evaluation, Hooks, Start, TrainSettings, loop, train
from mobilebert.train.stages import Stage


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr(loop.runlog, "draw_curves", lambda output_dir: None)


class Changing:
    """A loss that is another one in each stage, as it is told."""

    def __init__(self, kill_at=None):
        self.factor, self.calls, self.kill_at = 1.0, 0, kill_at

    def stages(self):
        def stage(name, factor, share_of):
            def begin():
                self.factor = factor

            return Stage(name, 4, lambda step: 1e-2 / (1 + step), share_of, begin)

        return (
            stage("first layer", 1.0, lambda name: float(name.startswith("0."))),
            stage("second layer, the first slowly", 3.0, lambda name: 0.1 if name.startswith("0.") else 1.0),
            stage("all", 0.5, lambda name: 1.0),
        )

    def __call__(self, model, batch):
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed
        return loss_fn(model, batch) * self.factor


def run(folder, loss, resume=None, **settings):
    model = network(dropout=0.2)
    settings = TrainSettings(**{**QUIET, "max_steps": 12, "save_steps": 1, "weight_decay": 0.1, **settings})
    train(model, Rows(), loss, settings, folder, hooks=Hooks(stages=loss.stages()), start=Start(resume=resume))
    return model


def test_each_stage_has_its_own_rates_and_what_has_none_stays(tmp_path):
    before, seen = weights(network()), []
    loss = Changing()

    class Spy(Changing):
        def __call__(self, model, batch):
            seen.append((weights(model), [p.stop_gradient for p in model.parameters()]))
            return super().__call__(model, batch)

    loss = Spy()
    run(tmp_path, loss)
    after_first = seen[4][0]
    assert not np.array_equal(after_first[0], before[0])
    for index in (2, 3):  # the upper layer: not even decayed
        np.testing.assert_array_equal(after_first[index], before[index])
    assert [frozen for _, frozen in seen[::4]] == [[False, False, True, True], [False] * 4, [False] * 4]
    assert [record["stage"] for record in records(tmp_path)] == [1] * 4 + [2] * 4 + [3] * 4
    assert [record["lr"] for record in records(tmp_path)] == [1e-2 / (1 + step) for step in range(4)] * 3
    log = (tmp_path / "run.log").read_text()
    assert "stage 2 of 3, second layer, the first slowly: steps 5 to 8, 146 parameters learn" in log
    assert "stage 1 of 3, first layer: steps 1 to 4, 112 parameters learn" in log


def test_a_share_of_the_rate_is_a_tenth_of_the_step(tmp_path):
    # After the first update of stage 2 Adam's first step of the upper layer is the rate, whatever the gradient is.
    kept = {}

    class Spy(Changing):
        def __call__(self, model, batch):
            kept[self.calls] = weights(model)
            return super().__call__(model, batch)

    run(tmp_path, Spy(), weight_decay=0.0, adam_epsilon=1e-12)
    upper = np.abs(kept[5][2] - kept[4][2])
    np.testing.assert_allclose(upper[upper > 0], 1e-2, rtol=1e-5)
    assert np.abs(kept[5][0] - kept[4][0]).max() < 2e-3  # a tenth; with the whole rate it is 1e-2


@pytest.mark.parametrize("at", [3, 4, 5, 9])
def test_a_killed_run_goes_on_bit_for_bit_in_any_stage(tmp_path, at):
    whole = run(tmp_path / "whole", Changing())
    with pytest.raises(Killed):
        run(tmp_path / "cut", Changing(kill_at=at))
    resumed = run(tmp_path / "cut", Changing(), resume="latest")
    for ours, theirs in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [r["loss"] for r in records(tmp_path / "cut")] == [r["loss"] for r in records(tmp_path / "whole")]


def test_layerwise_decay_and_shares_multiply(tmp_path):
    model, loss = network(), Changing()
    hooks = Hooks(stages=loss.stages(), depth_of=lambda name: 2 if name.startswith("0.") else 0)
    settings = TrainSettings(**{**QUIET, "max_steps": 12, "layerwise_lr_decay": 0.5})
    factors = []
    train(
        model,
        Rows(),
        lambda net, batch: (
            factors.append([p.optimize_attr["learning_rate"] for p in net.parameters()]) or loss(net, batch)
        ),
        settings,
        tmp_path,
        hooks=hooks,
    )
    assert factors[4] == pytest.approx([0.025, 0.025, 1.0, 1.0])
    assert factors[8] == pytest.approx([0.25, 0.25, 1.0, 1.0])


def test_stages_that_are_not_the_run_are_refused(tmp_path):
    with pytest.raises(InputError, match="the stages have 12 steps, the run 14; set `max_steps`"):
        run(tmp_path, Changing(), max_steps=14)


def test_an_ordinary_run_has_no_stage_in_its_log(tmp_path):
    train(network(), Rows(), loss_fn, TrainSettings(**{**QUIET, "max_steps": 2}), tmp_path)
    assert all("stage" not in record for record in records(tmp_path))
    assert paddle.is_grad_enabled()


def test_stages_are_not_cut_short_by_a_metric(tmp_path):
    with pytest.raises(InputError, match="`early_stop_patience=2`: all of 3 stages have to run"):
        hooks = Hooks(stages=Changing().stages(), evaluate=lambda model: Evaluation({"score": 1.0}, None))
        settings = TrainSettings(**{**QUIET, "max_steps": 12, "early_stop_patience": 2, "best_metric": "score"})
        train(network(), Rows(), loss_fn, settings, tmp_path, hooks=hooks)
    assert not list(tmp_path.iterdir())
