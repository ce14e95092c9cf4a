"""Convert a checkpoint's folder from one format to another, tensor by tensor."""

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paddle import nn

from mobilebert.base import digests, hub, outputs
from mobilebert.base.errors import InputError, one_line
from mobilebert.base.files import atomic_folder
from mobilebert.convert.formats import FORMATS, Format, tf, tf_config
from mobilebert.inference.manifest import MANIFEST
from mobilebert.model import weights
from mobilebert.model.config import CONFIG_NAME
from mobilebert.model.head_of import detect_head, with_head
from mobilebert.model.heads import HEADS
from mobilebert.model.tensor_files import PDPARAMS, State
from mobilebert.model.weights import LoadReport

# What makes a folder a model's. One of these beside weights that it does not belong to would be read with them.
_MODEL_FILES = (
    *hub.TOKENIZER_FILES, *hub.WEIGHT_FILES, PDPARAMS, hub.ADAPTER_CONFIG, MANIFEST,
    CONFIG_NAME, tf_config.BERT_CONFIG, "*.index", "*.data-?????-of-?????",
)  # fmt: skip


@dataclass
class Conversion:
    """What a conversion did."""

    source: Path
    destination: Path
    head: str
    state: State
    report: LoadReport
    seconds: float
    sha256: str
    weights: Path
    remark: str | None = None

    @property
    def num_parameters(self) -> int:
        """Numbers in all tensors written."""
        return sum(value.size for value in self.state.values())

    def summary(self) -> str:
        """The lines that ``convert.py`` prints at the end."""
        report = self.report
        widened = [("widened", f"{len(report.widened)} from bfloat16 to float32")] if report.widened else []
        taken_off = [("taken off", ", ".join(report.taken_off))] if report.taken_off else []
        rows = [
            *taken_off,
            ("tensors", len(self.state)),
            ("transposed", len(report.transposed)),
            ("renamed", len(report.renamed)),
            *widened,
            ("unused", _count_and_names(report.unused)),
            ("newly initialised", _count_and_names(report.initialised)),
            ("parameters", f"{self.num_parameters:,}"),
            ("seconds", f"{self.seconds:.1f}"),
            ("sha256", f"{self.sha256}  {self.weights}"),
            *([("note", self.remark)] if self.remark else []),
        ]
        head = HEADS[self.head].__name__
        lines = [f"{self.source} -> {self.destination} ({head})", *(f"  {k:<18} {v}" for k, v in rows)]
        return "\n".join(map(one_line, lines))


