"""What every engine is and says of itself.

B batch   S tokens
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from mobilebert.base.errors import InputError, first_line
from mobilebert.inference.manifest import ONNX_FILE, Manifest
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.inputs import check_ids, check_length, check_token_types


@dataclass(frozen=True)
class EngineOptions:
    """How an engine computes.

    Attributes:
        threads: of one run; None leaves the choice to the library.
        precision: ``"f32"`` or ``"bf16"``, of an engine that has the choice.
        onnx_file: below the folder, of an engine that reads one.
    """

    threads: int | None = None
    precision: str = "f32"
    onnx_file: str = ONNX_FILE


class Engine(ABC):
    """Runs one batch; safe to call from several threads.

    A subclass is made of ``(folder, head, outputs, options)`` and imports its library there, not before; what it hands
    to the library it first compares with the folder's table (``digests.check``). Its ``run`` is only given what the
    model has rows for: what it is called with is checked first, alike for all engines.

    Attributes:
        name: what ``--engine`` calls it.
        library: the module that has to be installed.
        weight_files: names under which a folder holds its weights.
        errors: what the library raises where it cannot run a model.
        made_with: the argument of an export that makes files for it, for messages.
        skips_padding: whether outputs for padding are 0, not what the model would compute there.
        outputs: names of the results.
        config: of the model; None checks nothing (an export that is only being made).
    """

    name: ClassVar[str]
    library: ClassVar[str]
    weight_files: ClassVar[tuple[str, ...]]
    errors: ClassVar[tuple[type[Exception], ...]] = (RuntimeError,)
    made_with: ClassVar[str] = "`format=all`"
    skips_padding: ClassVar[bool] = False
    outputs: Sequence[str]
    config: MobileBertConfig | None = None

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "run" in vars(cls):
            cls.run = _checked(cls.run)  # type: ignore[method-assign]

    @classmethod
    def can_run(cls, manifest: Manifest) -> bool:
        """Whether a folder with this manifest has files for the engine."""
        return cls.name in manifest.engines

    @classmethod
    def weights_in(cls, manifest: Manifest) -> tuple[str, ...]:
        """``weight_files`` as a folder with this manifest has them."""
        return tuple(manifest.onnx_file if name == ONNX_FILE else name for name in cls.weight_files)

    @classmethod
    def is_available(cls) -> bool:
        """Whether its library is installed."""
        return find_spec(cls.library) is not None

    @abstractmethod
    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Int64 [B, S] arrays by the names of ``INPUT_NAMES`` -> the outputs, in the manifest's order.

        Raises:
            InputError: a token id or type that the model has no row for, rows longer than its positions, or a model
                that the library cannot run.
        """


def _checked(run: Callable[..., list[np.ndarray]]) -> Callable[..., list[np.ndarray]]:
    """An engine's ``run`` behind the check of its inputs."""

    @functools.wraps(run)
    def checked(self: Engine, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        if self.config is not None:
            check_length(batch["input_ids"].shape[-1], self.config.max_position_embeddings)
            check_ids("input_ids", batch["input_ids"], self.config.vocab_size)
            check_token_types(batch["token_type_ids"], self.config.type_vocab_size)
        try:
            return run(self, batch)
        except self.errors as error:
            raise InputError(
                f"{self.name} cannot run the model ({first_line(error)}); does its config.json belong to it?"
            ) from None

    return checked
