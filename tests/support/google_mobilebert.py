"""Google's MobileBERT from its own checkpoint's variables, in NumPy and float64, and such checkpoints at random.

Written from the formulas of google-research/mobilebert (modeling.py, run_pretraining.py, run_squad.py,
run_classifier.py), and of ymcui/Chinese-MobileBERT where that differs; nothing of ``mobilebert`` is used: neither the
table of names nor the model. It runs without the repository's environment.

    B batch   S tokens   H hidden_size   A attention heads   V vocabulary
"""

import math

import numpy as np

DEFAULTS = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 16, "embedding_size": None,
    "trigram_input": False, "use_bottleneck": False, "intra_bottleneck_size": None, "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": False, "num_feedforward_networks": 1, "normalization_type": "layer_norm",
    "classifier_activation": True,
}  # fmt: skip
_TINY = {"vocab_size": 97, "max_position_embeddings": 32, "type_vocab_size": 2, "num_hidden_layers": 2}
_SMALL = {**_TINY, "hidden_size": 48, "num_attention_heads": 4, "embedding_size": 16, "trigram_input": True}
_THIN = {"use_bottleneck": True, "intra_bottleneck_size": 24, "hidden_act": "relu", "intermediate_size": 40}
_OPT = {"normalization_type": "no_norm", "classifier_activation": False}
_CHINESE = {**_TINY, "hidden_size": 48, "embedding_size": 48, "trigram_input": True, "num_attention_heads": 6}
# As Google's and ymcui's configurations are, what they leave out left out; sizes apart, of which no two are equal.
CONFIGS = {
    "mobilebert": {**_SMALL, **_THIN, **_OPT, "key_query_shared_bottleneck": True, "num_feedforward_networks": 4},
    "tiny": {**_SMALL, **_THIN, **_OPT, "use_bottleneck_attention": True, "num_feedforward_networks": 2},
    "without-opt": {
        **_SMALL, **_THIN, "hidden_act": "gelu", "key_query_shared_bottleneck": True, "num_feedforward_networks": 4,
    },
    "ib-bert": {**_SMALL, "use_bottleneck": True, "intra_bottleneck_size": 96, "intermediate_size": 112},
    "chinese-f2": {**_CHINESE, **_THIN, **_OPT, "use_bottleneck_attention": True, "num_feedforward_networks": 2},
    "chinese-f4": {**_CHINESE, **_THIN, **_OPT, "key_query_shared_bottleneck": True, "num_feedforward_networks": 4},
    "both-flags": {
        **_SMALL, **_THIN, **_OPT, "use_bottleneck_attention": True, "key_query_shared_bottleneck": True,
        "num_feedforward_networks": 3,
    },
    "bert": {**_TINY, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 40},
    "factorised": {
        **_TINY, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 40, "embedding_size": 16,
    },
}  # fmt: skip
GOOGLE_HEADS = ("pretraining", "masked-lm", "question-answering", "sequence-classification", "model")
NUM_CLASSES = 3


def full(config: dict) -> dict:
    """A configuration with Google's defaults."""
    values = {**DEFAULTS, **config}
    for name in ("embedding_size", "intra_bottleneck_size"):
        values[name] = values[name] or values["hidden_size"]
    return values


