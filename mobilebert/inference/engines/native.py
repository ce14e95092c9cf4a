"""This repository's own engine, in C; starts without Paddle.

B batch   S tokens   C choices   n tokens of all texts, without padding
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.inference.manifest import NATIVE_FILE


class NativeEngine(Engine):
    """Runs ``native.safetensors``. Nothing is computed for padding: its outputs are 0."""

    name = "native"
    library = "mobilebert.native_engine"
    weight_files = (NATIVE_FILE,)
    made_with = "`format=native`"
    skips_padding = True

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], options: EngineOptions):
        from mobilebert.native_engine.library import NativeModel

        self.outputs = list(outputs)
        self.head = head
        digests.check(folder, NATIVE_FILE)
        self.model = NativeModel(folder / NATIVE_FILE, options.threads)
        found = [output.name for output in self.model.outputs]
        if found != self.outputs:
            raise InputError(f"{folder / NATIVE_FILE}: its outputs are {', '.join(found)}, not {', '.join(outputs)}")

    @classmethod
    def is_available(cls) -> bool:
        """Whether the library is built, or can be."""
        from mobilebert.native_engine.library import library

        try:
            library()
        except InputError:
            return False
        return True

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        lead = batch["input_ids"].shape  # [B, S]; multiple choice: [B, C, S]
        length = lead[-1]
        ids, types, mask = (
            batch[name].reshape(-1, length) for name in ("input_ids", "token_type_ids", "attention_mask")
        )
        seen = mask > 0
        # Up to the last token that is seen. A row in which none is seen is read as if all were.
        lengths = np.where(seen.any(1), length - seen[:, ::-1].argmax(1), length)
        there = np.arange(length) < lengths[:, None]
        holes = ~seen & there & seen.any(1)[:, None]
        # The token behind a text is padding, but the last token of the text reads it.
        behind = np.where(lengths < length, np.take_along_axis(ids, (lengths % length)[:, None], 1)[:, 0], -1)
        results = self.model.run(lengths, ids[there], types[there], ~holes[there] if holes.any() else None, behind)
        return [
            self._padded(result, there, lead) if output.per_token else result.reshape(*lead[:-1], -1)
            for result, output in zip(results, self.model.outputs, strict=True)
        ]

    def _padded(self, result: np.ndarray, there: np.ndarray, lead: tuple[int, ...]) -> np.ndarray:
        """[n, columns] -> [B, S, columns], or [B, S] for the one column of start or end logits."""
        padded = np.zeros((*there.shape, result.shape[1]), np.float32)
        padded[there] = result
        return padded.reshape(lead) if self.head == "question-answering" else padded.reshape(*lead, -1)
