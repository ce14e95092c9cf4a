"""All pictures in one style: readable in print, in grey, and by colour-blind people (Okabe and Ito's colours)."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mobilebert.files import atomic_path

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
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
def figure(path: str | os.PathLike, rows: int = 1, columns: int = 1) -> Iterator[Any]:
    """Yield matplotlib axes (an array of them where more than one); save as PNG when the block ends well.

    Prints where the picture went.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    width, height = _STYLE["figure.figsize"]
    with pyplot.rc_context(_STYLE):
        drawing, axes = pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), layout="constrained")
        try:
            yield axes
            with atomic_path(path) as temporary:
                drawing.savefig(temporary, format="png")
        finally:
            pyplot.close(drawing)
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
        for (label, values), color, marker in zip(series, COLORS, MARKERS, strict=False):
            positive = [value or float("nan") for value in values]  # a logarithm has no zero: no error, no point
            axes.plot(range(len(rows)), positive, color=color, marker=marker, markersize=4, label=label)
        axes.set_yscale("log")
        axes.set_ylabel("relative error")
        step = max(1, len(rows) // 24)
        ticks = range(0, len(rows), step)
        names = [rows[tick]["name"].replace("encoder.layer.", "layer ") for tick in ticks]
        names = [name.replace("_logits", "").replace(".logits", "").replace(".", " ") for name in names]
        axes.set_xticks(ticks, names, rotation=90, fontsize=7)
        axes.legend()
