"""Whether a program, or a file that was written of it, computes what its checkpoint computes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle

from mobilebert.accel import dispatch
from mobilebert.base.errors import InputError
from mobilebert.export.checkpoint import Checkpoint
from mobilebert.export.paddle_graph import compute
from mobilebert.export.program import Program
from mobilebert.inference.engines import Engine
from mobilebert.model import heads, weights
from mobilebert.model.config import MobileBertConfig

LARGEST_ERROR = 1e-5  # of a float32 file, relative to the largest output
LARGEST_FOLD_ERROR = 1e-8  # of the folded program in float64: a wrong fold shows here, whatever float32 rounds

Batch = dict[str, np.ndarray]
Outputs = list[dict[str, np.ndarray]]  # of each batch, by name


@dataclass(frozen=True)
class Reference:
    """What the unfolded model computes.

    Attributes:
        inputs: batches, as ``check_inputs`` makes them.
        outputs: of the model in float64.
        rounding: the largest error of the model in float32 against that, relative to the largest output.
    """

    inputs: list[Batch]
    outputs: Outputs
    rounding: float

    @property
    def limit(self) -> float:
        """The largest error of a float32 file: where float32 itself does worse, nothing in float32 can do better."""
        return max(LARGEST_ERROR, 4 * self.rounding)


def check_inputs(config: MobileBertConfig, choices: bool) -> list[Batch]:
    """Random token ids in several shapes: all tokens seen, padded rows, holes in the mask, one token."""
    rng = np.random.default_rng(0)
    positions = config.max_position_embeddings
    batches = []
    for batch, length, kind in ((1, 1, "full"), (1, 16, "full"), (3, 33, "padded"), (2, 128, "holes")):
        length = min(length, positions)
        shape = (batch, 2, length) if choices else (batch, length)
        mask = np.ones(shape, np.int64)
        if kind == "padded":
            mask[...] = np.arange(length) < rng.integers(1, length + 1, (*shape[:-1], 1))
        elif kind == "holes":
            mask = (rng.random(shape) < 0.8).astype(np.int64)
        types = np.broadcast_to(np.arange(length) >= length // 2, shape).astype(np.int64)
        types = types * rng.integers(0, config.type_vocab_size, shape)
        ids = rng.integers(0, config.vocab_size, shape)
        batches.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
    return batches


def make_reference(checkpoint: Checkpoint, inputs: list[Batch]) -> Reference:
    """Run the unfolded model in float64 and in float32.

    Raises:
        InputError: its outputs are no finite numbers.
    """
    single = _outputs(checkpoint.model, inputs)
    paddle.set_default_dtype("float64")
    try:
        model = type(checkpoint.model)(checkpoint.config)
    finally:
        paddle.set_default_dtype("float32")
    state = weights.model_state(checkpoint.model)
    for name, parameter in model.named_parameters():
        parameter.set_value(state[name].astype(np.float64))
    model.eval()
    double = _outputs(model, inputs)
    if not all(np.isfinite(value).all() for outputs in double for value in outputs.values()):
        raise InputError(f"{checkpoint.folder}: its outputs are no finite numbers; did the training diverge?")
    rounding = max(_relative(single[i][name], double[i][name]) for i in range(len(inputs)) for name in double[i])
    return Reference(inputs, double, rounding)


def _outputs(model: heads.MobileBertPreTrainedModel, inputs: Sequence[Batch]) -> Outputs:
    results = []
    with paddle.no_grad(), dispatch.disabled():
        for batch in inputs:
            result = model(**{name: paddle.to_tensor(value) for name, value in batch.items()})
            results.append({name: result[name].numpy() for name in result.keys()})  # noqa: SIM118
    return results


def check_fold(program: Program, reference: Reference) -> None:
    """Refuse a program that is not the unfolded model.

    Raises:
        InputError: in float64, where rounding hides nothing, it computes something else.
    """
    for got, expected in zip(compute(program, reference.inputs, "float64"), reference.outputs, strict=True):
        for name, value in got.items():
            error = _relative(value, expected[name])
            require(error, LARGEST_FOLD_ERROR, f"the folded program's {name} in float64")


def largest_error(engine: Engine, reference: Reference) -> float:
    """The largest error of an engine, relative to the largest value of its output."""
    errors = []
    for batch, expected in zip(reference.inputs, reference.outputs, strict=True):
        for name, value in zip(engine.outputs, engine.run(batch), strict=True):
            wanted = expected[name]
            seen = batch["attention_mask"] > 0
            if engine.skips_padding and value.shape[: seen.ndim] == seen.shape:
                value, wanted = value[seen], wanted[seen]
            errors.append(_relative(value, wanted))
    return max(errors)


def require(error: float, limit: float, what: str) -> None:
    """Refuse an error above its limit, or one that is no number.

    Raises:
        InputError: it is.
    """
    if not error <= limit:
        raise InputError(
            f"{what}: differs from the checkpoint by {error:.1e}, more than {limit:.1e}; nothing was written. "
            "This is a mistake of the exporter: please report it with the checkpoint's config.json"
        )


def _relative(value: np.ndarray, expected: np.ndarray) -> float:
    if value.shape != expected.shape:
        raise ValueError(f"got {value.shape}, expected {expected.shape}")
    error = np.abs(value.astype(np.float64) - expected).max() / max(np.abs(expected).max(), 1e-30)
    return float(error) if np.isfinite(error) else float("inf")
