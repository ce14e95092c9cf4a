"""The formats that a model can be written in: one module a format, with the names of ``base.Target``.

A new target is a module here and its line in ``TARGETS``: ``--format`` and the export read from there what they need.
"""

from mobilebert.export.targets import litert, native, onnx, paddle
from mobilebert.export.targets.base import Target

# Name -> target, in the order in which "all" writes them.
TARGETS: dict[str, Target] = {
    target.NAME: target
    for target in (
        onnx,
        paddle,
        native,
        litert,
    )
}
# What "all" leaves out: for programs that are not ours, and to be checked by a library that is not everybody's.
ALONE = (litert.NAME,)


def formats() -> list[str]:
    """The values of ``--format``; ``"web"`` is ONNX with a page around it (``hub_layout``)."""
    return [*TARGETS, "web", "all"]


def quantizations() -> list[str]:
    """The values of ``--quantize``: what at least one target can write."""
    return list(dict.fromkeys(name for target in TARGETS.values() for name in target.QUANTIZATIONS))
