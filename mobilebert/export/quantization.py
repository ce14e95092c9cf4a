"""int8: eight-bit products and embeddings, with scales that fit activations of very different size.

NoNorm models have channels whose activations differ by orders of magnitude; one scale for a whole matrix leaves the
small ones no steps (published naive quantization: SQuAD F1 90 -> 49). Here

- weights are int8 with one scale an output channel, embeddings int8 with one scale a row;
- with calibration data, every activation that is quantized is first equalized: channel j is divided by s[j], and the
  weights around it take s[j] up, which is exact because nothing but products, sums and ReLU lies between; s balances
  the range of the activation against that of the weight that reads it (SmoothQuant, arXiv 2211.10438);
- the uint8 range of an activation is then the one that loses least on the calibration data (least squared error);
- attention, residual sums, biases, token types, heads' outputs and small products stay float32.

Without calibration data (``dynamic-int8``) the range of each activation is measured at run time.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import paddle

from mobilebert.export.paddle_graph import compute
from mobilebert.export.program import Attention, Linear, Operation, Positions, Program, Scale
from mobilebert.export.variant import Quantization, QuantizedWeight
from mobilebert.model.config import MobileBertConfig

LEAST_WEIGHT_SIZE = 4096  # smaller matrices (a head's last product) are not worth an error
BALANCE = 0.5  # of the activation's range that moves into the weight
PASSES = 4  # over all values: what a weight's column reaches depends on the scales of its other inputs
_SAMPLES = 200_000  # values of an activation that are kept to choose its range
_CLIPS = (1.0, 0.98, 0.95, 0.9)  # parts of the full range that are tried; less cost F1 on unseen text

Batch = Mapping[str, np.ndarray]


def quantized_linears(program: Program) -> list[Linear]:
    """The products that become int8."""
    return [
        operation
        for operation in program.operations
        if isinstance(operation, Linear) and program.weights[operation.weight].size >= LEAST_WEIGHT_SIZE
    ]


def quantize_weight(weight: np.ndarray) -> QuantizedWeight:
    """[in, out] -> int8 with one scale an output channel, symmetric."""
    scale = np.maximum(np.abs(weight).max(axis=0), np.finfo(np.float32).tiny) / 127
    return QuantizedWeight(np.rint(weight / scale).astype(np.int8), scale.astype(np.float32))


def quantize_table(table: np.ndarray) -> QuantizedWeight:
    """[rows, width] -> int8 with one scale a row, symmetric."""
    quantized = quantize_weight(table.T)
    return QuantizedWeight(np.ascontiguousarray(quantized.values.T), quantized.scale)


def quantize(program: Program, batches: Iterable[Batch] | None = None) -> tuple[Program, Quantization]:
    """Choose all int8 values of a program.

    Args:
        program: folded with ``divide=False``.
        batches: calibration data; None quantizes activations at run time.

    Returns:
        The program, equalized where there is calibration data, and its int8 values.
    """
    activations: dict[str, tuple[float, int]] = {}
    if batches is not None:
        batches = list(batches)
        program = equalize(program, largest_by_channel(program, batches))
        activations = activation_ranges(program, batches)
    weights = {
        operation.weight: quantize_weight(program.weights[operation.weight]) for operation in quantized_linears(program)
    }
    tables = {
        name: quantize_table(program.weights[name])
        for name in ("words", "positions.table", "vocabulary.dense")
        if name in program.weights
    }
    return program, Quantization(weights, tables, activations)


def made_up_batches(config: MobileBertConfig, choices: bool) -> list[Batch]:
    """Token ids drawn at random: where there is no text, they show how large each channel's activations are."""
    rng = np.random.default_rng(0)
    length = min(64, config.max_position_embeddings)
    shape = (8, 1, length) if choices else (8, length)
    ids = rng.integers(0, config.vocab_size, (4, *shape))
    types = np.broadcast_to(np.arange(length) >= length // 2, shape) * (config.type_vocab_size > 1)
    return [
        {"input_ids": one, "attention_mask": np.ones(shape, np.int64), "token_type_ids": types.astype(np.int64)}
        for one in ids
    ]


def _observe(program: Program, batches: Iterable[Batch], see: Callable[[str, np.ndarray], None]) -> None:
    """Call ``see`` with every value that an int8 product reads, real tokens only."""
    wanted = {operation.input for operation in quantized_linears(program)}
    for batch in batches:
        mask = batch["attention_mask"].reshape(-1) > 0

        def observe(name: str, value: paddle.Tensor, mask: np.ndarray = mask) -> None:
            if name in wanted:
                array = value.numpy()
                see(name, array[mask] if len(array) == len(mask) else array)

        compute(program, [batch], observe=observe)


def largest_by_channel(program: Program, batches: Iterable[Batch]) -> dict[str, np.ndarray]:
    """Value -> largest absolute activation of each channel on the calibration data."""
    largest: dict[str, np.ndarray] = {}

    def see(name: str, value: np.ndarray) -> None:
        peak = np.abs(value).max(axis=0)
        largest[name] = np.maximum(largest[name], peak) if name in largest else peak

    _observe(program, batches, see)
    return largest


def activation_ranges(program: Program, batches: list[Batch]) -> dict[str, tuple[float, int]]:
    """Value -> (scale, zero point) of the uint8 range with the least squared error on the calibration data."""
    rng = np.random.default_rng(0)
    samples: dict[str, list[np.ndarray]] = {}
    share = _SAMPLES // len(batches)

    def see(name: str, value: np.ndarray) -> None:
        flat = value.reshape(-1)
        kept = flat if len(flat) <= share else rng.choice(flat, share)
        samples.setdefault(name, []).append(np.concatenate([kept, [flat.min(), flat.max()]]))

    _observe(program, batches, see)
    return {name: _best_range(np.concatenate(values)) for name, values in samples.items()}


def _best_range(values: np.ndarray) -> tuple[float, int]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    best = None
    for clip in _CLIPS:
        scale = max((high - low) * clip / 255, np.finfo(np.float32).tiny)
        zero_point = int(np.clip(np.rint(-low * clip / scale), 0, 255))
        restored = (np.clip(np.rint(values / scale) + zero_point, 0, 255) - zero_point) * scale
        error = float(np.mean((values - restored) ** 2))
        if best is None or error < best[0]:
            best = (error, scale, zero_point)
    return best[1], best[2]


def equalize(program: Program, largest: Mapping[str, np.ndarray]) -> Program:
    """Divide the channels of quantized activations by scales that even out their ranges.

    Args:
        program: folded without division; not changed.
        largest: as ``largest_by_channel`` gives it.

    Returns:
        The same function, with other weights. Values whose scale cannot be moved into the weights around them (what a
        GELU or LayerNorm made, what a head or [CLS] reads) stay as they are.
    """
    weights = dict(program.weights)
    producers = {operation.output: operation for operation in program.operations}
    consumers = program.consumers()
    largest = dict(largest)
    for value in [*largest] * PASSES:
        readers = [
            operation for operation in consumers[value] if isinstance(operation, Linear) and operation.input == value
        ]
        peak = np.maximum(largest[value], _least_peak(value, largest, producers, weights))
        reach = np.max([_reach(weights[operation.weight]) for operation in readers], axis=0)
        used = (peak > 0) & (reach > 0)
        scale = np.ones(len(peak))
        scale[used] = peak[used] ** BALANCE / reach[used] ** (1 - BALANCE)
        scale /= np.exp(np.log(scale[used]).mean()) if used.any() else 1.0
        changed = dict(weights)
        if _divide(value, scale, producers, consumers, changed) and _multiply(value, scale, consumers, changed):
            weights = changed
            largest[value] = largest[value] / scale
    return replace(program, weights=weights)


def _least_peak(
    value: str,
    largest: Mapping[str, np.ndarray],
    producers: Mapping[str, Operation],
    weights: Mapping[str, np.ndarray],
) -> np.ndarray | float:
    """What a channel may reach on other text, though it was quiet on this (behind a ReLU often 0), by its own weights.

    Of a product: half of what channels with weights of that size usually reach.
    """
    maker = producers[value]
    if not isinstance(maker, Linear) or maker.input not in largest:
        return 0.0
    size = np.sqrt(((largest[maker.input][:, None] * weights[maker.weight]) ** 2).sum(axis=0))
    seen = (largest[value] > 0) & (size > 0)
    return 0.5 * np.median(largest[value][seen] / size[seen]) * size if seen.any() else 0.0


def _reach(weight: np.ndarray) -> np.ndarray:
    """[in, out] -> [in]: the largest share that each input has of a column's range; a column has a scale of its own."""
    return np.abs(weight / np.maximum(np.abs(weight).max(axis=0), np.finfo(float).tiny)).max(axis=1)


def _divide(
    value: str,
    scale: np.ndarray,
    producers: Mapping[str, Operation],
    consumers: Mapping[str, list[Operation]],
    weights: dict[str, np.ndarray],
) -> bool:
    """Make the operations before ``value`` produce value / scale; False where they cannot."""
    operation = producers[value]
    if isinstance(operation, Linear):
        if operation.activation not in (None, "relu"):
            return False
        weights[operation.weight] = weights[operation.weight] / scale
        if operation.bias is not None:
            weights[operation.bias] = weights[operation.bias] / scale
        if operation.residual is None:
            return True
        alone = len(consumers[operation.residual]) == 1
        return alone and _divide(operation.residual, scale, producers, consumers, weights)
    if isinstance(operation, Scale):
        weights[operation.factor] = weights[operation.factor] / scale
        if operation.offset is not None:
            weights[operation.offset] = weights[operation.offset] / scale
        return True
    if isinstance(operation, Positions):
        weights[operation.positions] = weights[operation.positions] / scale
        weights[operation.token_types] = weights[operation.token_types] / scale
        return True
    if isinstance(operation, Attention):
        alone = len(consumers[operation.value]) == 1
        return alone and _divide(operation.value, scale, producers, consumers, weights)
    return False


def _multiply(
    value: str, scale: np.ndarray, consumers: Mapping[str, list[Operation]], weights: dict[str, np.ndarray]
) -> bool:
    """Make the operations that read ``value`` read value * scale; False where they cannot."""
    for operation in consumers[value]:
        if isinstance(operation, Linear) and operation.residual != value:
            weights[operation.weight] = weights[operation.weight] * scale[:, None]
        elif isinstance(operation, Scale):
            weights[operation.factor] = weights[operation.factor] * scale
        else:
            return False
    return True
