"""Small models and texts that several test files share."""

import json
import random
from pathlib import Path

import numpy as np

from mobilebert.model import weights
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.heads import HEADS

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


def perturb(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Random values for a parameter (torch's layout) that hide nothing: no zero bias, no gamma of one."""
    if name.endswith("bias"):
        return generator.normal(0, 0.3, shape)
    if len(shape) == 1:  # gamma: some negative
        return generator.uniform(0.5, 1.1, shape) * generator.choice([1, 1, 1, -1], shape)
    return generator.normal(0, 0.5 if "embeddings." in name else 0.5 * shape[-1] ** -0.5, shape)


def torch_model(head: str, dtype: str = "float64", seed: int = 0, **config):
    """A transformers model of ``SIZES`` with changes, every parameter perturbed, in evaluation mode."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    values = {"attn_implementation": "eager", **SIZES, **config}
    model = getattr(transformers, HEAD_CLASSES[head])(transformers.MobileBertConfig(**values)).double()
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(perturb(name, tuple(parameter.shape), generator)))
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


NAMES = ["anna", "boris", "clara", "david", "elena", "frank", "greta", "henry", "irene", "jakob", "karin", "lukas"]
PLACES = ["harbour", "library", "station", "garden", "museum", "theatre", "bakery", "castle", "market", "school"]
THINGS = ["lamp", "book", "chair", "violin", "kettle", "map", "clock", "basket", "mirror", "ladder"]
_WORDS = [*NAMES, *PLACES, *THINGS, "where", "is", "the", "?", "put", "in", "."]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(_WORDS)]


def squad(questions: int, seed: int = 0, unanswerable: bool = False) -> dict:
    """A file in SQuAD's format: who put what where; every third question without an answer if ``unanswerable``."""
    generator = random.Random(seed)
    paragraphs = []
    for number in range(questions):
        names, places = generator.sample(NAMES, 3), generator.sample(PLACES, 3)
        things = generator.sample(THINGS, 4)
        facts = [f"{n} put the {t} in the {p} ." for n, t, p in zip(names, things, places, strict=False)]
        context, chosen = " ".join(facts), generator.randrange(3)
        impossible = unanswerable and number % 3 == 0
        thing = things[3] if impossible else things[chosen]
        answer = {"text": places[chosen], "answer_start": context.index(places[chosen])}
        question = {
            "id": f"s{seed}q{number}",
            "question": f"where is the {thing} ?",
            "answers": [] if impossible else [answer],
        }
        if unanswerable:
            question["is_impossible"] = impossible
        paragraphs.append({"context": context, "qas": [question]})
    return {"version": "v2.0" if unanswerable else "1.1", "data": [{"title": "places", "paragraphs": paragraphs}]}


def write_squad(path: Path, *arguments, **options) -> Path:
    """Write what ``squad`` makes."""
    path.write_text(json.dumps(squad(*arguments, **options)), encoding="utf-8")
    return path


def write_vocabulary(path: Path) -> Path:
    """Write ``vocab.txt`` for the words of ``squad``."""
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path
