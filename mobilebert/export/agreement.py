"""What an exported model computes against its checkpoint, value by value, on text of the user's."""

from pathlib import Path

import numpy as np

from mobilebert.export.samples import read_samples
from mobilebert.inference import engines
from mobilebert.inference.source import read_source
from mobilebert.text.tokenizer import MobileBertTokenizer


def outputs_of_both(
    checkpoint: str | Path, exported: str | Path, text: str | Path, limit: int = 100
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Run a checkpoint and its export on the same rows.

    Args:
        checkpoint: its folder, with a head that a predictor reads.
        exported: what ``export.py`` made of it.
        text: a file that ``--evaluation`` takes.
        limit: questions or texts, the first ones.

    Returns:
        Output -> float32 [N] of both: of each real token, or of each row, all values.

    Raises:
        InputError: a folder or a file that cannot be read, or a head that no engine answers with.
    """
    source = read_source(exported)
    manifest, tokenizer = source.manifest, MobileBertTokenizer.from_pretrained(source.folder)
    samples = read_samples(text, manifest.head, source.config, tokenizer, manifest.max_seq_length, limit)
    both = engines.load(checkpoint, "dygraph"), engines.load(source, manifest.engines[0])
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in manifest.outputs}
    of_tokens = manifest.head != "sequence-classification"
    for batch in samples.batches():
        real = batch["attention_mask"] > 0 if of_tokens else slice(None)
        for name, *values in zip(manifest.outputs, *(engine.run(batch) for engine in both), strict=True):
            found[name].append(tuple(value[real].ravel() for value in values))
    return {name: tuple(map(np.concatenate, zip(*values, strict=True))) for name, values in found.items()}
