"""Pictures contain what they say: looked up in the figure before it is saved, and the file afterwards."""

from contextlib import contextmanager

import numpy as np
import pytest

from mobilebert.base import plots


@pytest.fixture
def seen(monkeypatch):
    """The axes of every figure drawn."""
    real, drawn = plots.figure, []

    @contextmanager
    def figure(path, **shape):
        with real(path, **shape) as axes:
            drawn.extend(np.atleast_1d(axes).ravel())
            yield axes

    monkeypatch.setattr(plots, "figure", figure)
    return drawn


def labels(axes):
    return axes.get_legend_handles_labels()[1]


def check_file(path, capsys):
    assert capsys.readouterr().out == f"picture: {path}\n"
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_curves(seen, tmp_path, capsys):
    train = [{"step": 1, "loss": 3.0, "lr": 1e-3}, {"step": 2, "loss": None, "lr": 5e-4}]
    plots.curves(train, [{"step": 2, "loss": 2.0, "f1": 40.0, "em": 30.0}], tmp_path / "c.png")
    loss, rate, metrics = seen
    assert labels(loss) == ["train loss", "dev loss"] and labels(metrics) == ["dev f1", "dev em"]
    assert loss.lines[0].get_ydata()[0] == 3.0 and np.isnan(loss.lines[0].get_ydata()[1])
    assert list(rate.lines[0].get_ydata()) == [1e-3, 5e-4] and list(metrics.lines[0].get_ydata()) == [40.0]
    check_file(tmp_path / "c.png", capsys)


@pytest.mark.parametrize(
    ("losses", "dev", "scale"),
    [
        ((4.5e6, None, 2.0), 3.0, "log"),
        ((3.0, 0.5, 0.031), 0.5, "linear"),
        ((3.0, 0.5, 0.029), 0.5, "log"),
        ((3.0, 0.5, 0.1), 0.02, "log"),  # of the dev set
        ((3.0, 0.02, 0.0), 0.5, "log"),
        ((0.0, 0.0, 0.0), 0.0, "linear"),
        ((300.0, 1.0, -2.0), 0.5, "linear"),
        ((None, None, None), 0.5, "linear"),
    ],
)
def test_a_loss_that_falls_by_more_than_a_hundred_has_a_logarithmic_axis(seen, tmp_path, losses, dev, scale):
    train = [{"step": step, "loss": loss, "lr": 1e-3} for step, loss in enumerate(losses, start=1)]
    plots.curves(train, [{"step": 3, "loss": dev, "f1": 40.0}], tmp_path / "c.png")
    assert [axes.get_yscale() for axes in seen] == [scale, "linear", "linear"]
    assert seen[0].get_title() == ("loss, logarithmic" if scale == "log" else "loss")


def test_curves_of_a_run_without_a_dev_set(seen, tmp_path):
    plots.curves([{"step": 1, "loss": 3.0, "lr": 1e-3}], [], tmp_path / "c.png")
    assert labels(seen[0]) == ["train loss"] and not seen[2].lines


def test_parity(seen, tmp_path, capsys):
    row = {"torch_error": 1e-7, "paddle_error": 2e-7, "cls_relative": 4e-7, "tokens_relative": 3e-7}
    plots.parity(
        [{"name": "embeddings", **row, "torch_error": 0.0}, {"name": "encoder.layer.0", **row}], tmp_path / "p"
    )
    (axes,) = seen
    assert labels(axes) == ["PyTorch against float64", "Paddle against float64", "Paddle against PyTorch"]
    assert [line.get_ydata()[1] for line in axes.lines] == [1e-7, 2e-7, 4e-7]
    assert np.isnan(axes.lines[0].get_ydata()[0]) and axes.get_yscale() == "log"  # no error, no point
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["embeddings", "layer 0"]
    assert len({line.get_linestyle() for line in axes.lines}) == 3  # told apart in grey
    check_file(tmp_path / "p", capsys)


def test_bars(seen, tmp_path, capsys):
    times, sizes = {"1x128": [1.0, 0.5], "8x128": [1.0, 0.25]}, {"file": [98.0, 25.0]}
    plots.bars(tmp_path / "b.png", ["theirs", "ours"], [("time", times), ("MB", sizes)])
    left, right = seen
    assert [bar.get_width() for bar in left.patches] == [1.0, 0.5, 1.0, 0.25]
    assert [bar.get_width() for bar in right.patches] == [98.0, 25.0]
    assert labels(left) == ["1x128", "8x128"] and left.get_xlabel() == "time"
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["theirs", "ours"]
    assert len({bar.get_hatch() for bar in left.patches}) == 2
    check_file(tmp_path / "b.png", capsys)


def test_agreement(seen, tmp_path, capsys):
    exact, value = np.array([1.0, -4.0]), np.array([1.4, -4.0])
    plots.agreement({"logits": (exact, value)}, tmp_path / "a.png", "int8")
    scatter, errors = seen
    assert list(scatter.lines[0].get_xdata()) == [1.0, -4.0] and list(scatter.lines[0].get_ydata()) == [1.4, -4.0]
    assert np.allclose(errors.lines[0].get_xdata(), [0, 0.1]) and list(errors.lines[0].get_ydata()) == [0.5, 1.0]
    assert scatter.get_ylabel() == "int8" and labels(errors) == ["logits"]
    check_file(tmp_path / "a.png", capsys)


def test_nothing_is_left_where_drawing_fails(tmp_path, capsys):
    with pytest.raises(KeyError):
        plots.curves([{"step": 1}], [], tmp_path / "c.png")
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ""


def test_confusion(seen, tmp_path, capsys):
    panels = [("matched", ["no", "yes"], [[3, 1], [0, 2]]), ("mismatched", ["no", "yes"], [[1, 0], [0, 0]])]
    plots.confusion(panels, tmp_path / "c.png", 30)
    first, second = seen
    assert [text.get_text() for text in first.texts] == ["3", "1", "0", "2"]
    assert first.images[0].get_array().tolist() == [[0.75, 0.25], [0.0, 1.0]]  # shares of a row
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["no", "yes"]
    assert first.get_title() == "matched" and second.images[0].get_array().tolist() == [[1, 0], [0, 0]]
    check_file(tmp_path / "c.png", capsys)


def test_confusion_of_many_classes_has_fewer_names_and_no_counts(seen, tmp_path):
    names = [f"class {number}" for number in range(70)]
    plots.confusion([("dev", names, np.eye(70, dtype=int).tolist())], tmp_path / "c.png", 30)
    (axes,) = seen
    assert not axes.texts and [tick.get_text() for tick in axes.get_yticklabels()] == names[::3]
