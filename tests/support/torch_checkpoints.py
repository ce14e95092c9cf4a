"""Small checkpoints of transformers: written, changed, loaded, compared."""

import json
from pathlib import Path

import torch
import transformers

from mobilebert.model.config import HEAD_CLASSES
from support.models import torch_model

PT = {"format": "pt"}


def write(folder, head="question-answering", dtype="float32", **config):
    """A transformers checkpoint in a new folder; returns the model."""
    model = torch_model(head, dtype, **config)
    model.save_pretrained(folder)
    return model


def load(folder, head, dtype="float32"):
    """What transformers loads, which must miss nothing and leave nothing over."""
    model, report = getattr(transformers, HEAD_CLASSES[head]).from_pretrained(
        folder, dtype=getattr(torch, dtype), output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    return model


def contents(folder):
    """Every file below a folder; empty where there is none."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def assert_same_state(left, right):
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]), name


def configure(**values):
    def apply(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return apply


def one_pickle(folder, model):
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def sharded_pickle(folder, model):
    one_pickle(folder, model)
    (folder / "pytorch_model.bin").unlink()
    items = list(model.state_dict().items())
    weight_map = {}
    for number, part in enumerate((items[::2], items[1::2])):
        name = f"pytorch_model-0000{number + 1}-of-00002.bin"
        torch.save(dict(part), folder / name)
        weight_map |= {key: name for key, _ in part}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
