"""All pictures in one style: readable in print, in grey, and by colour-blind people (Okabe and Ito's colours)."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mobilebert.base import extras
from mobilebert.base.errors import shorten
from mobilebert.base.files import atomic_path

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", ":")  # tell lines apart without colour
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "+++")  # and bars
_STYLE = {
    "figure.figsize": (7.0, 4.2),  # inches
    "figure.dpi": 120,
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


@contextmanager
def figure(path: str | os.PathLike, rows: int = 1, columns: int = 1, stretch: float = 1.0) -> Iterator[Any]:
    """Yield matplotlib axes (an array of them where more than one); save as PNG when the block ends well.

    ``stretch`` makes it so much taller. Prints where the picture went.
    """
    extras.silence("matplotlib")
    import matplotlib
    from matplotlib.figure import Figure  # not pyplot: it keeps state and looks for a display

    width, height = _STYLE["figure.figsize"]
    shrink = 1 if columns == 1 else 0.75
    with matplotlib.rc_context(_STYLE):
        drawing = Figure(figsize=(width * columns * shrink, height * rows * stretch), layout="constrained")
        yield drawing.subplots(rows, columns)
        with atomic_path(path) as temporary:
            drawing.savefig(temporary, format="png")
    print(f"picture: {os.fspath(path)}")


def parity(rows: Sequence[dict[str, Any]], path: str | os.PathLike) -> None:
    """Draw both frameworks' relative error against float64, tensor by tensor from the embeddings up.

    Args:
        rows: dictionaries with ``name``, ``torch_error``, ``paddle_error``, ``cls_relative`` and ``tokens_relative``.
        path: PNG to write.
    """
    series = (
        ("PyTorch against float64", [row["torch_error"] for row in rows]),
        ("Paddle against float64", [row["paddle_error"] for row in rows]),
        ("Paddle against PyTorch", [max(row["cls_relative"], row["tokens_relative"]) for row in rows]),
    )
    with figure(path) as axes:
        for (label, values), color, marker, line in zip(series, COLORS, MARKERS, _LINES, strict=False):
            positive = [value or float("nan") for value in values]  # a logarithm has no zero: no error, no point
            axes.plot(range(len(rows)), positive, color=color, marker=marker, markersize=4, linestyle=line, label=label)
        axes.set_yscale("log")
        axes.set_ylabel("relative error")
        step = max(1, len(rows) // 24)
        ticks = range(0, len(rows), step)
        names = [rows[tick]["name"].replace("encoder.layer.", "layer ") for tick in ticks]
        names = [name.replace("_logits", "").replace(".logits", "").replace(".", " ") for name in names]
        axes.set_xticks(ticks, names, rotation=90, fontsize=7)
        axes.legend()


def curves(train: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]], path: str | os.PathLike) -> None:
    """Draw a run: its loss, its learning rate and what was measured on the dev set, against the step.

    Where the loss spans more than a factor of 100, as with the released weights, its axis is logarithmic.

    Args:
        train: records with ``step``, ``loss`` (None where it was not finite) and ``lr``.
        evaluations: records with ``step`` and metrics; those that end in ``loss`` are drawn beside the training's.
        path: PNG to write.
    """
    steps = [record["step"] for record in train]
    with figure(path, columns=3) as (loss, rate, metrics):
        values = [math.nan if record["loss"] is None else record["loss"] for record in train]
        loss.plot(steps, values, color=COLORS[0], label="train loss")
        rate.plot(steps, [record["lr"] for record in train], color=COLORS[0])
        for number, name in enumerate(dict.fromkeys(key for record in evaluations for key in record if key != "step")):
            points = [(record["step"], record[name]) for record in evaluations if record.get(name) is not None]
            axes = loss if name.endswith("loss") else metrics
            color, marker = COLORS[1 + number % (len(COLORS) - 1)], MARKERS[1 + number % (len(MARKERS) - 1)]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, marker=marker, markersize=4, label=f"dev {name}")
        losses = [value for line in loss.lines for value in line.get_ydata() if not math.isnan(value)]
        positive = [value for value in losses if value > 0]
        loss_title = "loss"
        if positive and min(losses) >= 0 and max(losses) > 100 * min(positive):
            loss.set_yscale("log", nonpositive="mask")
            loss_title = "loss, logarithmic"
        for axes, title in ((loss, loss_title), (rate, "learning rate"), (metrics, "dev metrics")):
            axes.set(title=title, xlabel="step", xlim=(0, None))
            if axes.get_legend_handles_labels()[1]:
                axes.legend()


def bars(
    path: str | os.PathLike, labels: Sequence[str], panels: Sequence[tuple[str, dict[str, Sequence[float]]]]
) -> None:
    """Draw horizontal bars, a panel beside another; bars of one label stand together.

    Args:
        path: PNG to write.
        labels: from top to bottom, the same in all panels.
        panels: what a panel's axis is called, and its series: name -> a value a label.
    """
    stretch = max(1.0, len(labels) * max(len(series) for _, series in panels) / 26)
    with figure(path, columns=len(panels), stretch=stretch) as every:
        for position, (axes, (title, series)) in enumerate(zip(_as_list(every), panels, strict=True)):
            height = 0.8 / len(series)
            for number, (name, values) in enumerate(series.items()):
                places = [row + number * height for row in range(len(labels))]
                style = {"color": COLORS[number % len(COLORS)], "hatch": _HATCHES[number % len(_HATCHES)]}
                axes.barh(places, values, height, label=name, edgecolor="white", linewidth=0.3, **style)
            middle = 0.4 - height / 2
            axes.set_yticks([row + middle for row in range(len(labels))], labels if position == 0 else [])
            axes.invert_yaxis()
            axes.set_xlabel(title)
            axes.grid(False, axis="y")
            if len(series) > 1:  # above the bars, which may fill the whole field
                axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), borderaxespad=0)


def confusion(
    panels: Sequence[tuple[str, Sequence[str], Sequence[Sequence[int]]]], path: str | os.PathLike, most_named: int
) -> None:
    """Draw confusion matrices: the darker a cell, the larger its share of the row; with counts where they fit.

    Args:
        panels: title, names of the classes, count of each true class (row) and predicted one (column).
        path: PNG to write.
        most_named: with more classes there are no counts, and so many names at most.
    """
    largest = max(len(names) for _, names, _ in panels)
    with figure(path, columns=len(panels), stretch=max(1.0, min(largest, most_named) / 8)) as every:
        for axes, (title, names, counts) in zip(_as_list(every), panels, strict=True):
            shares = [[count / max(sum(row), 1) for count in row] for row in counts]
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            step = -(-len(names) // most_named)
            ticks = range(0, len(names), step)
            labels = [shorten(names[tick], 24) for tick in ticks]
            axes.set_xticks(ticks, labels, rotation=90 if largest > 4 else 0)
            axes.set_yticks(ticks, labels)
            axes.set(title=title, xlabel="what the model says", ylabel="class")
            axes.grid(False)
            for (row, column), count in _cells(counts) if step == 1 else ():
                color = "white" if shares[row][column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)


def _cells(counts: Sequence[Sequence[int]]) -> Iterator[tuple[tuple[int, int], int]]:
    for row, values in enumerate(counts):
        for column, count in enumerate(values):
            yield (row, column), count


def agreement(pairs: dict[str, tuple[Any, Any]], path: str | os.PathLike, exported: str) -> None:
    """Draw what an exported model computes against its checkpoint, value by value, and how far they are apart.

    Args:
        pairs: output -> (the checkpoint's values, the exported model's), arrays of one shape.
        path: PNG to write.
        exported: what the exported model is called, such as ``"int8"``.
    """
    with figure(path, columns=2) as (scatter, errors):
        largest = 0.0
        for number, (name, (exact, value)) in enumerate(pairs.items()):
            color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
            scale = max(abs(exact).max(), 1e-30)
            scatter.plot(exact.ravel(), value.ravel(), marker, color=color, markersize=2.5, alpha=0.5, label=name)
            share = sorted((abs(value - exact) / scale).ravel())
            errors.plot(share, [(rank + 1) / len(share) for rank in range(len(share))], color=color, label=name,
                        linestyle=_LINES[number % 3])  # fmt: skip
            largest = max(largest, 1.05 * scale)
        scatter.axline((0, 0), slope=1, color="#000000", linewidth=0.8)
        scatter.set(xlabel="checkpoint", ylabel=exported, xlim=(-largest, largest), ylim=(-largest, largest))
        errors.set(xlabel=f"error of {exported}, relative to the largest value", ylabel="share of values below it")
        errors.set_ylim(0, 1)
        errors.set_xlim(0, None)
        for axes in (scatter, errors):
            axes.legend()


def _as_list(axes: Any) -> list[Any]:
    return list(axes) if hasattr(axes, "__len__") else [axes]