def _count_and_names(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else "0"


def convert(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    head: str | None = None,
    reverse: bool = False,
    to: str | None = None,
) -> Conversion:
    """Convert a checkpoint's folder to Paddle, or to the format that ``to`` names.

    Writes ``config.json``, ``model.safetensors``, the tokenizer's files and, for Paddle, ``model_state.pdparams``; for
    TensorFlow ``bert_config.json`` and ``mobilebert.ckpt``.
    Tensors keep their values and types bit for bit, but bfloat16 is written as float32, which holds the same values;
    what the checkpoint lacks of the head is drawn from Paddle's seed.

    Args:
        src: folder of the checkpoint; of TensorFlow's also one of its steps (``run/model.ckpt-500``).
        dst: folder to write; files of other names in it stay, but not those of another model.
        head: a name of ``HEADS``; none = the checkpoint's own.
        reverse: write what transformers loads: ``to="torch"``.
        to: a key of ``FORMATS``; none = ``"paddle"``.

    Raises:
        InputError: the checkpoint cannot be read or does not fit, its head does not arrive, or ``dst`` has files of
            another model that would stay; nothing is written.
    """
    start = time.perf_counter()
    src, dst = Path(src), Path(dst)
    target_format = _target(to, reverse)
    if not src.is_dir() and not tf.tf1.detect(src):
        raise InputError(f"{src}: no such folder; name the checkpoint's folder with `src`")
    root = src if src.is_dir() else src.parent
    if dst.exists() and dst.resolve() == root.resolve():
        raise InputError(f"{dst}: source and destination are one folder; name another with `dst`")
    source_format = _source(src, target_format)
    tokenizer = _own_files(
        root, [str(Path(f, n)) for f in source_format.TOKENIZER_FOLDERS for n in hub.TOKENIZER_FILES]
    )
    _own_files(root, [CONFIG_NAME, tf_config.BERT_CONFIG])  # unknown entries of it are written too
    config = source_format.read_config(src)
    state = source_format.read(src)
    weights.check_size(config, state, str(src))
    is_known = head is not None or config.head is not None
    head = head or detect_head(src, config, state)
    config = config.for_head(head)
    output, report = _convert_state(HEADS[head](config), state, source_format, target_format, str(src))
    if not is_known:
        weights.check_leftovers(report, str(src))
    config = with_head(config, head)
    with outputs.lock_beside(dst), atomic_folder(dst) as folder:
        target_format.write(output, folder, config)
        with digests.recorded(folder, *(path.name for path in tokenizer)):
            for path in tokenizer:
                shutil.copyfile(path, folder / path.name)
        _check_destination(dst, {path.name for path in folder.iterdir()})
        sha256 = digests.read(folder / digests.TABLE)[target_format.WEIGHTS].sha256
    seconds = time.perf_counter() - start
    written, remark = dst / target_format.WEIGHTS, target_format.remark(config)
    return Conversion(src, dst, head, output, report, seconds, sha256, written, remark)


def _own_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """Those of ``names`` that a folder has; to be copied, so a link must not lead out of it.

    A folder from a stranger could otherwise bring any file of this machine into a checkpoint that is passed on. Hugging
    Face's cache is made of links, from ``snapshots/REVISION/`` into ``blobs/`` beside it, set by its client: allowed.

    Raises:
        InputError: a link out of the folder, or to nothing.
    """
    root = folder.resolve()
    inside = [root, *([root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [])]
    paths = [folder / name for name in names if os.path.lexists(folder / name)]
    for path in paths:
        if not path.exists() or not any(path.resolve().is_relative_to(place) for place in inside):
            raise InputError(f"{path}: a link out of its folder, or to nothing; put the file itself there")
    return paths


def _check_destination(folder: Path, written: set[str]) -> None:
    """Refuse a folder where files of another model would stay beside the new weights, and be read with them."""
    for pattern in _MODEL_FILES:
        for path in sorted(folder.glob(pattern)):
            if path.name not in written:
                raise InputError(
                    f"{path}: would stay beside the new weights, which it does not belong to; move it away, "
                    "or name another folder with `dst`"
                )


def _target(to: str | None, reverse: bool) -> Format:
    """The format to write."""
    if reverse and to not in (None, "torch"):
        raise InputError(f"`reverse` is `to=torch`, but `to={to}` was asked for; leave one of them out")
    name = to or ("torch" if reverse else "paddle")
    if name not in FORMATS:
        raise InputError(f"to={name!r}: expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _source(folder: Path, target: Format) -> Format:
    """The format that a folder is in.

    Raises:
        InputError: it is in the one to write already.
    """
    for candidate in FORMATS.values():
        if candidate is not target and candidate.detect(folder):
            return candidate
    if target.detect(folder):
        raise InputError(f"{folder}: holds a {target.NAME} checkpoint already; {target.HINT}")
    # Its reader says what is missing.
    return FORMATS["torch"] if target is FORMATS["paddle"] else FORMATS["paddle"]


def _convert_state(
    model: nn.Layer, state: State, source: Format, target: Format, name: str
) -> tuple[State, LoadReport]:
    """A checkpoint's tensors by the model's names and in the target's layout; the model's own where it lacks some."""
    weights.check_classifier(model, state, name)
    fitted, report = weights.fit_state(model, state, source.LAYOUT, name, source.RENAMES)
    weights.check_backbone(report, name)
    weights.check_head(model, report, name)
    initial = weights.model_state(model)
    output = State((key, fitted.get(key, initial[key])) for key in initial)
    if target.LAYOUT == "pt":
        linear = weights.linear_weights(model)
        report.transposed = [key for key in output if key in linear]
        output = State((key, value.T if key in linear else value) for key, value in output.items())
    return output, report
