"""Toy models for the native engine."""

from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mobilebert.export import native_file, quantization
from mobilebert.export.fold import fold
from mobilebert.export.quantization import made_up_batches, quantize
from mobilebert.export.variant import Variant
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.weights import model_state
from support.models import FAST_PATH_CASES, FAST_PATH_SIZES, randomise

PRECISIONS = ("float32", "bf16", "int8")
CASES = {
    **FAST_PATH_CASES,
    # Whole matrix tiles: products of 128 and 64 inputs, heads of 32.
    "tiles": {"hidden_size": 128, "intermediate_size": 128, "intra_bottleneck_size": 64, "num_attention_heads": 2},
    "gelu": {"normalization_type": "layer_norm", "hidden_act": "gelu"},
    "silu": {"hidden_act": "silu", "trigram_input": False},
}


def make_program(head: str = "question-answering", seed: int = 0, divide: bool = True, **changes):
    """A toy's configuration and its program."""
    config = MobileBertConfig(**{**FAST_PATH_SIZES, **changes})
    model = randomise(HEADS[head](config), seed)
    return config, fold(config, model_state(model), head, divide=divide)


def write_model(folder: Path, precision: str, head: str = "question-answering", **changes) -> Path:
    """Write a toy with every matrix in ``precision``: they are otherwise too small to be worth it."""
    config, program = make_program(head, divide=precision != "int8", **changes)
    path = folder / f"{head}-{precision}-{abs(hash(str(changes)))}.safetensors"
    with patch.object(quantization, "LEAST_WEIGHT_SIZE", 1), patch.object(native_file, "LEAST_WEIGHT_SIZE", 1):
        if precision == "int8":
            variant = Variant(*quantize(program, made_up_batches(config, program.choices)))
        else:
            variant = Variant(program, bfloat16=precision == "bf16")
        native_file.write(variant, path)
    return path


def rescale_channels(state: Mapping[str, np.ndarray], config: MobileBertConfig, spread: float, seed: int = 0):
    """The parameters of the same function with channels whose activations differ by up to ``spread``; float64.

    For NoNorm, ReLU and bottlenecks with a shared query and key, as the released models have them.
    """
    state = {name: np.asarray(value, np.float64) for name, value in state.items()}
    rng = np.random.default_rng(seed)

    def multiply(name: str, factor: np.ndarray, rows: bool = False) -> None:
        state[name] = state[name] * (factor[:, None] if rows else factor)

    def make(prefix: str, factor: np.ndarray) -> None:  # what a layer and its norm give
        for name in ("dense.weight", "dense.bias", "LayerNorm.bias"):
            multiply(f"{prefix}.{name}", factor)

    def factors(width: int) -> np.ndarray:
        return spread ** rng.uniform(-0.5, 0.5, width)

    stream = factors(config.hidden_size)
    for name in ("weight", "bias"):
        multiply(f"mobilebert.embeddings.LayerNorm.{name}", stream)
    for index in range(config.num_hidden_layers):
        layer = f"mobilebert.encoder.layer.{index}"
        for name in ("bottleneck.input.dense", "bottleneck.attention.dense", "attention.self.value"):
            multiply(f"{layer}.{name}.weight", 1 / stream, rows=True)
        inner = factors(config.intra_bottleneck_size)
        for name in ("weight", "bias"):
            multiply(f"{layer}.attention.output.LayerNorm.{name}", inner)
        for part in (*(f"{layer}.ffn.{i}" for i in range(config.num_feedforward_networks - 1)), layer):
            hidden = factors(config.intermediate_size)
            multiply(f"{part}.intermediate.dense.weight", hidden)
            multiply(f"{part}.intermediate.dense.bias", hidden)
            multiply(f"{part}.intermediate.dense.weight", 1 / inner, rows=True)
            multiply(f"{part}.output.dense.weight", 1 / hidden, rows=True)
            make(f"{part}.output", inner)
        multiply(f"{layer}.output.bottleneck.dense.weight", 1 / inner, rows=True)
        make(f"{layer}.output.bottleneck", stream)
    for name in ("qa_outputs", "classifier", "mobilebert.pooler.dense"):
        if f"{name}.weight" in state and state[f"{name}.weight"].shape[0] == len(stream):
            multiply(f"{name}.weight", 1 / stream, rows=True)
            break
    return state