class _Shapes:
    """The variables that Google's code makes, by name."""

    def __init__(self, config: dict, head: str):
        c = full(config)
        self.found: dict[str, tuple[int, ...]] = {}
        self.norm_name = "FakeLayerNorm" if c["normalization_type"] == "no_norm" else "LayerNorm"
        hidden, embedding, vocabulary = c["hidden_size"], c["embedding_size"], c["vocab_size"]
        inner = c["intra_bottleneck_size"] if c["use_bottleneck"] else hidden
        self.found["bert/embeddings/word_embeddings"] = (vocabulary, embedding)
        self.found["bert/embeddings/token_type_embeddings"] = (c["type_vocab_size"], hidden)
        self.found["bert/embeddings/position_embeddings"] = (c["max_position_embeddings"], hidden)
        if c["trigram_input"] or embedding != hidden:
            width = embedding * (3 if c["trigram_input"] else 1)
            self.dense("bert/embeddings/embedding_transformation", width, hidden)
        self.norm("bert/embeddings", hidden)
        for layer in range(c["num_hidden_layers"]):
            self.layer(f"bert/encoder/layer_{layer}", c, hidden, inner)
        if c["classifier_activation"]:
            self.dense("bert/pooler/dense", hidden, hidden)
        if head in ("pretraining", "masked-lm"):
            self.dense("cls/predictions/transform/dense", hidden, hidden)
            self.norm("cls/predictions/transform", hidden, "LayerNorm")
            self.found["cls/predictions/output_bias"] = (vocabulary,)
            if hidden != embedding:
                self.found["cls/predictions/extra_output_weights"] = (vocabulary, hidden - embedding)
        classes, scope = {
            "pretraining": (2, "cls/seq_relationship/"),
            "question-answering": (2, "cls/squad/"),
            "sequence-classification": (NUM_CLASSES, ""),
        }.get(head, (0, ""))
        if classes:
            self.found[f"{scope}output_weights"] = (classes, hidden)
            self.found[f"{scope}output_bias"] = (classes,)

    def dense(self, scope: str, size: int, out: int) -> None:
        self.found[f"{scope}/kernel"], self.found[f"{scope}/bias"] = (size, out), (out,)

    def norm(self, scope: str, size: int, name: str | None = None) -> None:
        for part in ("beta", "gamma"):
            self.found[f"{scope}/{name or self.norm_name}/{part}"] = (size,)

    def layer(self, scope: str, c: dict, hidden: int, inner: int) -> None:
        query = value = hidden
        if c["use_bottleneck"]:
            self.dense(f"{scope}/bottleneck/input/dense", hidden, inner)
            self.norm(f"{scope}/bottleneck/input", inner)
            if c["use_bottleneck_attention"]:
                query = value = inner
            elif c["key_query_shared_bottleneck"]:
                self.dense(f"{scope}/bottleneck/attention/dense", hidden, inner)
                self.norm(f"{scope}/bottleneck/attention", inner)
                query = inner
        self.dense(f"{scope}/attention/self/query", query, inner)
        self.dense(f"{scope}/attention/self/key", query, inner)
        self.dense(f"{scope}/attention/self/value", value, inner)
        self.dense(f"{scope}/attention/output/dense", inner, inner)
        self.norm(f"{scope}/attention/output", inner)
        for number in range(c["num_feedforward_networks"]):
            last = number == c["num_feedforward_networks"] - 1
            ffn = scope if last else f"{scope}/ffn_layer_{number}"
            self.dense(f"{ffn}/intermediate/dense", inner, c["intermediate_size"])
            self.dense(f"{ffn}/output/dense", c["intermediate_size"], inner)
            self.norm(f"{ffn}/output", inner)
        if c["use_bottleneck"]:
            self.dense(f"{scope}/output/bottleneck/dense", inner, hidden)
            self.norm(f"{scope}/output/bottleneck", hidden)


def random_variables(config: dict, head: str, seed: int = 0, dtype: str = "float64") -> dict[str, np.ndarray]:
    """A checkpoint's variables: no bias is zero, no gamma one, activations of the order of 1."""
    generator = np.random.default_rng(seed)
    small = 0.5 if config.get("normalization_type") == "no_norm" else 0.02
    values = {}
    for name, shape in _Shapes(config, head).found.items():
        if name.endswith("gamma"):
            value = generator.uniform(0.5, 1.1, shape) * generator.choice([1, 1, 1, -1], shape)
        elif len(shape) == 1:
            value = generator.normal(0, 0.3, shape)
        else:
            scale = 0.5 * shape[0] ** -0.5
            if "embeddings/" in name and "transformation" not in name:
                scale = small  # where there is a norm, so that its eps shows in the outputs
            sharper = 4 if "/self/query/" in name or "/self/key/" in name else 1  # else attention is nearly even
            value = generator.normal(0, scale * sharper, shape)
        values[name] = value.astype(dtype)
    return values


