"""PaddleNLP's MobileBERT as a peer: our weights under its names, run in an environment of its own.

PaddleNLP does not import beside today's numpy and huggingface_hub, so it lives in ``.venv-paddlenlp``
(``bash scripts/setup.sh paddlenlp``) and this file is run there as a program (``python -m``), which reads a batch and
writes what comes out. Where its MobileBERT (3.0.0b4) is not Hugging Face's:

- the embedding of ``pad_token_id`` is zeros whatever its row holds; the trigram of the last token before the padding
  and every padded position see it. Batches without padding, or weights whose row is zero, are not touched.
- masked positions get -10000 added to their score, not the smallest float: equal unless scores come near 10000.
- LayerNorm configurations (``normalization_type="layer_norm"``) fail: it passes ``eps`` to Paddle's LayerNorm.
- the MLM head's LayerNorm has ``layer_norm_eps``; its decoder is a Linear of its own, not tied to the embedding.
- only the bare model and three heads exist: pre-training, sequence classification, question answering.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json, write_json

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-paddlenlp" / "bin" / "python"
CLASSES = (
    "MobileBertModel",
    "MobileBertForPreTraining",
    "MobileBertForSequenceClassification",
    "MobileBertForQuestionAnswering",
)

_RENAMES = (
    (re.compile(r"\bencoder\.layer\."), "encoder.layers."),
    (re.compile(r"\battention\.self\."), "attention."),
    (re.compile(r"\battention\.output\."), "attention."),
    # The MLM transform's norm is called LayerNorm too.
    (re.compile(r"\bLayerNorm\."), "layer_norm."),
    (re.compile(r"\bcls\.predictions\.bias$"), "cls.predictions.decoder.bias"),
)
_TIMEOUT_SECONDS = 600


def rename_to_paddlenlp(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give a state PaddleNLP's names.

    Args:
        state: arrays under Hugging Face's names, in Paddle's layout (Linear weights are [in, out]).

    Returns:
        The same arrays under PaddleNLP's names, and the MLM decoder's weight [E, V], which is the transposed embedding
        here and a parameter of its own there.
    """
    renamed = {}
    for name, value in state.items():
        for pattern, new in _RENAMES:
            name = pattern.sub(new, name)
        renamed[name] = value
    if "cls.predictions.decoder.bias" in renamed:
        embedding = renamed["mobilebert.embeddings.word_embeddings.weight"]
        renamed["cls.predictions.decoder.weight"] = np.ascontiguousarray(embedding.T)
        dense = renamed["cls.predictions.dense.weight"]
        if dense.shape[0] != embedding.shape[0]:  # [H - E, V], as in PyTorch
            renamed["cls.predictions.dense.weight"] = np.ascontiguousarray(dense.T)
    return renamed


def run_paddlenlp(
    config: Mapping[str, object],
    state: Mapping[str, np.ndarray],
    batch: Mapping[str, np.ndarray],
    class_name: str = "MobileBertModel",
    python: Path = PYTHON,
) -> dict[str, np.ndarray]:
    """Run our weights in PaddleNLP's model.

    Args:
        config: the settings of ``config.json``.
        state: arrays under Hugging Face's names, in Paddle's layout; with the ``mobilebert.`` prefix for a head.
        batch: ``input_ids``, ``attention_mask``, ``token_type_ids``; int64 [B, S] each.
        class_name: one of ``CLASSES``.
        python: PaddleNLP's Python.

    Returns:
        Arrays by Hugging Face's output names; ``hidden_states.0`` is the embeddings' output, ``hidden_states.N`` the
        N-th layer's. Heads give their logits only.

    Raises:
        InputError: no environment, an unknown class, or PaddleNLP refused; the last line it printed is passed on.
    """
    if class_name not in CLASSES:
        raise InputError(f"PaddleNLP has no {class_name}; it has {', '.join(CLASSES)}")
    if config.get("normalization_type", "no_norm") != "no_norm":
        raise InputError("PaddleNLP's MobileBERT fails with normalization_type=layer_norm; compare with transformers")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_json(work / "job.json", {"class_name": class_name, "config": dict(config)})
        np.savez(work / "state.npz", **rename_to_paddlenlp(state))
        np.savez(work / "batch.npz", **batch)
        _run(python, work)
        with np.load(work / "outputs.npz") as outputs:
            return dict(outputs)


def _run(python: Path, folder: Path) -> None:
    if not python.exists():
        raise InputError(f"{python}: no PaddleNLP here; make its environment with: bash scripts/setup.sh paddlenlp")
    command = [str(python), "-W", "ignore", "-m", "mobilebert.verify.peers.paddlenlp", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise InputError(f"PaddleNLP failed: {lines[-1]}")


def _child_model(folder: Path) -> None:
    """In PaddleNLP's environment: build the model, load the state strictly, run the batch."""
    import paddle
    import paddlenlp.transformers as peer

    job = read_json(folder / "job.json")
    known = {key: value for key, value in job["config"].items() if key not in ("architectures", "transformers_version")}
    known.setdefault("classifier_activation", True)  # Hugging Face's default; PaddleNLP's is False
    model = getattr(peer, job["class_name"])(peer.MobileBertConfig(**known))
    model.eval()
    with np.load(folder / "state.npz") as arrays:
        state = dict(arrays)
    expected = {(name, *value.shape) for name, value in model.state_dict().items() if "position_ids" not in name}
    if job["class_name"] == "MobileBertForQuestionAnswering":  # has a pooler there, which its logits do not use
        expected = {entry for entry in expected if ".pooler." not in entry[0]}
    given = {(name, *value.shape) for name, value in state.items()}
    if wrong := sorted({name for name, *_ in expected ^ given}):
        sys.exit(f"names or shapes differ: {', '.join(wrong[:6])} ({len(wrong)} in all)")
    model.set_state_dict({name: paddle.to_tensor(value) for name, value in state.items()})
    with np.load(folder / "batch.npz") as arrays:
        batch = {name: paddle.to_tensor(value) for name, value in arrays.items()}
    with paddle.no_grad():
        outputs = model(**batch, output_hidden_states=job["class_name"] == "MobileBertModel", return_dict=True)
    arrays = {}
    for name, value in outputs.items():
        if isinstance(value, (tuple, list)):
            arrays.update({f"{name}.{index}": item.numpy() for index, item in enumerate(value)})
        elif value is not None:
            arrays[name] = value.numpy()
    np.savez(folder / "outputs.npz", **arrays)


if __name__ == "__main__":
    _child_model(Path(sys.argv[1]))
