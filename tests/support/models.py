"""Toy models: sizes, random weights that hide nothing, twins of two libraries, checkpoints."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mobilebert.base.files import read_json, write_json
from mobilebert.model import weights
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.tensor_files import SAFETENSORS
from support.texts import CHECKPOINT_VOCABULARY, make_tokenizer, write_long_squad, write_table

# No two sizes are equal, so a swapped axis cannot pass unseen; test_model_parity has the square cases.
SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "embedding_size": 16,
    "intra_bottleneck_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "num_feedforward_networks": 3,
    "attention_probs_dropout_prob": 0.0,
    "classifier_activation": False,
}
# Long rows, and weights large enough that a wrong layer shows in the output.
FAST_PATH_SIZES = {
    **SIZES,
    "intra_bottleneck_size": 32,
    "max_position_embeddings": 300,
    "num_feedforward_networks": 4,
    "initializer_range": 0.2,
}
# What the encoder layer's fast paths claim to compute.
FAST_PATH_CASES = {
    "mobilebert": {},
    "tiny": {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False, "num_feedforward_networks": 2},
    "both_flags": {"use_bottleneck_attention": True},
    "stream": {"key_query_shared_bottleneck": False, "num_feedforward_networks": 1},
    "wide_bottleneck": {"intra_bottleneck_size": 96, "num_attention_heads": 3},
    "odd_sizes": {"hidden_size": 50, "intermediate_size": 7, "intra_bottleneck_size": 33, "num_attention_heads": 3},
}
# Of a checkpoint that is exported.
CHECKPOINT_SIZES = {
    "vocab_size": len(CHECKPOINT_VOCABULARY),
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "embedding_size": 64,
    "intra_bottleneck_size": 64,
    "max_position_embeddings": 64,
}


def random_values(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Values for a parameter (torch's layout) that hide nothing: no zero bias, no gamma of one.

    Activations stay of the order of 1.
    """
    if name.endswith("bias"):
        return generator.normal(0, 0.3, shape)
    if len(shape) == 1:  # gamma: some negative
        return generator.uniform(0.5, 1.1, shape) * generator.choice([1, 1, 1, -1], shape)
    return generator.normal(0, 0.5 if "embeddings." in name else 0.5 * max(shape[-1], 1) ** -0.5, shape)


def randomise(model, seed: int = 0):
    """Give every parameter of a Paddle model a random value. Returns it, in evaluation mode.

    Against ``random_values``, embeddings are small and half of the gammas negative, some above one: an int8 scale for
    each channel then matters, as it does in trained checkpoints.
    """
    generator = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        shape = parameter.shape
        if name.endswith("LayerNorm.weight"):
            values = generator.uniform(0.5, 1.5, shape) * generator.choice([1, -1], shape)
        elif name.endswith("bias"):
            values = generator.normal(0, 0.3, shape)
        else:
            values = generator.normal(0, 0.5 * shape[0] ** -0.5, shape)
        parameter.set_value(values.astype(str(parameter.dtype).removeprefix("paddle.")))
    model.eval()
    return model


def make_batch(length: int = 13, lengths: tuple[int, ...] = (13, 7, 0)):
    """Token ids and attention mask, [len(lengths), length], as Paddle tensors; of each row so many tokens count."""
    import paddle

    ids = np.random.default_rng(0).integers(1, 60, [len(lengths), length])
    mask = (np.arange(length) < np.array(lengths)[:, None]).astype("int64")
    return paddle.to_tensor(ids), paddle.to_tensor(mask)


def torch_model(head: str, dtype: str = "float64", seed: int = 0, **config):
    """A transformers model of ``SIZES`` with changes and ``random_values``, in evaluation mode."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    values = {"attn_implementation": "eager", **SIZES, **config}
    model = getattr(transformers, HEAD_CLASSES[head])(transformers.MobileBertConfig(**values)).double()
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(random_values(name, tuple(parameter.shape), generator)))
    return model.to(getattr(torch, dtype)).eval()


def paddle_twin(model, head: str, dtype: str = "float64"):
    """Our model with a transformers model's configuration and weights."""
    twin = HEADS[head](MobileBertConfig.from_dict(model.config.to_dict())).to(dtype=dtype)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    fitted, report = weights.fit_state(twin, state, "pt", "the torch model")
    assert not report.initialised and not report.unused
    for name, parameter in twin.named_parameters():
        parameter.set_value(np.ascontiguousarray(fitted[name]))
    twin.eval()
    return twin


def save_checkpoint(folder: Path, head: str, preset: str = "mobilebert", **changes) -> Path:
    """Write a checkpoint of ``CHECKPOINT_SIZES`` with tokenizer; ``changes`` go to the config."""
    model = randomise(HEADS[head](MobileBertConfig.preset(preset, **{**CHECKPOINT_SIZES, **changes})))
    words = model.get_input_embeddings().weight
    table = words.numpy()
    table[0] = 0.0  # as in every real checkpoint: the trigram of a row's last token reads the padding
    words.set_value(table)
    model.save_pretrained(folder)
    make_tokenizer(CHECKPOINT_VOCABULARY).save_pretrained(folder)
    return folder


def forget_digests(folder: Path) -> Path:
    """Make of a checkpoint or an export what older versions wrote: without sizes and digests. Returns it."""
    (folder / "manifest.json").unlink(missing_ok=True)
    if (folder / "export.json").exists():
        manifest = read_json(folder / "export.json")
        del manifest["files"]
        write_json(folder / "export.json", manifest)
    return folder


def save_checkpoints_and_text(folder: Path) -> Path:
    """Write a checkpoint of both heads that a predictor knows, ``qa`` and ``sst2``, and labelled text for each."""
    save_checkpoint(folder / "qa", "question-answering")
    save_checkpoint(folder / "sst2", "sequence-classification", id2label={0: "negative", 1: "positive"})
    write_long_squad(folder / "squad.json")
    write_table(folder / "sst2.tsv")
    return folder


def parameters(folder: Path) -> dict[str, np.ndarray]:
    """What a question answering checkpoint's model holds, by name."""
    model = HEADS["question-answering"].from_pretrained(folder)
    return {name: parameter.numpy() for name, parameter in model.named_parameters()}


# Whose layout, where the header does not say


def write_safetensors(values: dict[str, np.ndarray], folder: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a checkpoint's weights anew, whatever their layout."""
    contiguous = {name: np.ascontiguousarray(v) for name, v in values.items()}
    save_file(contiguous, forget_digests(folder) / SAFETENSORS, metadata)
