"""Toy models for the native engine."""

from pathlib import Path
from unittest.mock import patch

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