def beside(variables: dict[str, np.ndarray], config: dict) -> dict[str, np.ndarray]:
    """What a distillation stores beside them: the optimizer's slots, the teacher's, the losses' norms, the step."""
    slots = {f"{name}/{slot}": np.zeros_like(v) for name, v in variables.items() for slot in ("adam_m", "adam_v")}
    teacher = {f"teacher/{name}": value + 1 for name, value in variables.items() if name.startswith("bert/")}
    losses = {f"hidden_distill_0/LayerNorm{i}/gamma": np.ones(config["hidden_size"]) for i in ("", "_1")}
    return {**slots, **teacher, **losses, "global_step": np.int64(500)}


class Google:
    """Google's model: call it with ids.

    Args:
        config: as in its ``bert_config.json``.
        variables: by name.
        masking: how a token that must not be seen is kept out: ``"added"`` (-10000, as in BERT and ymcui's), or
            ``"multiplied"`` (its score becomes -6, as in Google's code since it can train for quantization).
        eps: of every LayerNorm.
        exact_gelu: a control; Google's is the approximation.
    """

    def __init__(
        self, config: dict, variables: dict[str, np.ndarray], masking: str = "added", eps: float = 1e-12,
        exact_gelu: bool = False,
    ):  # fmt: skip
        self.c, self.masking, self.eps, self.exact_gelu = full(config), masking, eps, exact_gelu
        self.v = {name: np.asarray(value, np.float64) for name, value in variables.items()}
        self.is_no_norm = self.c["normalization_type"] == "no_norm"

    def dense(self, x: np.ndarray, scope: str) -> np.ndarray:
        return x @ self.v[f"{scope}/kernel"] + self.v[f"{scope}/bias"]

    def layer_norm(self, x: np.ndarray, scope: str) -> np.ndarray:
        mean = x.mean(-1, keepdims=True)
        variance = np.square(x - mean).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + self.eps) * self.v[f"{scope}/gamma"] + self.v[f"{scope}/beta"]

    def norm(self, x: np.ndarray, scope: str) -> np.ndarray:
        if self.is_no_norm:
            return x * self.v[f"{scope}/FakeLayerNorm/gamma"] + self.v[f"{scope}/FakeLayerNorm/beta"]
        return self.layer_norm(x, f"{scope}/LayerNorm")

    def activate(self, x: np.ndarray) -> np.ndarray:
        if self.c["hidden_act"] == "relu":
            return np.maximum(x, 0)
        if self.exact_gelu:
            return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def embed(self, ids: np.ndarray, token_types: np.ndarray) -> np.ndarray:
        """[B, S] -> [B, S, H]."""
        words = self.v["bert/embeddings/word_embeddings"][ids]
        if self.c["trigram_input"]:
            nothing = np.zeros_like(words[:, :1])
            after, before = np.concatenate([words[:, 1:], nothing], 1), np.concatenate([nothing, words[:, :-1]], 1)
            words = np.concatenate([after, words, before], 2)
        if self.c["trigram_input"] or self.c["embedding_size"] != self.c["hidden_size"]:
            words = self.dense(words, "bert/embeddings/embedding_transformation")
        total = words + self.v["bert/embeddings/token_type_embeddings"][token_types]
        return self.norm(total + self.v["bert/embeddings/position_embeddings"][: ids.shape[1]], "bert/embeddings")

    def attend(self, query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray, scope: str) -> np.ndarray:
        heads = self.c["num_attention_heads"]

        def split(x: np.ndarray, name: str) -> np.ndarray:
            x = self.dense(x, f"{scope}/{name}")
            return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

        q, k, v = split(query, "query"), split(key, "key"), split(value, "value")
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
        seen = mask[:, None, None, :].astype(np.float64)
        scores = scores * seen + (1 - seen) * -6 if self.masking == "multiplied" else scores + (1 - seen) * -10000
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        context = (weights / weights.sum(-1, keepdims=True)) @ v
        return context.transpose(0, 2, 1, 3).reshape(*query.shape[:2], -1)

    def layer(self, x: np.ndarray, mask: np.ndarray, scope: str) -> np.ndarray:
        """[B, S, H] -> [B, S, H]."""
        c = self.c
        inner = query = value = x
        if c["use_bottleneck"]:
            inner = self.norm(self.dense(x, f"{scope}/bottleneck/input/dense"), f"{scope}/bottleneck/input")
            if c["use_bottleneck_attention"]:
                query = value = inner
            elif c["key_query_shared_bottleneck"]:
                shared = f"{scope}/bottleneck/attention"
                query = self.norm(self.dense(x, f"{shared}/dense"), shared)
        attended = self.attend(query, query, value, mask, f"{scope}/attention/self")
        out = f"{scope}/attention/output"
        inner = self.norm(self.dense(attended, f"{out}/dense") + inner, out)
        for ffn in [*(f"{scope}/ffn_layer_{i}" for i in range(c["num_feedforward_networks"] - 1)), scope]:
            wide = self.activate(self.dense(inner, f"{ffn}/intermediate/dense"))
            inner = self.norm(self.dense(wide, f"{ffn}/output/dense") + inner, f"{ffn}/output")
        if not c["use_bottleneck"]:
            return inner
        out = f"{scope}/output/bottleneck"
        return self.norm(self.dense(inner, f"{out}/dense") + x, out)

    def __call__(self, ids: np.ndarray, mask: np.ndarray, token_types: np.ndarray) -> dict[str, np.ndarray]:
        """Ids, mask (1 = is seen) and types, [B, S] -> outputs by name; those whose variables are there."""
        x = self.embed(ids, token_types)
        for layer in range(self.c["num_hidden_layers"]):
            x = self.layer(x, mask, f"bert/encoder/layer_{layer}")
        pooled = x[:, 0]
        if self.c["classifier_activation"]:
            pooled = np.tanh(self.dense(pooled, "bert/pooler/dense"))
        outputs = {"sequence": x, "pooled": pooled}
        if "cls/predictions/output_bias" in self.v:
            scope = "cls/predictions/transform"
            transformed = self.layer_norm(self.activate(self.dense(x, f"{scope}/dense")), f"{scope}/LayerNorm")
            table = self.v["bert/embeddings/word_embeddings"]
            if extra := self.c["hidden_size"] - self.c["embedding_size"]:
                table = np.concatenate([table, self.v["cls/predictions/extra_output_weights"]], 1)
                assert table.shape[1] == self.c["embedding_size"] + extra
            outputs["prediction"] = transformed @ table.T + self.v["cls/predictions/output_bias"]
        for scope, read, name in (
            ("cls/seq_relationship/", pooled, "next"), ("cls/squad/", x, "squad"), ("", pooled, "classes"),
        ):  # fmt: skip
            if f"{scope}output_weights" in self.v:
                outputs[name] = read @ self.v[f"{scope}output_weights"].T + self.v[f"{scope}output_bias"]
        return outputs


def batch(vocabulary: int = 97) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, mask and token types, [3, 11]; of the last row four tokens are padding."""
    generator = np.random.default_rng(7)
    ids = generator.integers(1, vocabulary, [3, 11])
    mask = np.ones_like(ids)
    mask[2, 7:] = 0
    types = (np.arange(11) > 5) * np.ones_like(ids)
    return ids, mask, types


def difference(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest, relative to each output's largest; all of ``got`` must be expected."""
    assert got and got.keys() <= expected.keys()
    return max(float(np.abs(got[name] - expected[name]).max() / np.abs(expected[name]).max()) for name in got)
