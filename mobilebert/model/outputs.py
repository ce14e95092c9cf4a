"""What models return: named outputs, read as those of transformers are."""

from dataclasses import dataclass, fields

from paddle import Tensor


@dataclass
class ModelOutput:
    """Named outputs that can also be read like transformers' ModelOutput: by key, by position, by unpacking.

    Positions count the fields that are set; ``None`` fields are passed over.
    """

    def to_tuple(self) -> tuple:
        """The fields that are set, in order."""
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(value for value in values if value is not None)

    def keys(self) -> list[str]:
        """Names of the fields that are set, in order."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def __getitem__(self, key: str | int | slice):
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        return self.to_tuple()[key]

    def __iter__(self):
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.to_tuple())


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """``last_hidden_state`` [B, S, H]; ``pooler_output`` [B, H]; ``hidden_states`` layers + 1 times [B, S, H];
    ``attentions`` layers times [B, A, S, S] (after softmax and dropout)."""  # fmt: skip

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
